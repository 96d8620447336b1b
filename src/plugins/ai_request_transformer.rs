//! ai-request-transformer: lets a model rewrite the client's request.

use super::transformer::{self, Transformer, rules};
use super::{Conf, Plugin, PluginKind, Rewrites, Turn, Wait};
use crate::config::schema::{Field, Record};
use crate::error::Result;
use bytes::Bytes;
use std::sync::Arc;

/// Its entry in the list of plugins.
pub static KIND: PluginKind = PluginKind {
    rules,
    consumer_scope: false,
    ..PluginKind::new("ai-request-transformer", 777, schema, build)
};

/// `config`.
pub fn schema() -> Record {
    let mut record = transformer::record();
    record
        .fields
        .insert(0, Field::text("prompt").required().doc("What the model is told to do with requests."));
    record
}

struct RequestTransformer(Transformer);

fn build(conf: Conf<'_>) -> Result<Arc<dyn Plugin>> {
    Ok(Arc::new(RequestTransformer(Transformer::new(&conf)?)))
}

impl Plugin for RequestTransformer {
    fn reads_body(&self) -> Option<usize> {
        Some(self.0.limit)
    }

    fn rewrites(&self) -> Option<Rewrites> {
        Some(Rewrites::Request)
    }

    fn rewrite_request<'a>(&'a self, turn: Turn<'a>, body: Bytes) -> Wait<'a, Bytes> {
        Box::pin(async move { self.0.transform(turn, &body).await.map(Bytes::from) })
    }
}
