//! What lies between us and a target, and what is ours: neither is blamed on the target. In a network of the test's
//! own, which nothing leaves.

use std::process::Command;
use std::time::Duration;

use crate::support::{Project, Running, say_left_out, wrapped};

/// Makes the network: the loopback swallows what goes to 10.0.0.0/8, other networks are refused in their ways, and
/// there is one local port.
const NETWORK: &str = "ip link set lo up \
    && ip route add 10.0.0.0/8 dev lo \
    && ip route add prohibit 192.0.2.0/24 \
    && ip route add unreachable 198.51.100.0/24 \
    && echo 32768 32768 > /proc/sys/net/ipv4/ip_local_port_range \
    && exec \"$@\"";

/// A target, and what must be said of it: outcome and error kind.
const CASES: &[(&str, &str, &str)] = &[
    // N13: whatever is sent there is lost.
    ("http://10.0.0.1/", "down", "connect_timeout"),
    // N19
    ("http://172.16.0.1/", "unknown", "network_unreachable"),
    ("http://198.51.100.1/", "unknown", "network_unreachable"),
    ("http://192.0.2.1/", "unknown", "connect_denied"),
    ("http://[2001:db8::1]/", "unknown", "network_unreachable"),
];
/// Probes that want the one local port to one address at the same time.
const CROWD: usize = 8;

/// A command in a network of its own; none where this machine allows none.
fn in_own_network(command: &Command) -> Option<Command> {
    let own = |script: &str| {
        let mut own = Command::new("unshare");
        own.args(["--user", "--map-root-user", "--net", "sh", "-c", script, "sh"]);
        own
    };
    if !own(NETWORK).arg("true").output().is_ok_and(|output| output.status.success()) {
        return None;
    }
    Some(wrapped(own(NETWORK), command))
}

#[test]
fn n13_n18_n19_what_is_between_us_and_a_target_is_not_its_fault() {
    let name = "n13_n18_n19_what_is_between_us_and_a_target_is_not_its_fault";
    let targets: String = CASES.iter().map(|(url, ..)| format!("\"{url}\",\n")).collect();
    let crowd: String = (0..CROWD).map(|n| format!("\"http://10.0.0.9/{n}\",\n")).collect();
    let project = Project::with_pipeline(&format!(
        "[request]\ntimeout = \"2s\"\n[[sources]]\ntargets = [\n{targets}{crowd}]\n"
    ));
    let Some(command) = in_own_network(&project.with_data(&["run", "--once"])) else {
        return say_left_out(name, "this machine allows no network of one's own");
    };
    Running::start(command).wait(Duration::from_mins(1)).expect_code(1);
    let rows = project.rows();
    rows.expect_whole();
    for (url, outcome, kind) in CASES {
        let row = rows.the_row(url);
        assert_eq!((&row["outcome"], &row["error_kind"]), (&(*outcome).into(), &(*kind).into()), "{row:?}");
        assert!(row["http_status"].is_null() && row["first_byte_us"].is_null(), "{row:?}");
    }
    let of = |kind: &str| {
        let is = |row: &&crate::support::Row| {
            row["url"].as_str().is_some_and(|url| url.contains("10.0.0.9")) && row["error_kind"] == kind
        };
        rows.probes.iter().filter(is).count()
    };
    // One has the port, for as long as it waits.
    assert_eq!((of("connect_timeout"), of("local_ports")), (1, CROWD - 1), "{:#?}", rows.probes);
    let ours = rows.probes.iter().filter(|row| row["error_kind"] == "local_ports");
    assert!(ours.into_iter().all(|row| row["outcome"] == "unknown"));
}
