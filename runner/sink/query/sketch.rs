//! Quantiles of durations in bounded memory.
//!
//! Values are counted in buckets: one a microsecond below 128, beyond that 64 for each doubling. A bucket answers with
//! its middle, which is off by less than 0.8 % of any value in it. Counts are exact, so that two sketches add up to the
//! one of all their values, in any order.

/// One bucket a value below this.
const EXACT: u64 = 128;
/// Buckets of each doubling beyond, as a power of two.
const FINE: u32 = 6;
/// Single values are kept up to this many: most targets of a window have fewer.
const FEW: usize = 256;

/// Counts values; see the module's documentation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sketch {
    /// The buckets of the first values, one by one.
    few: Vec<u16>,
    /// Beyond [`FEW`]: how many values each bucket has, from `base` on.
    counts: Vec<u64>,
    base: u16,
    total: u64,
}

impl Sketch {
    /// Counts a value in microseconds; a negative one as 0.
    pub fn add(&mut self, micros: i64) {
        self.add_bucket(bucket(u64::try_from(micros).unwrap_or(0)));
    }

    fn add_bucket(&mut self, bucket: u16) {
        if self.counts.is_empty() && self.few.len() < FEW {
            self.few.push(bucket);
            self.total += 1;
            return;
        }
        for early in std::mem::take(&mut self.few) {
            self.count(early, 1);
        }
        self.count(bucket, 1);
        self.total += 1;
    }

    /// Adds to a bucket, and makes room for it; the total stays.
    fn count(&mut self, bucket: u16, times: u64) {
        if self.counts.is_empty() {
            self.base = bucket;
        } else if bucket < self.base {
            let missing = usize::from(self.base - bucket);
            self.counts.splice(0..0, std::iter::repeat_n(0, missing));
            self.base = bucket;
        }
        let at = usize::from(bucket - self.base);
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] += times;
    }

    /// Adds all values of another one.
    pub fn merge(&mut self, other: &Self) {
        for early in &other.few {
            self.add_bucket(*early);
        }
        if other.counts.is_empty() {
            return;
        }
        for early in std::mem::take(&mut self.few) {
            self.count(early, 1);
        }
        for (at, times) in other.counts.iter().enumerate().filter(|(_, times)| **times > 0) {
            self.count(other.base + at as u16, *times);
            self.total += *times;
        }
    }

    /// The value that the share `q` (0 to 1) of all values is at most (nearest rank), in microseconds; none without
    /// values.
    pub fn quantile(&self, q: f64) -> Option<u64> {
        if self.total == 0 {
            return None;
        }
        let rank = ((q * self.total as f64).ceil() as u64).clamp(1, self.total);
        if self.counts.is_empty() {
            let mut sorted = self.few.clone();
            sorted.sort_unstable();
            return sorted.get(rank as usize - 1).map(|bucket| middle(*bucket));
        }
        let mut passed = 0;
        let at = self.counts.iter().position(|times| {
            passed += times;
            passed >= rank
        });
        at.map(|at| middle(self.base + at as u16))
    }
}

/// The bucket of a value.
fn bucket(value: u64) -> u16 {
    if value < EXACT {
        return value as u16;
    }
    let doubling = value.ilog2();
    let within = (value >> (doubling - FINE)) & ((1 << FINE) - 1);
    (EXACT + (u64::from(doubling - EXACT.ilog2()) << FINE) + within) as u16
}

/// The middle of a bucket.
fn middle(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    if bucket < EXACT {
        return bucket;
    }
    let doubling = EXACT.ilog2() + ((bucket - EXACT) >> FINE) as u32;
    let within = (bucket - EXACT) & ((1 << FINE) - 1);
    let width = 1_u64 << (doubling - FINE);
    (1_u64 << doubling) + within * width + width / 2
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn exact(values: &[i64], q: f64) -> u64 {
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        let rank = ((q * values.len() as f64).ceil() as usize).clamp(1, values.len());
        sorted[rank - 1] as u64
    }

    proptest! {
        #[test]
        fn quantiles_are_off_by_less_than_one_in_a_hundred(
            values in proptest::collection::vec((0_u32..63, any::<i64>()), 1..1_500),
            cut in 0_usize..1_500,
        ) {
            // As many small ones as large ones.
            let values: Vec<i64> = values.into_iter().map(|(bits, value)| (value & i64::MAX) >> bits).collect();
            let (early, late) = values.split_at(cut.min(values.len()));
            let [mut whole, mut first, mut second] = [const { None }; 3].map(|_: Option<()>| Sketch::default());
            for value in &values { whole.add(*value); }
            for value in early { first.add(*value); }
            for value in late { second.add(*value); }
            second.merge(&first);
            for q in [0.0, 0.01, 0.5, 0.95, 0.99, 1.0] {
                let (wanted, found) = (exact(&values, q), whole.quantile(q).unwrap());
                let off = wanted.abs_diff(found) as f64;
                prop_assert!(off <= wanted as f64 * 0.008, "{q}: {found} for {wanted}");
                prop_assert_eq!(second.quantile(q), Some(found), "merged");
            }
        }
    }

    #[test]
    fn without_values_there_is_no_quantile() {
        assert_eq!(Sketch::default().quantile(0.5), None);
        let mut sketch = Sketch::default();
        sketch.add(-5);
        assert_eq!(sketch.quantile(0.99), Some(0));
    }
}
