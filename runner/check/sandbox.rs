//! One call: a fresh instance in a store of its own, under a meter.

use std::fmt;
use std::mem;
use std::sync::Arc;

use wasmtime::component::Component;
use wasmtime::{Engine, Store};

use super::compile::{Configuration, FreezeError};
use super::contract::{self, Instance, Template};
use super::engine::CheckEngine;
use super::fault::{Fault, FaultKind};
use super::gate::Gate;
use super::limits::{FIRST_LOOK, HOST_COPY_BYTES, Limits, Meter};
use super::observed::Observed;
use super::report::{Report, TEXT_BYTES, one_line};
use super::state::{Staged, StateEntries, StateUnreadable};
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
    /// Which part of the plugin is called, where it has several.
    pub(super) member: Option<u32>,
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

/// Bytes of memory of a fresh and configured instance.
pub(super) fn memory_bytes(engine: &CheckEngine, origin: Origin<'_>) -> Result<usize, Fault> {
    let _ticking = engine.keep_ticking();
    let mut store = store(engine.engine(), Limits::for_loading(), &Clock::system(), None);
    fresh(&mut store, origin)?;
    Ok(store.data().meter.memory_bytes())
}

/// An instance after `configure`, with all its exports.
pub(super) struct Configured {
    pub(super) store: Store<Call>,
    pub(super) instance: wasmtime::component::Instance,
}

/// Configures an instrumented component, to be read whole.
pub(super) fn configure_raw(
    engine: &CheckEngine,
    component: &Component,
    configuration: Configuration<'_>,
) -> Result<Configured, FreezeError> {
    let _ticking = engine.keep_ticking();
    let Configuration { json, limits, is_kept: _ } = configuration;
    let mut store = store(engine.engine(), limits.for_configuring(), &Clock::system(), None);
    let configured = contract::bare_instance(engine.linker(), component, &mut store)
        .and_then(|(instance, bare)| Ok((instance.configure(&mut store, json)?, bare)));
    let instance = match configured {
        Ok((Ok(()), bare)) => bare,
        Ok((Err(refusal), _)) => return Err(FreezeError::Configure(one_line(&refusal, TEXT_BYTES))),
        Err(error) => return Err(FreezeError::Configure(fault(&error, &store).message)),
    };
    // Reading gives out the whole memory at once.
    restart(&mut store, |meter| meter.restart(limits.for_reading()));
    store.set_hostcall_fuel(usize::MAX);
    Ok(Configured { store, instance })
}

/// Everything that a `run` needs besides an instance.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) clock: &'a Clock,
    pub(super) limits: Limits,
    /// The deadline of the attempt.
    pub(super) gate: Arc<Gate>,
    pub(super) observed: Arc<Observed>,
    pub(super) staged: Staged,
    /// Which part of the plugin is called, where it has several.
    pub(super) member: Option<u32>,
}

/// What a fresh instance is made of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin<'a> {
    /// The plugin as it is: it gets this configuration first.
    Plain(&'a Template, &'a str),
    /// The plugin frozen after `configure`.
    Frozen(&'a Template),
}

/// A configured instance in its store.
pub(super) struct Ready {
    store: Store<Call>,
    instance: Instance,
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").finish_non_exhaustive()
    }
}

/// Judges one observation with a fresh instance. It is given back where it may be used again: after
/// anything but a clean return nobody knows what state it is in.
pub(super) fn run(engine: &CheckEngine, origin: Origin<'_>, run: Run<'_>) -> (Answer, Option<Ready>) {
    let _ticking = engine.keep_ticking();
    let (limits, gate) = (run.limits, Arc::clone(&run.gate));
    let budget = match origin {
        Origin::Plain(..) => limits.for_configuring(),
        Origin::Frozen(_) => limits,
    };
    let mut store = store(engine.engine(), budget, run.clock, Some(gate));
    let instance = match fresh(&mut store, origin) {
        Ok(instance) => instance,
        Err(fault) => {
            let report = store.into_data().report;
            return (Answer { judged: Err(fault), report, remembered: None, staged: None }, None);
        }
    };
    if let Origin::Plain(..) = origin {
        restart(&mut store, |meter| meter.restart(limits));
    }
    judge(Ready { store, instance }, run)
}

/// Judges one observation with an instance that has judged before.
pub(super) fn run_again(engine: &CheckEngine, mut ready: Ready, run: Run<'_>) -> (Answer, Option<Ready>) {
    let _ticking = engine.keep_ticking();
    let (limits, gate) = (run.limits, Arc::clone(&run.gate));
    restart(&mut ready.store, |meter| meter.restart_for(limits, gate));
    judge(ready, run)
}

/// A fresh and configured instance.
fn fresh(store: &mut Store<Call>, origin: Origin<'_>) -> Result<Instance, Fault> {
    let (template, json) = match origin {
        Origin::Plain(template, json) => (template, Some(json)),
        Origin::Frozen(template) => (template, None),
    };
    let instance = template.instantiate(&mut *store).map_err(|error| fault(&error, store))?;
    match json.map(|json| instance.configure(&mut *store, json)) {
        None | Some(Ok(Ok(()))) => Ok(instance),
        Some(Ok(Err(reason))) => {
            // It took the same configuration at load.
            Err(Fault::new(FaultKind::Refused, &format!("it refused its configuration: {reason}")))
        }
        Some(Err(error)) => Err(fault(&error, store)),
    }
}

fn judge(mut ready: Ready, run: Run<'_>) -> (Answer, Option<Ready>) {
    let Ready { store, instance } = &mut ready;
    let call = store.data_mut();
    call.observed = Some(run.observed);
    call.staged = Some(run.staged);
    call.member = run.member;
    let judged = match instance.run(&mut *store) {
        Ok(Ok(judged)) => Ok(judged),
        Ok(Err(reason)) => Err(Fault::new(FaultKind::Refused, &reason)),
        Err(error) => Err(fault(&error, store)),
    };
    let call = store.data_mut();
    call.observed = None;
    let is_blind = call.staged.as_ref().is_some_and(Staged::is_unreadable);
    let judged = if is_blind { Err(Fault::internal(&StateUnreadable.to_string())) } else { judged };
    let remembered = call.staged.as_ref().and_then(Staged::before);
    let staged = call.staged.take().filter(|staged| judged.is_ok() && staged.is_changed());
    let answer = Answer { judged, report: mem::take(&mut call.report), remembered, staged };
    let is_clean = answer.judged.is_ok();
    (answer, is_clean.then_some(ready))
}

/// Begins the next step of a call, with a budget of its own.
fn restart(store: &mut Store<Call>, restart: impl FnOnce(&mut Meter)) {
    restart(&mut store.data_mut().meter);
    store.set_epoch_deadline(FIRST_LOOK);
}

fn fault(error: &wasmtime::Error, store: &Store<Call>) -> Fault {
    Fault::of_call(error, &store.data().meter, &store.data().report)
}

fn store(engine: &Engine, limits: Limits, clock: &Clock, gate: Option<Arc<Gate>>) -> Store<Call> {
    let meter = Meter::new(limits, clock, gate);
    let call = Call { meter, report: Report::default(), observed: None, staged: None, member: None };
    let mut store = Store::new(engine, call);
    store.limiter(|call| &mut call.meter);
    store.set_epoch_deadline(FIRST_LOOK);
    store.epoch_deadline_callback(|mut context| Ok(context.data_mut().meter.on_tick()));
    store.set_hostcall_fuel(HOST_COPY_BYTES);
    store
}
