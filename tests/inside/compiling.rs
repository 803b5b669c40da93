//! From bytes to machine code: the child process and its limits, and the folder of what was compiled.
//! W5 and W17 are of the list of hostile plugins.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use probity::check::{
    CacheError, CheckEngine, CheckSpec, CompileCache, CompileLimits, CompilePlace, ConfiguredCheck,
    EngineSettings, Isolation, LoadError, Plugin,
};
use probity::clock::Clock;

use crate::hostile_guests_bench::spec;
use crate::wat_guest::Guest;

/// A child of the real program.
fn child(limits: CompileLimits) -> CompilePlace {
    CompilePlace::Child { program: env!("CARGO_BIN_EXE_probity").into(), limits }
}

fn engine(compile: CompilePlace, cache: Option<CompileCache>) -> Arc<CheckEngine> {
    let settings = EngineSettings { compile, cache, ..EngineSettings::default() };
    Arc::new(CheckEngine::with_settings(settings).expect("an engine"))
}

/// An engine that cannot compile: what it loads was compiled before.
fn engine_without_compiler(cache: Option<CompileCache>) -> Arc<CheckEngine> {
    engine(
        CompilePlace::Child { program: "/no/such/program".into(), limits: CompileLimits::default() },
        cache,
    )
}

fn cache(folder: &Path) -> CompileCache {
    CompileCache::open(folder, &Clock::system()).expect("a cache")
}

fn frozen(plugin: &Arc<Plugin>, config: &str) -> ConfiguredCheck {
    let spec = CheckSpec { isolation: Isolation::Snapshot, config: config.into(), ..spec() };
    ConfiguredCheck::new(plugin, spec).expect("a snapshot")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|ending| ending == "machine-code")).collect()
}

#[test]
fn a_child_process_compiles_and_freezes_for_this_one() {
    let engine = engine(child(CompileLimits::default()), None);
    let plugin = Arc::new(Plugin::load(&engine, &Guest::default().component()).unwrap());
    assert_eq!(plugin.manifest().name, "wat-guest");
    assert!(frozen(&plugin, "{}").is_frozen());
    // What is wrong with a plugin is said in the same words as without a child.
    assert!(matches!(Plugin::load(&engine, b"\0asm\x0d\0\x01\0"), Err(LoadError::MissingExport(_))));
}

#[test]
fn w5_a_compilation_ends_at_its_limits() {
    let component = Guest::default().component();
    let limits = CompileLimits::default();
    for (limits, words) in [
        (CompileLimits { memory_bytes: 1 << 20, ..limits }, "needs more than the 1 MiB"),
        (CompileLimits { wall: Duration::ZERO, ..limits }, "takes longer than the 0 s"),
    ] {
        let refused = Plugin::load(&engine(child(limits), None), &component).expect_err("it was loaded");
        assert!(matches!(refused, LoadError::Compiler(_)), "{refused}");
        assert!(refused.to_string().contains(words), "{refused}");
    }
}

#[test]
fn a_bundled_check_is_compiled_here_where_there_is_no_child() {
    let engine = engine_without_compiler(None);
    Plugin::load_bundled(&engine, "status").unwrap().unwrap();
    let refused = Plugin::load(&engine, &Guest::default().component()).expect_err("it was loaded");
    assert!(refused.to_string().contains("needs a process of its own"), "{refused}");
}

#[test]
fn what_was_compiled_is_loaded_again_without_a_compiler() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("state/main/plugins");
    let component = Guest::default().component();
    {
        let engine = engine(CompilePlace::Here, Some(cache(&folder)));
        let plugin = Arc::new(Plugin::load(&engine, &component).unwrap());
        frozen(&plugin, r#"{"a":1}"#);
    }
    assert_eq!(files(&folder).len(), 2);
    let engine = engine_without_compiler(Some(cache(&folder)));
    let plugin = Arc::new(Plugin::load(&engine, &component).unwrap());
    assert!(frozen(&plugin, r#"{"a":1}"#).is_frozen());
    // Of a check that may be frozen, the snapshot is there at once; for another configuration it is not.
    let auto = |config: &str| {
        let spec = CheckSpec { config: config.into(), ..spec() };
        ConfiguredCheck::new(&plugin, spec).unwrap().is_frozen()
    };
    assert!(auto(r#"{"a":1}"#) && !auto(r#"{"a":2}"#));
    // Another plugin is another name.
    let other = Guest { pages: 2, ..Guest::default() }.component();
    assert!(Plugin::load(&engine, &other).is_err());
    for file in files(&folder) {
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn w17_machine_code_that_was_changed_is_never_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("plugins");
    let component = Guest::default().component();
    let load = |engine: &Arc<CheckEngine>| Plugin::load(engine, &component).map(drop);
    load(&engine(CompilePlace::Here, Some(cache(&folder)))).unwrap();
    let file = files(&folder).remove(0);
    let whole = fs::read(&file).unwrap();

    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for damaged in [flipped, whole[..whole.len() - 1].to_vec(), whole[..10].to_vec(), Vec::new()] {
        fs::write(&file, &damaged).unwrap();
        assert!(load(&engine_without_compiler(Some(cache(&folder)))).is_err());
        assert!(!file.exists(), "what is damaged is removed");
        load(&engine(CompilePlace::Here, Some(cache(&folder)))).unwrap();
        assert_eq!(fs::read(&file).unwrap(), whole, "and compiled again");
    }
    // Whole, but under the name of something else, or under the seal of another folder.
    let other = Guest { pages: 2, ..Guest::default() }.component();
    Plugin::load(&engine(CompilePlace::Here, Some(cache(&folder))), &other).unwrap();
    let of_other = files(&folder).into_iter().find(|path| *path != file).unwrap();
    fs::copy(&of_other, &file).unwrap();
    assert!(load(&engine_without_compiler(Some(cache(&folder)))).is_err());
    fs::write(&file, &whole).unwrap();
    fs::remove_file(folder.join("key")).unwrap();
    assert!(load(&engine_without_compiler(Some(cache(&folder)))).is_err());
}

#[test]
fn w17_a_folder_that_others_can_look_into_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let open = |path: &Path| CompileCache::open(path, &Clock::system());
    let plugins = folder.path().join("plugins");
    open(&plugins).unwrap();
    fs::set_permissions(&plugins, fs::Permissions::from_mode(0o750)).unwrap();
    assert!(matches!(open(&plugins), Err(CacheError::NotOurs)));
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(folder.path(), &link).unwrap();
    assert!(matches!(open(&link), Err(CacheError::NotOurs)));
}
