//! Queues of records for receivers beyond a network: batched, bounded, retried.
//!
//! Each queue has a thread, or a few, which alone wait for the receiver. When the queue is full the oldest record
//! gives way, and is counted, as is every record of a batch that is given up.

use super::sink::lock;
use serde::Serialize;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// What Kong's record `queue` says.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Settings {
    /// Records sent together.
    pub max_batch_size: usize,
    /// Seconds to wait for more of them.
    pub max_coalescing_delay: f64,
    /// Records that wait.
    pub max_entries: usize,
    /// Bytes that wait.
    #[serde(default)]
    pub max_bytes: Option<usize>,
    /// Seconds after which a batch is given up; not retried at all if negative.
    pub max_retry_time: f64,
    /// Seconds before the first retry, doubled with each.
    pub initial_retry_delay: f64,
    /// The longest time between two.
    pub max_retry_delay: f64,
    /// Batches under way at a time: 1, or -1 for as many as there are threads.
    #[serde(default = "one_by_one")]
    pub concurrency_limit: i64,
}

/// In the order in which they came.
pub const fn one_by_one() -> i64 {
    1
}

/// The threads of a queue whose batches need not wait for each other.
const THREADS: usize = 8;

/// Who takes the records; called by the queue's thread, which may block.
pub trait Receiver: Send + 'static {
    /// Takes a batch whole, or says why not, without secrets.
    fn take(&mut self, batch: &[Vec<u8>]) -> Result<(), String>;
}

static DROPPED: AtomicU64 = AtomicU64::new(0);
static QUEUES: LazyLock<Mutex<HashMap<String, Weak<Queue>>>> = LazyLock::new(Mutex::default);
/// Also those whose plugin is gone and that still deliver.
static LIVE: LazyLock<Mutex<Vec<Weak<Shared>>>> = LazyLock::new(Mutex::default);

/// How many records have been dropped since the start, over all queues.
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Waits until all queues are empty; false if `until` comes first.
pub fn flush_all(until: Instant) -> bool {
    let queues: Vec<_> = lock(&LIVE).iter().filter_map(Weak::upgrade).collect();
    for queue in &queues {
        lock(&queue.state).hurry = true;
        queue.changed.notify_all();
    }
    queues.iter().all(|queue| queue.flush(until))
}

/// A plugin's way to its receiver.
pub struct Queue(Arc<Shared>);

struct Shared {
    settings: Settings,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Since when the first of them waits.
    since: Option<Instant>,
    /// Taken out, and not yet with the receiver.
    under_way: usize,
    /// Nobody adds to it any more.
    closed: bool,
    /// Nobody waits for a batch to fill any more.
    hurry: bool,
}

impl Queue {
    /// The queue of that key: all that name the same share one, also over reloads.
    ///
    /// Each of its threads has a receiver of its own.
    pub fn open<R: Receiver>(key: String, settings: &Settings, receiver: impl Fn() -> R) -> Arc<Self> {
        let mut queues = lock(&QUEUES);
        if let Some(queue) = queues.get(&key).and_then(Weak::upgrade) {
            return queue;
        }
        queues.retain(|_, queue| queue.strong_count() > 0);
        let shared =
            Arc::new(Shared { settings: settings.clone(), state: Mutex::default(), changed: Condvar::new() });
        for _ in 0..if settings.concurrency_limit < 0 { THREADS } else { 1 } {
            let (of, mut receiver) = (shared.clone(), receiver());
            let started = thread::Builder::new().name("log".to_owned()).spawn(move || of.run(&mut receiver));
            if let Err(error) = started {
                tracing::error!(%error, "no thread for a log queue: its records may be dropped");
            }
        }
        let mut live = lock(&LIVE);
        live.retain(|queue| queue.strong_count() > 0);
        live.push(Arc::downgrade(&shared));
        let queue = Arc::new(Self(shared));
        queues.insert(key, Arc::downgrade(&queue));
        queue
    }

