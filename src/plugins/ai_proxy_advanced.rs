//! ai-proxy-advanced: spreads the requests of its route over several targets.

use super::ai_proxy::answer_fields;
use super::ai_proxy::assemble;
use super::redis;
use super::{Conf, Plugin, PluginKind};
use crate::config::llm;
use crate::config::problems::Problems;
use crate::config::rules::get;
use crate::config::schema::{Conditional, Field, Kind, Match, Record, Rule};
use crate::config::{formats, schema::Kind::Any};
use crate::error::Result;
use crate::provider::vocabulary;
use crate::target::balance::settings::NO_ACCURACY;
use crate::target::embed::Model;
use crate::target::failover::Failover;
use crate::target::health::Tolerance;
use crate::target::policy::{Abandoned, Policy};
use crate::upstream::endpoint::Timeouts;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Its entry in the list of plugins.
pub static KIND: PluginKind =
    PluginKind { rules, ..PluginKind::new("ai-proxy-advanced", 770, schema, build) };

/// The ways to choose a target.
const ALGORITHMS: &[&str] = &[
    "round-robin",
    "lowest-latency",
    "lowest-usage",
    "consistent-hashing",
    "semantic",
    "priority",
    "least-connections",
];

/// The criteria by which a failed attempt may be tried elsewhere.
const CRITERIA: &[&str] = &[
    "error",
    "timeout",
    "invalid_header",
    "http_500",
    "http_502",
    "http_503",
    "http_504",
    "http_403",
    "http_404",
    "http_429",
    "non_idempotent",
];

/// `config`.
pub fn schema() -> Record {
    let mut fields = vec![
        Field::list("targets", Kind::Record(Arc::new(target_record())))
            .sized(1, usize::MAX)
            .required()
            .doc("Where requests may go."),
        Field::record("balancer", balancer_record()).required().doc("How a target is chosen."),
        Field::record("embeddings", embeddings_record())
            .doc("The model that compares prompts with descriptions."),
        Field::record("vectordb", vectordb_record())
            .doc("How embeddings are compared; their vectors are kept in the process."),
        Field::one_of(
            "genai_category",
            &[
                "text/generation",
                "text/embeddings",
                "audio/speech",
                "audio/transcription",
                "image/generation",
            ],
        )
        .default("text/generation")
        .doc("What kind of work the targets do."),
    ];
    fields.extend(answer_fields());
    Record::new(fields)
}

fn rules() -> Vec<Rule> {
    let semantic = |then| {
        Rule::Conditional(Conditional {
            when: "config.balancer.algorithm",
            is: Match::Text("semantic"),
            then,
            must: Match::Set,
            message: None,
        })
    };
    vec![
        Rule::Check(formats_fit),
        Rule::Check(strategy_is_served),
        Rule::Check(embeddings_load),
        semantic("config.embeddings"),
        semantic("config.vectordb"),
    ]
}

fn formats_fit(plugin: &Value, out: &mut Problems<'_>) {
    let targets = get(plugin, "config.targets").and_then(Value::as_array);
    if let (Some(format), Some(targets)) = (llm::text(plugin, "config.llm_format"), targets) {
        for (index, target) in targets.iter().enumerate() {
            llm::check_format(format, target, &format!("config.targets[{index}]"), out);
        }
    }
}

fn strategy_is_served(plugin: &Value, out: &mut Problems<'_>) {
    let text = |path| llm::text(plugin, path);
    let usage = text("config.balancer.algorithm") == Some("lowest-usage");
    if usage && text("config.balancer.tokens_count_strategy") == Some("llm-accuracy") {
        out.at("config.balancer.tokens_count_strategy").push(NO_ACCURACY);
    }
}

/// What the provider of embeddings says of their options.
fn embeddings_load(plugin: &Value, out: &mut Problems<'_>) {
    let semantic = llm::text(plugin, "config.balancer.algorithm") == Some("semantic");
    let mut out = out.at("config.embeddings");
    let sound = semantic && out.below(0).next().is_none();
    if let Some(conf) = get(plugin, "config.embeddings").filter(|conf| sound && conf.is_object())
        && let Err(error) = Model::load(conf, 1)
    {
        out.push(error.message());
    }
}

