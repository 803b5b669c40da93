//! The program `probity`: everything is in the library.

use std::process::ExitCode;

/// Has glibc give back what is free. By default it keeps a heap for several threads each, and learns to take
/// large texts from them: reloads, which read such texts on threads that come and go, made 52 MB grow to 97 MB in
/// five hundred of them, nearly all of it free. So it does in one heap, and large blocks are the system's: 32 MB
/// stayed 32 MB. Figures: `tests/bench/reloads.py`.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "mallopt has no safe form")]
fn keep_memory_flat() {
    const LARGE_BYTES: libc::c_int = 128 << 10;
    // SAFETY: it takes plain numbers, and no other thread exists yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE_BYTES);
    }
}

fn main() -> ExitCode {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    keep_memory_flat();
    probity::cli::main().into()
}
