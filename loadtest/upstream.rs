//! The upstream: OpenAI-shaped streams whose every event is a write of its own and carries the time of that write.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What stands before the stamp of an event.
pub const STAMP: &[u8] = br#""content":"@"#;
/// The digits of a stamp: nanoseconds since 1970.
pub const DIGITS: usize = 19;

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n\
                    transfer-encoding: chunked\r\n\r\n";
/// Small, because a held stream needs a thread only until it has begun.
const STACK: usize = 128 * 1024;

#[derive(Default)]
struct State {
    reply: Vec<u8>,
    held: Mutex<Vec<TcpStream>>,
}

/// Serves until the process ends.
pub fn serve(listen: SocketAddr, reply: &[u8], ticks: u32) -> io::Result<String> {
    let listener = TcpListener::bind(listen)?;
    let mut whole = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        reply.len()
    )
    .into_bytes();
    whole.extend_from_slice(reply);
    let state = Arc::new(State { reply: whole, ..State::default() });
    if ticks > 0 {
        let state = state.clone();
        thread::spawn(move || tick(&state, Duration::from_secs(1) / ticks));
    }
    loop {
        let (socket, _) = listener.accept()?;
        let state = state.clone();
        // A connection that breaks is the client's to count.
        thread::Builder::new().stack_size(STACK).spawn(move || converse(socket, &state).is_ok())?;
    }
}

fn converse(mut socket: TcpStream, state: &State) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some(ask) = receive(&mut socket, &mut buffer)? {
        let path: Vec<&str> = ask.path.split('/').collect();
        match path.as_slice() {
            ["", "stream", events, pause] => {
                let (Ok(events), Ok(pause)) = (events.parse(), pause.parse()) else {
                    return Err(io::ErrorKind::InvalidInput.into());
                };
                stream(&mut socket, events, Duration::from_micros(pause), ask.usage)?;
            }
            ["", "hold"] => {
                socket.write_all(HEAD.as_bytes())?;
                socket.write_all(&chunk(&role()))?;
                socket.write_all(&chunk(&content()))?;
                state.held.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
                return Ok(());
            }
            _ => socket.write_all(&state.reply)?,
        }
    }
    Ok(())
}

struct Ask {
    path: String,
    /// Whether the stream is to end with its usage.
    usage: bool,
}

/// The next request, read whole; `None` when the client has gone.
fn receive(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Ask>> {
    let mut chunk = vec![0; 256 * 1024];
    buffer.clear();
    let mut length = None;
    let mut head = 0;
    loop {
        if length.is_none()
            && let Some(end) = memchr::memmem::find(buffer, b"\r\n\r\n")
        {
            head = end + 4;
            let text = String::from_utf8_lossy(buffer.get(..head).unwrap_or_default()).to_ascii_lowercase();
            let stated = text.lines().find_map(|line| line.strip_prefix("content-length:"));
            length = Some(stated.and_then(|value| value.trim().parse().ok()).unwrap_or(0));
        }
        if let Some(length) = length
            && buffer.len() >= head + length
        {
            let line = buffer.split(|byte| *byte == b'\r').next().unwrap_or_default();
            let path = String::from_utf8_lossy(line).split(' ').nth(1).unwrap_or_default().to_owned();
            // Nobody asks in the middle of a body of megabytes.
            let body = buffer.get(head..).filter(|body| body.len() < 64 * 1024).unwrap_or_default();
            return Ok(Some(Ask { path, usage: memchr::memmem::find(body, b"include_usage").is_some() }));
        }
        let count = socket.read(&mut chunk)?;
        if count == 0 {
            return Ok(None);
        }
        buffer.extend_from_slice(chunk.get(..count).unwrap_or_default());
    }
}

/// So many events, the role, the finish and `[DONE]` among them; one more if usage was asked for.
fn stream(socket: &mut TcpStream, events: usize, pause: Duration, usage: bool) -> io::Result<()> {
    let start = Instant::now();
    socket.write_all(HEAD.as_bytes())?;
    socket.write_all(&chunk(&role()))?;
    let mut due = start;
    for _ in 0..events.saturating_sub(3) {
        due += pause;
        rest(due);
        socket.write_all(&chunk(&content()))?;
    }
    rest(due + pause);
    socket.write_all(&chunk(&event(
        r#"[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]"#,
        "null",
    )))?;
    if usage {
        let counts = r#"{"prompt_tokens":76,"completion_tokens":41,"total_tokens":117}"#;
        socket.write_all(&chunk(&event("[]", counts)))?;
    }
    let mut end = chunk("data: [DONE]\n\n");
    end.extend_from_slice(b"0\r\n\r\n");
    socket.write_all(&end)
}

fn rest(due: Instant) {
    let left = due.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        thread::sleep(left);
    }
}

/// An event to each of the held streams in turn.
fn tick(state: &State, period: Duration) {
    let mut due = Instant::now();
    for turn in 0_usize.. {
        due += period;
        rest(due);
        let mut held = state.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.len().max(1);
        if let Some(socket) = held.get_mut(turn % count)
            && socket.write_all(&chunk(&content())).is_err()
        {
            held.swap_remove(turn % count);
        }
    }
}

fn role() -> String {
    let choices = r#"[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}]"#;
    event(choices, "null")
}

fn content() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let choices =
        format!(r#"[{{"index":0,"delta":{{"content":"@{now}"}},"logprobs":null,"finish_reason":null}}]"#);
    event(&choices, "null")
}

fn event(choices: &str, usage: &str) -> String {
    format!(
        "data: {{\"id\":\"chatcmpl-9tollgate00000000000000000000001\",\"object\":\"chat.completion.chunk\",\
         \"created\":1760000000,\"model\":\"gpt-4o-mini-2024-07-18\",\"service_tier\":\"default\",\
         \"system_fingerprint\":\"fp_0000000000\",\"choices\":{choices},\"usage\":{usage}}}\n\n"
    )
}

fn chunk(event: &str) -> Vec<u8> {
    format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()
}
