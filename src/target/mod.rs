//! Targets: what a route's AI plugin configured, with everything settled that a request need not
//! settle again.

pub mod ask;
pub mod balance;
pub mod consult;
pub mod cooldown;
pub mod embed;
pub mod failover;
pub mod fingerprint;
pub mod health;
pub mod letter;
pub mod load;
pub mod policy;
pub mod state;
pub mod template;

use crate::config::target::{Operation, TargetConf};
use crate::error::{Error, Kind, Result};
use crate::meter::cost::Price;
use crate::meter::metrics::TargetMetrics;
use crate::provider::auth::Auth;
use crate::provider::native::NativeFormat;
use crate::provider::{Driver, Provider};
use crate::upstream::endpoint::{Endpoint, Timeouts};
use crate::wire::address::Address;
use crate::wire::doc::Doc;
use balance::Balancer;
use fingerprint::Fingerprint;
use health::{Condition, Quota};
use http::HeaderValue;
use serde_json::{Value, json};
use state::State;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Whether streams are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Streaming {
    /// If the client asks.
    #[default]
    Allow,
    /// Never: asking is an error.
    Deny,
    /// Even if the client does not ask.
    Always,
}

/// An AI route: what ai-proxy or ai-proxy-advanced configured.
pub struct Targets {
    /// The instance.
    pub plugin: Uuid,
    /// Under which key of `ai` the log has its exchanges.
    pub log_key: &'static str,
    /// In the order of the configuration.
    pub list: Vec<Target>,
    /// The provider's own API, where clients speak it.
    pub native: Option<&'static dyn NativeFormat>,
    /// Chooses among them.
    pub balancer: Balancer,
    /// Whether answers may stream.
    pub streaming: Streaming,
    /// Bytes of a request body at most.
    pub max_body: usize,
    /// Whether clients are told which model answered.
    pub model_header: bool,
    /// Of one attempt.
    pub timeouts: Timeouts,
    /// What follows a failure.
    pub policy: policy::Policy,
}

impl Targets {
    /// Which targets a request may go to: if it asks for a model by an alias, those of that alias.
    pub fn eligible(&self, doc: &Doc) -> impl Fn(usize) -> bool {
        let known = |asked: &str| self.list.iter().any(|target| target.alias() == Some(asked));
        let aliased = self.list.iter().any(|target| target.alias().is_some());
        let asked = if aliased { doc.text("model").filter(|asked| known(asked)) } else { None };
        let asked = asked.map(std::borrow::Cow::into_owned);
        move |index| match &asked {
            Some(asked) => self.list.get(index).is_some_and(|target| target.alias() == Some(asked)),
            None => true,
        }
    }
}

/// One target.
pub struct Target {
    /// As it is configured.
    pub conf: TargetConf,
    /// The configured name of the provider.
    pub provider: &'static str,
    /// None if it has none.
    pub price: Option<Price>,
    /// Its series.
    pub metrics: Arc<TargetMetrics>,
    /// What the provider counts together with those of other targets.
    pub quota: Arc<Quota>,
    /// `provider/model` for the client, where the configuration names the model.
    pub shown: Option<HeaderValue>,
    /// What is measured of it.
    pub state: Arc<State>,
    plan: Plan,
}

enum Plan {
    /// Nothing depends on the request.
    Settled(Box<Settled>),
    /// Some option holds an expression: settled anew for each request, from this value.
    Dynamic(Value),
    /// The configuration is sound, but what the provider would know us by is not there.
    Unknown(Error),
}

impl Plan {
    fn load(provider: &dyn Provider, conf: TargetConf, timeouts: Timeouts) -> Result<Self> {
        match Settled::load(provider, conf, timeouts) {
            Ok(settled) => Ok(Self::Settled(Box::new(settled))),
            // Its routes say so, and the others run.
            Err(error) if error.kind() == Kind::Identity => Ok(Self::Unknown(error)),
            Err(error) => Err(error),
        }
    }
}

/// A target's parts as one request sees them.
pub struct Settled {
    /// Without templates.
    pub conf: TargetConf,
    /// How its provider is spoken to.
    pub driver: Driver,
    /// How we are known to it.
    pub auth: Auth,
    /// The address with the operation's path; `upstream_path` applied.
    pub address: Address,
    /// Its addresses.
    pub endpoint: Arc<Endpoint>,
}

