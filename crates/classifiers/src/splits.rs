//! Splits into training, validation and test rows.

use crate::error::check_counts;
use crate::random::MersenneTwister;
use crate::rows::classes;
use crate::{Error, Result};

/// `k` of the numbers below `n` without replacement, in drawn order: what `numpy.random.RandomState(seed).choice(n, k, replace=False)` gives.
///
/// The first k of a permutation by MT19937 that is seeded with `init_genrand`: for j = n-1, …, 1 element j changes places with element r, where r are the next 32 bits, masked to those that j has and drawn again while above j.
///
/// # Errors
/// [`Error::OutOfRange`] if `k` is larger than `n`, or `n` than 2³² - 1.
pub fn legacy_choice(seed: u32, n: usize, k: usize) -> Result<Vec<usize>> {
    const OPERATION: &str = "legacy_choice";
    const MOST: usize = u32::MAX as usize;
    if k > n {
        return Err(Error::out_of_range(OPERATION, "the number to draw", k as u64, n.saturating_add(1)));
    }
    if n > MOST {
        return Err(Error::out_of_range(OPERATION, "the number of samples", n as u64, MOST));
    }
    let mut twister = MersenneTwister::new(seed);
    let mut order: Vec<usize> = (0..n).collect();
    for at in (1..n).rev() {
        order.swap(at, twister.up_to(at as u32) as usize);
    }
    order.truncate(k);
    Ok(order)
}

/// Rows to train on, to select by, and to test on; no row is in two of them.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Split {
    /// Rows to train on, ascending.
    pub train: Vec<usize>,
    /// Rows to select by, in drawn order.
    pub validation: Vec<usize>,
    /// Rows to test on, in drawn order.
    pub test: Vec<usize>,
}

/// The random split of transductive node classification: ⌊`test_share` · n⌋ test rows by [`legacy_choice`], ⌊`validation_share` · n⌋ of the others (ascending) by the same generator seeded anew, and the remainder trains.
///
/// The customary shares are 0.8 and 0.1, split i has seed i. Products are rounded down as Python's `int` does.
///
/// # Errors
/// [`Error::Empty`] without rows; [`Error::Value`] for shares that are negative or leave nothing to train on.
pub fn transductive_split(seed: u32, n: usize, test_share: f64, validation_share: f64) -> Result<Split> {
    const OPERATION: &str = "transductive_split";
    check_counts(OPERATION, &[("rows", n)])?;
    for (what, share) in [("test_share", test_share), ("validation_share", validation_share)] {
        check_share(OPERATION, what, share)?;
    }
    let count = |share: f64| (share * n as f64) as usize;
    let (num_test, num_validation) = (count(test_share), count(validation_share));
    if num_test + num_validation >= n {
        let what = "the share of test and validation rows";
        return Err(Error::value(OPERATION, what, test_share + validation_share, "less than all rows"));
    }
    let test = legacy_choice(seed, n, num_test)?;
    let rest = without(n, &test);
    let validation: Vec<usize> =
        legacy_choice(seed, rest.len(), num_validation)?.into_iter().map(|at| rest[at]).collect();
    let mut used = vec![false; n];
    test.iter().chain(&validation).for_each(|&row| used[row] = true);
    let train = (0..n).filter(|&row| !used[row]).collect();
    Ok(Split { train, validation, test })
}

fn without(n: usize, drawn: &[usize]) -> Vec<usize> {
    let mut used = vec![false; n];
    drawn.iter().for_each(|&row| used[row] = true);
    (0..n).filter(|&row| !used[row]).collect()
}

/// Of what a share of labels is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum LabelRate {
    /// Of each class, so that labelled rows are distributed as all are.
    OfEachClass,
    /// Of all rows together.
    OfAll,
}

/// Which labels are known where only a share of them is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LabelSplit {
    /// Rows whose labels are known, ascending.
    pub labelled: Vec<usize>,
    /// The other rows, ascending.
    pub unlabelled: Vec<usize>,
}

/// Draws `share` of the labels: ⌊share · members⌋ of each class, or of all rows, and at least one of each. The draws are those of [`legacy_choice`]; class c is drawn with the seed `seed + c` (wrapping), so that no class changes another's draw.
///
/// # Errors
/// [`Error::Empty`] without labels; [`Error::Value`] for a share outside of 0 to 1.
pub fn label_rate_split(seed: u32, labels: &[u32], share: f64, rate: LabelRate) -> Result<LabelSplit> {
    const OPERATION: &str = "label_rate_split";
    check_counts(OPERATION, &[("labels", labels.len())])?;
    check_share(OPERATION, "the share", share)?;
    let groups: Vec<(u32, Vec<usize>)> = match rate {
        LabelRate::OfAll => vec![(0, (0..labels.len()).collect())],
        LabelRate::OfEachClass => {
            let members = |class: u32| (0..labels.len()).filter(|&row| labels[row] == class).collect();
            classes(labels).into_iter().map(|class| (class, members(class))).collect()
        }
    };
    let mut labelled = Vec::new();
    for (class, members) in groups {
        let count = ((share * members.len() as f64) as usize).max(1);
        let drawn = legacy_choice(seed.wrapping_add(class), members.len(), count)?;
        labelled.extend(drawn.into_iter().map(|at| members[at]));
    }
    labelled.sort_unstable();
    let unlabelled = without(labels.len(), &labelled);
    Ok(LabelSplit { labelled, unlabelled })
}

fn check_share(operation: &'static str, what: &'static str, share: f64) -> Result<()> {
    match (0. ..=1.).contains(&share) {
        true => Ok(()),
        false => Err(Error::value(operation, what, share, "a share from 0 to 1")),
    }
}
