//! Who is named when an operation has run out of time.

use super::frame::Standing;

/// The ranks at fault, from what this rank (`own`) waits for and what others have said that they wait for (`said`, by rank). A rank that says so is in an operation and waits itself; one that stands still says
/// nothing. The first of these that is not empty:
///
/// 1. who says nothing and does not take what someone sends to it;
/// 2. who says nothing and has not answered this rank;
/// 3. who does not take what is sent to it, which may be this rank;
/// 4. all that this rank waits for.
pub(super) fn blame(own: &Standing, said: &[Option<Standing>], rank: usize) -> Vec<usize> {
    let said_nothing = |&at: &usize| at != rank && said.get(at).is_none_or(Option::is_none);
    let mut blocked = own.blocked.clone();
    blocked.extend(said.iter().flatten().flat_map(|standing| &standing.blocked));
    let mut all = own.waiting.clone();
    all.extend(&own.blocked);
    for list in [&mut blocked, &mut all] {
        list.sort_unstable();
        list.dedup();
    }
    let silent = |list: &[usize]| list.iter().copied().filter(said_nothing).collect::<Vec<usize>>();
    let choices = [silent(&blocked), silent(&all), blocked];
    choices.into_iter().find(|choice| !choice.is_empty()).unwrap_or(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(blocked: &[usize], waiting: &[usize]) -> Standing {
        Standing { blocked: blocked.to_vec(), waiting: waiting.to_vec() }
    }

    #[test]
    fn the_rank_that_stands_still_is_named() {
        // a broadcast of rank 0, in which rank 1 is frozen: rank 0 cannot send, rank 2 is in the next operation already
        assert_eq!(blame(&standing(&[1], &[]), &[None, None, None, None], 0), [1]);
        let said = [Some(standing(&[1], &[])), None, None, Some(standing(&[], &[0, 1]))];
        assert_eq!(blame(&standing(&[], &[0, 1]), &said, 2), [1]);
        // the second round of a sum at rank 0, the first at ranks 1 and 2, which miss rank 3
        let said = [None, Some(standing(&[], &[3])), Some(standing(&[], &[3])), None];
        assert_eq!(blame(&standing(&[], &[1, 2, 3]), &said, 0), [3]);
        // rank 1 reads slowly, but speaks
        let said = [None, Some(standing(&[], &[0])), None, None];
        assert_eq!(blame(&standing(&[1], &[]), &said, 0), [1]);
        // and finds that it is the one
        let said = [Some(standing(&[1], &[])), None, None, None];
        assert_eq!(blame(&standing(&[], &[0]), &said, 1), [1]);
        // nobody knows better
        assert_eq!(blame(&standing(&[], &[1, 2]), &[None, None, None], 0), [1, 2]);
        let said = [None, Some(standing(&[], &[0])), Some(standing(&[], &[1]))];
        assert_eq!(blame(&standing(&[], &[1, 2]), &said, 0), [1, 2]);
    }
}
