//! The way in, before HTTP: sockets, PROXY protocol, TLS, and the heads of requests.
//!
//! Pingora binds and accepts (it is what hands sockets to a new process on an upgrade); a [`Front`]
//! takes every connection from there to the HTTP application. A connection that sends nothing costs a
//! few kilobytes here: what a request needs is made when its head has come, and freed when it is over.
//!
//! [`Front`]: front::Front

pub mod address;
pub mod certificates;
pub mod connection;
pub mod front;
pub mod head;
pub mod pem;
pub mod preamble;
pub mod tls;

use crate::accept::direct::Heads;

/// What a client may take of the gateway before it has said what it wants.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; `None` is as many as the system has.
    pub connections: Option<usize>,
    /// How heads may come; a TLS handshake and a PROXY header have the time of one.
    pub heads: Heads,
}
