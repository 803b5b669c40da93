//! The program `probity`: everything is in the library.

use std::process::ExitCode;

/// Has glibc give back what is free. By default it learns to take large texts from its heaps: reloads, which read such
/// texts on threads that come and go, made 52 MB grow to 97 MB in five hundred of them, nearly all of it free. So large
/// blocks are the system's, and heaps are few (figures: `tests/bench/reloads.py`). But not one: the threads of a probe
/// waited for it twice, which cost a third of the probe's CPU.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "mallopt has no safe form")]
fn keep_memory_flat() {
    const LARGE_BYTES: libc::c_int = 128 << 10;
    // Threads for I/O, checks and the sink, on a small machine.
    const HEAPS: libc::c_int = 8;
    // SAFETY: it takes plain numbers, and no other thread exists yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, HEAPS);
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE_BYTES);
    }
}

fn main() -> ExitCode {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    keep_memory_flat();
    probity::cli::main().into()
}
