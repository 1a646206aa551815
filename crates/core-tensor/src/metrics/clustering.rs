//! Agreement of two clusterings.

use super::check_lengths;
use crate::Result;
use std::collections::BTreeMap;

/// Items in both, in a cluster of the first, and in a cluster of the second.
struct Contingency {
    n: u64,
    both: BTreeMap<(u32, u32), u64>,
    first: BTreeMap<u32, u64>,
    second: BTreeMap<u32, u64>,
}

impl Contingency {
    fn new(operation: &'static str, a: &[u32], b: &[u32]) -> Result<Self> {
        check_lengths(operation, "the second clustering", b.len(), a.len())?;
        let (mut both, mut first, mut second) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (&a, &b) in a.iter().zip(b) {
            *both.entry((a, b)).or_insert(0) += 1;
            *first.entry(a).or_insert(0) += 1;
            *second.entry(b).or_insert(0) += 1;
        }
        Ok(Self { n: a.len() as u64, both, first, second })
    }
}

/// The adjusted Rand index (Hubert and Arabie 1985): the share of pairs of items on which two clusterings agree, corrected so that it is 0 on average for independent ones and 1 for equal ones.
/// Labels are names: any numbers. Two clusterings that are both of one cluster, or both of single items, agree: 1.
///
/// With `T = Σ_ij C(n_ij, 2)`, `A = Σ_i C(a_i, 2)`, `B = Σ_j C(b_j, 2)` and `E = A B / C(n, 2)` it is `(T − E) / ((A + B)/2 − E)`.
///
/// # Errors
///
/// When the lists are empty or differ in length.
///
/// ```
/// use core_tensor::metrics::adjusted_rand_index;
/// assert_eq!(adjusted_rand_index(&[0, 0, 1, 1], &[5, 5, 2, 2])?, 1.);
/// assert!((adjusted_rand_index(&[0, 0, 1, 2], &[0, 0, 1, 1])? - 4. / 7.).abs() < 1e-12);
/// # Ok::<(), core_tensor::Error>(())
/// ```
pub fn adjusted_rand_index(a: &[u32], b: &[u32]) -> Result<f64> {
    let table = Contingency::new("adjusted_rand_index", a, b)?;
    let pairs = |n: u64| n as f64 * (n as f64 - 1.) / 2.;
    let sum = |counts: &mut dyn Iterator<Item = u64>| counts.map(pairs).sum::<f64>();
    let together = sum(&mut table.both.values().copied());
    let (first, second) = (sum(&mut table.first.values().copied()), sum(&mut table.second.values().copied()));
    let all = pairs(table.n);
    if first == second && (first == 0. || first == all) {
        return Ok(1.);
    }
    let expected = first * second / all;
    Ok((together - expected) / (0.5 * (first + second) - expected))
}

/// Normalised mutual information `I(a; b) / ((H(a) + H(b)) / 2)` of two clusterings, scikit-learn's default: 1 for equal ones, 0 for independent ones. Two clusterings of one cluster each
/// agree: 1.
///
/// # Errors
///
/// When the lists are empty or differ in length.
///
/// ```
/// use core_tensor::metrics::normalized_mutual_information;
/// assert!((normalized_mutual_information(&[0, 0, 1, 1], &[1, 1, 0, 0])? - 1.).abs() < 1e-12);
/// assert!(normalized_mutual_information(&[0, 0, 1, 1], &[0, 1, 0, 1])?.abs() < 1e-12);
/// # Ok::<(), core_tensor::Error>(())
/// ```
pub fn normalized_mutual_information(a: &[u32], b: &[u32]) -> Result<f64> {
    let table = Contingency::new("normalized_mutual_information", a, b)?;
    let n = table.n as f64;
    let entropy = |counts: &BTreeMap<u32, u64>| -> f64 {
        counts.values().map(|&count| -(count as f64 / n) * (count as f64 / n).ln()).sum()
    };
    let mean = 0.5 * (entropy(&table.first) + entropy(&table.second));
    if table.first.len() == 1 && table.second.len() == 1 {
        return Ok(1.);
    }
    let information: f64 = table
        .both
        .iter()
        .map(|((a, b), &count)| {
            let (count, of_a, of_b) = (count as f64, table.first[a] as f64, table.second[b] as f64);
            count / n * (n * count / (of_a * of_b)).ln()
        })
        .sum();
    Ok((information / mean).clamp(0., 1.))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_are_defined() {
        assert_eq!(adjusted_rand_index(&[3, 3, 3], &[1, 1, 1]).unwrap(), 1.);
        assert_eq!(adjusted_rand_index(&[0, 1, 2], &[5, 6, 7]).unwrap(), 1.);
        assert_eq!(adjusted_rand_index(&[0, 1, 2], &[5, 5, 5]).unwrap(), 0.);
        assert_eq!(adjusted_rand_index(&[0], &[5]).unwrap(), 1.);
        assert_eq!(normalized_mutual_information(&[3, 3, 3], &[1, 1, 1]).unwrap(), 1.);
        assert_eq!(normalized_mutual_information(&[0, 1, 2], &[1, 1, 1]).unwrap(), 0.);
    }

    #[test]
    fn hostile_input_is_an_error() {
        for score in [adjusted_rand_index, normalized_mutual_information] {
            assert!(score(&[], &[]).is_err());
            assert!(score(&[1], &[1, 2]).is_err());
        }
    }
}
