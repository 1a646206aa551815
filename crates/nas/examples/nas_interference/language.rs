//! The synthetic language `local-and-copy`: the first half of a sequence follows a chain, the second is the first through a permutation, and some tokens are noise.

use candle_core::{Device, Tensor};
use core_tensor::random::Rng;
use experiment::Result;

pub(crate) const TOKENS: usize = 12;
pub(crate) const LENGTH: usize = 16;
const HALF: usize = LENGTH / 2;

/// Successors with their probabilities, and the permutation.
#[derive(Clone)]
pub(crate) struct Language {
    successors: Vec<[usize; 3]>,
    permutation: Vec<usize>,
}

/// Token numbers with masks (number 12), what stood there, and where.
pub(crate) struct Batch {
    pub(crate) ids: Tensor,
    pub(crate) targets: Tensor,
    pub(crate) mask: Tensor,
}

impl Language {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed).fork("language");
        let successors = (0..TOKENS)
            .map(|_| {
                let drawn = rng.sample_without_replacement(TOKENS, 3);
                [drawn[0] as usize, drawn[1] as usize, drawn[2] as usize]
            })
            .collect();
        let permutation = rng.permutation(TOKENS).into_iter().map(|token| token as usize).collect();
        Self { successors, permutation }
    }

    pub(crate) fn batch(&self, count: usize, rng: &mut Rng) -> Result<Batch> {
        let (mut ids, mut targets, mut mask) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..count {
            let mut tokens = vec![rng.below(TOKENS)];
            while tokens.len() < HALF {
                let draw = rng.unit();
                let choice = if draw < 0.6 { 0 } else { 1 + usize::from(draw >= 0.9) };
                tokens.push(self.successors[tokens[tokens.len() - 1]][choice]);
            }
            for at in 0..HALF {
                tokens.push(self.permutation[tokens[at]]);
            }
            for token in &mut tokens {
                if rng.unit() < 0.05 {
                    *token = rng.below(TOKENS);
                }
            }
            let always = rng.below(LENGTH);
            for (at, token) in tokens.into_iter().enumerate() {
                let is_masked = rng.unit() < 0.2 || at == always;
                ids.push(if is_masked { TOKENS as u32 } else { token as u32 });
                targets.push(token as u32);
                mask.push(u8::from(is_masked));
            }
        }
        let shape = (count, LENGTH);
        Ok(Batch {
            ids: Tensor::from_vec(ids, shape, &Device::Cpu)?,
            targets: Tensor::from_vec(targets, shape, &Device::Cpu)?,
            mask: Tensor::from_vec(mask, shape, &Device::Cpu)?,
        })
    }
}