impl Target {
    /// Settles what can be settled at load. `raw` is the target's checked configuration, `state` what
    /// is known of it already.
    pub fn load(raw: &Value, state: Arc<State>, timeouts: Timeouts) -> Result<Self> {
        let conf = typed(raw)?;
        let dynamic = raw.get("model").is_some_and(template::is_dynamic);
        let name = conf.model.provider.as_str();
        let (provider, plan) = match crate::provider::find(name) {
            Some(provider) if dynamic => (provider.name(), Plan::Dynamic(raw.clone())),
            Some(provider) => (provider.name(), Plan::load(provider, conf.clone(), timeouts)?),
            None => return Err(Error::new(Kind::Internal, format!("provider '{name}' is unknown"))),
        };
        let label = conf.model.name.as_deref().filter(|name| !name.contains("$("));
        Ok(Self {
            provider,
            shown: label.and_then(|model| HeaderValue::try_from(format!("{provider}/{model}")).ok()),
            price: Price::new(conf.model.options.input_cost, conf.model.options.output_cost),
            metrics: Arc::new(TargetMetrics::new(provider, label)),
            quota: Quota::shared(quota_key(raw, &plan)),
            conf,
            state,
            plan,
        })
    }

    /// The upstream's host, where it does not depend on the request.
    pub fn host(&self) -> Option<&str> {
        match &self.plan {
            Plan::Settled(settled) => Some(&settled.address.host),
            Plan::Dynamic(_) | Plan::Unknown(_) => None,
        }
    }

    /// What the metrics say of it.
    pub fn condition(&self, now: Instant) -> Condition {
        match self.quota.left(now) {
            Some(_) => Condition::Cooling,
            None => self.state.health.condition(now),
        }
    }

    /// Whether a request may be sent to it now.
    pub fn admits(&self, now: Instant) -> bool {
        self.quota.left(now).is_none() && self.state.health.admits(now)
    }

    /// How long it is still out.
    pub fn left(&self, now: Instant) -> Option<Duration> {
        self.quota.left(now).max(self.state.health.left(now))
    }

    /// The name by which clients may ask for its model.
    pub fn alias(&self) -> Option<&str> {
        self.conf.model.model_alias.as_deref()
    }

    /// The target as this request sees it.
    pub fn settle(&self, source: &template::Source<'_>, timeouts: Timeouts) -> Result<Choice<'_>> {
        match &self.plan {
            Plan::Settled(settled) => Ok(Choice::Lent(settled)),
            Plan::Dynamic(raw) => {
                let mut raw = raw.clone();
                if let Some(model) = raw.get_mut("model") {
                    template::resolve(model, source)?;
                }
                let provider = crate::provider::find(self.provider)
                    .ok_or_else(|| Error::new(Kind::Internal, "the provider is unknown"))?;
                let own = Settled::load(provider, typed(&raw)?, timeouts)?;
                Ok(Choice::Own(Box::new(own)))
            }
            Plan::Unknown(error) => Err(error.clone()),
        }
    }
}

/// What a provider counts together: who asks whom, where, for which model.
fn quota_key(raw: &Value, plan: &Plan) -> Fingerprint {
    let field = |pointer| raw.pointer(pointer).cloned();
    let place = match plan {
        // The region is a part of the host.
        Plan::Settled(settled) => Some(settled.address.authority.clone().into()),
        Plan::Dynamic(_) | Plan::Unknown(_) => field("/model/options"),
    };
    Fingerprint::of(&json!([field("/auth"), field("/model/provider"), field("/model/name"), place]))
}

fn typed(raw: &Value) -> Result<TargetConf> {
    <TargetConf as serde::Deserialize>::deserialize(raw)
        .map_err(|error| Error::bad_request(format!("the target's options do not fit together: {error}")))
}

/// A settled target: lent by its route, or made for one request.
pub enum Choice<'a> {
    /// As it was loaded.
    Lent(&'a Settled),
    /// Made for this request.
    Own(Box<Settled>),
}

impl std::ops::Deref for Choice<'_> {
    type Target = Settled;

    fn deref(&self) -> &Settled {
        match self {
            Self::Lent(settled) => settled,
            Self::Own(settled) => settled,
        }
    }
}

impl Settled {
    fn load(provider: &dyn Provider, conf: TargetConf, timeouts: Timeouts) -> Result<Self> {
        let driver = provider.load(&conf)?;
        let auth = Auth::load(&conf.auth)?;
        let address = driver.address(&conf.model.options)?;
        let endpoint = Endpoint::shared(&address, timeouts);
        Ok(Self { conf, driver, auth, address, endpoint })
    }

    /// The path for requests that are forwarded as they come: the client's, unless one is configured.
    pub fn preserved_path<'a>(&'a self, client: &'a str) -> &'a str {
        self.conf.model.options.upstream_path.as_deref().unwrap_or(client)
    }

    /// What the target serves.
    pub fn operation(&self) -> Operation {
        self.conf.route_type
    }
}
