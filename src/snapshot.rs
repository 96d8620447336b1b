//! A configuration made ready to serve: the router, and for each route its service and its plugins.
//!
//! A snapshot never changes. A reload makes a new one; requests under way keep theirs.

use crate::config::entities::{self, Certificate, Consumer, Document, Route, Service};
use crate::config::problems::{Problem, Problems};
use crate::listen::certificates::Named;
use crate::listen::pem;
use crate::meter::metrics::{RouteMetrics, SERIES};
use crate::plugins::Conf;
use crate::plugins::chain::{Chain, Scope, Step, select};
use crate::plugins::consumers::Consumers;
use crate::route::Router;
use crate::target::Targets;
use crate::upstream::endpoint::{Endpoint, Timeouts, Way};
use crate::wire::address::{Address, authority};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Everything that requests read.
pub struct Snapshot {
    router: Router,
    entries: Vec<Arc<Entry>>,
    /// The plugins of requests that match no route.
    pub unrouted: Chain,
    /// What clients of TLS are shown, by the names that they ask for.
    pub certificates: Arc<Named>,
    /// How much of it there is.
    pub counts: Counts,
}

/// What a configuration holds, for the start line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// That may be asked.
    pub services: usize,
    /// That requests can match.
    pub routes: usize,
    /// That run.
    pub plugins: usize,
    /// That AI routes may go to.
    pub targets: usize,
}

/// One route, with what its requests need.
pub struct Entry {
    /// As it is configured.
    pub route: Route,
    /// Who serves it; AI routes need none.
    pub service: Option<Arc<Service>>,
    /// Where a plain route's requests go.
    pub upstream: Option<Plain>,
    /// Of the service.
    pub timeouts: Timeouts,
    /// The plugins of a request whose consumer is not known, or has none of its own.
    pub chain: Chain,
    /// Those of consumers that have plugins of their own.
    by_consumer: HashMap<Uuid, Chain>,
    /// Its series.
    pub metrics: RouteMetrics,
}

/// The upstream of a plain route.
pub struct Plain {
    /// Its addresses.
    pub endpoint: Arc<Endpoint>,
    /// What goes into `Host`.
    pub authority: String,
}

impl Entry {
    /// The targets of its chains.
    fn targets(&self) -> impl Iterator<Item = &Arc<Targets>> {
        std::iter::once(&self.chain)
            .chain(self.by_consumer.values())
            .filter_map(|chain| chain.targets.as_ref())
    }

    /// Whether its requests go to models, whoever sends them.
    pub fn is_ai(&self) -> bool {
        self.chain.targets.is_some() && self.by_consumer.values().all(|chain| chain.targets.is_some())
    }

    /// The plugins of a request of that consumer.
    pub fn chain_of(&self, consumer: Option<&Consumer>) -> &Chain {
        consumer.and_then(|consumer| self.by_consumer.get(&consumer.id)).unwrap_or(&self.chain)
    }
}

impl Snapshot {
    /// Makes a checked configuration ready. What remains to go wrong here is reported like the rest.
    pub fn build(document: &Document) -> Result<Self, Vec<Problem>> {
        let mut list = Vec::new();
        let mut collector = Problems::new(&mut list);
        let services: HashMap<Uuid, Arc<Service>> =
            document.services.iter().map(|service| (service.id, Arc::new(service.clone()))).collect();
        let enabled: Vec<Route> = document
            .routes
            .iter()
            .filter(|route| route.service.is_none_or(|id| services.get(&id).is_none_or(|s| s.enabled)))
            .cloned()
            .collect();
        let consumers = Arc::new(Consumers::new(&document.consumers));
        let mut builder = Builder {
            plugins: by_route(&document.plugins),
            bound: bound(&document.plugins, &document.consumers),
            consumers,
            problems: &mut collector,
            targets: 0,
        };
        let entries: Vec<_> = enabled
            .iter()
            .map(|route| Arc::new(builder.entry(route, route.service.and_then(|id| services.get(&id)))))
            .collect();
        let unrouted = builder.chain(Scope::default(), Timeouts::default());
        let targets = builder.targets;
        let certificates = Arc::new(certificates(&document.certificates, &mut collector));
        let counts = Counts {
            services: services.len(),
            routes: entries.len(),
            plugins: document.plugins.len(),
            targets,
        };
        match router(&enabled) {
            Ok(router) if list.is_empty() => Ok(Self { router, entries, unrouted, certificates, counts }),
            Ok(_) => Err(list),
            Err(mut bad) => {
                list.append(&mut bad);
                Err(list)
            }
        }
    }

    /// Writes down what each target is now. Those of a configuration before are forgotten.
    pub fn publish_targets(&self) {
        let state = &SERIES.target_state;
        state.reset();
        let now = Instant::now();
        for targets in self.entries.iter().flat_map(|entry| entry.targets()).filter(|all| all.list.len() > 1)
        {
            let plugin = targets.plugin.to_string();
            for (index, target) in targets.list.iter().enumerate() {
                let labels = [&*plugin, &*index.to_string(), target.provider, target.metrics.model()];
                state.with_label_values(&labels).set(target.condition(now) as i64);
            }
        }
    }

    /// The router.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// The route at that index of the router.
    pub fn entry(&self, index: usize) -> Option<&Arc<Entry>> {
        self.entries.get(index)
    }
}

