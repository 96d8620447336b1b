//! The whole path of a request in one process: socket, route, plugins, translation, upstream, meter.
//!
//! The gateway runs on its own threads, against an upstream thread that answers at once; one client
//! on one connection measures the round trip. The bare upstream is the floor to compare with.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a bench may end at once

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;
use tollgate::process::flags::{Command, Flags};
use tollgate::process::serve;

const BODY: &str = r#"{"messages":[{"role":"system","content":"You are a mathematician"},{"role":"user","content":"What is 1+1?"}]}"#;
const REPLY: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"2"},"finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":1,"total_tokens":21}}"#;

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Reads one message with a length; the buffer keeps its capacity from call to call.
fn read_message(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> bool {
    buffer.clear();
    let mut piece = [0; 4096];
    loop {
        let read = stream.read(&mut piece).unwrap_or(0);
        if read == 0 {
            return false;
        }
        buffer.extend_from_slice(&piece[..read]);
        let Some(head) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
        let length = text.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        let length: usize = length.map_or(0, |digits| digits.trim().parse().unwrap());
        if buffer.len() >= head + 4 + length {
            return true;
        }
    }
}

fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_nodelay(true).unwrap();
            std::thread::spawn(move || {
                let mut buffer = Vec::new();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{REPLY}",
                    REPLY.len()
                );
                while read_message(&mut stream, &mut buffer) {
                    stream.write_all(answer.as_bytes()).unwrap();
                }
            });
        }
    });
    address
}

fn gateway(upstream: SocketAddr) -> SocketAddr {
    let proxy = free();
    let file = std::env::temp_dir().join(format!("tollgate-bench-{}.yaml", std::process::id()));
    std::fs::write(
        &file,
        format!(
            r#"
_format_version: "3.0"
services:
- name: ai
  url: http://localhost:32000
  routes:
  - name: chat
    paths: ["~/chat$"]
    plugins:
    - name: ai-proxy
      config:
        route_type: llm/v1/chat
        auth: {{header_name: Authorization, header_value: Bearer key}}
        model:
          provider: openai
          name: gpt-4o-mini
          options: {{upstream_url: "http://{upstream}/v1/chat/completions", input_cost: 0.15, output_cost: 0.6}}
        logging: {{log_statistics: true}}
plugins:
- name: prometheus
  config: {{ai_metrics: true, status_code_metrics: true, latency_metrics: true}}
"#
        ),
    )
    .unwrap();
    let (proxy_text, admin, status) = (proxy.to_string(), free().to_string(), free().to_string());
    let words = ["tollgate", "run", "--config", file.to_str().unwrap(), "--proxy-listen", &proxy_text];
    let more = ["--admin-listen", &admin, "--status-listen", &status, "--threads", "1"];
    let flags = <Flags as clap::Parser>::parse_from(words.into_iter().chain(more));
    let Command::Run(run) = flags.command else { unreachable!() };
    std::thread::spawn(move || serve::run(&run).unwrap());
    while TcpStream::connect(proxy).is_err() {
        std::thread::sleep(Duration::from_millis(10));
    }
    proxy
}

fn round_trip(c: &mut Criterion) {
    let upstream = upstream();
    let gateway = gateway(upstream);
    let mut group = c.benchmark_group("pipeline");
    group.throughput(Throughput::Elements(1));
    for (name, address) in [("bare upstream", upstream), ("tollgate", gateway)] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        let request = format!(
            "POST /chat HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}",
            BODY.len()
        );
        let mut buffer = Vec::new();
        group.bench_function(name, |b| {
            b.iter(|| {
                stream.write_all(request.as_bytes()).unwrap();
                assert!(read_message(&mut stream, &mut buffer));
                assert!(buffer.starts_with(b"HTTP/1.1 200"));
                black_box(buffer.len())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, round_trip);
criterion_main!(benches);
