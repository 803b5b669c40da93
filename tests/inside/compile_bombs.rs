//! W5: plugins that are dear to compile. What a compiler does with them is bounded by its own process;
//! the runner goes on, and the next plugin is compiled.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests; what they measure is shown by --nocapture"
)]

use std::sync::Arc;
use std::time::Duration;

use probity::check::{
    CheckEngine, CompileLimits, CompilePlace, EngineSettings, LoadError, PLUGIN_BYTES_MAX, Plugin,
};
use probity::clock::Clock;

use crate::bombs::BOMBS;
use crate::wat_guest::Guest;

fn engine(compile: CompilePlace) -> Arc<CheckEngine> {
    let settings = EngineSettings { compile, ..EngineSettings::default() };
    Arc::new(CheckEngine::with_settings(settings).expect("an engine"))
}

/// A panic of the compiler is caught and told as this. Near the limit of a plugin's size the compiler has asserts
/// of its own, which a machine may reach before the limits of its process; anything small must not get there.
fn has_panicked(error: &LoadError) -> bool {
    error.to_string().contains("gave up")
}

#[test]
fn w5_a_small_bomb_is_compiled_or_refused() {
    let engine = engine(CompilePlace::Here);
    for bomb in BOMBS {
        let loaded = Plugin::load(&engine, &bomb.component(bomb.few));
        if let Err(error) = loaded {
            assert!(!has_panicked(&error), "{}: {error}", bomb.what);
            println!("{} {}: {error}", bomb.few, bomb.what);
        }
    }
}

#[test]
fn w5_a_bomb_ends_with_the_limits_of_its_compiler() {
    let limits = CompileLimits { memory_bytes: 1 << 30, cpu_seconds: 2, wall: Duration::from_secs(8) };
    let engine = engine(CompilePlace::Child { program: env!("CARGO_BIN_EXE_probity").into(), limits });
    let clock = Clock::system();
    let mut refused = 0_usize;
    for bomb in BOMBS {
        let component = bomb.component(bomb.most);
        assert!(component.len() <= PLUGIN_BYTES_MAX, "{}: {} bytes", bomb.what, component.len());
        let began = clock.now();
        let loaded = Plugin::load(&engine, &component).map(drop);
        let took = clock.now().saturating_duration_since(began);
        println!("{} {}: {took:?}: {:?}", bomb.most, bomb.what, loaded.as_ref().map_err(ToString::to_string));
        assert!(took < limits.wall * 2, "{}: {took:?}", bomb.what);
        refused += usize::from(loaded.is_err());
    }
    assert!(refused > BOMBS.len() / 2, "{refused} were refused: the bombs are too small");
    let plugin = Plugin::load(&engine, &Guest::default().component());
    assert!(matches!(plugin, Ok(_) | Err(LoadError::Compiler(_))), "{plugin:?}");
}
