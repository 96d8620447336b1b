//! Whose API a request speaks, and what answers it: both follow from the path.

use super::ask::{Ask, parameter};
use super::refusal::Refusal;
use super::reply::Reply;
use super::{anthropic, azure, bedrock, cohere, gemini, hugging_face, ollama, openai};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Method, StatusCode};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// Whose API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Also the default of whatever is not another's.
    OpenAi,
    /// OpenAI's, with deployments.
    Azure,
    /// Messages.
    Anthropic,
    /// Both its versions.
    Cohere,
    /// Where a stream is an array, so is an error.
    Gemini { array: bool },
    /// Converse.
    Bedrock,
    /// Text generation, also llama2's raw one.
    HuggingFace,
    /// `/api/chat`, `/api/generate`.
    Ollama,
}

/// What answers a request.
type Run = fn(&Ask<'_>) -> Result<Reply, Refusal>;

/// What a path leads to.
pub struct Route<'a> {
    /// Whose API it is.
    pub dialect: Dialect,
    /// The model or deployment that the path names.
    pub model: Option<Cow<'a, str>>,
    /// Who answers it.
    pub run: Run,
}

impl<'a> Route<'a> {
    /// What answers this path, which may have anything in front of it.
    pub fn find(method: &Method, path: &'a str, query: &str) -> Option<Self> {
        let path = path.trim_end_matches('/');
        let (folder, name) = path.rsplit_once('/').unwrap_or_default();
        let parent = folder.rsplit('/').next().unwrap_or_default();
        let plain = |dialect, run: Run| Some(Self { dialect, model: None, run });
        if matches!(*method, Method::GET | Method::HEAD) {
            match name {
                "models" => return plain(Dialect::OpenAi, |_| Ok(openai::models())),
                "health" => return plain(Dialect::OpenAi, |_| Ok(health())),
                _ => {}
            }
        }
        match (parent, name) {
            ("chat", "completions") => Some(Self::shaped_as_openai(path, azure::chat, openai::chat)),
            (_, "completions") => Some(Self::shaped_as_openai(path, azure::completions, openai::completions)),
            ("api", "chat") => plain(Dialect::Ollama, ollama::chat),
            ("api", "generate") => plain(Dialect::Ollama, ollama::generate),
            ("v1", "chat") => plain(Dialect::Cohere, cohere::v1::chat),
            ("v1", "generate") => plain(Dialect::Cohere, cohere::v1::generate),
            ("v2", "chat") => plain(Dialect::Cohere, cohere::v2::chat),
            (_, "messages") => plain(Dialect::Anthropic, anthropic::messages),
            (_, "generate_stream") => plain(Dialect::HuggingFace, hugging_face::stream),
            (_, "raw") => plain(Dialect::HuggingFace, hugging_face::raw),
            (_, "" | "generate") => plain(Dialect::HuggingFace, hugging_face::generate),
            _ => Self::named(folder, name, query),
        }
    }

    /// The paths of OpenAI's shape that are another's.
    fn shaped_as_openai(path: &'a str, azure: Run, openai: Run) -> Self {
        let between = |start: &str, end: &str| Some(path.split_once(start)?.1.split_once(end)?.0);
        if let Some(deployment) = between("/openai/deployments/", "/") {
            return Self { dialect: Dialect::Azure, model: Some(decoded(deployment)), run: azure };
        }
        match between("/models/", "/v1/") {
            Some(model) => Self { dialect: Dialect::HuggingFace, model: Some(decoded(model)), run: openai },
            None => Self { dialect: Dialect::OpenAi, model: None, run: openai },
        }
    }

    /// The paths that name a model.
    fn named(folder: &'a str, name: &'a str, query: &str) -> Option<Self> {
        let found = |dialect, model, run: Run| Some(Self { dialect, model: Some(decoded(model)), run });
        let array = parameter(query, "alt").as_deref() != Some("sse");
        match name.rsplit_once(':') {
            Some((model, "generateContent")) => {
                return found(Dialect::Gemini { array: false }, model, gemini::generate);
            }
            Some((model, "streamGenerateContent")) => {
                return found(Dialect::Gemini { array }, model, gemini::stream);
            }
            _ => {}
        }
        // An unescaped slash within a model's name leads nowhere, as at AWS.
        let model = folder.rsplit_once('/').filter(|(above, _)| above.ends_with("/model"));
        match (name, model) {
            ("converse", Some((_, model))) => found(Dialect::Bedrock, model, bedrock::converse),
            ("converse-stream", Some((_, model))) => found(Dialect::Bedrock, model, bedrock::converse_stream),
            _ if folder.contains("/models") => found(Dialect::HuggingFace, name, hugging_face::generate),
            _ => None,
        }
    }
}

