//! Both ends of what `make loadtest` cannot ask of wrk and nginx: an upstream whose streams are paced and stamped, and
//! clients that keep a pace, or thousands of streams. Blocking sockets, one thread a connection: what a wake-up costs is
//! the same with and without a gateway between, and drops out of the difference.
//!
//! Clients print one line of JSON; times are in microseconds.

#![allow(clippy::print_stdout, reason = "the result goes to the script that started it")]

mod client;
mod upstream;

use clap::Parser;
use client::Request;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Parser)]
enum Command {
    /// Answers `/whole` with a file once the request's body is there, `/stream/EVENTS/MICROSECONDS` with a paced
    /// stream, and `/hold` with a stream that has begun and does not end.
    Upstream {
        listen: SocketAddr,
        reply: PathBuf,
        /// Events a second that go to the held streams, to each in turn.
        #[arg(long, default_value_t = 0)]
        ticks: u32,
    },
    /// Requests, one after the other on each connection.
    Chats {
        #[command(flatten)]
        target: Target,
        #[arg(long)]
        seconds: f64,
        #[arg(long, default_value_t = 1)]
        connections: u32,
        /// Requests a second over all connections, at even distances [default: as fast as they are answered].
        #[arg(long)]
        rate: Option<f64>,
    },
    /// Streams, one after the other on each connection; how late their stamped events are.
    Streams {
        #[command(flatten)]
        target: Target,
        #[arg(long)]
        seconds: f64,
        #[arg(long)]
        connections: u32,
    },
    /// Opens streams and, when each has begun, says how many there are; keeps them until standard input ends.
    Hold {
        #[command(flatten)]
        target: Target,
        #[arg(long)]
        connections: u32,
    },
}

#[derive(Debug, clap::Args)]
struct Target {
    address: SocketAddr,
    path: String,
    body: PathBuf,
}

impl Target {
    fn request(&self) -> Result<Request, String> {
        let body = std::fs::read(&self.body).map_err(|error| format!("{}: {error}", self.body.display()))?;
        Ok(Request::new(self.address, &self.path, &body))
    }
}

fn main() -> ExitCode {
    match run(Command::parse()) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            println!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<String, String> {
    match command {
        Command::Upstream { listen, reply, ticks } => {
            let reply = std::fs::read(&reply).map_err(|error| format!("{}: {error}", reply.display()))?;
            upstream::serve(listen, &reply, ticks).map_err(|error| format!("{listen}: {error}"))
        }
        Command::Chats { target, seconds, connections, rate } => {
            let period = rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
            client::chats(&target.request()?, Duration::from_secs_f64(seconds), connections, period)
        }
        Command::Streams { target, seconds, connections } => {
            client::streams(&target.request()?, Duration::from_secs_f64(seconds), connections)
        }
        Command::Hold { target, connections } => client::hold(&target.request()?, connections),
    }
}
