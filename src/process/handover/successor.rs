//! The old process's side: it starts the new one, equips it and lets it go.

use super::channel::{Channel, Kind, MOST_FILES};
use super::parent::expect;
use super::{Estate, PARENT, Program, START, STEP, VERSION};
use crate::admin::Rest;
use crate::process::books::Books;
use crate::process::handles::Handles;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A started process that does not serve yet. It ends when it is dropped.
struct Candidate {
    channel: Channel,
    child: Option<Child>,
}

impl Candidate {
    fn start(program: &Program) -> Result<Self, String> {
        let path = program.path.display();
        let failed = |error: std::io::Error| format!("'{path}' cannot be started: {error}");
        let (ours, its) = UnixStream::pair().map_err(failed)?;
        let child = Command::new(&program.path)
            .args(&program.arguments)
            .env(PARENT, std::process::id().to_string())
            .stdin(Stdio::from(OwnedFd::from(its)))
            .spawn()
            .map_err(failed)?;
        let channel = Channel::over(ours).map_err(failed)?;
        let mut candidate = Self { channel, child: Some(child) };
        let hello = expect(&mut candidate.channel, Kind::Hello, STEP).map_err(failed)?;
        if hello.payload != VERSION {
            return Err(format!("'{path}' is of a version that this one cannot hand over to: start it anew"));
        }
        Ok(candidate)
    }

    /// Hands over, and waits until the new process could serve.
    fn equip(&mut self, files: Vec<(String, OwnedFd)>, detach: bool) -> Result<(), String> {
        if files.len() > MOST_FILES {
            return Err(format!("there are more than {MOST_FILES} listeners, which cannot be handed over"));
        }
        let (names, files): (Vec<_>, Vec<_>) = files.into_iter().unzip();
        let borrowed: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        let estate = serde_json::to_vec(&Estate { names, detach }).map_err(|error| error.to_string())?;
        let sent = self.channel.send_with(Kind::Files, &estate, &borrowed);
        let ready = sent.and_then(|()| expect(&mut self.channel, Kind::Ready, START));
        ready.map(drop).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => "the new process could not start: it has said why".to_owned(),
            _ => format!("the new process did not come up: {error}"),
        })
    }

    /// Lets it serve. From here on it is on its own.
    fn go(mut self, counters: &str) -> Result<Channel, String> {
        let told = self.channel.send(Kind::Go, counters.as_bytes());
        told.map_err(|error| format!("the new process has gone: {error}"))?;
        self.child = None;
        self.channel.again().map_err(|error| error.to_string())
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // With nobody to wait for it ends by itself, and says why it could not start if that is so.
        self.channel.close();
        let until = Instant::now() + STEP / 4;
        while matches!(child.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Starts this program once more, away from the terminal, and waits until it serves.
pub fn detach(program: &Program) -> Result<(), String> {
    let mut candidate = Candidate::start(program)?;
    candidate.equip(Vec::new(), true)?;
    let mut channel = candidate.go("")?;
    let serving = expect(&mut channel, Kind::Serving, STEP);
    serving.map(drop).map_err(|_| "the new process ended at once: its log may say why".to_owned())
}

/// How this process is replaced.
pub struct Succession {
    /// What is started.
    pub program: Arc<Program>,
    /// What it is given.
    pub handles: Arc<Handles>,
    /// The counters that it is told.
    pub books: Arc<Books>,
    /// The operators' listeners, which rest meanwhile.
    pub rest: Arc<Rest>,
    /// Where it says that it is ready.
    pub successor: Arc<Successor>,
}

/// The way to the new process, once there is one.
#[derive(Default)]
pub struct Successor {
    is_there: AtomicBool,
    /// Until the last word has been said.
    channel: Mutex<Option<Channel>>,
}

impl Succession {
    /// Has a new process take over. On an error nothing has changed.
    pub async fn begin(&self) -> Result<(), String> {
        let program = self.program.clone();
        let mut candidate = blocking(move || Candidate::start(&program)).await?;
        self.rest.begin(STEP / 2).await;
        let handles = self.handles.clone();
        let equipped = blocking(move || {
            let files = handles.all().map_err(|error| format!("nothing can be handed over: {error}"))?;
            candidate.equip(files, false)?;
            Ok(candidate)
        });
        let done = equipped.await.and_then(|candidate| self.let_go(candidate));
        if done.is_err() {
            self.rest.end();
        }
        done
    }

    fn let_go(&self, candidate: Candidate) -> Result<(), String> {
        let channel = candidate.go(&self.books.text())?;
        let reader = channel.again();
        *self.successor.lock() = Some(channel);
        self.successor.is_there.store(true, Ordering::Release);
        self.rest.leave();
        let (successor, books) = (self.successor.clone(), self.books.clone());
        let answering = reader.and_then(|reader| {
            std::thread::Builder::new()
                .name("successor".to_owned())
                .spawn(move || successor.answer(reader, &books))
        });
        if let Err(error) = answering {
            tracing::error!(%error, "the new process will not see what this one still counts");
        }
        Ok(())
    }
}

impl Successor {
    /// Whether this process has been replaced.
    pub fn is_there(&self) -> bool {
        self.is_there.load(Ordering::Acquire)
    }

    /// Says what has been counted, for the last time. This waits for the new process to read it.
    pub fn finish(&self, books: &Books) {
        let text = books.text();
        if let Some(mut channel) = self.lock().take()
            && let Err(error) = channel.send(Kind::Final, text.as_bytes())
        {
            tracing::error!(%error, "the new process has not heard what this one counted");
        }
    }

    fn answer(&self, mut reader: Channel, books: &Books) {
        loop {
            match reader.receive(STEP) {
                Ok(frame) if frame.kind == Kind::Ask => {
                    let text = books.text();
                    let mut channel = self.lock();
                    // Gone once the last word has been said.
                    let Some(channel) = channel.as_mut() else { return };
                    if channel.send(Kind::Report, text.as_bytes()).is_err() {
                        return;
                    }
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::TimedOut => {}
                Err(error) => return tracing::debug!(%error, "the new process asks no more"),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Channel>> {
        self.channel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Away from the threads that serve: starting a process and waiting for it takes its time.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
}
