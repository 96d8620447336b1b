//! Open files that pass from a process to the one that replaces it: listening sockets, and the locks of
//! the pid file and of the state directory.
//!
//! The invariant: whatever is in here is open without a gap from the first process to the last. A
//! connection that nobody has accepted yet waits in the socket, which outlives the process.

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// How many connections may wait at a socket; the system has a bound of its own.
const BACKLOG: i32 = 65_535;

/// The table.
#[derive(Default)]
pub struct Handles {
    inherited: Mutex<HashMap<String, OwnedFd>>,
    held: Mutex<Vec<(String, OwnedFd)>>,
}

impl Handles {
    /// A table that begins with what another process handed over.
    pub fn inherited(files: impl IntoIterator<Item = (String, OwnedFd)>) -> Self {
        Self { inherited: Mutex::new(files.into_iter().collect()), held: Mutex::default() }
    }

    /// What was handed over under a name. Taken out: whoever asks has to `hold` it again.
    pub fn take(&self, name: &str) -> Option<OwnedFd> {
        self.inherited.lock().unwrap_or_else(PoisonError::into_inner).remove(name)
    }

    /// Keeps a handle for the process that will replace this one.
    pub fn hold(&self, name: &str, file: &impl AsFd) -> io::Result<()> {
        let file = file.as_fd().try_clone_to_owned()?;
        self.held.lock().unwrap_or_else(PoisonError::into_inner).push((name.to_owned(), file));
        Ok(())
    }

    /// The listener at an address: handed over, or bound now.
    pub fn listener(&self, address: SocketAddr, what: &str) -> Result<TcpListener, String> {
        self.tcp(address, what, || TcpListener::bind(address))
    }

    /// The same, at an address that other processes may bind, too.
    pub fn shared_listener(&self, address: SocketAddr, what: &str) -> Result<TcpListener, String> {
        self.tcp(address, what, || bind_shared(address))
    }

    /// The listener at a path: handed over, or bound now, in the place of one that was left there.
    pub fn unix_listener(&self, path: &Path, what: &str) -> Result<UnixListener, String> {
        let ready = self.open(&format!("unix {}", path.display()), || bind_path(path));
        let ready = ready.and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
        ready.map_err(|error| format!("{what} cannot listen on unix:{}: {error}", path.display()))
    }

    fn tcp(
        &self,
        address: SocketAddr,
        what: &str,
        bind: impl FnOnce() -> io::Result<TcpListener>,
    ) -> Result<TcpListener, String> {
        let ready = self.open(&format!("tcp {address}"), bind);
        let ready = ready.and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
        ready.map_err(|error| format!("{what} cannot listen on {address}: {error}"))
    }

    /// What was handed over under a name, or else is made now; held for the next process.
    fn open<S: AsFd + From<OwnedFd>>(
        &self,
        name: &str,
        make: impl FnOnce() -> io::Result<S>,
    ) -> io::Result<S> {
        let socket = self.take(name).map_or_else(make, |file| Ok(file.into()))?;
        self.hold(name, &socket)?;
        Ok(socket)
    }

    /// The lock that another process handed over under a name; `hold` keeps it for the next one.
    pub fn lock(&self, name: &str) -> Option<File> {
        self.take(name).map(File::from)
    }

    /// Everything that is held, under its name.
    pub fn all(&self) -> io::Result<Vec<(String, OwnedFd)>> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().map(|(name, file)| Ok((name.clone(), file.try_clone()?))).collect()
    }

    /// Closes what was handed over and is not listened on any more: the settings have changed.
    pub fn close_unclaimed(&self) {
        self.inherited.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Lets go of everything: with the last handle of a listening socket its port is closed.
    pub fn release(&self) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn bind_shared(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

fn bind_path(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => UnixListener::bind(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_listener_lives_on_in_the_next_table() {
        let first = Handles::default();
        let address: SocketAddr = ([127, 0, 0, 1], 0).into();
        let listener = first.listener(address, "test").unwrap();
        let port = listener.local_addr().unwrap();
        let _waiting = TcpStream::connect(port).unwrap();
        let next = Handles::inherited(first.all().unwrap());
        drop(listener);
        first.release();
        let listener = next.listener(address, "test").unwrap();
        assert_eq!(listener.local_addr().unwrap(), port);
        listener.set_nonblocking(false).unwrap();
        listener.accept().unwrap();
        drop(listener);
        next.release();
        assert!(TcpStream::connect(port).is_err(), "nobody holds it any more");
    }

    #[test]
    fn a_path_and_a_shared_port_live_on_in_the_next_table() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let (first, address): (_, SocketAddr) = (Handles::default(), ([127, 0, 0, 1], 0).into());
        let shared = first.shared_listener(address, "test").unwrap();
        let (port, by_path) = (shared.local_addr().unwrap(), first.unix_listener(&path, "test").unwrap());
        let _other = bind_shared(port).expect("another process may bind it, too");
        let _waiting = UnixStream::connect(&path).unwrap();
        let next = Handles::inherited(first.all().unwrap());
        drop((shared, by_path));
        first.release();
        assert_eq!(next.shared_listener(address, "test").unwrap().local_addr().unwrap(), port);
        let by_path = next.unix_listener(&path, "test").unwrap();
        by_path.set_nonblocking(false).unwrap();
        by_path.accept().unwrap();
    }

    #[test]
    fn a_socket_that_was_left_behind_gives_way() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        drop(UnixListener::bind(&path).unwrap());
        let listener = Handles::default().unix_listener(&path, "test").unwrap();
        let _waiting = UnixStream::connect(&path).unwrap();
        drop(listener);
        let refused = Handles::default().unix_listener(&dir.path().join("no/socket"), "test").unwrap_err();
        assert!(refused.contains("no/socket"), "{refused}");
    }

    #[test]
    fn what_nobody_claims_is_closed() {
        let first = Handles::default();
        let listener = first.listener(([127, 0, 0, 1], 0).into(), "test").unwrap();
        let port = listener.local_addr().unwrap();
        let next = Handles::inherited(first.all().unwrap());
        drop(listener);
        first.release();
        assert!(TcpStream::connect(port).is_ok());
        next.close_unclaimed();
        assert!(TcpStream::connect(port).is_err());
    }

    #[test]
    fn a_taken_port_is_an_error_that_names_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let refused = Handles::default().listener(address, "proxy listener").unwrap_err();
        assert!(refused.contains("proxy listener") && refused.contains(&address.to_string()), "{refused}");
    }
}
