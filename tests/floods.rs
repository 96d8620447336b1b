//! Floods: idle connections, bodies that trickle in, large bodies at once, clients that vanish. The
//! gateway stays small, serves others meanwhile, and gives back what it took.
//!
//! Small by default. `make floods` runs the full size on the release build and prints the figures.
//!
//! Who floods has a model of its own, and threads that run only when nothing else wants to: on other machines they
//! would not take the gateway's time. Who asks meanwhile, and the model that answers it, are threads of their own,
//! and ask each other directly as well: what that takes is the machine's, not the gateway's.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "clippy exempts only the test functions themselves"
)]

#[path = "floods/model.rs"]
mod model;
mod support;

use bytes::Bytes;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use support::client::{Connection, Raw};
use support::gateway::Gateway;
use support::{chat, eventually, kong, streamed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinSet;

const MIB: f64 = 1024.0 * 1024.0;

/// What is written at once of a large body.
const PIECE: usize = 16 * 1024;

/// How much of everything.
struct Size {
    idle: usize,
    trickles: usize,
    bodies: usize,
    body: usize,
    vanishing: usize,
    /// MiB of bodies at a time, and what the whole process may take then.
    room: u32,
    ceiling: f64,
    /// Ordinary requests before the flood.
    ordinary: usize,
    /// Of other requests, in milliseconds.
    p99: f64,
    /// How much more than before may be held afterwards.
    growth: f64,
}

/// The debug build is slow, and other tests run beside it.
const SMALL: Size = Size {
    idle: 500,
    trickles: 100,
    bodies: 60,
    body: 1024 * 1024,
    vanishing: 100,
    room: 8,
    ceiling: 160.0,
    ordinary: 500,
    p99: 1000.0,
    growth: 2.0,
};

const FULL: Size = Size {
    idle: 10_000,
    trickles: 2000,
    bodies: 500,
    body: 10_000_000,
    vanishing: 1000,
    room: 512,
    ceiling: 1280.0,
    ordinary: 20_000,
    p99: 10.0,
    growth: 1.1,
};

fn size() -> &'static Size {
    if std::env::var("FLOODS").as_deref() == Ok("full") { &FULL } else { &SMALL }
}

/// One flood at a time: each is to be seen alone.
async fn alone() -> MutexGuard<'static, ()> {
    static ONE: OnceLock<Mutex<()>> = OnceLock::new();
    ONE.get_or_init(Mutex::default).lock().await
}

/// A number of the process, in MiB: `VmRSS` or `VmHWM`.
fn memory(gateway: &Gateway, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

/// A request for a route, or for a model, and its answer: how long it took, in milliseconds.
struct Asker {
    stream: std::net::TcpStream,
    request: String,
}

impl Asker {
    fn new(to: SocketAddr) -> Self {
        let body = chat("hi").to_string();
        let head = "POST /other HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length:";
        let stream = std::net::TcpStream::connect(to).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, request: format!("{head} {}\r\n\r\n{body}", body.len()) }
    }

    fn ask(&mut self) -> f64 {
        let from = Instant::now();
        self.stream.write_all(self.request.as_bytes()).unwrap();
        let mut answer = [0; 4096];
        let mut seen = 0;
        while !answer[..seen].ends_with(b"}") {
            let read = self.stream.read(&mut answer[seen..]).unwrap();
            assert!(read > 0, "a client was left that did nothing wrong");
            seen += read;
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..seen]));
        from.elapsed().as_secs_f64() * 1e3
    }
}

/// What the latencies were, in milliseconds.
struct Latencies {
    count: usize,
    p50: f64,
    p99: f64,
    /// The p99 of requests to the model itself.
    direct: f64,
}

/// Asks all the time on a thread of its own, until told to stop; then the latencies.
struct Probe {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<(Vec<f64>, Vec<f64>)>,
}

impl Probe {
    fn start(gateway: SocketAddr, model: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let (mut gateway, mut model) = (Asker::new(gateway), Asker::new(model));
            let (mut took, mut direct) = (Vec::new(), Vec::new());
            while !stopped.load(Ordering::Relaxed) {
                took.push(gateway.ask());
                std::thread::sleep(Duration::from_millis(1));
                direct.push(model.ask());
                std::thread::sleep(Duration::from_millis(1));
            }
            (took, direct)
        });
        Self { stop, thread }
    }

    fn stop(self) -> Latencies {
        self.stop.store(true, Ordering::Relaxed);
        let (mut took, mut direct) = self.thread.join().unwrap();
        took.sort_by(f64::total_cmp);
        direct.sort_by(f64::total_cmp);
        let p99 = |sorted: &[f64]| sorted[sorted.len() * 99 / 100];
        Latencies { count: took.len(), p50: took[took.len() / 2], p99: p99(&took), direct: p99(&direct) }
    }
}

