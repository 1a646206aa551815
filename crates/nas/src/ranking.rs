//! How well scores of a super-net rank architectures, and how sure that is.

use crate::{Error, Result};
use core_tensor::metrics::{self, Interval, quantile};
use core_tensor::random::Rng;

/// Which numbers are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Direction {
    /// Losses, errors, seconds.
    LowerIsBetter,
    /// Accuracies.
    HigherIsBetter,
}

/// Numbers that know which of them are better. Ranking functions take nothing else, so that no sign can slip: a correlation of [`Losses`] with [`Accuracies`] is positive where both rank alike.
///
/// ```compile_fail
/// // losses where accuracies are wanted do not compile
/// fn report(accuracies: &nas::Accuracies) {}
/// report(&nas::Losses::new(vec![0.1, 0.2]).unwrap());
/// ```
pub trait Scores {
    /// Which are better.
    const DIRECTION: Direction;

    /// The numbers.
    fn values(&self) -> &[f64];

    /// The numbers with such signs that more is better.
    fn oriented(&self) -> Vec<f64> {
        match Self::DIRECTION {
            Direction::HigherIsBetter => self.values().to_vec(),
            Direction::LowerIsBetter => self.values().iter().map(|value| -value).collect(),
        }
    }
}

macro_rules! scores {
    ($(#[$meta:meta])* $Name:ident, $direction:expr) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        pub struct $Name(Vec<f64>);

        impl $Name {
            /// From numbers in the order of the architectures.
            ///
            /// # Errors
            /// A number that is not finite.
            pub fn new(values: Vec<f64>) -> Result<Self> {
                match values.iter().position(|value| !value.is_finite()) {
                    Some(at) => {
                        let what = format!("score {at}");
                        Err(Error::value(stringify!($Name), what, values[at], "a finite number"))
                    }
                    None => Ok(Self(values)),
                }
            }
        }

        impl Scores for $Name {
            const DIRECTION: Direction = $direction;

            fn values(&self) -> &[f64] {
                &self.0
            }
        }
    };
}

scores! {
    /// Numbers of which less is better.
    Losses, Direction::LowerIsBetter
}
scores! {
    /// Numbers of which more is better.
    Accuracies, Direction::HigherIsBetter
}

/// How two lists of scores agree.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Agreement {
    /// Kendall's τ_b.
    pub kendall: f64,
    /// Spearman's ρ.
    pub spearman: f64,
    /// Pearson's r.
    pub pearson: f64,
}

/// Correlations of two lists of scores, positive where both rank alike.
///
/// # Errors
/// Lists of different lengths or fewer than two, or one of which all are equal: then no ranking exists, and τ is an error instead of 0.
pub fn agreement(a: &impl Scores, b: &impl Scores) -> Result<Agreement> {
    let (a, b) = (a.oriented(), b.oriented());
    Ok(Agreement {
        kendall: metrics::kendall_tau(&a, &b)?,
        spearman: metrics::spearman(&a, &b)?,
        pearson: metrics::pearson(&a, &b)?,
    })
}

fn same_length(operation: &'static str, a: usize, b: usize) -> Result<()> {
    if a == b && a > 0 { Ok(()) } else { Err(Error::invalid(operation, format!("lists of {a} and {b} scores"))) }
}

/// The order of scores, the best first; equal ones in the order of the list.
fn order(scores: &impl Scores) -> Vec<usize> {
    let values = scores.oriented();
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    order
}

/// By how much the best of the `k` that `scores` puts first is worse in truth than the best of all, in units of the truth, 0 or more.
///
/// # Errors
/// Lists of different lengths, or a `k` outside of 1 to their length.
pub fn top_k_regret(scores: &impl Scores, truth: &impl Scores, k: usize) -> Result<f64> {
    const OPERATION: &str = "top_k_regret";
    same_length(OPERATION, scores.values().len(), truth.values().len())?;
    let truth = truth.oriented();
    if k == 0 || k > truth.len() {
        return Err(Error::value(OPERATION, "k", k as f64, "from 1 to the number of scores"));
    }
    let largest = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::NEG_INFINITY, f64::max);
    let chosen = largest(&mut order(scores)[..k].iter().map(|&at| truth[at]));
    Ok(largest(&mut truth.iter().copied()) - chosen)
}

/// The share of the `k` that `scores` puts first which are among the `k` best in truth.
///
/// # Errors
/// As [`top_k_regret`].
pub fn precision_at_k(scores: &impl Scores, truth: &impl Scores, k: usize) -> Result<f64> {
    const OPERATION: &str = "precision_at_k";
    same_length(OPERATION, scores.values().len(), truth.values().len())?;
    if k == 0 || k > truth.values().len() {
        return Err(Error::value(OPERATION, "k", k as f64, "from 1 to the number of scores"));
    }
    let (chosen, best) = (order(scores), order(truth));
    Ok(chosen[..k].iter().filter(|at| best[..k].contains(at)).count() as f64 / k as f64)
}

