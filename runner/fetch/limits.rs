//! How much the operating system lets us do at once: file descriptors, and the concurrency that follows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors kept for what is not a probe: files, the reactor, the admin port, name servers.
const RESERVED_DESCRIPTORS: u64 = 64;
/// What a probe may hold at its peak: two connection attempts side by side, or a name's two questions; and its share of
/// the connections that wait for their next request, and of those to further addresses.
const DESCRIPTORS_PER_PROBE: u64 = 3;
/// Beyond this, more at once only makes every probe slower.
const MAX_CONCURRENCY: u64 = 65_536;

/// The limits on open files, after [`raise_descriptor_limit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DescriptorLimit {
    /// The limit that the program was started with; none when there is none.
    pub started_with: Option<u64>,
    /// The limit now; none when there is none.
    pub now: Option<u64>,
}

impl DescriptorLimit {
    /// How many probes may run at once: what is left after a reserve of 64 and 5 %, for three descriptors each;
    /// at least 1, at most 65,536.
    pub fn max_concurrency(self) -> usize {
        let Some(limit) = self.now else { return MAX_CONCURRENCY as usize };
        let left = limit.saturating_sub(RESERVED_DESCRIPTORS + limit / 20);
        (left / DESCRIPTORS_PER_PROBE).clamp(1, MAX_CONCURRENCY) as usize
    }
}

/// Raises the soft limit on open files to the hard one, which needs no privilege. Where that fails, the limit
/// stays as it is: fewer probes run at once, and the caller can say so.
pub fn raise_descriptor_limit() -> DescriptorLimit {
    let before = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: before.maximum, maximum: before.maximum };
    let raised = before.current != before.maximum && setrlimit(Resource::Nofile, wanted).is_ok();
    let now = if raised { before.maximum } else { before.current };
    DescriptorLimit { started_with: before.current, now }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concurrency(now: Option<u64>) -> usize {
        DescriptorLimit { started_with: now, now }.max_concurrency()
    }

    #[test]
    fn concurrency_leaves_a_reserve() {
        assert_eq!(concurrency(Some(1_024)), 303);
        assert_eq!(concurrency(Some(20_000)), 6_312);
        assert_eq!(concurrency(Some(10)), 1);
        assert_eq!(concurrency(Some(u64::MAX)), 65_536);
        assert_eq!(concurrency(None), 65_536);
    }

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let limit = raise_descriptor_limit();
        assert_eq!(getrlimit(Resource::Nofile).current, limit.now);
        assert_eq!(raise_descriptor_limit().started_with, limit.now);
    }
}