/// The thread runs only where nothing else wants to. A low priority is not enough: a thread that has it may keep a
/// core for 15 ms from one that wakes up.
fn give_way() {
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    let told = std::process::Command::new("chrt").args(["--idle", "--pid", "0", &thread]).status();
    if !told.is_ok_and(|status| status.success()) {
        rustix::process::nice(19).unwrap();
    }
}

/// A gateway, and what is measured of it.
struct Flood {
    name: &'static str,
    gateway: Gateway,
    /// Where those run who flood.
    crowd: Runtime,
    before: f64,
    /// The latencies of the probe without a flood: what the machine allows at this hour.
    alone: Latencies,
    probe: Option<Probe>,
    _alone: MutexGuard<'static, ()>,
}

impl Flood {
    async fn begin(name: &'static str, environment: &[(&str, &str)]) -> Self {
        let alone = alone().await;
        // They inherit the priority of who starts them: the gateway is not one of them.
        let crowd = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .on_thread_start(give_way)
            .build()
            .unwrap();
        let (flooded, other) = (crowd.spawn(model::crowded()).await.unwrap(), model::other());
        let route = |path, model| kong::route(path, &[kong::ai_proxy(&format!("http://{model}"))]);
        let config = kong::file(&[route("/chat", flooded), route("/other", other)]);
        let gateway = Gateway::start_in(&config, environment).await;
        serve_ordinary_load(gateway.proxy).await;
        let probe = Probe::start(gateway.proxy, other);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let before = memory(&gateway, "VmRSS");
        let latencies = probe.stop();
        let probe = Some(Probe::start(gateway.proxy, other));
        Self { name, gateway, crowd, before, alone: latencies, probe, _alone: alone }
    }

    /// Lets those run who flood.
    async fn run<T: Send + 'static>(&self, crowd: impl Future<Output = T> + Send + 'static) -> T {
        self.crowd.spawn(crowd).await.unwrap()
    }

    /// Says what it saw, and holds it against the bounds.
    async fn end(mut self) {
        let Latencies { count, p50, p99, direct } = self.probe.take().unwrap().stop();
        let peak = memory(&self.gateway, "VmHWM");
        self.gateway.counts("tollgate_exchanges_in_flight", &[], 0.0).await;
        self.gateway.counts("tollgate_connections", &[], 0.0).await;
        let bound = self.before * size().growth;
        let from = Instant::now();
        let mut after = memory(&self.gateway, "VmRSS");
        while after > bound && from.elapsed() < Duration::from_secs(20) {
            // Memory goes back to the system as it is used, so something has to go on.
            let mut client = Connection::open(self.gateway.proxy).await;
            for _ in 0..50 {
                client.request("POST /other HTTP/1.1", chat("hi").to_string()).await.answer().await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            after = memory(&self.gateway, "VmRSS");
        }
        println!(
            "{}: RSS {:.0} MiB before, {peak:.0} at most, {after:.0} after {:.1} s; {count} other requests: \
             {p50:.2} ms in the middle, {p99:.2} at p99, {direct:.2} without the gateway \
             (without a flood {:.2}, {:.2} and {:.2})",
            self.name,
            self.before,
            from.elapsed().as_secs_f64(),
            self.alone.p50,
            self.alone.p99,
            self.alone.direct,
        );
        self.crowd.shutdown_background();
        assert!(peak < size().ceiling, "{peak} MiB at most");
        assert!(after <= bound, "{after} MiB after, {bound} allowed");
        assert!(p99 < size().p99, "{p99} ms");
    }
}

