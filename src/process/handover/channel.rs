//! Frames between two processes of the gateway, over a pair of Unix sockets. A frame may carry open files.
//!
//! The two may be of different versions: frames are a kind, a length and bytes, and whoever opens says
//! which version of the handover it speaks.

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The new process is there; its payload is the version that it speaks.
    Hello = b'H',
    /// The open files that it gets, and their names.
    Files = b'S',
    /// It could serve now.
    Ready = b'Y',
    /// It is to serve; the payload are the counters so far.
    Go = b'G',
    /// It serves, and is named in its pid file.
    Serving = b'V',
    /// It asks for the counters.
    Ask = b'A',
    /// The counters now.
    Report = b'R',
    /// The last counters: nothing is under way any more.
    Final = b'F',
}

const KINDS: [Kind; 8] =
    [Kind::Hello, Kind::Files, Kind::Ready, Kind::Go, Kind::Serving, Kind::Ask, Kind::Report, Kind::Final];

/// How many files a frame may carry; the kernel takes 253 at once.
pub const MOST_FILES: usize = 250;
/// Beyond this a frame is not one of ours. Counters of ten thousand series are 2 MB.
const MOST_BYTES: usize = 256 * 1024 * 1024;
const HEAD: usize = 5;
/// How long the other side may leave a frame unread before it counts as gone.
const UNREAD: Duration = Duration::from_secs(5);

/// One end.
pub struct Channel {
    stream: UnixStream,
    unread: Vec<u8>,
    files: Vec<OwnedFd>,
}

/// A frame as it came.
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// What it holds.
    pub payload: Vec<u8>,
}

impl Channel {
    /// The end that this socket is.
    pub fn over(stream: UnixStream) -> io::Result<Self> {
        stream.set_write_timeout(Some(UNREAD))?;
        Ok(Self { stream, unread: Vec::new(), files: Vec::new() })
    }

    /// The same end once more: one thread may read while another writes.
    pub fn again(&self) -> io::Result<Self> {
        Self::over(self.stream.try_clone()?)
    }

    /// Sends a frame.
    pub fn send(&mut self, kind: Kind, payload: &[u8]) -> io::Result<()> {
        self.send_with(kind, payload, &[])
    }

    /// Sends a frame with open files.
    pub fn send_with(&mut self, kind: Kind, payload: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).map_err(|_| ErrorKind::FileTooLarge)?;
        let mut frame = Vec::with_capacity(HEAD + payload.len());
        frame.push(kind as u8);
        frame.extend_from_slice(&length.to_le_bytes());
        frame.extend_from_slice(payload);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FILES))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
            return Err(ErrorKind::ArgumentListTooLong.into());
        }
        let sent = sendmsg(&self.stream, &[IoSlice::new(&frame)], &mut control, SendFlags::NOSIGNAL)?;
        self.stream.write_all(frame.get(sent..).unwrap_or_default())
    }

    /// The next frame. `TimedOut` if it does not come in time; what has come of it stays for the next look.
    pub fn receive(&mut self, patience: Duration) -> io::Result<Frame> {
        let until = Instant::now() + patience;
        loop {
            if let Some(frame) = self.whole()? {
                return Ok(frame);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
            self.read()?;
        }
    }

    /// Hangs up, also for whoever else has this end.
    pub fn close(&self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }

    /// The files that came with the frames so far.
    pub fn take_files(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.files)
    }

    fn whole(&mut self) -> io::Result<Option<Frame>> {
        let Some(&[kind, a, b, c, d]) = self.unread.first_chunk::<HEAD>() else { return Ok(None) };
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        let known = KINDS.into_iter().find(|known| *known as u8 == kind);
        let Some(kind) = known.filter(|_| length <= MOST_BYTES) else {
            return Err(ErrorKind::InvalidData.into());
        };
        if self.unread.len() < HEAD + length {
            return Ok(None);
        }
        let rest = self.unread.split_off(HEAD + length);
        let mut payload = std::mem::replace(&mut self.unread, rest);
        payload.drain(..HEAD);
        Ok(Some(Frame { kind, payload }))
    }

    fn read(&mut self) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FILES))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut piece = vec![0; 64 * 1024];
        // Close-on-exec from the first instant: a child of ours must not keep a port open.
        let flags = RecvFlags::CMSG_CLOEXEC;
        let came = match recvmsg(&self.stream, &mut [IoSliceMut::new(&mut piece)], &mut control, flags) {
            Ok(came) => came.bytes,
            Err(Errno::INTR) => return Ok(()),
            Err(Errno::AGAIN) => return Err(ErrorKind::TimedOut.into()),
            Err(error) => return Err(error.into()),
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                self.files.extend(files);
            }
        }
        if came == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.unread.extend_from_slice(piece.get(..came).unwrap_or_default());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek};
    use std::os::fd::AsFd;

    fn pair() -> (Channel, Channel) {
        let (one, other) = UnixStream::pair().unwrap();
        (Channel::over(one).unwrap(), Channel::over(other).unwrap())
    }

    const SOON: Duration = Duration::from_secs(5);

    #[test]
    fn frames_come_whole_however_large_and_in_order() {
        let (mut one, mut other) = pair();
        let large: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let sent = large.clone();
        let sender = std::thread::spawn(move || {
            one.send(Kind::Report, &sent).unwrap();
            one.send(Kind::Final, b"").unwrap();
        });
        let frame = other.receive(SOON).unwrap();
        assert!(frame.kind == Kind::Report && frame.payload == large);
        assert_eq!(other.receive(SOON).unwrap().kind, Kind::Final);
        sender.join().unwrap();
        assert_eq!(other.receive(SOON).err().unwrap().kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn files_arrive_open() {
        let (mut one, mut other) = pair();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"written before").unwrap();
        file.rewind().unwrap();
        one.send_with(Kind::Files, b"names", &[file.as_fd()]).unwrap();
        assert_eq!(other.receive(SOON).unwrap().payload, b"names");
        let mut files = other.take_files();
        assert_eq!(files.len(), 1);
        let mut text = String::new();
        std::fs::File::from(files.remove(0)).read_to_string(&mut text).unwrap();
        assert_eq!(text, "written before");
    }

    #[test]
    fn half_a_frame_is_waited_for_and_kept() {
        let (one, mut other) = pair();
        let mut raw = one.stream.try_clone().unwrap();
        raw.write_all(b"R\x03\0\0\0ab").unwrap();
        assert_eq!(other.receive(Duration::from_millis(20)).err().unwrap().kind(), ErrorKind::TimedOut);
        raw.write_all(b"c").unwrap();
        assert_eq!(other.receive(SOON).unwrap().payload, b"abc");
        raw.write_all(b"?\0\0\0\0").unwrap();
        assert_eq!(other.receive(SOON).err().unwrap().kind(), ErrorKind::InvalidData);
    }
}
