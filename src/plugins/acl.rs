//! acl: lets in, or keeps out, the consumers of named groups.

use super::PluginKind;
use crate::config::schema::{Field, Kind, Record, Rule};

/// Its entry in the list of plugins.
pub static KIND: PluginKind =
    PluginKind { name: "acl", priority: 950, schema, rules, consumer_scope: false, build: super::unserved };

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
