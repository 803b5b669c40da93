//! Tests.

mod hostile_guests;
mod hostile_guests_bench;
mod hostile_guests_files;
mod hostile_guests_pool;
#[path = "../support/wat_guest.rs"]
mod wat_guest;