impl Dialect {
    /// Whether a request brings the key, where this provider wants it.
    pub fn has_key(self, key: &str, headers: &HeaderMap, query: &str) -> bool {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let authorization = header(AUTHORIZATION.as_str()).unwrap_or_default();
        if authorization.strip_prefix("Bearer ") == Some(key) {
            return true;
        }
        match self {
            Self::Azure => header("api-key") == Some(key),
            Self::Anthropic => header("x-api-key") == Some(key),
            Self::Gemini { .. } => {
                header("x-goog-api-key") == Some(key) || parameter(query, "key").as_deref() == Some(key)
            }
            Self::Bedrock => authorization
                .strip_prefix("AWS4-HMAC-SHA256 Credential=")
                .is_some_and(|rest| rest.split('/').next() == Some(key)),
            Self::OpenAi | Self::Cohere | Self::HuggingFace | Self::Ollama => false,
        }
    }

    /// Why a request without the key is refused.
    pub fn keyless(self) -> Refusal {
        let place = match self {
            Self::Azure => "api-key: KEY",
            Self::Anthropic => "x-api-key: KEY",
            Self::Gemini { .. } => "x-goog-api-key: KEY",
            Self::Bedrock => "a signature with KEY as its access key id",
            Self::OpenAi | Self::Cohere | Self::HuggingFace | Self::Ollama => "Authorization: Bearer KEY",
        };
        Refusal::status(StatusCode::UNAUTHORIZED, format!("the API key is missing or wrong: send {place}"))
    }
}

fn decoded(segment: &str) -> Cow<'_, str> {
    percent_decode_str(segment).decode_utf8_lossy()
}

fn health() -> Reply {
    Reply::json(&serde_json::json!({"status": "ok"}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(path: &str) -> Option<(Dialect, Option<String>)> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let route = Route::find(&Method::POST, path, query)?;
        Some((route.dialect, route.model.map(Cow::into_owned)))
    }

    #[test]
    fn a_path_names_a_dialect_and_perhaps_a_model() {
        let gemini = |array| Dialect::Gemini { array };
        for (path, dialect, model) in [
            ("/v1/chat/completions", Dialect::OpenAi, None),
            ("/any/where/v1/completions", Dialect::OpenAi, None),
            ("/openai/deployments/d%2D1/chat/completions", Dialect::Azure, Some("d-1")),
            ("/openai/deployments/d/completions", Dialect::Azure, Some("d")),
            ("/models/org/m/v1/chat/completions", Dialect::HuggingFace, Some("org/m")),
            ("/models/org/m", Dialect::HuggingFace, Some("m")),
            ("/generate", Dialect::HuggingFace, None),
            ("/", Dialect::HuggingFace, None),
            ("/raw/", Dialect::HuggingFace, None),
            ("/api/chat", Dialect::Ollama, None),
            ("/api/generate", Dialect::Ollama, None),
            ("/v1/messages", Dialect::Anthropic, None),
            ("/v1/chat", Dialect::Cohere, None),
            ("/v1/generate", Dialect::Cohere, None),
            ("/v2/chat", Dialect::Cohere, None),
            ("/v1beta/models/g-1:generateContent", gemini(false), Some("g-1")),
            ("/v1beta/models/g:streamGenerateContent?alt=sse", gemini(false), Some("g")),
            ("/v1beta/models/g:streamGenerateContent?key=k", gemini(true), Some("g")),
            (
                "/v1/projects/p/locations/l/publishers/google/models/g:generateContent",
                gemini(false),
                Some("g"),
            ),
            ("/model/a.b-v1%3A0/converse", Dialect::Bedrock, Some("a.b-v1:0")),
            ("/model/arn%3Aaws%3Ax%2Fy/converse-stream", Dialect::Bedrock, Some("arn:aws:x/y")),
        ] {
            assert_eq!(find(path), Some((dialect, model.map(str::to_owned))), "{path}");
        }
        for path in ["/v1/nothing", "/model/arn:aws:x/y/converse", "/model/converse", "/v3/chat"] {
            assert_eq!(find(path), None, "{path}");
        }
    }
}
