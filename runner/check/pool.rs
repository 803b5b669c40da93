//! The threads that call checks: apart from the I/O threads, so that a slow check distorts no other
//! target's latency, behind a queue that is fair between pipelines and has a bound for each.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout_at;

use super::fault::{Fault, FaultKind};
use super::gate::Gate;
use super::observed::Observed;
use super::queue::{FairQueue, PipelineLoad, Served};
use super::set::{CheckSet, Judgement};
use crate::clock::{Clock, Instant, thread_cpu_time};

/// The native stack of a check thread, in bytes: the guest's 512 KiB lie on it, with our frames.
const THREAD_STACK_BYTES: usize = 4 << 20;

/// Threads at most: each of them needs two memory slots of the engine (`MEMORIES` there).
const THREADS_MAX: usize = 64;

/// So many pipelines have places at once before those of idle ones are forgotten.
const ROOMS: usize = 1_024;

/// How long a thread that has had work lately waits for more before it looks for it by itself. To be woken for each
/// exchange costs more than to judge it, on both sides.
const NAP: Duration = Duration::from_millis(2);
/// So many exchanges that wait end a nap.
const NAP_ENDS_AT: usize = 32;
/// So many naps in a row without work end in a sleep, from which somebody has to wake the thread.
const EMPTY_NAPS: u32 = 4;
/// Answers that a thread holds back to give them out together, at most.
const ANSWERS_HELD: usize = 16;
/// No answer is held back while checks are at it whose pipeline takes longer than this for an exchange, as far as is
/// known, or of which nothing is known yet.
const QUICK: Duration = Duration::from_micros(250);

/// How many threads, how long a line.
#[derive(Debug, Clone, Copy)]
pub struct PoolSettings {
    /// Threads, from one to 64.
    pub threads: usize,
    /// Exchanges of one pipeline that may wait. Beyond it, whoever brings one waits itself: a pipeline
    /// that is full takes no places of the others.
    pub queue: usize,
}

impl Default for PoolSettings {
    /// A thread for each CPU, and a line of 1,024: at 30 us a check, some 15 ms of work for two.
    fn default() -> Self {
        let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { threads, queue: 1_024 }
    }
}

/// Why there is no pool.
#[derive(Debug, thiserror::Error)]
#[error("a thread for checks cannot be started")]
pub struct PoolError(#[source] std::io::Error);

/// What the pool has done, for gauges and counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolStats {
    /// Exchanges that wait now.
    pub queued: usize,
    /// Threads that judge now.
    pub running: usize,
    /// Calls of checks that ended.
    pub calls: u64,
    /// Nanoseconds that these took, over all threads.
    pub busy_nanos: u64,
    /// Errors, by kind: calls that ended in one, and those that were not made.
    pub errors: Vec<(FaultKind, u64)>,
    /// How each pipeline stands, by name: those that have brought anything.
    pub pipelines: Vec<PipelineLoad>,
}

/// The check threads.
#[derive(Debug)]
pub struct CheckPool {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    queue: Mutex<Queue>,
    /// Wakes a thread that sleeps.
    arrived: Condvar,
    /// Ends a nap early.
    piled_up: Condvar,
    rooms: Rooms,
    counters: Counters,
}

/// What waits: for a thread, or for work.
#[derive(Debug, Default)]
struct Queue {
    jobs: FairQueue<Job>,
    is_stopping: bool,
    /// Threads that sleep and have not been called.
    asleep: usize,
    /// Threads that were called and have not come yet.
    called: usize,
    /// Threads that look for work by themselves soon.
    napping: usize,
}

/// The waiting places of each pipeline.
#[derive(Debug)]
struct Rooms {
    /// Places of one pipeline.
    places: usize,
    of: Mutex<HashMap<Arc<str>, Arc<Semaphore>>>,
}

#[derive(Debug)]
struct Job {
    set: Arc<CheckSet>,
    observed: Arc<Observed>,
    gate: Arc<Gate>,
    answer: oneshot::Sender<Judgement>,
    /// A place in the line, given back when a thread takes the job.
    place: OwnedSemaphorePermit,
}