/// τ_b of each super-net seed with the truth, of two methods, and what their difference is.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PairedTau {
    /// τ_b of the first method, seed by seed.
    pub first: Vec<f64>,
    /// Of the second.
    pub second: Vec<f64>,
    /// Mean of first − second, and Student's 95 % interval over seeds.
    pub over_seeds: (f64, f64, f64),
    /// The 95 % interval of the same over architectures and seeds, drawn again together.
    pub bootstrap: (f64, f64, f64),
    /// Whether both intervals lie above 0.
    pub is_above: bool,
    /// How many seeds a difference of this size and spread needs to be found with a power of 80 %; `None` where the difference is not above 0.
    pub seeds_for_power: Option<usize>,
}

/// The difference of two methods' τ_b over seeds. `first` and `second` hold the scores of each seed for the same architectures as `truth`, seed for seed.
///
/// # Errors
/// Different numbers of seeds or fewer than two, lists of different lengths, or scores that are all equal.
pub fn paired_tau<S: Scores>(
    first: &[S],
    second: &[S],
    truth: &impl Scores,
    resamples: usize,
    seed: u64,
) -> Result<PairedTau> {
    const OPERATION: &str = "paired_tau";
    if first.len() != second.len() || first.len() < 2 {
        let reason = format!("{} and {} seeds, expected the same number of at least two", first.len(), second.len());
        return Err(Error::invalid(OPERATION, reason));
    }
    let truth = truth.oriented();
    let oriented = |all: &[S]| all.iter().map(Scores::oriented).collect::<Vec<_>>();
    let (a, b) = (oriented(first), oriented(second));
    let tau = |scores: &[f64]| -> Result<f64> {
        same_length(OPERATION, scores.len(), truth.len())?;
        Ok(metrics::kendall_tau(scores, &truth)?)
    };
    let taus = |all: &[Vec<f64>]| all.iter().map(|scores| tau(scores)).collect::<Result<Vec<f64>>>();
    let (of_a, of_b) = (taus(&a)?, taus(&b)?);
    let differences: Vec<f64> = of_a.iter().zip(&of_b).map(|(a, b)| a - b).collect();
    let Interval { estimate, lower, upper } = metrics::student_interval(&differences, 0.95)?;
    let mut rng = Rng::new(seed).fork("bootstrap");
    let mut results = Vec::with_capacity(resamples);
    for _ in 0..resamples.max(100) {
        let picked: Vec<usize> = (0..truth.len()).map(|_| rng.below(truth.len())).collect();
        let pick = |values: &[f64]| picked.iter().map(|&at| values[at]).collect::<Vec<f64>>();
        let own = pick(&truth);
        let mut sum = 0.0;
        let mut count = 0;
        for _ in 0..a.len() {
            let at = rng.below(a.len());
            // a sample of one architecture many times has no ranking
            let found =
                metrics::kendall_tau(&pick(&a[at]), &own).ok().zip(metrics::kendall_tau(&pick(&b[at]), &own).ok());
            if let Some((a, b)) = found {
                (sum, count) = (sum + a - b, count + 1);
            }
        }
        if count > 0 {
            results.push(sum / f64::from(count));
        }
    }
    results.sort_by(f64::total_cmp);
    let bootstrap = (estimate, quantile(&results, 0.025), quantile(&results, 0.975));
    let variance = differences.iter().map(|d| (d - estimate).powi(2)).sum::<f64>() / (differences.len() - 1) as f64;
    Ok(PairedTau {
        first: of_a,
        second: of_b,
        over_seeds: (estimate, lower, upper),
        bootstrap,
        is_above: lower > 0.0 && bootstrap.1 > 0.0,
        seeds_for_power: seeds_for_power(estimate, variance.sqrt()),
    })
}

/// How many pairs find a mean difference with a two-sided test at 5 % and a power of 80 %: `((1.960 + 0.842) · deviation / difference)²`, rounded up, at least 2. `None` where the difference is not above 0.
pub fn seeds_for_power(difference: f64, deviation: f64) -> Option<usize> {
    let pairs = (2.801_585 * deviation / difference).powi(2).ceil();
    (difference > 0.0 && pairs.is_finite() && pairs < 1e15).then(|| (pairs as usize).max(2))
}

/// The highest τ_b that scores can be expected to reach with a truth that is itself measured with noise: that of two seeds of the truth with each other.
///
/// # Errors
/// As [`agreement`].
pub fn ceiling<S: Scores>(first: &S, second: &S) -> Result<f64> {
    Ok(agreement(first, second)?.kendall)
}