/// So that what is made once, and what load takes and keeps, is there: on many connections at a time.
async fn serve_ordinary_load(to: SocketAddr) {
    let mut clients = JoinSet::new();
    for _ in 0..50 {
        clients.spawn(async move {
            let mut client = Connection::open(to).await;
            for _ in 0..size().ordinary / 50 {
                let asked = client.request("POST /other HTTP/1.1", chat("hi").to_string()).await;
                assert_eq!(asked.answer().await.status, 200);
            }
        });
    }
    clients.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections() {
    let flood = Flood::begin("idle connections", &[]).await;
    let to = flood.gateway.proxy;
    let held = flood.run(async move {
        let body = chat("hi").to_string();
        let mut held = Vec::new();
        for index in 0..size().idle {
            let mut connection = Connection::open(to).await;
            // Every other one has been served before.
            if index % 2 == 0 {
                assert_eq!(connection.request("POST /chat HTTP/1.1", &body).await.answer().await.status, 200);
            }
            held.push(connection);
        }
        held
    });
    let held = held.await;
    let open = flood.gateway.sum("tollgate_connections", &[]).await;
    assert!(open >= size().idle as f64, "{open} are open");
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!("{} held with {:.0} MiB", held.len(), memory(&flood.gateway, "VmRSS"));
    flood.run(async move { drop(held) }).await;
    only_the_probe_is_left(&flood.gateway, "tollgate_connections").await;
    flood.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_a_byte_a_second() {
    let flood = Flood::begin("trickling bodies", &[("TOLLGATE_BODY_SECONDS", "5")]).await;
    let to = flood.gateway.proxy;
    let answered = flood.run(async move {
        let mut slow = JoinSet::new();
        for _ in 0..size().trickles {
            slow.spawn(trickle(to));
        }
        slow.join_all().await
    });
    assert!(answered.await.iter().all(|timed_out| *timed_out), "all are told");
    flood.end().await;
}

/// Sends a body byte by byte; says whether it was told to be too slow.
async fn trickle(to: SocketAddr) -> bool {
    let mut client = Raw::connect(to).await;
    client.send("POST /chat HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n").await;
    let mut answer = Vec::new();
    loop {
        client.send("{").await;
        let read = client.0.read_buf(&mut answer);
        if tokio::time::timeout(Duration::from_secs(1), read).await.is_ok() {
            return answer.starts_with(b"HTTP/1.1 408");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_at_once() {
    let room = size().room.to_string();
    let flood = Flood::begin("large bodies", &[("TOLLGATE_BODY_MEMORY_MIB", &room)]).await;
    let body = chat(&"x ".repeat(size().body / 2)).to_string();
    let head = "POST /chat HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\n";
    let request = Bytes::from(format!("{head}content-length: {}\r\n\r\n{body}", body.len()));
    let from = Instant::now();
    let to = flood.gateway.proxy;
    let served = flood.run(async move {
        let mut clients = JoinSet::new();
        for _ in 0..size().bodies {
            let request = request.clone();
            clients.spawn(async move {
                let mut client = Raw::connect(to).await;
                // A core is not taken from who is in a system call, so none may last: all of a body in one
                // lasts 14 ms.
                for piece in request.chunks(PIECE) {
                    // Whoever is turned away cannot send the rest.
                    if client.0.write_all(piece).await.is_err() {
                        return false;
                    }
                }
                client.to_end().await.starts_with("HTTP/1.1 200")
            });
        }
        clients.join_all().await.into_iter().filter(|served| *served).count()
    });
    let served = served.await;
    let whole = (size().bodies * size().body) as f64 / MIB;
    println!("{served} of {} served, {:.0} MiB/s", size().bodies, whole / from.elapsed().as_secs_f64());
    assert_eq!(served, size().bodies);
    flood.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_vanish_in_mid_stream() {
    let flood = Flood::begin("vanishing clients", &[]).await;
    let to = flood.gateway.proxy;
    let clients = flood.run(async move {
        let body = streamed("hi").to_string();
        let mut clients = Vec::new();
        for _ in 0..size().vanishing {
            let mut client = Connection::open(to).await;
            client.request("POST /chat HTTP/1.1", &body).await;
            clients.push(client);
        }
        for client in &mut clients {
            assert!(client.until("word ").await.contains("word "));
        }
        drop(clients);
    });
    clients.await;
    only_the_probe_is_left(&flood.gateway, "tollgate_exchanges_in_flight").await;
    flood.end().await;
}

async fn only_the_probe_is_left(gateway: &Gateway, series: &str) {
    eventually("only the probe is left", async || gateway.sum(series, &[]).await <= 1.0).await;
}