#[derive(Debug, Default)]
struct Counters {
    running: AtomicUsize,
    calls: AtomicU64,
    busy_nanos: AtomicU64,
    errors: [AtomicU64; FaultKind::ALL.len()],
}

impl CheckPool {
    /// Starts the threads.
    pub fn start(settings: PoolSettings, clock: &Clock) -> Result<Self, PoolError> {
        let shared = Arc::new(Shared {
            clock: clock.clone(),
            queue: Mutex::default(),
            arrived: Condvar::new(),
            piled_up: Condvar::new(),
            rooms: Rooms::new(settings.queue),
            counters: Counters::default(),
        });
        // Made first, so that an error below stops the threads that were started before it.
        let pool = Self { shared: Arc::clone(&shared), threads: Mutex::default() };
        for number in 0..settings.threads.clamp(1, THREADS_MAX) {
            let shared = Arc::clone(&shared);
            let thread = thread::Builder::new()
                .name(format!("check-{number}"))
                .stack_size(THREAD_STACK_BYTES)
                .spawn(move || shared.work())
                .map_err(PoolError)?;
            lock(&pool.threads).push(thread);
        }
        Ok(pool)
    }

    /// Has an attempt judged by the checks of its pipeline.
    ///
    /// Ends at the deadline, whatever the checks do: what they have not said by then is an error. Some milliseconds
    /// later, where a thread has begun by then; longer only where an exchange before it, of a pipeline that is quick
    /// else, takes very long.
    /// Waits for a place in the pipeline's line where there is none; the wait counts.
    pub fn judge(
        &self,
        set: &Arc<CheckSet>,
        observed: Arc<Observed>,
        deadline: Instant,
    ) -> impl Future<Output = Judgement> + Send + use<> {
        let (shared, set) = (Arc::clone(&self.shared), Arc::clone(set));
        async move {
            if set.called_for(&observed).next().is_none() {
                return Judgement::default();
            }
            let gate = Arc::new(Gate::default());
            let fault = match shared.ask(&set, &observed, &gate, deadline).await {
                Ok(judgement) => return judgement,
                Err(fault) => fault,
            };
            let judgement = set.all_faulty(&observed, &fault);
            shared.counters.count_errors(fault.kind, judgement.verdicts.len());
            judgement
        }
    }

    /// What the pool has done.
    pub fn stats(&self) -> PoolStats {
        let counters = &self.shared.counters;
        let errors = FaultKind::ALL.iter().zip(&counters.errors);
        let (queued, pipelines) = {
            let queue = lock(&self.shared.queue);
            (queue.jobs.waiting(), queue.jobs.loads())
        };
        PoolStats {
            queued,
            running: counters.running.load(Ordering::Relaxed),
            calls: counters.calls.load(Ordering::Relaxed),
            busy_nanos: counters.busy_nanos.load(Ordering::Relaxed),
            errors: errors.map(|(kind, count)| (*kind, count.load(Ordering::Relaxed))).collect(),
            pipelines,
        }
    }

    /// Stops the threads: each ends the exchange that it judges, what waits is answered with errors.
    /// Blocks until they have ended. A second call does nothing.
    pub fn stop(&self) {
        self.shared.rooms.close();
        let left = {
            let mut queue = lock(&self.shared.queue);
            queue.is_stopping = true;
            queue.jobs.drain()
        };
        self.shared.arrived.notify_all();
        self.shared.piled_up.notify_all();
        // Dropping the senders tells whoever asked.
        drop(left);
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a check thread ended by a fault of the runner");
            }
        }
    }
}

