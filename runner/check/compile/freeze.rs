//! Takes the snapshot: the plugin is instrumented, started, configured, and written down again with its
//! memory and its globals as they are then.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use wasmtime::component::{Component, Instance, Lift, WasmList};
use wasmtime::{AsContext, Store};
use wasmtime_wizer::{ComponentInstanceState, Wizer};

use super::{Configuration, FreezeError};
use crate::check::engine::{CheckEngine, EngineError};
use crate::check::preflight::reason;
use crate::check::report::{TEXT_BYTES, one_line};
use crate::check::sandbox::{Call, Configured, configure_raw};

/// The instance under which an instrumented component shows its memory and its globals.
const ACCESS: &str = "wasmtime:wizer/access";

/// An engine for one run of `configure`: it compiles quickly instead of well.
pub(in crate::check) struct Draft(CheckEngine);

impl Draft {
    pub(in crate::check) fn new() -> Result<Self, EngineError> {
        CheckEngine::draft().map(Self)
    }
}

/// The component as it is after `configure`: WebAssembly again.
pub(super) fn freeze(
    draft: &Draft,
    wasm: &[u8],
    configuration: Configuration<'_>,
) -> Result<Vec<u8>, FreezeError> {
    let Draft(engine) = draft;
    let wizer = Wizer::new();
    let (context, instrumented) = wizer
        .instrument_component(wasm)
        .map_err(|error| FreezeError::Shape(one_line(&error.root_cause().to_string(), TEXT_BYTES).into()))?;
    let component = Component::from_binary(engine.engine(), &instrumented)
        .map_err(|error| FreezeError::Snapshot(reason(&error)))?;
    let Configured { mut store, instance } = configure_raw(engine, &component, configuration)?;
    let mut access = Access { store: &mut store, instance, failed: None };
    let taken = at_once(wizer.snapshot_component(&context, &mut access));
    if let Some(error) = access.failed {
        return Err(FreezeError::Snapshot(error));
    }
    let taken = taken.ok_or_else(|| FreezeError::Snapshot("taking it did not end".into()))?;
    taken.map_err(|error| FreezeError::Snapshot(reason(&error)))
}

/// Runs a future that has nothing to wait for.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}

/// Reads an instrumented instance. The trait has no errors: the first one is kept, and zeros are given.
struct Access<'a> {
    store: &'a mut Store<Call>,
    instance: Instance,
    failed: Option<String>,
}

impl Access<'_> {
    fn call<R: Lift + 'static>(&mut self, instance: &str, function: &str) -> Option<R> {
        match self.try_call(instance, function) {
            Ok(value) => Some(value),
            Err(error) => {
                self.failed.get_or_insert_with(|| reason(&error));
                None
            }
        }
    }

    fn try_call<R: Lift + 'static>(&mut self, instance: &str, function: &str) -> wasmtime::Result<R> {
        debug_assert_eq!(instance, ACCESS);
        let missing = || wasmtime::Error::msg("the instrumented component lacks an accessor");
        let shown = self.instance.get_export_index(&mut *self.store, None, instance).ok_or_else(missing)?;
        let function =
            self.instance.get_export_index(&mut *self.store, Some(&shown), function).ok_or_else(missing)?;
        let function = self.instance.get_typed_func::<(), (R,)>(&mut *self.store, function)?;
        Ok(function.call(&mut *self.store, ())?.0)
    }
}

impl ComponentInstanceState for Access<'_> {
    async fn call_func_ret_list_u8(
        &mut self,
        instance: &str,
        func: &str,
        contents: impl FnOnce(&[u8]) + Send,
    ) {
        match self.call::<WasmList<u8>>(instance, func) {
            Some(list) => contents(list.as_le_slice(self.store.as_context())),
            None => contents(&[]),
        }
    }

    async fn call_func_ret_s32(&mut self, instance: &str, func: &str) -> i32 {
        self.call(instance, func).unwrap_or_default()
    }

    async fn call_func_ret_s64(&mut self, instance: &str, func: &str) -> i64 {
        self.call(instance, func).unwrap_or_default()
    }

    async fn call_func_ret_f32(&mut self, instance: &str, func: &str) -> u32 {
        self.call::<f32>(instance, func).unwrap_or_default().to_bits()
    }

    async fn call_func_ret_f64(&mut self, instance: &str, func: &str) -> u64 {
        self.call::<f64>(instance, func).unwrap_or_default().to_bits()
    }
}
