//! Kong's record `queue`, of plugins that send records over a network.

use crate::config::schema::{Field, Record};

/// The record.
pub fn record() -> Record {
    record_of(1)
}

/// The record of a plugin that sends so many records together unless it is told otherwise.
pub fn record_of(batch: u64) -> Record {
    Record::new(vec![
        Field::integer("max_batch_size", 1, 1_000_000).default(batch).doc("Records sent together."),
        Field::number("max_coalescing_delay", 0.0, 3600.0)
            .default(1)
            .doc("Seconds to wait for a batch to fill."),
        Field::integer("max_entries", 1, 1_000_000)
            .default(10_000)
            .doc("Records that wait; beyond it the oldest is dropped."),
        Field::integer("max_bytes", 1, i64::MAX).doc("Bytes that wait; likewise."),
        Field::number("max_retry_time", f64::MIN, f64::MAX)
            .default(60)
            .doc("Seconds after which a batch is dropped; -1 tries once."),
        Field::number("initial_retry_delay", 0.001, 1_000_000.0)
            .default(0.01)
            .doc("Seconds before the first retry, doubled with each."),
        Field::number("max_retry_delay", 0.001, 1_000_000.0).default(60).doc("Most seconds between retries."),
        Field::integer("concurrency_limit", -1, 1)
            .default(1)
            .doc("1: batches go one by one, in order; -1: several at a time."),
    ])
}
