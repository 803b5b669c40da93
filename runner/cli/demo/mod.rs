//! `probity demo`: a website of its own, probed from a pipeline that a person can read and edit.

pub mod site;
