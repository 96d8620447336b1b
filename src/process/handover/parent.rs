//! The new process's side: what it gets from the one that started it.

use super::channel::{Channel, Frame, Kind};
use super::{Estate, PARENT, START, STEP, VERSION};
use crate::process::handles::Handles;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

/// The process that started this one to follow it.
pub struct Parent {
    channel: Channel,
    detach: bool,
}

/// What a process has that may serve.
pub struct Leave {
    /// The counters of the process before.
    pub counters: String,
    channel: Channel,
    detach: bool,
}

impl Parent {
    /// The process that started this one for that, if one did, and what it hands over.
    pub fn find() -> Result<Option<(Self, Handles)>, String> {
        let parent = std::env::var(PARENT).ok().and_then(|id| id.parse::<u32>().ok());
        if parent != Some(std::os::unix::process::parent_id()) {
            return Ok(None);
        }
        Self::meet().map(Some).map_err(|error| format!("nothing was handed over to this process: {error}"))
    }

    fn meet() -> std::io::Result<(Self, Handles)> {
        let stream = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        let mut channel = Channel::over(stream)?;
        channel.send(Kind::Hello, VERSION)?;
        let frame = expect(&mut channel, Kind::Files, STEP)?;
        let estate: Estate = serde_json::from_slice(&frame.payload)?;
        let files = channel.take_files();
        if files.len() != estate.names.len() {
            return Err(std::io::Error::other("files are missing: is the limit of open files too low?"));
        }
        if estate.detach {
            rustix::process::setsid()?;
        }
        let handles = Handles::inherited(estate.names.into_iter().zip(files));
        Ok((Self { channel, detach: estate.detach }, handles))
    }

    /// Says that this process could serve, and waits for leave.
    pub fn ready(mut self) -> Result<Leave, String> {
        let go =
            self.channel.send(Kind::Ready, b"").and_then(|()| expect(&mut self.channel, Kind::Go, START));
        let gone = |error| format!("the process that started this one has given up: {error}");
        let counters = String::from_utf8(go.map_err(gone)?.payload).unwrap_or_default();
        Ok(Leave { counters, channel: self.channel, detach: self.detach })
    }
}

impl Leave {
    /// Whether this process is to leave the terminal.
    pub fn detaches(&self) -> bool {
        self.detach
    }

    /// Says that this process serves. Gives the way to the process before, unless that was only a starter.
    pub fn serve(mut self) -> Option<Channel> {
        // An old process that has gone in this instant is found out by whoever asks it for its counters.
        let _ = self.channel.send(Kind::Serving, b"");
        (!self.detach).then_some(self.channel)
    }
}

pub(super) fn expect(
    channel: &mut Channel,
    kind: Kind,
    patience: std::time::Duration,
) -> std::io::Result<Frame> {
    let frame = channel.receive(patience)?;
    if frame.kind == kind { Ok(frame) } else { Err(std::io::ErrorKind::InvalidData.into()) }
}
