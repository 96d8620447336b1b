//! The targets of one exchange: which is asked next, and what each attempt says of its health.

use crate::error::{Error, Kind};
use crate::target::balance::Bearing;
use crate::target::failover::Failure;
use crate::target::health::Entry;
use crate::target::load::{Lease, Spent};
use crate::target::{Target, Targets};
use crate::wire::doc::Doc;
use http::Method;
use std::time::{Duration, Instant};

/// Picks targets for one exchange until one has answered.
pub struct Round<'a> {
    /// Those to pick from.
    pub targets: &'a Targets,
    bearing: &'a Bearing,
    /// What may become of each target; nothing is noted of a lone one.
    places: Vec<Place>,
    left: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Free,
    /// It was tried: not again while another is left.
    Tried,
    /// The request asks for others.
    Closed,
}

/// A target that a request is sent to.
pub struct Seat<'a> {
    /// Its place in the list.
    pub index: usize,
    /// What it is.
    pub target: &'a Target,
    entry: Option<Entry<'a>>,
    /// Of several targets: what it bears is measured.
    lease: Option<Lease>,
}

impl<'a> Round<'a> {
    /// A round in which nothing was tried yet.
    pub fn new(targets: &'a Targets, bearing: &'a Bearing, doc: &Doc) -> Self {
        let places = match targets.list.len() {
            0 | 1 => Vec::new(),
            count => {
                let eligible = targets.eligible(doc);
                (0..count).map(|index| if eligible(index) { Place::Free } else { Place::Closed }).collect()
            }
        };
        Self { targets, bearing, places, left: targets.policy.failover.retries }
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
            return Some(Seat { index: 0, target, entry: target.state.health.enter(now), lease: None });
        }
        self.untried(now).or_else(|| {
            let tried = self.places.iter_mut().filter(|place| **place == Place::Tried);
            tried.for_each(|place| *place = Place::Free);
            self.untried(now)
        })
    }

    fn untried(&mut self, now: Instant) -> Option<Seat<'a>> {
        let list = &self.targets.list;
        loop {
            let usable = |index: usize| {
                self.places.get(index) == Some(&Place::Free)
                    && list.get(index).is_some_and(|target| target.admits(now))
            };
            let index = self.targets.balancer.pick(&self.bearing.turn(&usable, now))?;
            let target = list.get(index)?;
            if let Some(place) = self.places.get_mut(index) {
                *place = Place::Tried;
            }
            // None where another exchange has just taken the trial.
            if let Some(entry) = target.state.health.enter(now) {
                let lease = Some(target.state.begin(now));
                return Some(Seat { index, target, entry: Some(entry), lease });
            }
        }
    }

    fn all_out(&self, now: Instant) -> (Error, Duration) {
        let soonest = self.targets.list.iter().filter_map(|target| target.left(now)).min();
        // One whose trial is under way has no time of its own.
        let left = soonest.unwrap_or(Duration::from_secs(1));
        let message = "all targets of this route are failing or have used up their quota: try again later";
        (Error::new(Kind::NoTarget, message), left)
    }
}

impl Seat<'_> {
    /// The target did what it should, and took that for it.
    pub fn succeeded(self, spent: Option<&Spent>) {
        if let Some(entry) = self.entry {
            entry.succeeded();
        }
        if let Some((lease, spent)) = self.lease.zip(spent) {
            lease.settle(spent, Instant::now());
        }
    }

    /// It failed. Only failures that the criteria list say something of its health.
    pub fn failed(self, targets: &Targets, failure: Failure) {
        let (policy, now) = (&targets.policy, Instant::now());
        let Some(entry) = self.entry else { return };
        if policy.failover.lists(failure) {
            entry.failed(now, policy.tolerance);
            if let Some(lease) = self.lease {
                lease.fail(now);
            }
        } else if matches!(failure, Failure::Status(_)) {
            // An upstream that refuses what one client asked is well.
            entry.succeeded();
        }
    }
}
