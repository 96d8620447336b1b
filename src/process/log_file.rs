//! The log in a file instead of on stderr.

use std::fs::{File, OpenOptions};
use std::path::Path;

/// Makes the file this process's stderr: so panics and what libraries say are in it as well. Called
/// again, it opens the file anew, which may have been moved away.
pub fn direct(path: &Path) -> Result<(), String> {
    let file = OpenOptions::new().append(true).create(true).open(path);
    let directed = file.and_then(|file| Ok(rustix::stdio::dup2_stderr(file)?));
    directed.map_err(|error| format!("the log file '{}' cannot be written: {error}", path.display()))
}

/// Lets go of the terminal's stdout, on which a daemon says nothing.
pub fn silence() -> Result<(), String> {
    let nowhere = File::options().write(true).open("/dev/null");
    let silenced = nowhere.and_then(|file| Ok(rustix::stdio::dup2_stdout(file)?));
    silenced.map_err(|error| format!("stdout cannot be let go of: {error}"))
}
