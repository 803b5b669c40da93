//! Chance that is the same every time: numbers from a seed, and those among them that break things.

/// A source of numbers (`SplitMix64`).
pub(super) struct Chance(u64);

impl Chance {
    /// The numbers of this seed.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub(super) fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(super) fn below(&mut self, end: u32) -> u32 {
        (self.any() >> 32) as u32 % end
    }

    /// True once in so many times.
    pub(super) fn one_in(&mut self, times: u32) -> bool {
        self.below(times) == 0
    }

    /// One of several.
    pub(super) fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.below(among.len() as u32) as usize]
    }

    /// So many bytes.
    pub(super) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.any() as u8).collect()
    }

    /// A place in a memory of so many bytes, or just outside of it.
    pub(super) fn place(&mut self, memory_bytes: u32) -> u32 {
        let near = self.below(40);
        match self.below(12) {
            0 => near,
            1 => memory_bytes.wrapping_sub(near),
            2 => memory_bytes.wrapping_add(near),
            3 => 0_u32.wrapping_sub(near),
            4 => (1 << 31) + near,
            5 => self.any() as u32,
            6 => 1_200 + near * 4,
            _ => 2_048 + self.below(6_000),
        }
    }

    /// A length, in bytes, code units or elements.
    pub(super) fn length(&mut self) -> u32 {
        let small = self.below(40);
        match self.below(12) {
            0 => 0,
            1 => 0_u32.wrapping_sub(small),
            2 => (1 << 31) | small,
            3 => (1 << 31) - small,
            4 => self.below(100_000),
            5 => (1 << 30) + small,
            6 => self.any() as u32,
            _ => small,
        }
    }

    /// A number that an instruction may stumble over.
    pub(super) fn number(&mut self) -> u64 {
        match self.below(6) {
            0 => self.any(),
            1 => u64::MAX - u64::from(self.below(3)),
            2 => 1 << self.below(64),
            3 => f64::NAN.to_bits() | self.any(),
            _ => self.below(300).into(),
        }
    }
}
