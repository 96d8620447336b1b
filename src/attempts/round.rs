//! The targets of one exchange: which is asked next, and what each attempt says of its health.

use crate::error::{Error, Kind};
use crate::target::failover::Failure;
use crate::target::health::Entry;
use crate::target::{Target, Targets};
use http::Method;
use std::time::{Duration, Instant};

/// Picks targets for one exchange until one has answered.
pub struct Round<'a> {
    pub targets: &'a Targets,
    /// Which have been tried: they are not tried again while another is left.
    tried: Vec<bool>,
    left: u32,
}

/// A target that a request is sent to.
pub struct Seat<'a> {
    pub index: usize,
    pub target: &'a Target,
    entry: Option<Entry<'a>>,
}

impl<'a> Round<'a> {
    /// A round in which nothing was tried yet.
    pub fn new(targets: &'a Targets) -> Self {
        // A lone target needs no memory.
        let tried = if targets.list.len() > 1 { vec![false; targets.list.len()] } else { Vec::new() };
        Self { targets, tried, left: targets.policy.failover.retries }
    }

    /// The target to begin with. An error if all are out: then it says for how long.
    pub fn first(&mut self) -> Result<Seat<'a>, (Error, Duration)> {
        let now = Instant::now();
        self.seat(now).ok_or_else(|| self.all_out(now))
    }

    /// The target to go on with after a failure, if there may be another attempt.
    pub fn after(&mut self, failure: Failure, method: &Method, sent: bool) -> Option<Seat<'a>> {
        if self.left == 0 || !self.targets.policy.failover.allows(failure, method, sent) {
            return None;
        }
        let next = self.seat(Instant::now())?;
        self.left -= 1;
        Some(next)
    }

    fn seat(&mut self, now: Instant) -> Option<Seat<'a>> {
        let list = &self.targets.list;
        if let [target] = list.as_slice() {
            // Whatever is wrong with it, its own answer says more than ours would.
            return Some(Seat { index: 0, target, entry: target.health.enter(now) });
        }
        self.untried(now).or_else(|| {
            self.tried.fill(false);
            self.untried(now)
        })
    }

    fn untried(&mut self, now: Instant) -> Option<Seat<'a>> {
        let list = &self.targets.list;
        loop {
            let usable = |index: usize| {
                self.tried.get(index) == Some(&false)
                    && list.get(index).is_some_and(|target| target.admits(now))
            };
            let index = self.targets.balancer.pick(&usable)?;
            let target = list.get(index)?;
            if let Some(tried) = self.tried.get_mut(index) {
                *tried = true;
            }
            // None where another exchange has just taken the trial.
            if let Some(entry) = target.health.enter(now) {
                return Some(Seat { index, target, entry: Some(entry) });
            }
        }
    }

    fn all_out(&self, now: Instant) -> (Error, Duration) {
        let soonest = self.targets.list.iter().filter_map(|target| target.left(now)).min();
        // One whose trial is under way has no time of its own.
        let left = soonest.unwrap_or(Duration::from_secs(1));
        let message = "all targets of this route are failing or have used up their quota: retry later";
        (Error::new(Kind::NoTarget, message), left)
    }
}

impl Seat<'_> {
    /// The target did what it should.
    pub fn succeeded(self) {
        if let Some(entry) = self.entry {
            entry.succeeded();
        }
    }

    /// It failed. Only failures that the criteria list say something of its health.
    pub fn failed(self, targets: &Targets, failure: Failure) {
        let Some(entry) = self.entry else { return };
        let policy = &targets.policy;
        if policy.failover.lists(failure) {
            entry.failed(Instant::now(), policy.tolerance);
        } else if matches!(failure, Failure::Status(_)) {
            // An upstream that refuses what one client asked is well.
            entry.succeeded();
        }
    }
}
