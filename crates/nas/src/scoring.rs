//! Scores of architectures with the weights of a super-net, where they stand.

use crate::space::Architecture;
use crate::supernet::SuperNet;
use crate::{Error, Result};
use candle_core::Tensor;
use core_tensor::Mode;

/// A number for each architecture from its prediction on a batch, each layer's hidden state computed once for all architectures that agree up to it: the bits are those of scoring them one by one, in any order. Nothing of the super-net changes; batch norms see the batch's own
/// statistics, never running ones that children share.
///
/// # Errors
/// Architectures that are not in the space, and those of `score`.
pub fn score_all<T>(
    net: &SuperNet,
    x: &Tensor,
    architectures: &[Architecture],
    mut score: impl FnMut(&Tensor) -> Result<T>,
) -> Result<Vec<T>> {
    for architecture in architectures {
        net.space().check(architecture)?;
    }
    let mut order: Vec<usize> = (0..architectures.len()).collect();
    order.sort_by(|&a, &b| architectures[a].cmp(&architectures[b]));
    let mut found: Vec<Option<T>> = architectures.iter().map(|_| None).collect();
    let mut mode = Mode::recalibrate().without_updates();
    // the hidden state before each layer of the path that was scored last
    let mut hidden: Vec<Tensor> = vec![net.stem(x, &mut mode)?.detach()];
    let mut path: Vec<usize> = Vec::new();
    for at in order {
        let wanted = &architectures[at].0;
        let shared = path.iter().zip(wanted).take_while(|(a, b)| a == b).count();
        hidden.truncate(shared + 1);
        for (layer, &operator) in wanted.iter().enumerate().skip(shared) {
            let next = net.layer(&hidden[layer], layer, operator, &mut mode)?.detach();
            hidden.push(next);
        }
        path.clone_from(wanted);
        found[at] = Some(score(&net.head(&hidden[wanted.len()], &mut mode)?.detach())?);
    }
    found.into_iter().map(|value| value.ok_or_else(|| Error::invalid("score_all", "a score that is missing"))).collect()
}

/// The number of layers that scoring with shared beginnings runs, and the number without.
pub fn layer_passes(architectures: &[Architecture]) -> (usize, usize) {
    let mut sorted: Vec<&Architecture> = architectures.iter().collect();
    sorted.sort();
    let alone = sorted.iter().map(|architecture| architecture.0.len()).sum();
    let mut shared = 0;
    for (at, architecture) in sorted.iter().enumerate() {
        let common = match at.checked_sub(1) {
            Some(before) => sorted[before].0.iter().zip(&architecture.0).take_while(|(a, b)| a == b).count(),
            None => 0,
        };
        shared += architecture.0.len() - common;
    }
    (shared, alone)
}