    /// Queues one record as it is; where there is no room the oldest gives way.
    pub fn add(&self, record: Vec<u8>) {
        self.0.add(record);
    }

    /// Queues one record as JSON.
    pub fn write(&self, record: &impl Serialize) {
        match serde_json::to_vec(record) {
            Ok(text) => self.0.add(text),
            Err(error) => {
                DROPPED.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "a log record cannot be written as JSON");
            }
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        lock(&self.0.state).closed = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn add(&self, text: Vec<u8>) {
        let most = self.settings.max_bytes.unwrap_or(usize::MAX);
        let mut state = lock(&self.state);
        if text.len() > most {
            DROPPED.fetch_add(1, Ordering::Relaxed);
            return;
        }
        while state.waiting.len() >= self.settings.max_entries || state.bytes + text.len() > most {
            let Some(oldest) = state.waiting.pop_front() else { break };
            state.bytes -= oldest.len();
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        state.since.get_or_insert_with(Instant::now);
        state.bytes += text.len();
        state.waiting.push_back(text);
        drop(state);
        self.changed.notify_all();
    }

    fn run(&self, receiver: &mut dyn Receiver) {
        while let Some(batch) = self.batch() {
            self.deliver(receiver, &batch);
            lock(&self.state).under_way -= batch.len();
            self.changed.notify_all();
        }
    }

    /// Waits for the next batch; `None` at the end of the queue.
    fn batch(&self) -> Option<Vec<Vec<u8>>> {
        let of = &self.settings;
        let delay = if of.max_batch_size > 1 { seconds(of.max_coalescing_delay) } else { Duration::ZERO };
        let mut state = lock(&self.state);
        loop {
            let waited = state.since.map(|since| since.elapsed());
            let full = state.waiting.len() >= of.max_batch_size || state.closed || state.hurry;
            match waited {
                Some(waited) if full || waited >= delay => break,
                Some(waited) => {
                    let more = self.changed.wait_timeout(state, delay.saturating_sub(waited));
                    state = more.unwrap_or_else(PoisonError::into_inner).0;
                }
                None if state.closed => return None,
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
        let count = state.waiting.len().min(of.max_batch_size);
        let batch: Vec<_> = state.waiting.drain(..count).collect();
        state.bytes -= batch.iter().map(Vec::len).sum::<usize>();
        state.since = (!state.waiting.is_empty()).then(Instant::now);
        state.under_way += batch.len();
        Some(batch)
    }

    fn deliver(&self, receiver: &mut dyn Receiver, batch: &[Vec<u8>]) {
        let of = &self.settings;
        let begun = Instant::now();
        let mut delay = seconds(of.initial_retry_delay);
        let mut failed = false;
        while let Err(error) = receiver.take(batch) {
            if !std::mem::replace(&mut failed, true) {
                tracing::error!(%error, records = batch.len(), "a receiver of log records does not take them");
            }
            if of.max_retry_time < 0.0 || begun.elapsed() > seconds(of.max_retry_time) {
                DROPPED.fetch_add(batch.len() as u64, Ordering::Relaxed);
                tracing::error!(%error, records = batch.len(), "log records are given up");
                return;
            }
            thread::sleep(delay.min(seconds(of.max_retry_delay)));
            delay = delay.saturating_mul(2);
        }
        if failed {
            tracing::info!("the receiver of log records takes them again");
        }
    }

    fn flush(&self, until: Instant) -> bool {
        let left = until.saturating_duration_since(Instant::now());
        let busy = |state: &mut State| state.under_way > 0 || !state.waiting.is_empty();
        let waited = self.changed.wait_timeout_while(lock(&self.state), left, busy);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

fn seconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number.max(0.0)).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::mpsc;

    const SOON: Duration = Duration::from_secs(20);

    fn settings(changes: &serde_json::Value) -> Settings {
        let mut all = json!({"max_batch_size": 1, "max_coalescing_delay": 1, "max_entries": 10_000,
            "max_retry_time": 60, "initial_retry_delay": 0.01, "max_retry_delay": 0.01});
        for (name, value) in changes.as_object().expect("an object") {
            all[name] = value.clone();
        }
        serde_json::from_value(all).expect("settings")
    }

    /// Passes batches on, if the test lets it.
    struct Told(mpsc::Sender<Vec<String>>, Arc<Mutex<mpsc::Receiver<bool>>>);

    impl Receiver for Told {
        fn take(&mut self, batch: &[Vec<u8>]) -> Result<(), String> {
            let batch = batch.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect();
            let _ = self.0.send(batch);
            if lock(&self.1).recv().unwrap_or(false) { Ok(()) } else { Err("away".to_owned()) }
        }
    }

    fn queue(
        name: &str,
        changes: &serde_json::Value,
    ) -> (Arc<Queue>, mpsc::Receiver<Vec<String>>, mpsc::Sender<bool>) {
        let ((told, batches), (leave, given)) = (mpsc::channel(), mpsc::channel());
        let given = Arc::new(Mutex::new(given));
        let receiver = || Told(told.clone(), given.clone());
        (Queue::open(name.to_owned(), &settings(changes), receiver), batches, leave)
    }

    #[test]
    fn without_a_limit_no_batch_waits_for_another() {
        let ((told, batches), (leave, given)) = (mpsc::channel(), mpsc::channel());
        // Each thread has its own receiver, which says nothing before it has leave.
        let given = Arc::new(Mutex::new(given));
        let settings = settings(&json!({"concurrency_limit": -1}));
        let queue = Queue::open("wide".to_owned(), &settings, || Told(told.clone(), given.clone()));
        for number in 0..4 {
            queue.write(&number);
        }
        let mut seen: Vec<_> = (0..4).map(|_| batches.recv_timeout(SOON).expect("a batch")).collect();
        seen.sort();
        assert_eq!(seen, [["0"], ["1"], ["2"], ["3"]], "all are under way, and none is taken yet");
        for _ in 0..4 {
            leave.send(true).expect("the queue runs");
        }
        assert!(queue.0.flush(Instant::now() + SOON));
    }

    #[test]
    fn batches_are_filled_and_retried_until_they_are_taken() {
        let (queue, batches, leave) =
            queue("retried", &json!({"max_batch_size": 3, "max_coalescing_delay": 3600}));
        for number in 0..6 {
            queue.write(&number);
        }
        for (taken, expected) in [(false, ["0", "1", "2"]), (true, ["0", "1", "2"]), (true, ["3", "4", "5"])]
        {
            assert_eq!(batches.recv_timeout(SOON).expect("a batch"), expected);
            leave.send(taken).expect("the queue runs");
        }
        queue.write(&6);
        drop(queue);
        assert_eq!(batches.recv_timeout(SOON).expect("the rest goes at the end"), ["6"]);
        leave.send(true).expect("the queue runs");
        assert!(batches.recv_timeout(SOON).is_err(), "the thread has ended");
    }

    #[test]
    fn a_full_queue_loses_its_oldest_and_counts_them() {
        let (queue, batches, leave) = queue("full", &json!({"max_entries": 2, "max_retry_time": -1}));
        queue.write(&0);
        assert_eq!(batches.recv_timeout(SOON).expect("a batch"), ["0"]);
        let before = dropped();
        for number in 1..6 {
            queue.write(&number);
        }
        assert_eq!(dropped() - before, 3);
        leave.send(false).expect("the queue runs");
        assert_eq!(batches.recv_timeout(SOON).expect("a batch"), ["4"]);
        assert_eq!(dropped() - before, 4, "the batch that was given up");
        leave.send(true).expect("the queue runs");
        assert_eq!(batches.recv_timeout(SOON).expect("a batch"), ["5"]);
        leave.send(true).expect("the queue runs");
        assert!(queue.0.flush(Instant::now() + SOON));
    }
}
