//! The loop's own state: the generation at hand, who is to be probed, what is in flight, and what may
//! change all that.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::sleep_until;

use super::super::places::{HostPlace, OwnPlaces, Place};
use super::super::roster::{Merged, Roster, Told};
use super::super::stages::Stages;
use super::super::supplies::Supplies;
use super::super::supply::{Supplied, SupplyUpdate};
use super::super::{Stop, StopLevel};
use super::flight::{Flight, Joined, Landed};
use super::probe::Probe;
use super::{Live, Order};
use crate::clock::Instant;

/// Civil time is looked at as often as this, for schedules that follow it.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(1);
/// What lands so soon after other news is taken in with what comes after: the loop is not woken for each probe.
const GRAIN: Duration = Duration::from_millis(1);
/// So many probes start in a row; then those that fly have their turn. All that are due at once would else wait for each
/// other at every step, and each would measure that.
const STARTS_IN_A_ROW: u32 = 4;
/// So many targets that are probed once may wait; then their sources wait.
const ERRANDS: usize = 1_024;

/// One pipeline at work.
pub(super) struct Line {
    stages: Arc<Stages>,
    live: Arc<Live>,
    own: OwnPlaces,
    roster: Roster,
    supplies: Supplies,
    flight: Flight,
    /// Until when nothing that lands is listened for.
    settles: Option<Instant>,
    /// Probes that started since others had their turn.
    started: u32,
    orders: mpsc::Receiver<Order>,
    stop: Stop,
}

/// The places of a probe: there, or there but for the host's.
pub(super) enum Places {
    Taken(Place),
    HostIsFull(Arc<Semaphore>, OwnPlaces),
}

impl Places {
    /// Waits until they are all there.
    pub(super) async fn taken(self, stages: &Stages) -> Option<Place> {
        match self {
            Self::Taken(place) => Some(place),
            Self::HostIsFull(host, own) => {
                let host = host.acquire_owned().await.ok()?;
                stages.places.take(&own, Some(host)).await
            }
        }
    }
}

impl Line {
    pub(super) fn begin(
        live: Arc<Live>,
        stages: Arc<Stages>,
        roster: Roster,
        orders: mpsc::Receiver<Order>,
        stop: Stop,
    ) -> Self {
        let own = OwnPlaces::new(live.built.limits);
        let supplies = Supplies::new(Arc::clone(&stages), Arc::clone(&live.built.name), stop.clone());
        let flight = Flight::default();
        let mut new =
            Self { stages, live, own, roster, supplies, flight, settles: None, started: 0, orders, stop };
        new.supplies.change(&new.live.built.supplies);
        new.merge(None);
        new
    }

    pub(super) fn stages(&self) -> &Arc<Stages> {
        &self.stages
    }

    /// The next probe, and its places; none when the run is over.
    pub(super) async fn next(&mut self) -> Option<(Arc<Probe>, Places)> {
        if self.started >= STARTS_IN_A_ROW {
            self.started = 0;
            // Not before tokio has looked for what has come.
            tokio::task::yield_now().await;
        }
        let turn = loop {
            self.take_in().await?;
            let now = self.stages.clock.now();
            if let Some(turn) = self.roster.pop_due(now) {
                self.settles = Some(now + GRAIN);
                self.started += 1;
                break turn;
            }
            if self.roster.is_over() && self.supplies.have_ended() {
                return None;
            }
            self.wait().await?;
        };
        let probe = Arc::new(Probe::new(Arc::clone(&self.live), turn));
        let places = match self.stages.places.at_host(&self.own, &probe.turn.target.url) {
            HostPlace::Ready(host) => Places::Taken(self.place(host).await?),
            // Its task waits, so that the other hosts' probes need not.
            HostPlace::Full(host) => Places::HostIsFull(host, self.own.clone()),
        };
        Some((probe, places))
    }

    /// Waits for places; none when the run is over.
    async fn place(&mut self, host: Option<OwnedSemaphorePermit>) -> Option<Place> {
        let host = match self.stages.places.try_take(&self.own, host) {
            Ok(place) => return Some(place),
            Err(host) => host,
        };
        tokio::select! {
            place = self.stages.places.take(&self.own, host) => place,
            () = self.stop.reached(StopLevel::Drain) => None,
        }
    }

