//! The numbers that benchmarks and their peers draw.

/// SplitMix64 (Steele, Lea, Flood 2014), which the peers repeat.
pub(crate) struct Draws(pub(crate) u64);

impl Draws {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The sum of four uniform numbers, scaled to mean 0 and variance 1.
    pub(crate) fn normal(&mut self) -> f64 {
        let z = self.next();
        let sum: u64 = [0, 16, 32, 48].iter().map(|shift| (z >> shift) & 0xFFFF).sum();
        (sum as f64 - 131_070.) * (3f64.sqrt() / 65_536.)
    }
}
