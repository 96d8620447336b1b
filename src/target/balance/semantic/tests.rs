use super::*;
use crate::target::balance::{at, counts};
use bytes::{Bytes, BytesMut};
use serde_json::json;
use std::sync::Mutex;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const ALL: &dyn Fn(usize) -> bool = &|_| true;

/// The providers that make embeddings, each with a model, its options, and how its answer is written.
type Shape = (&'static str, &'static str, Value, fn(&Value) -> Value);

fn shapes() -> [Shape; 9] {
    let openai: fn(&Value) -> Value = |vector| json!({"data": [{"embedding": vector}]});
    let flat: fn(&Value) -> Value = |vector| json!({"embedding": vector});
    let vertex = json!({"gemini": {"api_endpoint": "x.test", "project_id": "p", "location_id": "l"}});
    let region = || json!({"bedrock": {"aws_region": "eu-west-1"}});
    [
        ("openai", "text-embedding-3-small", json!({}), openai),
        ("azure", "text-embedding-3-small", json!({}), openai),
        ("mistral", "mistral-embed", json!({}), openai),
        ("gemini", "text-embedding-004", json!({}), |vector| json!({"embedding": {"values": vector}})),
        ("gemini", "g", vertex, |vector| json!({"predictions": [{"embeddings": {"values": vector}}]})),
        ("bedrock", "amazon.titan-embed-text-v2:0", region(), flat),
        ("bedrock", "cohere.embed-english-v3", region(), |vector| json!({"embeddings": [vector]})),
        ("huggingface", "all-MiniLM-L6-v2", json!({}), |vector| vector.clone()),
        ("huggingface", "bge-small", json!({}), |vector| json!([vector])),
    ]
}

