//! What this process and its threads have used, as Linux tells it.

use std::fs;

/// CPU seconds that the thread of this name has used; none where there is no such thread.
pub(crate) fn thread_seconds(name: &str) -> Option<f64> {
    let tasks = fs::read_dir("/proc/self/task").ok()?;
    let named = tasks
        .flatten()
        .map(|task| task.path())
        .find(|task| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name))?;
    // Nanoseconds on a CPU stand first.
    let used = fs::read_to_string(named.join("schedstat")).ok()?;
    used.split(' ').next()?.parse::<f64>().ok().map(|nanos| nanos / 1e9)
}

/// The most memory that the process had at once, MiB.
pub(crate) fn peak_mib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) / 1024.0
}
