//! How one process of the gateway follows another, without a gap.
//!
//! The process that runs starts its own program again, as it was called, with one end of a pair of
//! sockets as its standard input, and hands over what must stay open. Step by step:
//!
//! 1. The new process says hello. The old one closes the operators' listeners, so that nothing is
//!    written that the new one would not read; who connects meanwhile waits in the socket.
//! 2. The old one sends the listening sockets and the locks. The new one loads its configuration.
//! 3. The new one says that it is ready, and the old one tells it to go, with the counters so far.
//! 4. The old one takes no more connections and ends those it has: with the answer to their next
//!    request, or when they have been idle for as long as they may.
//! 5. Until its end it says what it has counted whenever it is asked, and once more at the last.
//!
//! The invariant: until the old one says go, whatever happens to the new one changes nothing.
//!
//! `--daemon` is the same with a starter for the old process, which has nothing to hand over.

pub mod channel;
pub mod parent;
pub mod successor;

use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Names the process that started this one as its successor. It counts only if that is its parent, so
/// that it does no harm where it has been left behind.
const PARENT: &str = "TOLLGATE_PARENT";
/// What this version speaks.
const VERSION: &[u8] = b"1";
/// How long a step may take that needs no work.
const STEP: Duration = Duration::from_secs(10);
/// How long a new process may take to load its configuration.
const START: Duration = Duration::from_mins(2);

/// What comes with the open files.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Estate {
    /// Their names, in their order.
    names: Vec<String>,
    /// Whether the new process is to leave the terminal.
    detach: bool,
}

/// The program as it was called. The path is made absolute but its links are not followed: a new
/// version is often put in place by changing one.
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// As this process was called. To be asked at the start, before the file is replaced.
    pub fn this() -> Result<Self, String> {
        let mut arguments = std::env::args_os();
        let called = PathBuf::from(arguments.next().unwrap_or_default());
        // Called by its bare name it was looked for in PATH, and the system knows what was found.
        let bare = called.components().count() < 2;
        let path = if bare { std::env::current_exe() } else { std::path::absolute(called) };
        let path = path.map_err(|error| format!("the path of this program cannot be told: {error}"))?;
        Ok(Self { path, arguments: arguments.collect() })
    }
}