/// A model that knows two subjects, and who was asked what.
struct Embeddings {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Embeddings {
    async fn start(write: fn(&Value) -> Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, log.clone(), write));
            }
        });
        Self { url, asked }
    }

    fn calls(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

/// Reads requests off a connection and answers by what their text is about.
async fn answer(mut stream: TcpStream, log: Arc<Mutex<Vec<String>>>, write: fn(&Value) -> Value) {
    let mut buffer = BytesMut::new();
    loop {
        let text = String::from_utf8_lossy(&buffer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split_once("content-length: ").unwrap().1;
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            if body.len() >= length {
                buffer.clear();
                log.lock().unwrap().push(text.clone());
                let (status, answer) = match subject(body) {
                    Some(vector) => ("200 OK", write(&json!(vector)).to_string()),
                    None => ("503 Busy", "{}".to_owned()),
                };
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", answer.len());
                stream.write_all(format!("{head}{answer}").as_bytes()).await.unwrap();
                continue;
            }
        }
        if stream.read_buf(&mut buffer).await.unwrap_or_default() == 0 {
            return;
        }
    }
}

fn subject(body: &str) -> Option<[f32; 2]> {
    let subjects = [
        ("program", Some([2.0, 0.0])),
        ("poem", Some([0.0, 3.0])),
        ("rhyming code", Some([0.6, 0.8])),
        ("weather", Some([-1.0, -1.0])),
    ];
    subjects.into_iter().find(|(word, _)| body.contains(word)).and_then(|(_, vector)| vector)
}

const TARGETS: [(Option<&str>, u32); 5] = [
    (Some("programs and their bugs"), 75),
    (Some("poems"), 100),
    (Some("CATCHALL"), 100),
    (Some("programs and their bugs"), 25),
    (None, 100),
];

fn semantic(embeddings: &Value, metric: Metric, threshold: Option<f64>) -> Semantic {
    let vectors = Vectors { dimensions: 256, distance_metric: metric, threshold };
    Semantic::load(embeddings, vectors, &TARGETS).unwrap()
}

fn openai(url: &str) -> Value {
    json!({"model": {"provider": "openai", "name": "text-embedding-3-small",
                     "options": {"upstream_url": url}}})
}

fn chat(prompt: &str) -> Doc {
    let body = json!({"messages": [{"role": "user", "content": prompt}]});
    Doc::parse(Bytes::from(body.to_string())).unwrap()
}

/// The order in which targets are tried for a prompt, until none is left.
fn order(semantic: &Semantic, near: Option<&Ranking>) -> Vec<usize> {
    let mut tried = Vec::new();
    loop {
        let usable = |index: usize| !tried.contains(&index);
        let turn = Turn { near, ..at(Instant::now(), &usable) };
        let Some(index) = semantic.pick(&turn) else { return tried };
        tried.push(index);
    }
}

#[tokio::test]
async fn prompts_find_their_target_whoever_makes_the_embeddings() {
    let connections = Arc::new(Connections::new(4));
    for (provider, model, mut options, write) in shapes() {
        let upstream = Embeddings::start(write).await;
        options["upstream_url"] = json!(format!("{}/own/path", upstream.url));
        let auth = if provider == "bedrock" {
            json!({"aws_access_key_id": "AK", "aws_secret_access_key": "secret"})
        } else {
            json!({"header_name": "x-key", "header_value": "s3cret"})
        };
        let conf = json!({"auth": auth, "model": {"provider": provider, "name": model, "options": options}});
        let semantic = semantic(&conf, Metric::Cosine, Some(0.5));
        assert!(semantic.near(&connections, &chat("a program")).await.is_none(), "no vectors yet");
        assert_eq!(upstream.calls(), 0);
        semantic.space.fill(&connections).await.unwrap();
        let of = async |prompt: &str| {
            let near = semantic.near(&connections, &chat(prompt)).await;
            order(&semantic, near.as_ref())
        };
        assert_eq!(of("fix this program").await[..3], [0, 3, 2], "{provider} {model}");
        assert_eq!(of("write a poem").await[..2], [1, 2], "{provider} {model}");
        assert_eq!(of("the weather").await[..1], [2], "{provider} {model}");
        let asked = upstream.asked.lock().unwrap();
        assert_eq!(asked.len(), 5, "two descriptions and three prompts");
        let proof =
            if provider == "bedrock" { "authorization: AWS4-HMAC-SHA256 Cred" } else { "x-key: s3cret" };
        assert!(
            asked.iter().all(|call| call.starts_with("POST /own/path") && call.contains(proof)),
            "{asked:?}"
        );
    }
}

#[tokio::test]
async fn the_nearest_within_the_threshold_then_the_rest() {
    let connections = Arc::new(Connections::new(4));
    let upstream = Embeddings::start(|vector| json!({"data": [{"embedding": vector}]})).await;
    let conf = openai(&upstream.url);
    for (metric, threshold, expected) in [
        // The prompt's cosine is 0.8 to poems and 0.6 to programs.
        (Metric::Cosine, None, vec![1, 0, 3, 2, 4]),
        (Metric::Cosine, Some(0.3), vec![1, 2]),
        (Metric::Cosine, Some(0.1), vec![2]),
        // Its distance is 1.6 to programs and 2.3 to poems.
        (Metric::Euclidean, None, vec![0, 3, 1, 2, 4]),
        (Metric::Euclidean, Some(1.7), vec![0, 3, 2]),
    ] {
        let semantic = semantic(&conf, metric, threshold);
        if semantic.space.vectors().is_none() {
            semantic.space.fill(&connections).await.unwrap();
        }
        let near = semantic.near(&connections, &chat("rhyming code")).await;
        assert!(near.is_some());
        let order = order(&semantic, near.as_ref());
        assert_eq!(order[..expected.len()], expected, "{metric:?} {threshold:?}");
        assert_eq!(order.len(), 5, "every target stays in reach");
    }
}

#[tokio::test]
async fn targets_of_one_description_take_turns_by_weight() {
    let connections = Arc::new(Connections::new(4));
    let upstream = Embeddings::start(|vector| json!({"data": [{"embedding": vector}]})).await;
    let semantic = semantic(&openai(&upstream.url), Metric::Cosine, Some(0.5));
    semantic.space.fill(&connections).await.unwrap();
    let near = semantic.near(&connections, &chat("a program")).await;
    let turn = Turn { near: near.as_ref(), ..at(Instant::now(), ALL) };
    assert_eq!(counts(10_000, || semantic.pick(&turn).unwrap()), [7_500, 0, 0, 2_500]);
    for _ in 0..100 {
        assert_eq!(semantic.near(&connections, &chat("a program")).await, near);
    }
    assert_eq!(upstream.calls(), 3, "a prompt is remembered");
}

#[tokio::test]
async fn a_prompt_that_cannot_be_compared_goes_to_the_rest() {
    let connections = Arc::new(Connections::new(4));
    let upstream = Embeddings::start(|vector| json!({"data": [{"embedding": vector}]})).await;
    let semantic = semantic(&openai(&upstream.url), Metric::Cosine, Some(0.5));
    assert_eq!(order(&semantic, None)[0], 2, "before there are vectors");
    semantic.space.fill(&connections).await.unwrap();
    assert_eq!(semantic.near(&connections, &Doc::empty()).await, None, "without a text");
    assert_eq!(upstream.calls(), 2);
    assert_eq!(semantic.near(&connections, &chat("something unheard of")).await, None, "answered 503");
    assert_eq!(semantic.near(&connections, &chat("a program")).await, None, "it is left alone for a moment");
    assert_eq!(upstream.calls(), 3);
    assert_eq!(order(&semantic, None)[0], 2);
    let vectors = Vectors { dimensions: 2, distance_metric: Metric::Cosine, threshold: None };
    let without = [(Some("programs"), 1), (Some("poems"), 1)];
    let without = Semantic::load(&openai(&upstream.url), vectors, &without).unwrap();
    let turn = at(Instant::now(), ALL);
    assert_eq!(counts(10, || without.pick(&turn).unwrap()), [5, 5], "without a CATCHALL all take turns");
}

#[tokio::test]
async fn descriptions_are_embedded_once_and_errors_are_told() {
    let connections = Arc::new(Connections::new(4));
    let upstream = Embeddings::start(|vector| json!({"data": [{"embedding": vector}]})).await;
    let before = semantic(&openai(&upstream.url), Metric::Cosine, None);
    before.space.fill(&connections).await.unwrap();
    let after = semantic(&openai(&upstream.url), Metric::Euclidean, Some(0.2));
    assert!(Arc::ptr_eq(&before.space, &after.space), "a reload keeps the vectors");
    let none = Space::new(&openai(&upstream.url), 2, vec!["unheard of".to_owned()]).unwrap();
    let error = none.fill(&connections).await.unwrap_err();
    assert_eq!(error.message(), "the embeddings model answered 503");
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let none = Space::new(&openai(&format!("http://{nobody}")), 2, vec!["poems".to_owned()]).unwrap();
    let error = none.fill(&connections).await.unwrap_err();
    assert!(error.message().starts_with("the embeddings model was not reached: "), "{error}");
    let conf = json!({"model": {"provider": "cohere", "name": "m"}});
    let error = Space::new(&conf, 2, Vec::new()).err().unwrap();
    assert_eq!(error.message(), "provider 'cohere' makes no embeddings");
}

#[test]
fn distances_are_those_of_the_books() {
    let (one, other) = ([3.0, 4.0], [8.0, 6.0]);
    for (metric, theory) in [(Metric::Euclidean, 29_f64.sqrt()), (Metric::Cosine, 1.0 - 48.0 / 50.0)] {
        assert!((distance(metric, &one, &other).unwrap() - theory).abs() < 1e-12);
        assert!(distance(metric, &one, &one).unwrap().abs() < 1e-12);
        assert_eq!(distance(metric, &one, &other[1..]), None);
    }
}