fn target_record() -> Record {
    let mut record = llm::target_record();
    record.fields.extend([
        Field::integer("weight", 1, 65_535).default(100).doc("Its share of the requests."),
        Field::text("description")
            .doc("What it is good at, for semantic routing; `CATCHALL` takes the rest."),
        Field::new("metadata", Any).doc("Anything; kept for other readers of the file."),
    ]);
    for field in &mut record.fields {
        if let ("model", Kind::Record(model)) = (field.name, &mut field.kind)
            && let Some(model) = Arc::get_mut(model)
        {
            model.fields.push(Field::text("model_alias").doc("Name by which clients may ask for it."));
        }
    }
    record
}

fn balancer_record() -> Record {
    let timeout = |name| Field::integer(name, 1, 2_147_483_646).default(60_000);
    let mut fields = vec![
        Field::one_of("algorithm", ALGORITHMS).default("round-robin").doc("How a target is chosen."),
        timeout("connect_timeout").doc("Milliseconds to connect."),
        timeout("read_timeout").doc("Milliseconds between two reads."),
        timeout("write_timeout").doc("Milliseconds between two writes."),
        Field::integer("retries", 0, 32_767).default(5).doc("How often another target is tried."),
        Field::integer("slots", 10, 65_536).default(10_000).doc("Size of the ring of consistent hashing."),
        Field::new("failover_criteria", Kind::one_of(CRITERIA).set())
            .default(json!(["error", "timeout"]))
            .doc("What makes another target be tried."),
        Field::checked("hash_on_header", formats::header_name)
            .default("X-Kong-LLM-Request-ID")
            .doc("Header that consistent hashing goes by."),
        Field::one_of("latency_strategy", &["tpot", "e2e"])
            .default("tpot")
            .doc("Latency by output token or of the whole exchange."),
        Field::one_of(
            "tokens_count_strategy",
            &["total-tokens", "prompt-tokens", "completion-tokens", "llm-accuracy", "cost"],
        )
        .default("total-tokens")
        .doc("What lowest-usage counts."),
        Field::integer("max_fails", 0, 32_767)
            .default(0)
            .doc("Failures that take a target out for a while; 0 never does."),
        Field::integer("fail_timeout", 1, 2_147_483_646)
            .default(10_000)
            .doc("Milliseconds that such a target is out."),
    ];
    fields.extend(own_fields());
    Record::new(fields)
}

/// How long a stream may keep its client waiting, and what becomes of it without one: tollgate's own.
fn own_fields() -> Vec<Field> {
    let timeout = |name| Field::integer(name, 1, 2_147_483_646).own();
    vec![
        timeout("first_token_timeout")
            .doc("Milliseconds from sending a request to the first output of its stream; tollgate's own."),
        timeout("stream_idle_timeout")
            .doc("Milliseconds between two reads of a stream, instead of read_timeout; tollgate's own."),
        Field::one_of("on_client_disconnect", &["cancel", "drain"]).default("cancel").own().doc(
            "Whether a stream whose client has gone is given up, or read on for its usage; tollgate's own.",
        ),
        timeout("drain_timeout")
            .own()
            .default(30_000)
            .doc("Milliseconds that it is read on; tollgate's own."),
        Field::integer("drain_max_tokens", 1, 2_147_483_646)
            .own()
            .default(4_096)
            .doc("Tokens that it is read on; tollgate's own."),
    ]
}

fn embeddings_record() -> Record {
    let url = Field::checked("upstream_url", formats::http_url).doc("Where to ask for embeddings.");
    let own = vocabulary::EMBEDDING_OPTIONS.iter().map(|name| Field::new(name, Any).doc("As for targets."));
    let options = Record::new(std::iter::once(url).chain(own).collect());
    let model = Record::new(vec![
        Field::one_of("provider", vocabulary::EMBEDDINGS).required().doc("Whose API makes embeddings."),
        Field::text("name").required().doc("Name of the model."),
        Field::record("options", options),
    ]);
    Record::new(vec![Field::record("auth", llm::auth_record()), Field::record("model", model).required()])
        .rules(vec![
            Rule::AllOrNone(&["auth.header_name", "auth.header_value"]),
            Rule::AllOrNone(&["auth.param_name", "auth.param_value", "auth.param_location"]),
        ])
}

