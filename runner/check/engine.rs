//! The engine under the checks: compiler, instance pool and heartbeat, with everything that a check
//! does not need turned off. Nothing of it is global: two engines in a process know nothing of each
//! other.

use std::fmt;
use std::sync::atomic::AtomicUsize;

use wasmtime::component::Linker;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, WasmFeatures,
};

use super::compile::{CompileCache, CompilePlace, Compiler};
use super::contract;
use super::freezer::Freezer;
use super::limits::{MEMORY_BYTES_MAX, STACK_BYTES, TABLE_ELEMENTS};
use super::sandbox::Call;
use super::ticker::{Ticker, Ticking};

/// Instances at one time: one or two for each check thread, the others idle or for loading. They cost nothing ahead.
const INSTANCES: u32 = 512;
/// Memory slots, 54 GiB of address space: two for each of up to 64 check threads (one holds the instance that checks of a
/// response share, also while another check runs in its own), 48 for idle `reuse` instances, 16 for loading. On most
/// machines many more than calls at one time: a slot keeps the image of the plugin that it held last, and to give it
/// another costs more than the call itself.
const MEMORIES: u32 = 192;
/// Bytes of a slot that are reset by copying instead of by a system call.
const KEEP_RESIDENT: usize = 256 << 10;
/// Address space kept free behind each slot, so that most bounds checks can be left out.
const GUARD: u64 = 32 << 20;

/// Proposals that no check needs, or that cost determinism or the memory bound. Several memories in a
/// module stay on: the adapters between the modules of an interpreter's component have two.
const OFF: [WasmFeatures; 7] = [
    WasmFeatures::MEMORY64,
    WasmFeatures::RELAXED_SIMD,
    WasmFeatures::TAIL_CALL,
    WasmFeatures::FUNCTION_REFERENCES,
    WasmFeatures::GC,
    WasmFeatures::WIDE_ARITHMETIC,
    WasmFeatures::CUSTOM_PAGE_SIZES,
];

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The sandbox does not work on this machine.
    #[error("the sandbox for checks cannot be made on this machine: {0}")]
    Unusable(String),
    /// The heartbeat's thread could not be started.
    #[error("the thread that keeps the time of checks cannot be started")]
    Ticker(#[source] std::io::Error),
}

/// How a memory of the pool becomes clean again for the next instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MemoryReset {
    /// The kernel tells which pages were written (Linux 6.7 and newer), and these are copied back;
    /// where it cannot, as [`MemoryReset::Copy`].
    #[default]
    PagemapScan,
    /// The first 256 KiB are copied back, the rest is unmapped.
    Copy,
    /// Everything is unmapped.
    Unmap,
}

/// How an engine works.
#[derive(Debug, Default)]
pub struct EngineSettings {
    /// How memories are reset.
    pub reset: MemoryReset,
    /// Where plugins are compiled.
    pub compile: CompilePlace,
    /// Where compiled plugins are kept; without one, they are compiled once a process.
    pub cache: Option<CompileCache>,
}

/// Compiles plugins and makes their instances.
pub struct CheckEngine {
    engine: Engine,
    linker: Linker<Call>,
    ticker: Ticker,
    is_pooled: bool,
    compiler: Compiler,
    freezer: Freezer,
    /// Instances of `reuse` checks that wait for their next call.
    idle: AtomicUsize,
}

impl CheckEngine {
    /// An engine that compiles in this process and keeps nothing on disk.
    pub fn new() -> Result<Self, EngineError> {
        Self::with_settings(EngineSettings::default())
    }

