//! The program `probity`: everything is in the library.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// glibc's own takes a lock for every larger block, of which a probe has a dozen; with a heap for each thread instead,
/// it keeps what reloads have freed (`tests/bench/reloads.py` shows that).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    probity::cli::main().into()
}
