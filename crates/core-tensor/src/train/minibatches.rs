//! The items of an epoch, cut into batches.

use crate::random::Rng;
use crate::{Error, Result};

/// What becomes of the items that do not fill a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// They are a smaller batch, the last one.
    Keep,
    /// They are left out; which ones differs from epoch to epoch.
    Drop,
}

/// The batches of an epoch: `for batch in &minibatches(…)?` gives the indices of the items of each as a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minibatches {
    order: Vec<u32>,
    /// Where each batch ends in `order`.
    ends: Vec<usize>,
}

impl Minibatches {
    /// The number of batches.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no batch.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The batches, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u32]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.order[start..end])
    }
}

impl<'a> IntoIterator for &'a Minibatches {
    type Item = &'a [u32];
    type IntoIter = Box<dyn Iterator<Item = &'a [u32]> + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}

/// The indices `0..len` in an order drawn from `rng`, in batches of `size`.
///
/// # Errors
/// When `size` is 0.
///
/// ```
/// use core_tensor::random::Rng;
/// use core_tensor::train::{Rest, minibatches};
/// let batches = minibatches(10, 4, Rest::Keep, &mut Rng::new(0))?;
/// assert_eq!(batches.iter().map(<[u32]>::len).collect::<Vec<_>>(), [4, 4, 2]);
/// assert_eq!(minibatches(10, 4, Rest::Drop, &mut Rng::new(0))?.len(), 2);
/// # Ok::<(), core_tensor::Error>(())
/// ```
pub fn minibatches(len: usize, size: usize, rest: Rest, rng: &mut Rng) -> Result<Minibatches> {
    check_size("minibatches", "size", size)?;
    let order = rng.permutation(len);
    let mut ends: Vec<usize> = (1..=len / size).map(|batch| batch * size).collect();
    if rest == Rest::Keep && !len.is_multiple_of(size) {
        ends.push(len);
    }
    Ok(Minibatches { order, ends })
}

/// Items of unequal lengths (sequences, graphs) in an order drawn from `rng`: a batch takes items while the sum of their lengths is at most `budget`. A longer item is a batch of its own.
///
/// # Errors
/// When `budget` is 0.
///
/// ```
/// use core_tensor::random::Rng;
/// use core_tensor::train::ragged_minibatches;
/// let lengths = [3, 5, 2, 9, 4];
/// for batch in &ragged_minibatches(&lengths, 8, &mut Rng::new(0))? {
///     let sum: usize = batch.iter().map(|&item| lengths[item as usize]).sum();
///     assert!(sum <= 8 || batch.len() == 1);
/// }
/// # Ok::<(), core_tensor::Error>(())
/// ```
pub fn ragged_minibatches(lengths: &[usize], budget: usize, rng: &mut Rng) -> Result<Minibatches> {
    check_size("ragged_minibatches", "budget", budget)?;
    let order = rng.permutation(lengths.len());
    let (mut ends, mut sum, mut start) = (Vec::new(), 0usize, 0);
    for (at, &item) in order.iter().enumerate() {
        let length = lengths[item as usize];
        if at > start && sum.saturating_add(length) > budget {
            ends.push(at);
            (start, sum) = (at, 0);
        }
        sum = sum.saturating_add(length);
    }
    if start < order.len() {
        ends.push(order.len());
    }
    Ok(Minibatches { order, ends })
}

fn check_size(operation: &'static str, what: &'static str, got: usize) -> Result<()> {
    if got > 0 { Ok(()) } else { Err(Error::Value { operation, what, got: 0., expected: "at least 1" }) }
}
