//! Which plugin instances run for a request: one of each name, the most specific, by priority.

use super::{Plugin, Rewrites};
use crate::config::entities;
use crate::meter::metrics::Switches;
use crate::target::Targets;
use std::sync::Arc;
use uuid::Uuid;

/// The instances of one route (and consumer), ready to run.
#[derive(Default)]
pub struct Chain {
    steps: Vec<Step>,
    loggers: Vec<Arc<dyn Plugin>>,
    rewriters: Vec<Arc<dyn Plugin>>,
    /// How many steps come before the first that reads the body.
    body_from: usize,
    /// Those of its AI proxy: with them its route is an AI route.
    pub targets: Option<Arc<Targets>>,
    /// What `prometheus` instances switched on.
    pub switches: Switches,
    /// The largest body to be read: the limit of the first plugin that has one, as in Kong.
    pub body_limit: Option<usize>,
    /// What a body that cannot be read is answered with: the first plugin's word for it.
    pub unreadable: Option<&'static str>,
}

/// One instance and its place in the order.
pub struct Step {
    /// Kong's: higher runs earlier.
    pub priority: i32,
    /// The instance.
    pub plugin: Arc<dyn Plugin>,
}

impl Chain {
    /// Orders the chosen instances: higher priority first, as Kong runs them.
    pub fn new(mut steps: Vec<Step>) -> Self {
        steps.sort_by_key(|step| std::cmp::Reverse(step.priority));
        let plugins = || steps.iter().map(|step| &step.plugin);
        let targets = plugins().find_map(|plugin| plugin.targets().cloned());
        let limit = plugins().find_map(|plugin| {
            plugin.reads_body().or_else(|| plugin.targets().map(|targets| targets.max_body))
        });
        let reads = |step: &Step| step.plugin.reads_body().is_some();
        Self {
            body_from: steps.iter().position(reads).unwrap_or(steps.len()),
            targets,
            switches: plugins().find_map(|plugin| plugin.switches()).unwrap_or_default(),
            rewriters: plugins().filter(|plugin| plugin.rewrites().is_some()).cloned().collect(),
            loggers: plugins().filter(|plugin| plugin.logs()).cloned().collect(),
            body_limit: limit,
            unreadable: plugins().find_map(|plugin| plugin.unreadable()),
            steps,
        }
    }

    /// All instances, in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// How many steps come before the first that reads the body.
    pub fn body_from(&self) -> usize {
        self.body_from
    }

    /// Those that rewrite that side of the exchange, in order.
    pub fn rewriters(&self, side: Rewrites) -> impl Iterator<Item = &Arc<dyn Plugin>> {
        self.rewriters.iter().filter(move |plugin| plugin.rewrites() == Some(side))
    }

    /// Where credentials of clients stand.
    pub fn credentials(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().flat_map(|step| step.plugin.credentials()).map(String::as_str)
    }

    /// Whether the answer has to be collected, because a plugin rewrites it.
    pub fn rewrites_answer(&self) -> bool {
        self.rewriters(Rewrites::Answer).next().is_some()
    }

    /// Whether a plugin rewrites either side.
    pub fn rewrites(&self) -> bool {
        !self.rewriters.is_empty()
    }

    /// Whether a plugin reads prompts, which only AI routes have.
    pub fn reads_prompts(&self) -> bool {
        self.steps.iter().any(|step| step.plugin.reads_body().is_some() && step.plugin.rewrites().is_none())
    }

    /// Whether a plugin reads the client's body before one that rewrites it runs: a key in the body has
    /// to be looked at before anybody pays for a model.
    pub fn reads_before_rewriting(&self) -> bool {
        let rewriter = |step: &Step| step.plugin.rewrites() == Some(Rewrites::Request);
        let first = self.steps.iter().position(rewriter).unwrap_or_default();
        self.steps.iter().take(first).any(|step| step.plugin.reads_body().is_some())
    }

    /// Those that write a log record.
    pub fn loggers(&self) -> &[Arc<dyn Plugin>] {
        &self.loggers
    }
}

/// What a request is known to belong to.
#[derive(Clone, Copy, Default)]
pub struct Scope {
    /// Once one has matched.
    pub route: Option<Uuid>,
    /// The route's.
    pub service: Option<Uuid>,
    /// Once somebody knows who asks.
    pub consumer: Option<Uuid>,
    /// The consumer's.
    pub consumer_group: Option<Uuid>,
}

/// The instances that run in a scope: of each name the most specific one.
pub fn select<'a>(
    all: impl Iterator<Item = &'a entities::Plugin>,
    scope: Scope,
) -> Vec<&'a entities::Plugin> {
    let mut chosen: Vec<&entities::Plugin> = Vec::new();
    for plugin in all.filter(|plugin| plugin.enabled && applies(plugin, scope)) {
        match chosen.iter_mut().find(|other| other.kind.name == plugin.kind.name) {
            Some(other) if rank(plugin) > rank(other) => *other = plugin,
            Some(_) => {}
            None => chosen.push(plugin),
        }
    }
    chosen
}

fn applies(plugin: &entities::Plugin, scope: Scope) -> bool {
    let fits = |wanted: Option<Uuid>, given: Option<Uuid>| wanted.is_none() || wanted == given;
    fits(plugin.route, scope.route)
        && fits(plugin.service, scope.service)
        && fits(plugin.consumer, scope.consumer)
        && fits(plugin.consumer_group, scope.consumer_group)
}

/// Kong's order of specificity: a consumer weighs most when joined by another scope, then its
/// group, then route with service, then each alone: consumer, group, route, service.
fn rank(plugin: &entities::Plugin) -> u8 {
    let (route, service) = (plugin.route.is_some(), plugin.service.is_some());
    match (plugin.consumer.is_some(), plugin.consumer_group.is_some(), route, service) {
        (true, _, true, true) => 12,
        (_, true, true, true) => 11,
        (true, _, true, false) => 10,
        (true, _, false, true) => 9,
        (_, true, true, false) => 8,
        (_, true, false, true) => 7,
        (false, false, true, true) => 6,
        (true, _, false, false) => 5,
        (_, true, false, false) => 4,
        (false, false, true, false) => 3,
        (false, false, false, true) => 2,
        (false, false, false, false) => 1,
    }
}
