//! acl: lets in, or keeps out, the consumers of named groups.

use super::{Conf, Plugin, PluginKind, Step};
use crate::config::schema::{Field, Kind, Record, Rule};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::exchange::Exchange;
use http::HeaderValue;
use pingora::http::RequestHeader;
use std::sync::Arc;

/// Its entry in the list of plugins.
pub static KIND: PluginKind =
    PluginKind { rules, consumer_scope: false, ..PluginKind::new("acl", 950, schema, build) };

/// `config`.
pub fn schema() -> Record {
    Record::new(vec![
        Field::list("allow", Kind::text()).doc("Groups that are let in."),
        Field::list("deny", Kind::text()).doc("Groups that are kept out."),
        Field::flag("hide_groups_header", false).doc("Whether the upstream is spared `X-Consumer-Groups`."),
        Field::flag("always_use_authenticated_groups", false)
            .doc("Whether groups given by authentication go before the consumer's own."),
    ])
}

fn rules() -> Vec<Rule> {
    let lists: &[&str] = &["config.allow", "config.deny"];
    vec![Rule::ExactlyOneNonEmpty(lists), Rule::AtLeastOneNonEmpty(lists)]
}

#[derive(serde::Deserialize)]
struct Acl {
    #[serde(default)]
    allow: Option<Vec<String>>,
    #[serde(default)]
    deny: Option<Vec<String>>,
    hide_groups_header: bool,
}

fn build(conf: Conf<'_>) -> Result<Arc<dyn Plugin>> {
    Ok(Arc::new(conf.read::<Acl>()?))
}

impl Plugin for Acl {
    fn request(&self, x: &mut Exchange, head: &mut RequestHeader) -> Step {
        let Some(consumer) = &x.consumer else {
            return Step::Fail(Error::new(ErrorKind::Unauthorized, "Unauthorized"));
        };
        let member = |list: &Option<Vec<String>>| {
            list.iter().flatten().any(|group| consumer.acl_groups.contains(group))
        };
        let kept_out = self.deny.as_ref().is_some_and(|list| !list.is_empty()) && member(&self.deny);
        let not_let_in = self.allow.as_ref().is_some_and(|list| !list.is_empty()) && !member(&self.allow);
        if kept_out || not_let_in {
            return Step::Fail(Error::new(ErrorKind::Forbidden, "You cannot consume this service"));
        }
        if !self.hide_groups_header
            && let Ok(groups) = HeaderValue::try_from(consumer.acl_groups.join(", "))
        {
            // A valid name and value: inserting them does not fail.
            let _ = head.insert_header("x-consumer-groups", groups);
        }
        Step::Next
    }
}
