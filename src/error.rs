//! The one error of a request, and the one table that says what each kind means.
//!
//! Everything that can end a request early is an [`Error`]: its [`Kind`] fixes the status, who is
//! to blame, whether another target may be tried, and which of Kong's two faces the client sees.

use std::borrow::Cow;
use std::fmt;

/// Who caused an error; the `origin` label of `tollgate_errors_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Whoever asked.
    Client,
    /// We ourselves.
    Gateway,
    /// Whoever was asked.
    Upstream,
}

impl Origin {
    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Gateway => "gateway",
            Self::Upstream => "upstream",
        }
    }
}

/// The two shapes in which Kong reports errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// `{"message": …, "request_id": …}`, or HTML or plain text where the client prefers it.
    Core,
    /// `{"error": {"message": …}}`, always JSON: what the AI plugins answer.
    Ai,
}

/// As which of the balancer's `failover_criteria` an error counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Criterion {
    /// No connection, or one that broke.
    Error,
    /// No answer in time.
    Timeout,
    /// An answer that is empty or makes no sense, or reports an error under a status of success.
    Invalid,
}

/// What went wrong, as far as the rest of the gateway needs to tell errors apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request's body or fields are not what the route serves.
    BadRequest,
    /// The head of the request cannot be served (bad path, bad header).
    BadHead,
    /// The client did not send the head of its request in time.
    SlowHead,
    /// The head is over `max_header_bytes` or `max_headers`.
    LargeHead,
    /// The path and query are over `max_uri_bytes`.
    LongUri,
    /// The request took longer than `request_seconds`.
    Overdue,
    /// There is no room for the body now.
    Crowded,
    /// The client did not send its body in time.
    SlowBody,
    /// The body is over `max_request_body_size`.
    TooLarge,
    /// The body is larger than the configuration allows, or does not say how large it is.
    Oversized,
    /// The client hung up before it got its answer.
    ClientGone,
    /// No route matches.
    NoRoute,
    /// The route is served over HTTPS only.
    NeedsHttps,
    /// The request does not say who sends it.
    Unauthorized,
    /// Who sends it may not.
    Forbidden,
    /// Too many requests.
    Limited,
    /// All targets are failing or have used up their quota.
    NoTarget,
    /// The route has no service and no plugin answered.
    NoService,
    /// The configuration names something that this version does not run.
    Unsupported,
    /// No token or signature for a cloud provider could be had.
    Identity,
    /// The gateway failed in itself.
    Internal,
    /// The upstream's name does not resolve.
    Unresolved,
    /// The upstream refused the connection or broke it before an answer.
    Unreachable,
    /// The upstream did not answer in time.
    Timeout,
    /// The upstream's answer cannot be read as what it should be.
    BadReply,
    /// A model that a plugin asked gave no answer that can be used.
    Unconsulted,
    /// The service behind a plugin that asks it itself did not answer.
    Subrequest,
}

struct Row {
    status: u16,
    label: &'static str,
    origin: Origin,
    face: Face,
    failover: Option<Criterion>,
}

impl Kind {
    const fn row(self) -> Row {
        use Criterion as By;
        use Face::{Ai, Core};
        use Origin::{Client, Gateway, Upstream};
        let (status, label, origin, face, failover) = match self {
            Self::BadRequest => (400, "bad_request", Client, Ai, None),
            Self::BadHead => (400, "bad_head", Client, Core, None),
            Self::SlowHead => (408, "slow_head", Client, Core, None),
            // KONG(kong/error_handlers.lua): nginx's own status for it, which Kong passes on.
            Self::LargeHead => (494, "large_head", Client, Core, None),
            Self::LongUri => (414, "long_uri", Client, Core, None),
            Self::Overdue => (504, "overdue", Gateway, Core, None),
            Self::Crowded => (503, "crowded", Gateway, Core, None),
            Self::SlowBody => (408, "slow_body", Client, Core, None),
            Self::TooLarge => (413, "too_large", Client, Ai, None),
            Self::Oversized => (413, "oversized", Client, Core, None),
            Self::ClientGone => (499, "client_gone", Client, Core, None),
            Self::NoRoute => (404, "no_route", Client, Core, None),
            Self::NeedsHttps => (426, "needs_https", Client, Core, None),
            Self::Unauthorized => (401, "unauthorized", Client, Core, None),
            Self::Forbidden => (403, "forbidden", Client, Core, None),
            Self::Limited => (429, "limited", Client, Core, None),
            Self::NoTarget => (503, "no_target", Upstream, Ai, None),
            Self::NoService => (503, "no_service", Gateway, Core, None),
            Self::Unsupported => (501, "unsupported", Gateway, Ai, None),
            Self::Identity => (500, "identity", Gateway, Ai, Some(By::Error)),
            Self::Internal => (500, "internal", Gateway, Core, None),
            Self::Unresolved => (503, "unresolved", Upstream, Core, Some(By::Error)),
            Self::Unreachable => (502, "unreachable", Upstream, Core, Some(By::Error)),
            Self::Timeout => (504, "timeout", Upstream, Core, Some(By::Timeout)),
            Self::BadReply => (500, "bad_reply", Upstream, Ai, Some(By::Invalid)),
            Self::Unconsulted => (400, "unconsulted", Upstream, Ai, None),
            Self::Subrequest => (500, "subrequest", Upstream, Ai, None),
        };
        Row { status, label, origin, face, failover }
    }

    /// The status the client sees.
    pub const fn status(self) -> u16 {
        self.row().status
    }

    /// The metric label.
    pub const fn label(self) -> &'static str {
        self.row().label
    }

    /// Who is to blame.
    pub const fn origin(self) -> Origin {
        self.row().origin
    }

    /// Which of the two shapes the client sees.
    pub const fn face(self) -> Face {
        self.row().face
    }

    /// As what it counts when another target may be tried after it; `None`: another would not help.
    pub const fn failover(self) -> Option<Criterion> {
        self.row().failover
    }
}

/// A request's end before its answer.
#[derive(Clone, Debug)]
pub struct Error {
    kind: Kind,
    /// In place of the kind's, where the configuration names one.
    status: Option<u16>,
    message: Cow<'static, str>,
}

impl Error {
    /// An error with a message for the client: it says what to change, and holds no secret.
    pub fn new(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, status: None, message: message.into() }
    }

    /// The client's request is wrong (400, in the AI plugins' shape).
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::BadRequest, message)
    }

    /// The provider's answer is wrong (500, in the AI plugins' shape).
    pub fn bad_reply(message: impl Into<Cow<'static, str>>) -> Self {
        let message = message.into();
        // Some providers report an error of which they say nothing.
        let said = if message.is_empty() { Cow::Borrowed("the upstream reported an error") } else { message };
        Self::new(Kind::BadReply, said)
    }

    /// The same under another status than its kind's.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// The status the client sees.
    pub fn status(&self) -> u16 {
        self.status.unwrap_or(self.kind.status())
    }

    /// What kind of error it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The text for the client.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;
