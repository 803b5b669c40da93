//! What a runner may take of its machine: what the user says, else what file descriptors and memory leave room for.
//! Where memory is short, bodies get a quarter of it, and as many probes are in flight as another quarter has room for.

use crate::fetch::{
    DEFAULT_BODY_MEMORY, DEFAULT_IDLE_CONNECTIONS, DEFAULT_SPARE_CONNECTIONS, FetcherConfig, MemoryLimit,
    raise_descriptor_limit,
};

/// The most probes in flight, whatever the limits.
const MOST_IN_FLIGHT: usize = 10_000;
/// With fewer places than this, slow targets hold up the others.
const FEW_IN_FLIGHT: usize = 256;

/// What a runner may take.
#[derive(Debug, Clone)]
pub(super) struct Budgets {
    /// Probes in flight for which there are descriptors, however many the user wants.
    most: usize,
    /// Probes in flight where the user does not say.
    unasked: usize,
    /// Bytes that bodies may take.
    body_memory: u64,
    /// Whether the user said so.
    is_body_memory_asked: bool,
    /// What was found of memory; none where the system does not tell.
    memory: Option<MemoryLimit>,
}

impl Budgets {
    /// What this machine gives, with the user's own word on the memory of bodies. Raises the limit on open files.
    pub(super) fn of_machine(body_memory: Option<u64>) -> Self {
        let descriptors = raise_descriptor_limit().max_concurrency();
        Self::new(descriptors, MemoryLimit::of_this_process(), body_memory)
    }

    fn new(descriptors: usize, memory: Option<MemoryLimit>, body_memory: Option<u64>) -> Self {
        let most = descriptors.min(MOST_IN_FLIGHT);
        let fit = memory.as_ref().map_or(most, MemoryLimit::max_concurrency);
        let default = || memory.as_ref().map_or(DEFAULT_BODY_MEMORY, MemoryLimit::body_memory);
        Self {
            most,
            unasked: most.min(fit),
            body_memory: body_memory.unwrap_or_else(default),
            is_body_memory_asked: body_memory.is_some(),
            memory,
        }
    }

    /// Probes in flight, where the user wants so many or does not say.
    pub(super) fn in_flight(&self, wanted: Option<usize>) -> usize {
        wanted.map_or(self.unasked, |wanted| wanted.clamp(1, self.most))
    }

    /// What the fetcher is set up with.
    pub(super) fn fetching(&self) -> FetcherConfig {
        FetcherConfig {
            body_memory: self.body_memory,
            // What a probe is counted with has room for both (`fetch/limits.rs`); and who waits has buffers.
            idle_connections: DEFAULT_IDLE_CONNECTIONS.min(self.unasked / 2),
            spare_connections: DEFAULT_SPARE_CONNECTIONS.min(self.most / 2),
            ..FetcherConfig::default()
        }
    }

    /// What there is of memory, where it makes less of anything that the user has not said.
    fn shrunk_by(&self, wanted: Option<usize>) -> Option<&MemoryLimit> {
        let are_bodies = !self.is_body_memory_asked && self.body_memory < DEFAULT_BODY_MEMORY;
        let are_probes = wanted.is_none() && self.unasked < self.most;
        self.memory.as_ref().filter(|_| are_bodies || are_probes)
    }

    /// Tells of what the machine lacks, before rows tell of it one by one.
    pub(super) fn tell(&self, wanted: Option<usize>) {
        let in_flight = self.in_flight(wanted);
        if let Some(MemoryLimit { bytes, said_by }) = self.shrunk_by(wanted) {
            tracing::info!(
                memory_mib = bytes >> 20,
                said_by = %said_by.display(),
                body_memory_mib = self.body_memory >> 20,
                in_flight,
                "memory is limited"
            );
        }
        if in_flight < FEW_IN_FLIGHT && wanted.is_none_or(|wanted| wanted > in_flight) {
            let remedy = if in_flight < self.most {
                "give the process more memory, or set concurrency in probity.toml"
            } else {
                "raise the limit of open files (ulimit -n)"
            };
            tracing::warn!(in_flight, "few probes can be in flight: {remedy}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budgets(descriptors: usize, mib: Option<u64>, body_memory: Option<u64>) -> Budgets {
        let memory = mib.map(|mib| MemoryLimit { bytes: mib << 20, said_by: "/proc/meminfo".into() });
        Budgets::new(descriptors, memory, body_memory)
    }

    #[test]
    fn bodies_and_probes_get_a_quarter_each_and_the_user_has_the_last_word() {
        // Descriptors for so many probes, MiB of memory, the user's bytes and probes; MiB of bodies, probes, whether
        // memory is told to be limited.
        let cases = [
            ((6_312, Some(24_000), None, None), (256, 6_312, false)),
            ((6_312, Some(24_000), None, Some(100)), (256, 100, false)),
            ((65_536, Some(64_000), None, None), (256, 10_000, false)),
            ((6_312, None, None, None), (256, 6_312, false)),
            ((6_312, Some(4_096), None, None), (256, 4_096, true)),
            ((303, Some(512), None, None), (128, 303, true)),
            ((6_312, Some(256), None, None), (64, 256, true)),
            ((6_312, Some(256), Some(200 << 20), Some(2_000)), (200, 2_000, false)),
            ((6_312, Some(256), None, Some(100_000)), (64, 6_312, true)),
            ((6_312, Some(0), None, Some(0)), (1, 1, true)),
        ];
        for ((descriptors, mib, body_memory, wanted), wanted_budgets) in cases {
            let budgets = budgets(descriptors, mib, body_memory);
            let is_told = budgets.shrunk_by(wanted).is_some();
            let found = (budgets.fetching().body_memory >> 20, budgets.in_flight(wanted), is_told);
            assert_eq!(found, wanted_budgets, "{descriptors} {mib:?} {body_memory:?} {wanted:?}");
        }
    }

    #[test]
    fn connections_beside_those_of_probes_stay_within_the_same_limits() {
        let few = budgets(6_312, Some(256), None).fetching();
        assert_eq!((few.idle_connections, few.spare_connections), (128, 1_024));
        let fewer = budgets(303, None, None).fetching();
        assert_eq!((fewer.idle_connections, fewer.spare_connections), (151, 151));
    }
}
