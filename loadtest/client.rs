//! The clients: how many were answered, how long it took, how late the events of streams were.

use crate::upstream::{DIGITS, STAMP};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What stands at the end of a chunked body. No body here has a carriage return in it.
const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";

/// The one request that a run sends over and over.
#[derive(Clone, Debug)]
pub struct Request {
    address: SocketAddr,
    bytes: Arc<[u8]>,
}

impl Request {
    /// A POST of this body.
    pub fn new(address: SocketAddr, path: &str, body: &[u8]) -> Self {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        Self { address, bytes: [head.as_bytes(), body].concat().into() }
    }
}

/// Requests on each connection one after the other; with a period, one is due so often over all connections.
pub fn chats(
    request: &Request,
    time: Duration,
    connections: u32,
    period: Option<Duration>,
) -> Result<String, String> {
    let start = Instant::now();
    let (end, distance) = (start + time, period.map(|period| period * connections));
    let work = move |request: &Request, index| {
        let mut connection = Connection::open(request)?;
        let mut taken = Vec::new();
        let mut due = start + period.unwrap_or_default() * index;
        let mut free = start;
        while Instant::now() < end {
            rest(due);
            let sent = Instant::now();
            connection.exchange(request, |_| ())?;
            // A request that had to wait for the one before it is as late as it is; our own late waking is not.
            let begun = if distance.is_some() && free > due { due } else { sent };
            free = Instant::now();
            taken.push((free - begun).as_secs_f64() * 1e6);
            due += distance.unwrap_or_default();
        }
        Ok((taken.len(), taken))
    };
    crew(request, connections, work)
}

/// Streams on each connection one after the other, until the time is up; those under way are read to their end.
pub fn streams(request: &Request, time: Duration, connections: u32) -> Result<String, String> {
    let start = Instant::now();
    let work = move |request: &Request, index| {
        let mut connection = Connection::open(request)?;
        let mut late = Vec::new();
        let mut count = 0;
        // Not all at once: their events shall not stay in step.
        rest(start + Duration::from_micros(613) * index);
        while Instant::now() < start + time {
            connection.exchange(request, |delay| late.push(delay))?;
            count += 1;
        }
        Ok((count, late))
    };
    crew(request, connections, work)
}

/// Opens streams and keeps them until standard input ends.
pub fn hold(request: &Request, connections: u32) -> Result<String, String> {
    let mut held = Vec::new();
    let mut trouble = None;
    for _ in 0..connections {
        match begin(request) {
            Ok(connection) => held.push(connection),
            Err(error) => {
                trouble = Some(error.to_string());
                break;
            }
        }
    }
    println!("{}", serde_json::json!({"held": held.len(), "trouble": trouble}));
    io::stdin().read_to_end(&mut Vec::new()).map_err(|error| error.to_string())?;
    Ok(String::new())
}

fn begin(request: &Request) -> io::Result<Connection> {
    let mut connection = Connection::open(request)?;
    connection.socket.write_all(&request.bytes)?;
    while memchr::memmem::find(&connection.seen, STAMP).is_none() {
        connection.read()?;
    }
    (connection.seen, connection.chunk) = (Vec::new(), Vec::new());
    Ok(connection)
}

/// Runs the work once for each connection, and says what came of it.
fn crew<W>(request: &Request, connections: u32, work: W) -> Result<String, String>
where
    W: Fn(&Request, u32) -> io::Result<(usize, Vec<f64>)> + Copy + Send + 'static,
{
    let start = Instant::now();
    let crew: Vec<_> = (0..connections)
        .map(|index| {
            let request = request.clone();
            thread::spawn(move || work(&request, index))
        })
        .collect();
    let (mut requests, mut times, mut failures) = (0, Vec::new(), Vec::new());
    for one in crew {
        match one.join() {
            Ok(Ok((count, some))) => {
                requests += count;
                times.extend(some);
            }
            Ok(Err(error)) => failures.push(error.to_string()),
            Err(_) => failures.push("a thread panicked".to_owned()),
        }
    }
    if let Some(first) = failures.first() {
        return Err(format!("{} of {connections} connections failed: {first}", failures.len()));
    }
    times.sort_by(f64::total_cmp);
    Ok(serde_json::json!({
        "requests": requests,
        "seconds": start.elapsed().as_secs_f64(),
        "samples": times.len(),
        "p50_us": percentile(&times, 50),
        "p99_us": percentile(&times, 99),
    })
    .to_string())
}

fn percentile(sorted: &[f64], percent: usize) -> Option<f64> {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied()
}

fn rest(due: Instant) {
    let left = due.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        thread::sleep(left);
    }
}

struct Connection {
    socket: TcpStream,
    chunk: Vec<u8>,
    /// The answer so far, as it came.
    seen: Vec<u8>,
    /// How far it has been searched for stamps.
    searched: usize,
}

impl Connection {
    fn open(request: &Request) -> io::Result<Self> {
        let socket = TcpStream::connect(request.address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { socket, chunk: vec![0; 16 * 1024], seen: Vec::new(), searched: 0 })
    }

    /// Sends the request and reads its answer; `late` is told of each stamped event how many microseconds ago it left.
    fn exchange(&mut self, request: &Request, mut late: impl FnMut(f64)) -> io::Result<()> {
        self.seen.clear();
        self.searched = 0;
        self.socket.write_all(&request.bytes)?;
        let mut end = None;
        while !end.is_some_and(|end| self.complete(end)) {
            self.read()?;
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
            while let Some(stamp) = self.stamp() {
                let delay = u64::try_from(now.saturating_sub(stamp)).unwrap_or_default();
                late(Duration::from_nanos(delay).as_secs_f64() * 1e6);
            }
            if end.is_none() {
                end = self.end()?;
            }
        }
        Ok(())
    }

    fn read(&mut self) -> io::Result<()> {
        let count = self.socket.read(&mut self.chunk)?;
        if count == 0 {
            let text = String::from_utf8_lossy(&self.seen);
            let said: String = text.chars().take(300).collect();
            return Err(io::Error::other(format!("the connection was closed after {said:?}")));
        }
        self.seen.extend_from_slice(self.chunk.get(..count).unwrap_or_default());
        Ok(())
    }

    /// What ends the answer, once its head is there.
    fn end(&self) -> io::Result<Option<End>> {
        let Some(blank) = memchr::memmem::find(&self.seen, b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = String::from_utf8_lossy(self.seen.get(..blank).unwrap_or_default()).to_ascii_lowercase();
        if !head.starts_with("http/1.1 200") {
            let said = String::from_utf8_lossy(&self.seen);
            return Err(io::Error::other(format!("not answered with 200: {said:?}")));
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        match length.and_then(|value| value.trim().parse::<usize>().ok()) {
            Some(length) => Ok(Some(End::At(blank + 4 + length))),
            None => Ok(Some(End::LastChunk)),
        }
    }

    fn complete(&self, end: End) -> bool {
        match end {
            End::At(length) => self.seen.len() >= length,
            End::LastChunk => self.seen.ends_with(LAST_CHUNK),
        }
    }

    /// The next stamp that is there whole.
    fn stamp(&mut self) -> Option<u128> {
        let rest = self.seen.get(self.searched..)?;
        let start = memchr::memmem::find(rest, STAMP)? + STAMP.len();
        let digits = rest.get(start..start + DIGITS)?;
        self.searched += start + DIGITS;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }
}

#[derive(Clone, Copy)]
enum End {
    At(usize),
    LastChunk,
}
