//! Files that records are appended to, one JSON object a line.
//!
//! Each path has one queue and one thread, whoever writes to it and however often the configuration is
//! reloaded, so lines never mix. A request never waits for the disk: when a file cannot keep up, records
//! are dropped and counted.

use super::queue;
use serde::Serialize;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How many records wait for one file at most, and how many bytes they have at most.
const MAX_RECORDS: usize = 64 * 1024;
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// How much is written at once.
const BATCH: usize = 256 * 1024;
/// How long to wait before a file that cannot be written is tried again, and before that is said again.
const RETRY: Duration = Duration::from_millis(500);
const REMIND: Duration = Duration::from_mins(1);

static FILES: LazyLock<Mutex<HashMap<PathBuf, Arc<Shared>>>> = LazyLock::new(Mutex::default);

/// How many records have been dropped since the start, over all files and queues.
pub fn dropped() -> u64 {
    let files: u64 = lock(&FILES).values().map(|file| file.dropped.load(Ordering::Relaxed)).sum();
    files + queue::dropped()
}

/// Waits until everything that has been written so far is in its file or
/// with its receiver; false if `timeout` comes first.
pub fn flush_all(timeout: Duration) -> bool {
    let until = Instant::now() + timeout;
    let files: Vec<_> = lock(&FILES).values().cloned().collect();
    // One file that cannot be written uses up the time, but the others are written meanwhile.
    let written = files.iter().all(|file| file.flush(until));
    queue::flush_all(until) && written
}

/// A plugin instance's way to its file.
#[derive(Clone)]
pub struct FileSink {
    shared: Arc<Shared>,
    reopen: bool,
}

impl FileSink {
    /// The sink of a path; nothing is opened before the first record. With `reopen` the file is opened
    /// anew for each batch, so that a file that was moved away is made again.
    pub fn open(path: &Path, reopen: bool) -> Self {
        let mut files = lock(&FILES);
        let shared = files.entry(path.to_owned()).or_insert_with(|| Arc::new(Shared::new(path)));
        Self { shared: Arc::clone(shared), reopen }
    }

    /// Queues one record, or drops it if too much is waiting already.
    pub fn write(&self, record: &impl Serialize) {
        let mut line = Vec::with_capacity(2048);
        if let Err(error) = serde_json::to_writer(&mut line, record) {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%error, "a log record cannot be written as JSON");
            return;
        }
        line.push(b'\n');
        self.shared.queue(Line { text: line, reopen: self.reopen });
    }
}

struct Line {
    text: Vec<u8>,
    reopen: bool,
}

/// One file's queue, as both sides see it.
struct Shared {
    path: PathBuf,
    /// Set by the first record, which starts the thread; `None` if there could be no thread.
    sender: OnceLock<Option<SyncSender<Line>>>,
    waiting_bytes: AtomicUsize,
    dropped: AtomicU64,
    queued: AtomicU64,
    done: Mutex<u64>,
    progress: Condvar,
}

