//! What tests of the real binary stand on: a project folder, a running process, a website that counts,
//! the Parquet that was written, and the Python readers.
//!
//! Nothing here links the library: it knows the contracts only (arguments, exit codes, folders, columns).
#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests; real time; each test binary uses a part of this"
)]

mod bucket;
mod contract;
mod lines;
mod names;
mod process;
mod project;
mod python;
mod rows;
mod server;
mod wait;
mod wanted;
#[allow(unreachable_pub, reason = "the library's own tests share it, from another place")]
pub(crate) mod wat_guest;

pub(crate) use bucket::{Bucket, Mood};
pub(crate) use contract::{CHECKS, Kind, PROBES};
pub(crate) use lines::unlike;
pub(crate) use names::NameServer;
pub(crate) use process::{Finished, Running, SIGINT, SIGKILL, SIGTERM, wrapped};
pub(crate) use project::Project;
pub(crate) use python::{Python, leave_out, python_or_leave_out, say_left_out};
pub(crate) use rows::{Row, Rows, parquet_files, read_rows};
pub(crate) use server::{Request, Server};
pub(crate) use wait::{LONG, until};
pub(crate) use wanted::{differences, inline};
pub(crate) use wat_guest::{Guest, PASS};
