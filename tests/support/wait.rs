//! Waiting for a condition, with a deadline: never for luck.

use std::time::{Duration, Instant};

/// Long enough for anything that should happen at all on a loaded machine.
pub(crate) const LONG: Duration = Duration::from_mins(1);

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// Waits until `condition` gives a value, and returns it. Panics with `what` once `deadline` has passed.
pub(crate) fn until<T>(deadline: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(begin.elapsed() < deadline, "{what}: not within {deadline:?}");
        std::thread::sleep(LOOK);
    }
}
