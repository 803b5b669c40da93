//! One call: a fresh instance in a store of its own, under a meter.

use std::sync::Arc;

use wasmtime::{Engine, Store};

use super::contract::{Instance, Template};
use super::engine::CheckEngine;
use super::fault::{Fault, FaultKind};
use super::gate::Gate;
use super::limits::{HOST_COPY_BYTES, Limits, Meter};
use super::observed::Observed;
use super::report::Report;
use super::state::{Staged, StateEntries};
use crate::clock::Clock;
use crate::model::CheckStatus;

/// What the host holds for one call: the data of its store.
#[derive(Debug)]
pub(super) struct Call {
    meter: Meter,
    report: Report,
    /// What is judged; none in `describe` and `configure`.
    observed: Option<Arc<Observed>>,
    /// What is remembered; none in `describe` and `configure`.
    staged: Option<Staged>,
}

impl Call {
    /// What the guest may see: a host call of it.
    pub(super) fn see(&mut self) -> wasmtime::Result<&Observed> {
        self.meter.host_call()?;
        self.observed.as_deref().ok_or_else(|| wasmtime::Error::msg("there is no observation outside of run"))
    }

    /// What the guest tells: a host call of it.
    pub(super) fn tell(&mut self) -> wasmtime::Result<&mut Report> {
        self.meter.host_call()?;
        Ok(&mut self.report)
    }

    /// What the guest remembers: a host call of it.
    pub(super) fn remember(&mut self) -> wasmtime::Result<Option<&mut Staged>> {
        self.meter.host_call()?;
        Ok(self.staged.as_mut())
    }
}

/// What a call came to.
#[derive(Debug)]
pub(super) struct Answer {
    /// The judgement with its message, as the plugin gave it, or why there is none.
    pub(super) judged: Result<(CheckStatus, String), Fault>,
    /// What it told besides.
    pub(super) report: Report,
    /// What it remembered before the call; none if it did not look.
    pub(super) remembered: Option<Arc<StateEntries>>,
    /// What it wants to remember; none after anything but a clean return.
    pub(super) staged: Option<Staged>,
}

/// Makes one instance, to see whether that works; else why not, in our words and in the engine's.
pub(super) fn try_start(engine: &CheckEngine, template: &Template) -> Result<(), (Fault, wasmtime::Error)> {
    let _ticking = engine.keep_ticking();
    let mut store = store(engine.engine(), Limits::for_loading(), &Clock::system(), None);
    template.instantiate(&mut store).map(drop).map_err(|error| (fault(&error, &store), error))
}

/// Asks a plugin what it says of itself.
pub(super) fn describe(engine: &CheckEngine, template: &Template) -> Result<Vec<(String, String)>, Fault> {
    let _ticking = engine.keep_ticking();
    let mut store = store(engine.engine(), Limits::for_loading(), &Clock::system(), None);
    let described = template.instantiate(&mut store).and_then(|instance| instance.describe(&mut store));
    described.map_err(|error| fault(&error, &store))
}

/// Gives a fresh instance its configuration, to see whether it takes it: `Ok(Err(_))` is what it
/// says against it.
pub(super) fn try_configure(
    engine: &CheckEngine,
    template: &Template,
    json: &str,
    limits: Limits,
) -> Result<Result<(), String>, Fault> {
    let _ticking = engine.keep_ticking();
    let mut store = store(engine.engine(), limits.for_configuring(), &Clock::system(), None);
    let configured =
        template.instantiate(&mut store).and_then(|instance| instance.configure(&mut store, json));
    configured.map_err(|error| fault(&error, &store))
}

/// Everything that a `run` needs besides the plugin.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) clock: &'a Clock,
    pub(super) limits: Limits,
    /// The deadline of the attempt.
    pub(super) gate: Arc<Gate>,
    pub(super) observed: Arc<Observed>,
    pub(super) staged: Staged,
}

/// Judges one observation with a fresh instance.
pub(super) fn run(engine: &CheckEngine, template: &Template, json: &str, run: Run<'_>) -> Answer {
    let _ticking = engine.keep_ticking();
    let mut store = store(engine.engine(), run.limits.for_configuring(), run.clock, Some(run.gate));
    let instance = match ready(&mut store, template, json) {
        Ok(instance) => instance,
        Err(fault) => return answer(store, Err(fault)),
    };
    let call = store.data_mut();
    call.observed = Some(run.observed);
    call.staged = Some(run.staged);
    call.meter.restart(run.limits);
    let first = call.meter.first_ticks();
    store.set_epoch_deadline(first);
    let judged = match instance.run(&mut store) {
        Ok(Ok(judged)) => Ok(judged),
        Ok(Err(reason)) => Err(Fault::new(FaultKind::Refused, &reason)),
        Err(error) => Err(fault(&error, &store)),
    };
    answer(store, judged)
}

/// A fresh and configured instance. Where the plugin can be frozen after `configure`, this is the
/// place that gives an instance of the frozen one instead.
fn ready(store: &mut Store<Call>, template: &Template, json: &str) -> Result<Instance, Fault> {
    let instance = template.instantiate(&mut *store).map_err(|error| fault(&error, store))?;
    match instance.configure(&mut *store, json) {
        Ok(Ok(())) => Ok(instance),
        Ok(Err(reason)) => {
            // It took the same configuration at load.
            Err(Fault::new(FaultKind::Refused, &format!("it refused its configuration: {reason}")))
        }
        Err(error) => Err(fault(&error, store)),
    }
}

fn answer(store: Store<Call>, judged: Result<(CheckStatus, String), Fault>) -> Answer {
    let call = store.into_data();
    let remembered = call.staged.as_ref().and_then(Staged::before);
    let staged = call.staged.filter(|staged| judged.is_ok() && staged.is_changed());
    Answer { judged, report: call.report, remembered, staged }
}

fn fault(error: &wasmtime::Error, store: &Store<Call>) -> Fault {
    Fault::of_call(error, &store.data().meter, &store.data().report)
}

fn store(engine: &Engine, limits: Limits, clock: &Clock, gate: Option<Arc<Gate>>) -> Store<Call> {
    let meter = Meter::new(limits, clock, gate);
    let first = meter.first_ticks();
    let call = Call { meter, report: Report::default(), observed: None, staged: None };
    let mut store = Store::new(engine, call);
    store.limiter(|call| &mut call.meter);
    store.set_epoch_deadline(first);
    store.epoch_deadline_callback(|mut context| Ok(context.data_mut().meter.on_tick()));
    store.set_hostcall_fuel(HOST_COPY_BYTES);
    store
}
