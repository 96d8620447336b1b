//! What the plugins that send records over a network have in common.

use super::{Conf, Plugin};
use crate::config::schema::{Field, Kind};
use crate::log::queue::{Queue, Receiver, Settings};
use crate::log::record::Record;
use std::sync::Arc;

/// Records wait in a queue for their receiver.
struct Queued(Arc<Queue>);

impl Plugin for Queued {
    fn logs(&self) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        self.0.write(record);
    }
}

/// A plugin whose records go to a receiver. Instances that are configured alike share its queue.
pub fn queued<R: Receiver>(conf: Conf<'_>, settings: &Settings, receiver: impl Fn() -> R) -> Arc<dyn Plugin> {
    let key = format!("{} {}", conf.name, conf.config);
    Arc::new(Queued(Queue::open(key, settings, receiver)))
}

/// `custom_fields_by_lua`, which every logging plugin of Kong's has.
pub fn lua_field() -> Field {
    Field::new("custom_fields_by_lua", Kind::Map { of: Box::new(Kind::text()), key: None })
        .doc("Not supported.")
}