impl Drop for CheckPool {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// Puts a job into the queue and waits for its answer.
    async fn ask(
        &self,
        set: &Arc<CheckSet>,
        observed: &Arc<Observed>,
        gate: &Arc<Gate>,
        deadline: Instant,
    ) -> Result<Judgement, Fault> {
        let room = self.rooms.of(set.pipeline());
        let place = match timeout_at(deadline, room.acquire_owned()).await {
            Ok(Ok(place)) => place,
            Ok(Err(_closed)) => return Err(Fault::stopping()),
            Err(_elapsed) => return Err(Fault::no_time_left()),
        };
        // Whoever asked may go away (the runner ends at once): then the thread is told to stop as well.
        let _leaving = ExpireOnDrop(gate);
        let (answer, mut answered) = oneshot::channel();
        let (set, observed) = (Arc::clone(set), Arc::clone(observed));
        self.push(Job { set, observed, gate: Arc::clone(gate), answer, place })?;
        let judgement = match timeout_at(deadline, &mut answered).await {
            Ok(judgement) => judgement,
            Err(_elapsed) if gate.expire() => return Err(Fault::no_time_left()),
            // A thread is at it and was told to stop: some milliseconds.
            Err(_elapsed) => answered.await,
        };
        judgement.map_err(|_dropped| Fault::stopping())
    }

    fn push(&self, job: Job) -> Result<(), Fault> {
        let wakes = {
            let mut queue = lock(&self.queue);
            if queue.is_stopping {
                return Err(Fault::stopping());
            }
            let pipeline = Arc::clone(job.set.pipeline());
            queue.jobs.push(&pipeline, job);
            queue.wakes()
        };
        if let Some(wakes) = wakes {
            match wakes {
                Wakes::Sleeper => self.arrived.notify_one(),
                Wakes::Napper => self.piled_up.notify_one(),
            }
        }
        Ok(())
    }

    /// Takes note of a job that is done, and gives the next one, if there is one.
    fn next(&self, done: Option<(Served, Option<Duration>)>) -> Option<(Served, Job)> {
        let (next, has_called) = {
            let mut queue = lock(&self.queue);
            if let Some((served, used)) = done {
                queue.jobs.done(served, used);
            }
            let next = queue.jobs.pop();
            // What came while this thread napped called nobody. It does not wait behind what takes long.
            let is_slow = next.as_ref().is_some_and(|(served, _)| !is_quick(served));
            let has_called = is_slow && queue.jobs.waiting() > 0 && queue.call_sleeper();
            (next, has_called)
        };
        if has_called {
            self.arrived.notify_one();
        }
        next
    }

    /// Waits for work. False when the pool stops.
    fn rest(&self, rests: &mut Rests) -> bool {
        let mut queue = lock(&self.queue);
        if queue.jobs.waiting() > 0 {
            return true;
        }
        if queue.is_stopping {
            return false;
        }
        if rests.may_nap() {
            queue.napping += 1;
            let rested = self.piled_up.wait_timeout(queue, NAP);
            let (mut queue, _) = rested.unwrap_or_else(PoisonError::into_inner);
            queue.napping -= 1;
        } else {
            queue.asleep += 1;
            let mut queue = self.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
            // Now and then a thread wakes without having been called.
            if queue.called > 0 {
                queue.called -= 1;
            } else {
                queue.asleep -= 1;
            }
        }
        true
    }

    /// The life of a check thread.
    fn work(&self) {
        let mut rests = Rests::default();
        let mut answers = Vec::with_capacity(ANSWERS_HELD);
        let mut done = None;
        loop {
            let mut before = thread_cpu_time();
            while let Some((served, job)) = self.next(done.take()) {
                rests.had_work();
                if answers.len() >= ANSWERS_HELD || !is_quick(&served) {
                    give(&mut answers);
                }
                let answer = self.judge(job);
                let after = thread_cpu_time();
                let used = answer.is_some().then(|| after.saturating_sub(before));
                before = after;
                answers.extend(answer);
                done = Some((served, used));
            }
            give(&mut answers);
            if !self.rest(&mut rests) {
                return;
            }
        }
    }

