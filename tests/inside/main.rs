//! The library, from inside: properties, simulations, golden files, layers, tidiness.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod generated;
mod hostile_guests;
mod hostile_guests_bench;
mod hostile_guests_fair;
mod hostile_guests_files;
mod hostile_guests_pool;
mod layers;
mod tidy;
mod tree;
#[path = "../support/wat_guest.rs"]
mod wat_guest;
