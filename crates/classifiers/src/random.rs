//! Generators of random numbers: NumPy's legacy one, whose splits other programs can repeat.

/// The Mersenne Twister MT19937 (Matsumoto, Nishimura, 1998), seeded by `init_genrand` as NumPy's `RandomState(seed)`.
pub(crate) struct MersenneTwister {
    state: [u32; Self::LEN],
    at: usize,
}

impl MersenneTwister {
    const LEN: usize = 624;
    const MIDDLE: usize = 397;

    pub(crate) fn new(seed: u32) -> Self {
        let mut state = [seed; Self::LEN];
        for at in 1..Self::LEN {
            let before = state[at - 1];
            state[at] = 1_812_433_253u32.wrapping_mul(before ^ (before >> 30)).wrapping_add(at as u32);
        }
        Self { state, at: Self::LEN }
    }

    pub(crate) fn next_u32(&mut self) -> u32 {
        if self.at == Self::LEN {
            for at in 0..Self::LEN {
                let mixed = (self.state[at] & 0x8000_0000) | (self.state[(at + 1) % Self::LEN] & 0x7fff_ffff);
                let odd = if mixed & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[at] = self.state[(at + Self::MIDDLE) % Self::LEN] ^ (mixed >> 1) ^ odd;
            }
            self.at = 0;
        }
        let mut y = self.state[self.at];
        self.at += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// A number from 0 to `largest`, both included: outputs masked to the bits of `largest`, drawn again while they are larger. NumPy's `random_interval`.
    pub(crate) fn up_to(&mut self, largest: u32) -> u32 {
        if largest == 0 {
            return 0;
        }
        let mask = u32::MAX >> largest.leading_zeros();
        loop {
            let value = self.next_u32() & mask;
            if value <= largest {
                return value;
            }
        }
    }

    /// A number in [0, 1) with 53 random bits; NumPy's `random_sample`.
    pub(crate) fn unit(&mut self) -> f64 {
        let (high, low) = (self.next_u32() >> 5, self.next_u32() >> 6);
        (f64::from(high) * 67_108_864. + f64::from(low)) / 9_007_199_254_740_992.
    }
}

#[cfg(test)]
mod tests {
    use super::MersenneTwister;

    #[test]
    fn the_twister_gives_the_reference_sequence() {
        // the first outputs for seed 5489, the default of the authors' program; the 10,000th is that of the C++ standard
        let mut twister = MersenneTwister::new(5489);
        let first: Vec<u32> = (0..3).map(|_| twister.next_u32()).collect();
        assert_eq!(first, [3_499_211_612, 581_869_302, 3_890_346_734]);
        let last = (3..10_000).map(|_| twister.next_u32()).last();
        assert_eq!(last, Some(4_123_659_995));
    }
}
