//! The commands: one file each; only output.rs prints.

pub mod demo;
