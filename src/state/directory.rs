//! The configuration in a directory: one file, replaced as a whole.
//!
//! A file and not an embedded database: the configuration is one document, which is checked as a whole
//! at every change and read as a whole at every start. A rename is the transaction; what lies on disk is
//! a declarative file that `tollgate check` reads and that a copy backs up. A change of ten thousand
//! routes writes a few megabytes, which its check outweighs.
//!
//! The invariant: `state.json` is complete at every instant, and what `save` returned for is on disk.

use super::store::{Kept, Version};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A state directory, held by this process.
pub struct Directory {
    path: PathBuf,
    /// Two processes on one directory would lose each other's writes. The system lets go of the lock
    /// when the process ends, however it ends.
    lock: File,
}

const FILE: &str = "state.json";
const NEXT: &str = "state.json.next";

impl Directory {
    /// Takes a directory, which is made if it is not there. `held`: its lock, from the process before.
    pub fn open(path: &Path, held: Option<File>) -> Result<Self, String> {
        let shown = path.display();
        let make = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        make.map_err(|error| format!("the state directory '{shown}' cannot be made: {error}"))?;
        let lock = held.map_or_else(|| private().truncate(false).open(path.join("lock")), Ok);
        let lock = lock.map_err(|error| format!("the state directory '{shown}' cannot be used: {error}"))?;
        lock.try_lock().map_err(|_| {
            format!(
                "the state directory '{shown}' is in use by another process: stop it, or name another one"
            )
        })?;
        Ok(Self { path: path.to_owned(), lock })
    }

    /// What a process that follows this one has to be given.
    pub fn lock(&self) -> &File {
        &self.lock
    }

    /// The file's name and text, if there is one.
    pub fn load(&self) -> Result<Option<Kept>, String> {
        let file = self.path.join(FILE);
        let name = file.display().to_string();
        match fs::read_to_string(&file) {
            Ok(text) => Ok(Some(Kept { name, text, version: Version::new() })),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("cannot read '{name}': {error}")),
        }
    }

    /// Replaces the file. A crash on the way leaves the old one or the new one.
    pub fn save(&self, text: &str) -> Result<(), String> {
        self.replace(text).map_err(|error| format!("cannot write to '{}': {error}", self.path.display()))
    }

    fn replace(&self, text: &str) -> std::io::Result<()> {
        let next = self.path.join(NEXT);
        let mut file = private().truncate(true).open(&next)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&next, self.path.join(FILE))?;
        // The rename itself is only on disk once the directory is.
        File::open(&self.path)?.sync_all()
    }
}

/// What it holds are keys: nobody else may read them.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn keeps_what_was_saved_and_lets_nobody_else_in() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a/state");
        let directory = Directory::open(&path, None).unwrap();
        assert_eq!(directory.load().unwrap(), None);
        directory.save("a long first text").unwrap();
        directory.save("second").unwrap();
        assert_eq!(directory.load().unwrap().unwrap().text, "second");
        assert_eq!(fs::metadata(path.join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        let refused = Directory::open(&path, None).err().unwrap();
        assert!(refused.contains("in use by another process"), "{refused}");
        let next = Directory::open(&path, Some(directory.lock().try_clone().unwrap())).unwrap();
        drop(directory);
        assert!(Directory::open(&path, None).is_err(), "handed over, the lock holds on");
        drop(next);
        assert_eq!(Directory::open(&path, None).unwrap().load().unwrap().unwrap().text, "second");
    }

    #[test]
    fn half_a_write_is_not_read() {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::open(place.path(), None).unwrap();
        directory.save("whole").unwrap();
        fs::write(place.path().join(NEXT), "hal").unwrap();
        assert_eq!(directory.load().unwrap().unwrap().text, "whole");
        directory.save("next").unwrap();
        assert_eq!(directory.load().unwrap().unwrap().text, "next");
    }
}