/// The certificates by name. Those that came from a vault are looked at here for the first time.
fn certificates(all: &[Certificate], out: &mut Problems<'_>) -> Named {
    let made = all.iter().filter_map(|of| match pem::certify(of.cert.as_bytes(), of.key.as_bytes()) {
        Ok(key) => Some((of.snis.clone(), key)),
        Err(wrong) => {
            let field = if wrong.is_of_key() { "key" } else { "cert" };
            out.at(&format!("{}.{field}", of.path)).push(wrong.to_string());
            None
        }
    });
    Named::new(&made.collect::<Vec<_>>())
}

/// Plugins by the route that they are bound to: looking through all of them for each of ten thousand
/// routes would take seconds.
type ByRoute<'a> = HashMap<Option<Uuid>, Vec<&'a entities::Plugin>>;

fn by_route(plugins: &[entities::Plugin]) -> ByRoute<'_> {
    let mut found = ByRoute::new();
    for plugin in plugins {
        found.entry(plugin.route).or_default().push(plugin);
    }
    found
}

/// The consumers that have a plugin of their own, or whose group has, and that group.
fn bound(plugins: &[entities::Plugin], consumers: &[Consumer]) -> Vec<(Uuid, Option<Uuid>)> {
    let groups: HashSet<Uuid> = plugins.iter().filter_map(|plugin| plugin.consumer_group).collect();
    let own: HashSet<Uuid> = plugins.iter().filter_map(|plugin| plugin.consumer).collect();
    let bound = |consumer: &Consumer| {
        let group = consumer.groups.iter().copied().find(|group| groups.contains(group));
        (own.contains(&consumer.id) || group.is_some()).then_some((consumer.id, group))
    };
    consumers.iter().filter_map(bound).collect()
}

struct Builder<'a, 'p> {
    plugins: ByRoute<'a>,
    bound: Vec<(Uuid, Option<Uuid>)>,
    consumers: Arc<Consumers>,
    problems: &'a mut Problems<'p>,
    targets: usize,
}

impl Builder<'_, '_> {
    fn entry(&mut self, route: &Route, service: Option<&Arc<Service>>) -> Entry {
        let timeouts = service.map_or_else(Timeouts::default, |service| timeouts(service));
        let scope = Scope { route: Some(route.id), service: route.service, ..Scope::default() };
        let label = |name: Option<&String>, id: Uuid| name.cloned().unwrap_or_else(|| id.to_string());
        let service_label =
            service.map_or_else(String::new, |service| label(service.name.as_ref(), service.id));
        Entry {
            metrics: RouteMetrics::new(&service_label, &label(route.name.as_ref(), route.id)),
            upstream: service.map(|service| plain(service, timeouts)),
            chain: self.chain(scope, timeouts),
            by_consumer: self.by_consumer(scope, timeouts),
            route: route.clone(),
            service: service.cloned(),
            timeouts,
        }
    }

    /// The chains of consumers that have a plugin of their own, or whose group has.
    fn by_consumer(&mut self, scope: Scope, timeouts: Timeouts) -> HashMap<Uuid, Chain> {
        let bound = self.bound.clone();
        bound
            .into_iter()
            .map(|(id, consumer_group)| {
                let scope = Scope { consumer: Some(id), consumer_group, ..scope };
                (id, self.chain(scope, timeouts))
            })
            .collect()
    }

    fn chain(&mut self, scope: Scope, timeouts: Timeouts) -> Chain {
        let mut built = Vec::new();
        let of = |route: Option<Uuid>| self.plugins.get(&route).into_iter().flatten().copied();
        let own = scope.route.into_iter().flat_map(|route| of(Some(route)));
        for plugin in select(of(None).chain(own), scope) {
            let consumers = &self.consumers;
            let conf = Conf {
                id: plugin.id,
                route: plugin.route,
                service: plugin.service,
                name: plugin.kind.name,
                config: &plugin.config,
                timeouts,
                consumers,
            };
            match (plugin.kind.build)(conf) {
                Ok(instance) => {
                    self.targets += instance.targets().map_or(0, |targets| targets.list.len());
                    built.push(Step { priority: plugin.kind.priority, plugin: instance });
                }
                Err(error) => self.problems.at(&plugin.path).at("config").push(error.message()),
            }
        }
        Chain::new(built)
    }
}

fn router(routes: &[Route]) -> Result<Router, Vec<Problem>> {
    Router::new(routes).map_err(|bad| {
        let mut found = Vec::new();
        for (_, message) in bad {
            Problems::new(&mut found).at("routes").push(message);
        }
        found
    })
}

fn timeouts(service: &Service) -> Timeouts {
    Timeouts {
        connect: Duration::from_millis(service.connect_timeout),
        read: Duration::from_millis(service.read_timeout),
        write: Duration::from_millis(service.write_timeout),
    }
}

fn plain(service: &Service, timeouts: Timeouts) -> Plain {
    let tls = service.protocol == "https";
    let own = if tls { 443 } else { 80 };
    let address = Address {
        tls,
        host: service.host.as_str().into(),
        port: service.port,
        path: service.path.clone().unwrap_or_else(|| "/".to_owned()),
        query: None,
        authority: authority(&service.host, service.port, own),
    };
    // KONG(kong/runloop/balancer): a service's certificate is checked only if `tls_verify` asks for it.
    let way = Way { verify: service.tls_verify.unwrap_or(false), ..Way::default() };
    Plain { endpoint: Endpoint::by(&address, timeouts, &way), authority: address.authority }
}
