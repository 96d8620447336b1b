//! prometheus: switches on metrics for its scope.

use super::{Conf, Plugin, PluginKind};
use crate::config::schema::{Field, Record};
use crate::error::Result;
use crate::meter::metrics::Switches;
use std::sync::Arc;

/// Its entry in the list of plugins.
pub static KIND: PluginKind = PluginKind::new("prometheus", 13, schema, build);

/// `config`.
pub fn schema() -> Record {
    let switch = |name, doc| Field::boolean(name).default(false).doc(doc);
    Record::new(vec![
        switch("per_consumer", "Whether metrics tell consumers apart."),
        switch("status_code_metrics", "Requests by status."),
        switch("ai_metrics", "Requests, tokens and cost by model."),
        switch("latency_metrics", "Latencies of gateway and upstream."),
        switch("bandwidth_metrics", "Bytes in and out."),
        switch("upstream_health_metrics", "Health of targets."),
        switch("wasm_metrics", "Accepted; this gateway runs no filters."),
    ])
}

struct Prometheus(Switches);

impl Plugin for Prometheus {
    fn switches(&self) -> Option<Switches> {
        Some(self.0)
    }
}

fn build(conf: Conf<'_>) -> Result<Arc<dyn Plugin>> {
    Ok(Arc::new(Prometheus(conf.read()?)))
}
