//! The simulated model: a provider without a key, a network or a bill, for first steps and tests.
//!
//! It speaks three dialects, each whole and streaming:
//!
//! | dialect      | paths                                                                  |
//! |--------------|------------------------------------------------------------------------|
//! | OpenAI       | `…/chat/completions`, `…/completions`, `GET …/models`                  |
//! | Ollama       | `…/api/chat`, `…/api/generate`                                         |
//! | Hugging Face | `/`, `…/generate`, `…/generate_stream`, `…/models/{m}`; `…/raw` (llama2) |
//!
//! It works out sums, says hello, and otherwise repeats what it was asked. Its token counts are counted,
//! not invented. Every error is shaped as OpenAI's. `GET /health` answers 200.
//!
//! Two request headers make it fail on purpose:
//! - `x-mock-status: 429` answers that status (400 to 599); 429 and 503 with `Retry-After: 1`.
//! - `x-mock-cut-after: 3` drops the connection after so many content events of a stream, and in the
//!   middle of an answer that is not a stream.

mod answer;
mod arithmetic;
mod call;
mod dispatch;
mod hugging_face;
mod ollama;
mod openai;
mod reply;
mod request;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::serve::ListenerExt;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// The largest request body, in bytes.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// How the simulated model behaves.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What passes before the first byte of an answer.
    pub latency: Duration,
    /// The content events of a stream; one a word unless set. Short answers are lengthened to as many words.
    pub chunks: Option<usize>,
    /// What passes between two content events of a stream.
    pub chunk_delay: Duration,
    /// The bearer key that requests must bring; any or none will do unless set.
    pub key: Option<String>,
}

/// Serves the simulated model until `shutdown` is ready and the answers under way are out.
pub async fn serve<F>(listener: TcpListener, options: Options, shutdown: F) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "the simulated model keeps Nagle's algorithm on a connection");
        }
    });
    axum::serve(listener, router(options)).with_graceful_shutdown(shutdown).await
}

/// The simulated model as a service.
pub fn router(options: Options) -> Router {
    Router::new()
        .fallback(dispatch::respond)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Arc::new(options))
}