impl Shared {
    fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            sender: OnceLock::new(),
            waiting_bytes: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            queued: AtomicU64::new(0),
            done: Mutex::new(0),
            progress: Condvar::new(),
        }
    }

    fn queue(self: &Arc<Self>, line: Line) {
        let size = line.text.len();
        let waiting = self.waiting_bytes.fetch_add(size, Ordering::Relaxed);
        let sender = self.sender.get_or_init(|| start(self));
        // A single record may be larger than the bound: it goes while nothing else is waiting.
        let fits = waiting == 0 || waiting + size <= MAX_BYTES;
        match sender {
            Some(sender) if fits && sender.try_send(line).is_ok() => {
                self.queued.fetch_add(1, Ordering::Release);
            }
            _ => {
                self.waiting_bytes.fetch_sub(size, Ordering::Relaxed);
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn flush(&self, until: Instant) -> bool {
        let queued = self.queued.load(Ordering::Acquire);
        let left = until.saturating_duration_since(Instant::now());
        let waited = self.progress.wait_timeout_while(lock(&self.done), left, |done| *done < queued);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

/// Starts the thread that writes a file, and gives the way to it.
fn start(shared: &Arc<Shared>) -> Option<SyncSender<Line>> {
    let (sender, receiver) = sync_channel(MAX_RECORDS);
    let writer = Writer { shared: Arc::clone(shared), file: None, failing: None };
    match thread::Builder::new().name("log".to_owned()).spawn(move || writer.run(&receiver)) {
        Ok(_) => Some(sender),
        Err(error) => {
            let path = shared.path.display();
            tracing::error!(%path, %error, "no thread for the log file: its records are dropped");
            None
        }
    }
}

/// The thread's side of a file.
struct Writer {
    shared: Arc<Shared>,
    file: Option<File>,
    /// When it was last said that the file cannot be written.
    failing: Option<Instant>,
}

impl Writer {
    fn run(mut self, lines: &Receiver<Line>) {
        let mut batch = Vec::with_capacity(BATCH);
        while let Ok(first) = lines.recv() {
            let mut reopen = false;
            let mut count = 0;
            for line in std::iter::once(first).chain(lines.try_iter()) {
                batch.extend_from_slice(&line.text);
                reopen |= line.reopen;
                count += 1;
                if batch.len() >= BATCH {
                    break;
                }
            }
            if reopen {
                self.file = None;
            }
            self.write(&batch);
            self.shared.waiting_bytes.fetch_sub(batch.len(), Ordering::Relaxed);
            batch.clear();
            batch.shrink_to(2 * BATCH);
            *lock(&self.shared.done) += count;
            self.shared.progress.notify_all();
        }
    }

    /// Writes everything, for as long as it takes: what has gone out is never written twice.
    fn write(&mut self, mut rest: &[u8]) {
        while !rest.is_empty() {
            match self.step(rest) {
                Ok(0) => self.failed(&io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    rest = rest.get(written..).unwrap_or_default();
                    if self.failing.take().is_some() {
                        tracing::info!(path = %self.shared.path.display(), "the log file can be written again");
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.failed(&error),
            }
        }
    }

    fn step(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let file = match &mut self.file {
            Some(file) => file,
            closed => {
                let file =
                    OpenOptions::new().append(true).create(true).mode(0o644).open(&self.shared.path)?;
                closed.insert(file)
            }
        };
        file.write(bytes)
    }

    fn failed(&mut self, error: &io::Error) {
        self.file = None;
        if self.failing.is_none_or(|said| said.elapsed() >= REMIND) {
            self.failing = Some(Instant::now());
            tracing::error!(
                path = %self.shared.path.display(), %error,
                "the log file cannot be written and is tried again: make its folder exist, with room left \
                 and writable for the gateway's user, or change `config.path` of file-log",
            );
        }
        thread::sleep(RETRY);
    }
}

/// A lock that outlives a panic elsewhere: what it guards is a counter or a map, never half-changed.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::fs;

    const SOON: Duration = Duration::from_secs(20);

    fn lines(path: &Path) -> Vec<Value> {
        let text = fs::read_to_string(path).expect("readable");
        assert!(text.is_empty() || text.ends_with('\n'), "{text}");
        text.lines().map(|line| serde_json::from_str(line).expect("one whole object a line")).collect()
    }

    /// Waits for one file: other tests have files that cannot be written.
    fn flush(sink: &FileSink) {
        assert!(sink.shared.flush(Instant::now() + SOON));
    }

    #[test]
    fn records_come_out_in_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.log");
        fs::write(&path, "{\"old\":true}\n").expect("writable");
        let sink = FileSink::open(&path, false);
        for n in 0..5_000 {
            sink.write(&json!({"n": n, "text": "a\nb"}));
        }
        flush(&sink);
        let mut found = lines(&path).into_iter();
        assert_eq!(found.next(), Some(json!({"old": true})), "the file is appended to");
        assert!(found.enumerate().all(|(n, line)| line == json!({"n": n, "text": "a\nb"})));
        assert_eq!(lines(&path).len(), 5_001);
    }

    #[test]
    fn lines_of_many_threads_and_instances_do_not_mix() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.log");
        let sinks = [FileSink::open(&path, false), FileSink::open(&path, true)];
        assert!(Arc::ptr_eq(&sinks[0].shared, &sinks[1].shared));
        thread::scope(|scope| {
            for t in 0..8 {
                let sink = &sinks[t % 2];
                scope.spawn(move || {
                    for n in 0..500 {
                        sink.write(&json!({"t": t, "n": n, "text": "x".repeat(n % 97 * 10)}));
                    }
                });
            }
        });
        flush(&sinks[0]);
        let found = lines(&path);
        assert_eq!(found.len(), 4_000);
        let mut next = [0; 8];
        for line in found {
            let t = usize::try_from(line["t"].as_u64().expect("a number")).expect("small");
            assert_eq!(line["n"], json!(next[t]), "in order for each thread");
            next[t] += 1;
        }
    }

    #[test]
    fn a_file_that_is_moved_away_is_made_again_with_reopen() {
        let folder = tempfile::tempdir().expect("a folder");
        for (reopen, expected) in [(true, [1, 1]), (false, [2, 0])] {
            let path = folder.path().join(format!("{reopen}.log"));
            let moved = folder.path().join(format!("{reopen}.log.1"));
            let sink = FileSink::open(&path, reopen);
            sink.write(&json!({"n": 1}));
            flush(&sink);
            fs::rename(&path, &moved).expect("movable");
            sink.write(&json!({"n": 2}));
            flush(&sink);
            let count = |path: &Path| if path.exists() { lines(path).len() } else { 0 };
            assert_eq!([count(&moved), count(&path)], expected, "reopen: {reopen}");
        }
    }

    #[test]
    fn a_sink_survives_its_instances() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.log");
        let first = FileSink::open(&path, false);
        first.write(&json!(1));
        let before = Arc::as_ptr(&first.shared);
        drop(first);
        let second = FileSink::open(&path, false);
        second.write(&json!(2));
        assert_eq!(Arc::as_ptr(&second.shared), before);
        flush(&second);
        assert_eq!(lines(&path), [json!(1), json!(2)]);
    }

    #[test]
    fn what_cannot_be_written_waits_within_bounds_and_is_written_later() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("later/a.log");
        let sink = FileSink::open(&path, false);
        let record = json!({"text": "x".repeat(1024 * 1024)});
        let begun = Instant::now();
        for _ in 0..80 {
            sink.write(&record);
        }
        assert!(begun.elapsed() < SOON, "nobody waited for the file");
        assert!(!flush_all(Duration::from_millis(20)), "nothing could be written");
        let lost = usize::try_from(sink.shared.dropped.load(Ordering::Relaxed)).expect("small");
        assert!((16..=18).contains(&lost), "{lost}");
        assert!(dropped() >= 16);
        fs::create_dir(path.parent().expect("a parent")).expect("creatable");
        flush(&sink);
        assert_eq!(lines(&path).len(), 80 - lost);
        sink.write(&record);
        flush(&sink);
        assert_eq!(lines(&path).len(), 81 - lost, "there is room again");
    }

    #[test]
    fn no_more_than_the_bound_of_records_waits() {
        let folder = tempfile::tempdir().expect("a folder");
        let sink = FileSink::open(&folder.path().join("never/a.log"), false);
        for _ in 0..MAX_RECORDS * 2 {
            sink.write(&1);
        }
        let queued = sink.shared.queued.load(Ordering::Relaxed);
        let least = u64::try_from(MAX_RECORDS).expect("fits");
        // The thread has taken one batch out of the queue before it found that it cannot write.
        let most = least + u64::try_from(BATCH).expect("fits") / 2 + 1;
        assert!((least..=most).contains(&queued), "{queued}");
    }
}