fn vectordb_record() -> Record {
    Record::new(vec![
        Field::one_of("strategy", &["redis", "pgvector"]).required().doc("Which database."),
        Field::new(
            "dimensions",
            Kind::Integer { min: i64::MIN, max: i64::MAX, above: Some(0), one_of: vec![] },
        )
        .required()
        .doc("Length of an embedding."),
        Field::one_of("distance_metric", &["cosine", "euclidean"])
            .required()
            .doc("How embeddings are compared."),
        Field::number("threshold", 0.0, 1.0).doc("The largest distance at which a description still counts."),
        Field::record("redis", redis::record(Some("127.0.0.1"))).required(),
        Field::record("pgvector", pgvector_record()).required(),
    ])
}

fn pgvector_record() -> Record {
    Record::new(vec![
        Field::text("host").default("127.0.0.1").doc("Host of the database."),
        Field::port("port").default(5432).doc("Its port."),
        Field::text("database").default("kong-pgvector").doc("Its name."),
        Field::text("user").default("postgres").referenceable().shown().doc("User to connect as."),
        Field::text("password").referenceable().doc("Password of that user."),
        Field::integer("timeout", 0, 2_147_483_646).default(5000).doc("Milliseconds to wait."),
        Field::boolean("ssl").default(false).doc("Whether to use TLS."),
        Field::boolean("ssl_required").default(false).doc("Whether to refuse a server without TLS."),
        Field::boolean("ssl_verify").default(false).doc("Whether to verify its certificate."),
        Field::one_of("ssl_version", &["any", "tlsv1_2", "tlsv1_3"]).default("tlsv1_2").doc("TLS version."),
        Field::text("ssl_cert").doc("File of the client's certificate."),
        Field::text("ssl_cert_key").doc("File of its key."),
    ])
}

/// The part of `balancer` that every algorithm shares; times in milliseconds.
#[derive(serde::Deserialize)]
struct Balancer {
    connect_timeout: u64,
    read_timeout: u64,
    write_timeout: u64,
    retries: u32,
    failover_criteria: Vec<String>,
    max_fails: u32,
    fail_timeout: u64,
    first_token_timeout: Option<u64>,
    stream_idle_timeout: Option<u64>,
    on_client_disconnect: OnDisconnect,
    drain_timeout: u64,
    drain_max_tokens: u64,
}

#[derive(Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum OnDisconnect {
    Cancel,
    Drain,
}

#[derive(serde::Deserialize)]
struct Settings {
    balancer: Balancer,
}

impl Balancer {
    fn timeouts(&self) -> Timeouts {
        Timeouts {
            connect: Duration::from_millis(self.connect_timeout),
            read: Duration::from_millis(self.read_timeout),
            write: Duration::from_millis(self.write_timeout),
        }
    }

    fn policy(&self) -> Policy {
        let drain = Abandoned::Drain {
            time: Duration::from_millis(self.drain_timeout),
            tokens: self.drain_max_tokens,
        };
        Policy {
            failover: Failover::new(self.retries, self.failover_criteria.iter().map(String::as_str)),
            tolerance: Tolerance { fails: self.max_fails, out: Duration::from_millis(self.fail_timeout) },
            first_token: self.first_token_timeout.map(Duration::from_millis),
            idle: self.stream_idle_timeout.map(Duration::from_millis),
            abandoned: match self.on_client_disconnect {
                OnDisconnect::Cancel => Abandoned::Cancel,
                OnDisconnect::Drain => drain,
            },
        }
    }
}

fn build(conf: Conf<'_>) -> Result<Arc<dyn Plugin>> {
    let Settings { balancer } = conf.read()?;
    let targets: Vec<&Value> =
        conf.config.get("targets").and_then(Value::as_array).into_iter().flatten().collect();
    assemble(conf, &targets, balancer.timeouts(), balancer.policy(), &conf.read()?)
}