    /// Makes the engine and starts its heartbeat. Blocks for some milliseconds.
    ///
    /// Where the address space for the instance pool is not to be had (`ulimit -v`), instances are
    /// made one by one, which is slower.
    pub fn with_settings(settings: EngineSettings) -> Result<Self, EngineError> {
        let EngineSettings { reset, compile, cache } = settings;
        let compiler = Compiler::new(compile, cache);
        match Engine::new(&config(Some(pool(reset)))) {
            Ok(engine) => Self::of(engine, true, compiler),
            Err(error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "no address space for a pool of check instances, checks will be slower"
                );
                Self::of(unpooled(&config(None))?, false, compiler)
            }
        }
    }

    /// An engine of the same machine code, without the pool: for a compiler's process.
    pub(super) fn for_compiling() -> Result<Self, EngineError> {
        Self::of(unpooled(&config(None))?, false, Compiler::default())
    }

    /// An engine for code that runs once: it compiles in less time, to slower code.
    pub(super) fn draft() -> Result<Self, EngineError> {
        let mut config = config(None);
        config.cranelift_opt_level(OptLevel::None);
        Self::of(unpooled(&config)?, false, Compiler::default())
    }

    fn of(engine: Engine, is_pooled: bool, compiler: Compiler) -> Result<Self, EngineError> {
        let linker =
            contract::linker(&engine).map_err(|error| EngineError::Unusable(format!("{error:#}")))?;
        let ticker = Ticker::start(engine.clone()).map_err(EngineError::Ticker)?;
        Ok(Self {
            engine,
            linker,
            ticker,
            is_pooled,
            compiler,
            freezer: Freezer::default(),
            idle: AtomicUsize::new(0),
        })
    }

    /// Whether instances come from the pool.
    pub fn is_pooled(&self) -> bool {
        self.is_pooled
    }

    /// The engine itself.
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What plugins may import: our contract.
    pub(super) fn linker(&self) -> &Linker<Call> {
        &self.linker
    }

    /// What makes machine code of plugins.
    pub(super) fn compiler(&self) -> &Compiler {
        &self.compiler
    }

    /// What freezes plugins in the background.
    pub(super) fn freezer(&self) -> &Freezer {
        &self.freezer
    }

    /// How many instances of `reuse` checks wait for their next call.
    pub(super) fn idle(&self) -> &AtomicUsize {
        &self.idle
    }

    /// To be held while a call runs.
    pub(super) fn keep_ticking(&self) -> Ticking<'_> {
        self.ticker.keep_ticking()
    }
}

impl fmt::Debug for CheckEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckEngine").field("is_pooled", &self.is_pooled).finish_non_exhaustive()
    }
}

fn unpooled(config: &Config) -> Result<Engine, EngineError> {
    Engine::new(config).map_err(|error| EngineError::Unusable(format!("{error:#}")))
}

fn config(pool: Option<PoolingAllocationConfig>) -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true);
    config.max_wasm_stack(STACK_BYTES);
    // The same input gives the same verdict on every machine.
    config.cranelift_nan_canonicalization(true);
    config.parallel_compilation(true);
    config.concurrency_support(false);
    for feature in OFF {
        config.wasm_features(feature, false);
    }
    config.memory_reservation(MEMORY_BYTES_MAX as u64);
    config.memory_guard_size(GUARD);
    config.memory_may_move(false);
    if let Some(pool) = pool {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    config
}

fn pool(reset: MemoryReset) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCES);
    // A component of wit-component has three core instances, an interpreter up to 40.
    pool.total_core_instances(INSTANCES * 40);
    pool.max_component_instance_size(8 << 20);
    pool.max_core_instance_size(4 << 20);
    pool.total_memories(MEMORIES);
    pool.max_memory_size(MEMORY_BYTES_MAX);
    pool.max_memories_per_module(1);
    pool.total_tables(MEMORIES * 2);
    pool.max_tables_per_module(4);
    pool.table_elements(TABLE_ELEMENTS);
    pool.max_unused_warm_slots(MEMORIES);
    // Without these a fresh instance costs four times as much: every page that was unmapped is a fault for
    // the next instance, and every component has a page or two of tables.
    let resident = if reset == MemoryReset::Unmap { 0 } else { KEEP_RESIDENT };
    pool.linear_memory_keep_resident(resident);
    pool.table_keep_resident(resident);
    pool.pagemap_scan(if reset == MemoryReset::PagemapScan { Enabled::Auto } else { Enabled::No });
    pool
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::check::{Limits, Plugin, bundled};

    #[test]
    fn plugins_work_with_the_pool_and_without() {
        let on_demand = CheckEngine::for_compiling().unwrap();
        assert!(!on_demand.is_pooled());
        for engine in [CheckEngine::new().unwrap(), on_demand] {
            let plugin = Plugin::load(&Arc::new(engine), bundled("status").unwrap()).unwrap();
            plugin.configure("{}", Limits::default()).unwrap();
        }
    }
}
