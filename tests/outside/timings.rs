//! What a row says of time is what was on the wire.

use std::process::Command;
use std::time::Duration;

use crate::support::{Project, Running, python_or_leave_out, say_left_out};

/// `tests/bench/timings.py` in small, with an aim that a loaded machine keeps too: it fails where a delay of a
/// phase shows in another one or in none, or where a phase that did not happen is not null.
#[test]
fn a_delay_shows_in_its_own_phase() {
    let name = "a_delay_shows_in_its_own_phase";
    let Some(python) = python_or_leave_out(name) else { return };
    let own_network = ["--user", "--map-root-user", "--net", "--mount", "test", "-w", "/dev/net/tun"];
    if !Command::new("unshare").args(own_network).status().is_ok_and(|status| status.success()) {
        return say_left_out(name, "this machine allows no network of one's own");
    }
    let root = env!("CARGO_MANIFEST_DIR");
    let mut command = Command::new(python.program());
    command
        .arg(format!("{root}/tests/bench/timings.py"))
        .args(["--repeat", "2", "--rounds", "1", "--delays", "0", "600", "--aim", "300", "--binary"])
        .arg(Project::new().command(&[]).get_program());
    let finished = Running::start(command).wait(Duration::from_mins(2));
    assert!(finished.status.success(), "{}\n{}", finished.stdout, finished.stderr);
    for phase in ["dns", "connect", "tls (1.3)", "tls (1.2)", "first_byte", "transfer"] {
        assert!(
            finished.stdout.contains(&format!("| {phase} | 600 | 2 | 6")),
            "{phase}: {}",
            finished.stdout
        );
    }
}
