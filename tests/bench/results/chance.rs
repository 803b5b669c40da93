//! Chance by seed: the same seed and the same questions give the same answers, on every machine.

/// A stream of numbers. `SplitMix64` (Steele, Lea and Flood, 2014).
pub(crate) struct Chance(u64);

impl Chance {
    /// The stream of a seed and of what it is asked for: streams of different things do not depend on each other.
    pub(crate) fn of(seed: u64, thing: u64, turn: u64) -> Self {
        let mut start = Self(seed);
        for part in [thing, turn] {
            start.0 ^= part.wrapping_mul(0xd6e8_feb8_6659_fd93);
            start.0 = start.bits();
        }
        start
    }

    /// 64 of them.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 128 of them.
    pub(crate) fn wide(&mut self) -> u128 {
        u128::from(self.bits()) << 64 | u128::from(self.bits())
    }

    /// From 0 to below 1, evenly.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// From `low` to below `high`, evenly.
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + self.unit() * (high - low)
    }

    /// A whole number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.unit() * end as f64) as u64
    }

    /// Whether something of this probability happens.
    pub(crate) fn happens(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// One of several.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    /// One of several, each with its weight.
    pub(crate) fn weighted<'a, T>(&mut self, from: &'a [(f64, T)]) -> &'a T {
        let mut left = self.unit() * from.iter().map(|(weight, _)| weight).sum::<f64>();
        for (weight, thing) in from {
            left -= weight;
            if left < 0.0 {
                return thing;
            }
        }
        &from[from.len() - 1].1
    }

    /// A length as networks have them: log-normal, by its median and the deviation of its logarithm.
    pub(crate) fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        // Box and Muller, 1958; 1 - unit is never 0.
        let (radius, angle) = ((1.0 - self.unit()).ln(), self.unit());
        let normal = (-2.0 * radius).sqrt() * (std::f64::consts::TAU * angle).cos();
        median * (sigma * normal).exp()
    }
}
