//! The library, from inside: properties, simulations, golden files, layers, tidiness.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod authors;
mod compiling;
mod contract_grown;
mod contract_lock;
mod contract_shape;
mod contract_witness;
mod generated;
mod hostile_guests;
mod hostile_guests_bench;
mod hostile_guests_files;
mod hostile_guests_pool;
mod isolation;
mod layers;
mod tidy;
mod tree;
#[path = "../support/wat_guest.rs"]
mod wat_guest;
