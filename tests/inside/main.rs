//! The library, from inside: properties, simulations, golden files, layers, tidiness.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod analyst;
mod authors;
#[path = "../hostile/bombs.rs"]
mod bombs;
mod compat_results;
mod compile_bombs;
mod compiling;
mod components;
#[path = "../support/contract.rs"]
#[allow(dead_code, reason = "this test binary uses a part of it")]
mod contract;
mod contract_grown;
mod contract_lock;
mod contract_shape;
mod contract_witness;
mod cron;
#[path = "../hostile/core_module.rs"]
mod core_module;
mod generated;
#[path = "../hostile/guests.rs"]
mod guests;
#[path = "../hostile/components/mod.rs"]
mod hostile_components;
mod hostile_guests;
mod hostile_guests_bench;
mod hostile_guests_fair;
mod hostile_guests_files;
mod hostile_guests_memory;
mod hostile_guests_output;
mod hostile_guests_pool;
mod hostile_guests_stall;
mod hostile_guests_suspended;
mod isolation;
mod layers;
mod mistakes;
mod power_loss;
mod maintenance;
mod records;
mod reload_units;
mod schedule;
mod schema_page;
mod simulation;
mod tidy;
#[path = "../support/python.rs"]
#[allow(dead_code, reason = "this test binary uses a part of it")]
mod python;
#[path = "../bench/results/mod.rs"]
mod results;
#[path = "../support/timing.rs"]
mod timing;
mod tree;
#[path = "../support/wat_guest.rs"]
mod wat_guest;
