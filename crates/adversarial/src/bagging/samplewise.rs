//! Certificates of one sample at a time.

use super::limits::Watch;
use super::problem::{self, Reader, Scope};
use super::structure::Structure;
use super::votes::Votes;
use crate::Result;
use crate::error::check_positive;

/// The largest budget up to which each prediction is certified by the counts of its votes alone, as in deep partition aggregation:
///
/// ```text
/// radius = ⌊(min_{c ≠ p} gap_c - 1) / (2 m)⌋        gap_c = V_p - V_c + [p < c]
/// ```
///
/// with p the prediction, V votes and m blocks. With a single class nothing can change and the radius is `usize::MAX`.
///
/// # Errors
/// [`Error::Empty`](crate::Error::Empty) for 0 blocks.
pub fn radii(votes: &Votes, num_blocks: usize) -> Result<Vec<usize>> {
    check_positive("samplewise::radii", &[("blocks", num_blocks)])?;
    let mut reader = Reader::new(votes.num_classes(), votes.num_sub_classifiers());
    let mut radii = Vec::with_capacity(votes.num_samples());
    votes.visit(|_, votes| {
        reader.read(votes);
        radii.push(reader.smallest_gap().map_or(usize::MAX, |gap| (gap as usize - 1) / num_blocks.saturating_mul(2)));
    });
    Ok(radii)
}

/// Whether each prediction can be changed by an attack on this sample alone.
///
/// Sharper than [`radii`], since it knows who voted what; exact for hash bagging. For general bagging it takes the sizes of memberships for the memberships themselves, so that
/// `false` is certain and `true` is not.
///
/// # Errors
/// As [`Problem::new`](super::problem::Problem::new).
pub fn attackable(votes: &Votes, structure: &Structure, budget: usize, scope: &Scope<'_>) -> Result<Vec<bool>> {
    Ok(attackable_within(votes, structure, budget, scope, &Watch::never())?.unwrap_or_default())
}

/// [`attackable`], or `None` once the time is over.
pub(crate) fn attackable_within(
    votes: &Votes,
    structure: &Structure,
    budget: usize,
    scope: &Scope<'_>,
    watch: &Watch<'_>,
) -> Result<Option<Vec<bool>>> {
    problem::check("samplewise::attackable", votes, structure, budget, scope)?;
    let reach = structure.reach(budget);
    let mut reader = Reader::new(votes.num_classes(), votes.num_sub_classifiers());
    let mut attackable = Vec::with_capacity(votes.num_samples());
    let mut is_over = false;
    votes.visit(|at, votes| {
        is_over = is_over || (at % 256 == 0 && watch.is_over_in_setup());
        if is_over {
            return;
        }
        reader.read(votes);
        attackable.push(reader.is_attackable(&reach, scope.target()));
    });
    Ok((!is_over).then_some(attackable))
}
