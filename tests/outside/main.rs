//! What a person gets, tested on the real binary: over real sockets, real files and real signals.
//!
//! A file a topic. Nothing here links the library; `tests/support` has the tools.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::format_collect,
    clippy::format_push_string,
    reason = "tests; real time; shown where a test fails; small texts"
)]

#[path = "../support/mod.rs"]
mod support;

mod address_policy;
mod assertions;
mod attempts;
mod authors;
#[path = "../hostile/bombs.rs"]
mod bombs;
mod chaos;
mod checks;
mod compact;
mod config_cases;
mod config_errors;
#[path = "../hostile/core_module.rs"]
mod core_module;
mod demo;
mod dns;
mod exit_codes;
mod explain;
mod hostile_network;
mod hostile_plugins;
mod hostile_routes;
mod httpbin;
mod list;
mod lock;
mod memory;
#[path = "../hostile/network/mod.rs"]
mod network;
mod oauth;
mod objects;
mod openssl;
mod overload;
mod pipeline_tests;
mod plugin_inspect;
mod plugin_test;
mod probe;
mod proxies;
mod readers;
mod records;
mod reload;
mod remembering;
mod requests;
mod retention;
mod run_once;
mod samples;
mod schedule;
mod sinks;
mod secrets;
mod sources;
mod stats;
mod stop;
mod storage;
mod suspended;
mod threads;
mod timings;
mod verify;

// Where the files of `tests/hostile` look for it.
use support::wat_guest;
