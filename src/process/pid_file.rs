//! The file that says which process is the one to signal.
//!
//! The process that it names holds a lock on it, which the system lets go of however the process ends:
//! a file that was left behind is told from one in use by the lock, not by the number, which may belong
//! to another program by now. The lock passes on to the process that replaces this one.

use super::handles::Handles;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A pid file that this process holds.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    file: File,
}

impl PidFile {
    /// Takes the file at a path; nothing is written before `write`.
    pub fn claim(path: &Path, handles: &Handles) -> Result<Self, String> {
        let shown = path.display();
        let failed = |error: io::Error| format!("the pid file '{shown}' cannot be used: {error}");
        let name = format!("pid-file {shown}");
        loop {
            let file = match handles.lock(&name) {
                Some(file) => file,
                None => open(path).map_err(failed)?,
            };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(taken(path)),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            // The process that held it may have removed the file while this one opened it.
            if is_at(&file, path) {
                handles.hold(&name, &file).map_err(failed)?;
                return Ok(Self { path: path.to_owned(), file });
            }
        }
    }

    /// Names this process. A reader sees the old number or the new one, never an empty file.
    pub fn write(&self) -> Result<(), String> {
        let text = format!("{}\n", std::process::id());
        let written = self.file.write_all_at(text.as_bytes(), 0);
        let written = written.and_then(|()| self.file.set_len(text.len() as u64));
        written.map_err(|error| format!("the pid file '{}' cannot be written: {error}", self.path.display()))
    }

    /// Takes the file away, unless somebody has put another one in its place.
    pub fn remove(&self) {
        if is_at(&self.file, &self.path)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, "the pid file stays behind");
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(file), Ok(there)) = (file.metadata(), fs::metadata(path)) else { return false };
    (file.dev(), file.ino()) == (there.dev(), there.ino())
}

fn taken(path: &Path) -> String {
    let named = fs::read_to_string(path).unwrap_or_default();
    format!(
        "the pid file '{}' belongs to process {}, which is running: stop it, or name another file",
        path.display(),
        named.trim()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_left_behind_is_taken_over_and_one_in_use_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tollgate.pid");
        fs::write(&path, "1234567 and more\n").unwrap();
        let held = PidFile::claim(&path, &Handles::default()).unwrap();
        held.write().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        let refused = PidFile::claim(&path, &Handles::default()).unwrap_err();
        let own = std::process::id().to_string();
        assert!(refused.contains(&own) && refused.contains("tollgate.pid"), "{refused}");
        held.remove();
        assert!(!path.exists());
        PidFile::claim(&path, &Handles::default()).unwrap();
    }

    #[test]
    fn the_lock_passes_on_without_a_gap() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tollgate.pid");
        let first = Handles::default();
        let held = PidFile::claim(&path, &first).unwrap();
        let next = Handles::inherited(first.all().unwrap());
        let taken_over = PidFile::claim(&path, &next).unwrap();
        drop(held);
        first.release();
        assert!(PidFile::claim(&path, &Handles::default()).is_err());
        taken_over.write().unwrap();
        drop(taken_over);
        next.release();
        PidFile::claim(&path, &Handles::default()).unwrap();
    }

    #[test]
    fn another_file_in_its_place_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tollgate.pid");
        let held = PidFile::claim(&path, &Handles::default()).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "another").unwrap();
        held.remove();
        assert_eq!(fs::read_to_string(&path).unwrap(), "another");
        assert!(PidFile::claim(Path::new("/nowhere/at/all.pid"), &Handles::default()).is_err());
    }
}
