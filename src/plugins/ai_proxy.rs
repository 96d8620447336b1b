//! ai-proxy: sends the requests of its route to one target.

use super::{Conf, Plugin, PluginKind};
use crate::config::llm;
use crate::config::problems::Problems;
use crate::config::rules::get;
use crate::config::schema::{Field, Record, Rule};
use crate::error::Result;
use crate::provider::{self, Provider};
use crate::target::balance::Balancer;
use crate::target::balance::settings::Settings;
use crate::target::policy::Policy;
use crate::target::state::State;
use crate::target::{Streaming, Target, Targets};
use crate::upstream::endpoint::Timeouts;
use serde_json::Value;
use std::sync::Arc;

/// Its entry in the list of plugins.
pub static KIND: PluginKind = PluginKind { rules, ..PluginKind::new("ai-proxy", 770, schema, build) };

/// `config`: a target, and how its answers are given.
pub fn schema() -> Record {
    let mut record = llm::target_record();
    record.fields.extend(answer_fields());
    record
}

/// What is said once of all targets of a route.
pub fn answer_fields() -> Vec<Field> {
    vec![
        Field::one_of("response_streaming", &["allow", "deny", "always"])
            .default("allow")
            .doc("Whether answers are streamed: if the client asks, never, or always."),
        llm::body_size(),
        Field::boolean("model_name_header")
            .default(true)
            .doc("Whether replies name the model in `X-Kong-LLM-Model`."),
        llm::format_field(),
    ]
}

fn rules() -> Vec<Rule> {
    vec![Rule::Check(format_fits)]
}

fn format_fits(plugin: &Value, out: &mut Problems<'_>) {
    if let (Some(format), Some(target)) = (llm::text(plugin, "config.llm_format"), get(plugin, "config")) {
        llm::check_format(format, target, "config", out);
    }
}

/// The runtime half of both ai-proxy plugins: they differ only in where their targets stand.
struct AiProxy(Arc<Targets>);

impl Plugin for AiProxy {
    fn targets(&self) -> Option<&Arc<Targets>> {
        Some(&self.0)
    }
}

/// What both plugins say of their answers.
#[derive(serde::Deserialize)]
struct Answers {
    response_streaming: Streaming,
    max_request_body_size: usize,
    model_name_header: bool,
    llm_format: String,
}

fn build(conf: Conf<'_>) -> Result<Arc<dyn Plugin>> {
    assemble(conf, &[conf.config], conf.timeouts, Policy::default(), &Settings::default())
}

/// Puts an instance together from the configuration and its targets.
pub fn assemble(
    conf: Conf<'_>,
    targets: &[&Value],
    timeouts: Timeouts,
    policy: Policy,
    settings: &Settings,
) -> Result<Arc<dyn Plugin>> {
    let answers: Answers = conf.read()?;
    let states = State::shared(conf.id, targets);
    let loaded = targets.iter().zip(states).map(|(raw, state)| Target::load(raw, state, timeouts));
    let list = loaded.collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(AiProxy(Arc::new(Targets {
        plugin: conf.id,
        log_key: "proxy",
        balancer: Balancer::load(settings, &list)?,
        list,
        native: provider::find(&answers.llm_format).and_then(Provider::native),
        streaming: answers.response_streaming,
        max_body: answers.max_request_body_size,
        model_header: answers.model_name_header,
        timeouts,
        policy,
    }))))
}
