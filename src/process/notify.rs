//! What a service manager is told, where there is one (systemd's `Type=notify`).

use sd_notify::NotifyState;

/// This process serves. Where it has replaced another, it is the one to look after from now on.
pub fn serving() {
    tell(&[NotifyState::Ready, NotifyState::MainPid(std::process::id()), NotifyState::Status("serving")]);
}

/// This process drains and will end.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

fn tell(what: &[NotifyState<'_>]) {
    // Without a manager this does nothing.
    if let Err(error) = sd_notify::notify(what) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}
