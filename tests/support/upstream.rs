//! A scripted upstream: it records every call and answers by its script.

use bytes::{Bytes, BytesMut};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// One call that arrived.
#[derive(Clone, Debug)]
pub struct Call {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// Which connection brought it.
    pub connection: usize,
}

impl Call {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// One step of a scripted answer.
#[derive(Clone, Debug)]
pub enum Step {
    /// Writes bytes as they are.
    Bytes(Bytes),
    Wait(Duration),
    /// Closes the connection here.
    Close,
    /// Resets it.
    Reset,
    /// Says nothing more and keeps the connection open.
    Hang,
    /// Waits until the test gives leave.
    Gate(Gate),
    /// Tells the test that everything before has been written.
    Mark(Gate),
}

/// Leave to go on, given one by one.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Semaphore>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }
}

impl Gate {
    /// Gives leave once.
    pub fn open(&self) {
        self.0.add_permits(1);
    }

    /// Waits for leave, and uses it up.
    pub async fn pass(&self) {
        self.0.acquire().await.unwrap().forget();
    }
}

/// A scripted answer.
#[derive(Clone, Debug)]
pub struct Reply(pub Vec<Step>);

impl Reply {
    /// An answer with a length.
    pub fn body(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let mut out =
            BytesMut::from(format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len()).as_bytes());
        for (name, value) in headers {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
        Self(vec![Step::Bytes(out.freeze())])
    }

    /// A JSON answer.
    pub fn json(body: &serde_json::Value) -> Self {
        Self::body(200, &[("content-type", "application/json")], body.to_string())
    }

    /// The head of a stream; add events with `event`, and `end`.
    pub fn stream(content_type: &str) -> Self {
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n");
        Self(vec![Step::Bytes(head.into())])
    }

    /// One chunk of the stream.
    pub fn chunk(mut self, data: impl AsRef<[u8]>) -> Self {
        let data = data.as_ref();
        let mut out = BytesMut::from(format!("{:x}\r\n", data.len()).as_bytes());
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
        self.0.push(Step::Bytes(out.freeze()));
        self
    }

    /// One SSE event with this JSON.
    pub fn event(self, data: &serde_json::Value) -> Self {
        self.chunk(format!("data: {data}\n\n"))
    }

    /// Waits here until the test opens the gate.
    pub fn gate(self, gate: &Gate) -> Self {
        self.then(Step::Gate(gate.clone()))
    }

    /// `data: [DONE]` and the end of the chunks.
    pub fn done(self) -> Self {
        self.chunk("data: [DONE]\n\n").end()
    }

    /// Bytes as they are: what no well-behaved upstream would send.
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self(vec![Step::Bytes(bytes.into())])
    }

    /// The end of the chunks.
    pub fn end(mut self) -> Self {
        self.0.push(Step::Bytes(Bytes::from_static(b"0\r\n\r\n")));
        self
    }

    /// Another step.
    pub fn then(mut self, step: Step) -> Self {
        self.0.push(step);
        self
    }
}

/// A running upstream.
pub struct Upstream {
    pub address: SocketAddr,
    state: Arc<State>,
}

struct State {
    script: Mutex<VecDeque<Reply>>,
    fallback: Mutex<Option<Reply>>,
    calls: Mutex<Vec<Call>>,
    named: Mutex<HashMap<String, Reply>>,
}

impl Upstream {
    /// Answers every call in the same way.
    pub async fn always(reply: Reply) -> Self {
        let upstream = Self::scripted(Vec::new()).await;
        *upstream.state.fallback.lock().unwrap() = Some(reply);
        upstream
    }

    /// Answers calls in turn; calls beyond the script are hung up on.
    pub async fn scripted(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            script: Mutex::new(replies.into()),
            fallback: Mutex::new(None),
            calls: Mutex::default(),
            named: Mutex::default(),
        });
        let shared = state.clone();
        tokio::spawn(async move {
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                tokio::spawn(serve(stream, connection, shared.clone()));
            }
        });
        Self { address, state }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What has arrived so far.
    pub fn calls(&self) -> Vec<Call> {
        self.state.calls.lock().unwrap().clone()
    }

    /// Sets the answer to calls whose header `x-script` has this value.
    pub fn named(&self, name: &str, reply: Reply) {
        self.state.named.lock().unwrap().insert(name.to_owned(), reply);
    }

    /// Adds an answer to the script.
    pub fn push(&self, reply: Reply) {
        self.state.script.lock().unwrap().push_back(reply);
    }
}

async fn serve(mut stream: TcpStream, connection: usize, state: Arc<State>) {
    stream.set_nodelay(true).unwrap();
    let mut buffer = BytesMut::new();
    while let Some(call) = read(&mut stream, &mut buffer, connection).await {
        let named = call.header("x-script").and_then(|name| state.named.lock().unwrap().get(name).cloned());
        state.calls.lock().unwrap().push(call);
        let scripted = named.or_else(|| state.script.lock().unwrap().pop_front());
        let Some(reply) = scripted.or_else(|| state.fallback.lock().unwrap().clone()) else { return };
        for step in reply.0 {
            match step {
                Step::Bytes(bytes) => {
                    if stream.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                Step::Wait(time) => tokio::time::sleep(time).await,
                Step::Close => return,
                Step::Reset => {
                    stream.set_zero_linger().unwrap();
                    return;
                }
                Step::Gate(gate) => gate.pass().await,
                Step::Mark(gate) => gate.open(),
                Step::Hang => {
                    // Until the other side gives up.
                    let mut sink = [0; 1024];
                    while stream.read(&mut sink).await.is_ok_and(|read| read > 0) {}
                    return;
                }
            }
        }
    }
}

async fn read(stream: &mut TcpStream, buffer: &mut BytesMut, connection: usize) -> Option<Call> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = buffer.split_to(head_end);
    let text = String::from_utf8(head.to_vec()).unwrap();
    let mut lines = text.lines();
    let line = lines.next()?.to_owned();
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    if headers
        .iter()
        .any(|(name, value)| name.eq_ignore_ascii_case("transfer-encoding") && value == "chunked")
    {
        let body = chunks(stream, buffer).await?;
        return Some(Call { line, headers, body, connection });
    }
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: usize = length.map_or(0, |(_, value)| value.parse().unwrap());
    while buffer.len() < length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = buffer.split_to(length).freeze();
    Some(Call { line, headers, body, connection })
}

/// A chunked body.
async fn chunks(stream: &mut TcpStream, buffer: &mut BytesMut) -> Option<Bytes> {
    let mut body = BytesMut::new();
    loop {
        let line_end = loop {
            if let Some(at) = buffer.windows(2).position(|window| window == b"\r\n") {
                break at;
            }
            if stream.read_buf(buffer).await.ok()? == 0 {
                return None;
            }
        };
        let size = String::from_utf8(buffer.split_to(line_end + 2).to_vec()).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        while buffer.len() < size + 2 {
            if stream.read_buf(buffer).await.ok()? == 0 {
                return None;
            }
        }
        body.extend_from_slice(&buffer.split_to(size + 2)[..size]);
        if size == 0 {
            return Some(body.freeze());
        }
    }
}
