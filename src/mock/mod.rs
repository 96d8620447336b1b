//! The simulated model: a provider without a key, a network or a bill, for first steps and tests.
//!
//! It speaks the dialects of nine providers, each whole and streaming:
//!
//! | dialect      | paths                                                                              |
//! |--------------|------------------------------------------------------------------------------------|
//! | OpenAI       | `…/chat/completions`, `…/completions`, `GET …/models`; Mistral's is the same       |
//! | Azure        | `…/openai/deployments/{d}/chat/completions`, `…/completions`, with `api-version`   |
//! | Anthropic    | `…/messages`, with the header `anthropic-version`                                  |
//! | Cohere       | `…/v2/chat`; `…/v1/chat`, `…/v1/generate`                                          |
//! | Gemini       | `…/models/{m}:generateContent`, `…:streamGenerateContent`, an array unless `alt=sse` |
//! | Bedrock      | `…/model/{m}/converse`, `…/converse-stream` in AWS's binary frames                 |
//! | Hugging Face | `/`, `…/generate`, `…/generate_stream`, `…/models/{m}`; `…/models/{m}/v1/chat/completions` |
//! | llama2       | `…/raw`: Hugging Face's, wrapped                                                   |
//! | Ollama       | `…/api/chat`, `…/api/generate`                                                     |
//!
//! It works out sums, says hello, and otherwise repeats what it was asked, and how many images came with
//! it. A tool is called where the request demands one, with arguments that fit its schema; where the
//! request has a schema for the answer, the answer is JSON that fits. Token counts are counted, not
//! invented. Errors have the shape that the provider gives them. `GET /health` answers 200.
//!
//! Request headers make it do on purpose what it does not do by itself:
//! - `x-mock-status: 429` answers that status (400 to 599); 429 and 503 with `Retry-After: 1`.
//! - `x-mock-cut-after: 3` drops the connection after so many content events of a stream, and in the
//!   middle of an answer that is not a stream.
//! - `x-mock-cached: 10` takes so many tokens of the prompt from a cache, at most all. They are told
//!   as the provider tells them: among the prompt's tokens, and again by themselves, by OpenAI, Azure,
//!   Hugging Face's chat (`prompt_tokens_details.cached_tokens`), Cohere (`cached_tokens`) and Gemini
//!   (`cachedContentTokenCount`); apart from the input's other tokens by Anthropic
//!   (`cache_read_input_tokens`) and Bedrock (`cacheReadInputTokens`, which its total includes). Ollama and
//!   text generation do not tell.

mod answer;
mod anthropic;
mod arithmetic;
mod ask;
mod azure;
mod bedrock;
mod call;
mod cohere;
mod dialect;
mod dispatch;
mod frame;
mod gemini;
mod hugging_face;
mod ollama;
mod openai;
mod prompt;
mod refusal;
mod reply;
mod request;
mod said;
mod schema;

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
    /// The key that requests must bring, where the provider wants it; any or none will do unless set.
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