    /// Takes in what has happened already. None when the run is over.
    async fn take_in(&mut self) -> Option<()> {
        if self.stop.level() > StopLevel::Run {
            return None;
        }
        while let Some(joined) = self.flight.try_join() {
            self.landed(joined).await;
            self.settles = Some(self.stages.clock.now() + GRAIN);
        }
        self.roster.mind_clock(&self.stages.clock, &self.live.built.name);
        match self.orders.try_recv() {
            Ok(order) => self.swap(order),
            Err(mpsc::error::TryRecvError::Empty) => {}
            Err(mpsc::error::TryRecvError::Disconnected) => return None,
        }
        if self.roster.errands() < ERRANDS
            && let Some(update) = self.supplies.try_next()
        {
            self.supplied(update);
        }
        Some(())
    }

    /// Waits until something happens. None when the run is over.
    async fn wait(&mut self) -> Option<()> {
        self.started = 0;
        let now = self.stages.clock.now();
        let settles = self.settles.take().filter(|settles| *settles > now);
        let look = settles.unwrap_or(now + LOOK_AT_CLOCK);
        let wake = self.roster.next_due().map_or(look, |due| due.min(look));
        let wants_supplies = self.roster.errands() < ERRANDS;
        let Self { stop, flight, orders, supplies, .. } = self;
        tokio::select! {
            () = stop.reached(StopLevel::Drain) => return None,
            () = sleep_until(wake) => {}
            Some(joined) = flight.join(), if settles.is_none() => self.landed(joined).await,
            order = orders.recv() => self.swap(order?),
            Some(update) = supplies.next(), if wants_supplies => self.supplied(update),
        }
        Some(())
    }

    /// Goes on under a new generation.
    fn swap(&mut self, order: Order) {
        let Order { live, done } = order;
        if live.built.limits != self.live.built.limits {
            self.own = OwnPlaces::new(live.built.limits);
        }
        self.live = live;
        self.supplies.change(&self.live.built.supplies);
        let merged = self.merge(None);
        // Whoever asked may have gone.
        let _ = done.send(merged);
    }

    /// Takes what a source gave.
    fn supplied(&mut self, update: (usize, SupplyUpdate)) {
        let (supply, SupplyUpdate { supplied, receipt, .. }) = update;
        let told = receipt.map(Told::new);
        match supplied {
            Supplied::Replace(targets) => {
                self.supplies.replace(supply, targets);
                let merged = self.merge(told.as_ref());
                let pipeline = &*self.live.built.name;
                if merged.added + merged.removed + merged.changed > 0 {
                    let Merged { added, removed, changed, kept } = merged;
                    tracing::info!(pipeline, added, removed, changed, kept, "a source has other targets");
                }
            }
            Supplied::Once(targets) => {
                let now = self.stages.clock.now();
                for target in targets {
                    if self.roster.add_errand(target, told.as_ref(), now) {
                        self.stages.counters.one_target();
                    }
                }
            }
            Supplied::Ended => self.supplies.end(supply),
        }
        if let Some(told) = told {
            told.one(None);
        }
    }

    fn merge(&mut self, told: Option<&Arc<Told>>) -> Merged {
        let built = &self.live.built;
        let wanted = built.targets.iter().chain(self.supplies.targets());
        let before = self.roster.len();
        let merged = self.roster.merge(wanted, &built.timing, told, self.stages.clock.now());
        self.stages.counters.targets_are(before, self.roster.len());
        merged
    }

    /// Starts a probe.
    pub(super) fn start(&mut self, probe: Arc<Probe>, task: impl Future<Output = Landed> + Send + 'static) {
        self.flight.start(probe, task);
    }

    async fn landed(&mut self, joined: Joined) {
        if let Some((slot, has_failed)) = self.flight.landed(joined, &self.stages).await {
            self.roster.finished(slot, self.stages.clock.now(), has_failed);
        }
    }

    /// Lets what is in flight land. Nothing new is fetched by sources meanwhile.
    pub(super) async fn land(self) {
        let Self { stages, mut supplies, roster, flight, stop, .. } = self;
        supplies.close();
        // Targets that still wait were not probed: their sources hear of that.
        drop(roster);
        flight.land(&stages, stop).await;
        supplies.ended().await;
    }
}