    /// Judges an exchange. None if nobody waits for it any more.
    fn judge(&self, job: Job) -> Option<Answer> {
        drop(job.place);
        // The deadline passed, or whoever asked was dropped.
        if job.answer.is_closed() || !job.gate.begin() {
            return None;
        }
        self.counters.running.fetch_add(1, Ordering::Relaxed);
        let judgement = job.set.judge(&job.observed, &job.gate, &self.clock, |verdict, fault| {
            let counters = &self.counters;
            if fault.is_some_and(|fault| fault.kind == FaultKind::Suspended) {
                return counters.count_errors(FaultKind::Suspended, 1);
            }
            counters.calls.fetch_add(1, Ordering::Relaxed);
            let nanos = u64::try_from(verdict.duration.as_nanos()).unwrap_or(u64::MAX);
            counters.busy_nanos.fetch_add(nanos, Ordering::Relaxed);
            if let Some(fault) = fault {
                counters.count_errors(fault.kind, 1);
            }
        });
        self.counters.running.fetch_sub(1, Ordering::Relaxed);
        Some((job.answer, judgement))
    }
}

/// Whether an exchange is one of a pipeline that is known to be quick.
fn is_quick(served: &Served) -> bool {
    !served.charged().is_zero() && served.charged() <= QUICK
}

/// A judgement, and who waits for it.
type Answer = (oneshot::Sender<Judgement>, Judgement);

/// Gives answers out, one after the other without a pause: the first one wakes an I/O thread, and the others find it
/// awake.
fn give(answers: &mut Vec<Answer>) {
    for (asker, judgement) in answers.drain(..) {
        // Refused only where nobody waits any more.
        let _ = asker.send(judgement);
    }
}

/// Whom a job wakes.
enum Wakes {
    Sleeper,
    Napper,
}

impl Queue {
    /// Whom a job that has just come wakes. Whoever naps will find it; where nobody does, all others are at work, for
    /// who knows how long.
    fn wakes(&mut self) -> Option<Wakes> {
        if self.napping > 0 {
            return (self.jobs.waiting() == NAP_ENDS_AT).then_some(Wakes::Napper);
        }
        self.call_sleeper().then_some(Wakes::Sleeper)
    }

    /// Counts a thread that sleeps as called, if there is one.
    fn call_sleeper(&mut self) -> bool {
        if self.asleep == 0 {
            return false;
        }
        self.asleep -= 1;
        self.called += 1;
        true
    }
}

/// How a thread rests: it naps as long as there is work again and again.
#[derive(Debug, Default)]
struct Rests {
    /// Naps in a row that may still be without work.
    naps_left: u32,
}

impl Rests {
    fn had_work(&mut self) {
        self.naps_left = EMPTY_NAPS;
    }

    fn may_nap(&mut self) -> bool {
        let may_nap = self.naps_left > 0;
        self.naps_left = self.naps_left.saturating_sub(1);
        may_nap
    }
}

impl Rooms {
    fn new(places: usize) -> Self {
        Self { places: places.clamp(1, Semaphore::MAX_PERMITS), of: Mutex::default() }
    }

    /// The places of a pipeline.
    fn of(&self, pipeline: &Arc<str>) -> Arc<Semaphore> {
        let mut rooms = lock(&self.of);
        if let Some(room) = rooms.get(pipeline) {
            return Arc::clone(room);
        }
        if rooms.len() >= ROOMS {
            // Whoever waits in one, or for one, holds it.
            rooms.retain(|_, room| Arc::strong_count(room) > 1);
        }
        let room = Arc::new(Semaphore::new(self.places));
        rooms.insert(Arc::clone(pipeline), Arc::clone(&room));
        room
    }

    /// Nobody gets a place any more. One made after this is of no use: the queue takes no job.
    fn close(&self) {
        for room in lock(&self.of).values() {
            room.close();
        }
    }
}

/// Expires a gate when its asker goes away; one that has its answer already takes no harm.
struct ExpireOnDrop<'a>(&'a Gate);

impl Drop for ExpireOnDrop<'_> {
    fn drop(&mut self) {
        self.0.expire();
    }
}

impl Counters {
    fn count_errors(&self, kind: FaultKind, count: usize) {
        let place = FaultKind::ALL.iter().position(|known| *known == kind);
        if let Some(counter) = place.and_then(|place| self.errors.get(place)) {
            counter.fetch_add(count as u64, Ordering::Relaxed);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that panicked while it held one of these has changed nothing halfway.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
