//! `fetch::fuzz::http2` under libFuzzer.
#![no_main]
#![allow(clippy::disallowed_methods, reason = "libFuzzer's macro makes files")]

use probity_fuzz::fetch::fuzz;

libfuzzer_sys::fuzz_target!(|data: &[u8]| probity_fuzz::without_leak(fuzz::http2, data));
