//! The certificate as an optimisation problem: equal columns of votes are merged, what no attack reaches is left out.

use super::bits;
use super::limits::Watch;
use super::structure::Structure;
use super::votes::{self, Votes};
use crate::error::check_positive;
use crate::{Error, Result};
use rayon::prelude::*;
use std::collections::HashMap;
use std::ops::Range;

/// Which predictions are counted, and how.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scope<'a> {
    /// Counts only predictions that are right: certified accuracy instead of robustness. Default: all.
    pub labels: Option<&'a [u16]>,
    /// How much each sample counts; 0 leaves it out. Default: 1 each.
    pub weights: Option<&'a [u32]>,
    /// Counts samples on which this class overtakes the prediction, which an attack to this class must achieve (and with two classes all that it must achieve, so that the
    /// certificate is exact there). Default: any class.
    pub target_class: Option<u16>,
}

impl<'a> Scope<'a> {
    /// All samples, any change: collective robustness.
    pub fn all() -> Self {
        Self::default()
    }

    /// Samples that are predicted right: certified accuracy.
    pub fn correct(labels: &'a [u16]) -> Self {
        Self { labels: Some(labels), ..Self::default() }
    }

    fn check(&self, operation: &'static str, votes: &Votes) -> Result<()> {
        if let Some(labels) = self.labels {
            votes.check_labels(operation, labels)?;
        }
        if let Some(weights) = self.weights
            && weights.len() != votes.num_samples()
        {
            return Err(Error::length(operation, "weights", weights.len(), votes.num_samples()));
        }
        match self.target_class {
            Some(class) if usize::from(class) >= votes.num_classes() => {
                Err(Error::out_of_range(operation, "the target class", class.into(), votes.num_classes()))
            }
            _ => Ok(()),
        }
    }

    /// The weight of a sample with this prediction.
    pub(crate) fn weight(&self, sample: usize, prediction: usize) -> u64 {
        let is_considered = self.labels.is_none_or(|labels| usize::from(labels[sample]) == prediction);
        if is_considered { self.weights.map_or(1, |weights| u64::from(weights[sample])) } else { 0 }
    }

    pub(crate) fn target(&self) -> Option<usize> {
        self.target_class.map(usize::from)
    }
}

/// A certificate's optimisation problem: choose which sub-classifiers the attacker controls so that the weight of changed columns is largest.
///
/// A column stands for the samples with one pattern of votes. It is changed if one of its rows, which stand for classes `c` other than the prediction `p`, is satisfied:
///
/// ```text
/// |S| + |S ∩ P| - |S ∩ C| ≥ gap        S: controlled sub-classifiers, P: those that voted p, C: those that voted c
/// ```
#[derive(Debug, Clone)]
pub struct Problem {
    pub(crate) structure: Structure,
    pub(crate) budget: usize,
    /// Sum of the weights of all samples in the scope, also of those that no attack reaches.
    pub(crate) considered: u64,
    pub(crate) columns: Vec<Column>,
    /// `gap` of each row.
    pub(crate) gaps: Vec<u32>,
    /// Bits of P and of C of each row, `[rows, 2, words]`.
    pub(crate) voters: Vec<u64>,
    pub(crate) words: usize,
}

/// Samples with one pattern of votes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) weight: u64,
    pub(crate) rows: Range<usize>,
}

/// What merging finds out about one sample.
struct Pattern {
    /// `[words]` of P, then `[words]` of C and the gap for each class.
    key: Vec<u64>,
    weight: u64,
}

impl Problem {
    /// The problem of one budget.
    ///
    /// # Errors
    /// [`Error::Budget`] for a budget above G; [`Error::Length`], [`Error::OutOfRange`] for a structure or a scope that does not fit the votes.
    pub fn new(votes: &Votes, structure: &Structure, budget: usize, scope: &Scope<'_>) -> Result<Self> {
        // without a limit there is always one
        let problem = Self::within(votes, structure, budget, scope, &Watch::never())?;
        Ok(problem.unwrap_or_else(|| Self::without_columns(structure.clone(), budget)))
    }

    /// [`Self::new`], or `None` once the time is over.
    pub(crate) fn within(
        votes: &Votes,
        structure: &Structure,
        budget: usize,
        scope: &Scope<'_>,
        watch: &Watch<'_>,
    ) -> Result<Option<Self>> {
        check("Problem::new", votes, structure, budget, scope)?;
        let Some((patterns, considered)) = patterns(votes, structure, budget, scope, watch) else { return Ok(None) };
        let mut problem = Self::without_columns(structure.clone(), budget);
        problem.considered = considered;
        let mut seen: HashMap<&[u64], usize> = HashMap::with_capacity(patterns.len());
        for pattern in &patterns {
            let at = *seen.entry(&pattern.key).or_insert(problem.columns.len());
            if at == problem.columns.len() {
                problem.push(&pattern.key);
            }
            problem.columns[at].weight += pattern.weight;
        }
        Ok(Some(problem))
    }

    /// One problem for each `size` attackable samples in their order. The sum of their optima is a bound of the whole, since an attack on all is an attack on each.
    ///
    /// # Errors
    /// As [`Problem::new`]; [`Error::Empty`] for groups of 0.
    pub fn in_groups(
        votes: &Votes,
        structure: &Structure,
        budget: usize,
        scope: &Scope<'_>,
        size: usize,
    ) -> Result<Vec<Self>> {
        const OPERATION: &str = "Problem::in_groups";
        check(OPERATION, votes, structure, budget, scope)?;
        check_positive(OPERATION, &[("samples of a group", size)])?;
        let (patterns, _) = patterns(votes, structure, budget, scope, &Watch::never()).unwrap_or_default();
        let one = |group: &[Pattern]| {
            let mut problem = Self::without_columns(structure.clone(), budget);
            let mut seen: HashMap<&[u64], usize> = HashMap::new();
            for pattern in group {
                let at = *seen.entry(&pattern.key).or_insert(problem.columns.len());
                if at == problem.columns.len() {
                    problem.push(&pattern.key);
                }
                problem.columns[at].weight += pattern.weight;
                problem.considered += pattern.weight;
            }
            problem
        };
        Ok(patterns.chunks(size).map(one).collect())
    }

    fn without_columns(structure: Structure, budget: usize) -> Self {
        let words = bits::words(structure.num_sub_classifiers());
        Self { structure, budget, considered: 0, columns: Vec::new(), gaps: Vec::new(), voters: Vec::new(), words }
    }

    fn push(&mut self, key: &[u64]) {
        let (predicted, rows) = key.split_at(self.words);
        let start = self.gaps.len();
        for row in rows.chunks_exact(self.words + 1) {
            self.voters.extend_from_slice(predicted);
            self.voters.extend_from_slice(&row[..self.words]);
            self.gaps.push(row[self.words] as u32);
        }
        self.columns.push(Column { weight: 0, rows: start..self.gaps.len() });
    }

    /// The number of sub-classifiers, G.
    pub fn num_sub_classifiers(&self) -> usize {
        self.structure.num_sub_classifiers()
    }

    /// The budget, r.
    pub fn budget(&self) -> usize {
        self.budget
    }

    /// Distinct patterns of votes that some attack reaches.
    pub fn num_columns(&self) -> usize {
        self.columns.len()
    }

    /// The weight of all samples in the scope.
    pub fn considered(&self) -> u64 {
        self.considered
    }

    /// The weight of the samples that can be changed one at a time: a bound of what can be changed together.
    pub fn attackable(&self) -> u64 {
        self.columns.iter().map(|column| column.weight).sum()
    }

    /// Bits of those that voted for the prediction and for the row's class.
    #[inline(always)]
    pub(crate) fn voters(&self, row: usize) -> (&[u64], &[u64]) {
        let voters = &self.voters[row * 2 * self.words..][..2 * self.words];
        voters.split_at(self.words)
    }

    /// w: the vote units that control of a sub-classifier wins for a row: 0 if it voted for the row's class already, 2 if for the prediction, 1 otherwise.
    #[inline(always)]
    pub(crate) fn unit(&self, row: usize, sub_classifier: usize) -> u32 {
        let (predicted, class) = self.voters(row);
        1 + u32::from(bits::contains(predicted, sub_classifier)) - u32::from(bits::contains(class, sub_classifier))
    }

    #[inline(always)]
    pub(crate) fn is_changed(&self, column: &Column, controlled: &[u64], size: u32) -> bool {
        column.rows.clone().any(|row| {
            let (predicted, class) = self.voters(row);
            size + bits::count_and(controlled, predicted) - bits::count_and(controlled, class) >= self.gaps[row]
        })
    }

    /// The weight that control of these sub-classifiers changes.
    pub(crate) fn changed_by(&self, controlled: &[u64]) -> u64 {
        struct Pass<'a>(&'a Problem, &'a [u64]);
        impl pulp::WithSimd for Pass<'_> {
            type Output = u64;
            #[inline(always)]
            fn with_simd<S: pulp::Simd>(self, _: S) -> u64 {
                let Pass(problem, controlled) = self;
                let size = bits::count(controlled);
                let mut sum = 0;
                for column in &problem.columns {
                    sum += if problem.is_changed(column, controlled, size) { column.weight } else { 0 };
                }
                sum
            }
        }
        pulp::Arch::new().dispatch(Pass(self, controlled))
    }
}

/// Checks that votes, structure, budget and scope fit each other.
pub(crate) fn check(
    operation: &'static str,
    votes: &Votes,
    structure: &Structure,
    budget: usize,
    scope: &Scope<'_>,
) -> Result<()> {
    structure.check_budget(budget)?;
    if votes.num_sub_classifiers() != structure.num_sub_classifiers() {
        let what = "sub-classifiers of the votes";
        return Err(Error::length(operation, what, votes.num_sub_classifiers(), structure.num_sub_classifiers()));
    }
    scope.check(operation, votes)
}

/// The patterns of all samples that some attack reaches, in the samples' order, and the weight of all samples in the scope; `None` once the time is over.
fn patterns(
    votes: &Votes,
    structure: &Structure,
    budget: usize,
    scope: &Scope<'_>,
    watch: &Watch<'_>,
) -> Option<(Vec<Pattern>, u64)> {
    let reach = structure.reach(budget);
    let blocks: Vec<usize> = (0..votes.num_samples()).step_by(votes::BLOCK).collect();
    let parts: Vec<(Vec<Pattern>, u64)> = blocks
        .par_iter()
        .map(|&first| {
            if watch.is_over_in_setup() {
                return None;
            }
            let count = votes::BLOCK.min(votes.num_samples() - first);
            let mut side_by_side = Vec::new();
            votes.transpose(first, count, &mut side_by_side);
            let mut reader = Reader::new(votes.num_classes(), votes.num_sub_classifiers());
            let mut considered = 0;
            let mut found = Vec::new();
            for (offset, votes) in side_by_side.chunks_exact(votes.num_sub_classifiers()).enumerate() {
                reader.read(votes);
                let weight = scope.weight(first + offset, reader.prediction);
                considered += weight;
                if weight > 0
                    && let Some(key) = reader.key(&reach, scope.target())
                {
                    found.push(Pattern { key, weight });
                }
            }
            Some((found, considered))
        })
        .collect::<Option<_>>()?;
    let considered = parts.iter().map(|(_, considered)| considered).sum();
    Some((parts.into_iter().flat_map(|(patterns, _)| patterns).collect(), considered))
}

/// Reads one sample's votes at a time into counts and bits.
pub(crate) struct Reader {
    words: usize,
    tally: votes::Tally,
    /// `[classes]`: where a class with votes stands among those that have some.
    places: Vec<u32>,
    /// `[classes with votes, words]`
    voters: Vec<u64>,
    /// `[words]`: who voted for a class without votes.
    nobody: Vec<u64>,
    pub(crate) prediction: usize,
}

impl Reader {
    pub(crate) fn new(num_classes: usize, num_sub_classifiers: usize) -> Self {
        let words = bits::words(num_sub_classifiers);
        let tally = votes::Tally::new(num_classes);
        let (places, nobody) = (vec![0; num_classes], vec![0; words]);
        Self { words, tally, places, voters: Vec::new(), nobody, prediction: 0 }
    }

    pub(crate) fn read(&mut self, votes: &[u16]) {
        self.prediction = self.tally.read(votes);
        for (place, &class) in self.tally.present.iter().enumerate() {
            self.places[usize::from(class)] = place as u32;
        }
        self.voters.clear();
        self.voters.resize(self.tally.present.len() * self.words, 0);
        for (sub_classifier, &vote) in votes.iter().enumerate() {
            let place = self.places[usize::from(vote)] as usize;
            bits::insert(&mut self.voters[place * self.words..][..self.words], sub_classifier);
        }
    }

    fn voters(&self, class: usize) -> &[u64] {
        match self.tally.counts[class] {
            0 => &self.nobody,
            _ => &self.voters[self.places[class] as usize * self.words..][..self.words],
        }
    }

    /// The vote units that `class` must win.
    fn gap(&self, class: usize) -> u32 {
        votes::gap(&self.tally.counts, self.prediction, class)
    }

    /// The classes with votes that may overtake the prediction: all others, or the target alone.
    fn rivals(&self, target: Option<usize>) -> impl Iterator<Item = usize> {
        let present = self.tally.present.iter().map(|&class| usize::from(class));
        present.filter(move |&class| class != self.prediction && target.is_none_or(|target| target == class))
    }

    /// The class without votes that overtakes the prediction most easily, the smallest: all of them win the same units, and the smaller ones win ties.
    fn silent_rival(&self, target: Option<usize>) -> Option<usize> {
        match target {
            None => self.tally.first_absent(),
            Some(target) => Some(target).filter(|&target| self.tally.counts[target] == 0),
        }
    }

    /// The most vote units that an attacker wins for `class`: the largest ones of each set.
    fn most_units(&self, class: usize, reach: &[(Vec<u64>, usize)]) -> u32 {
        let (predicted, class) = (self.voters(self.prediction), self.voters(class));
        reach.iter().map(|(set, budget)| most_units(set, *budget as u32, predicted, class)).sum()
    }

    /// Whether the sample alone can be changed, to the target if there is one.
    pub(crate) fn is_attackable(&self, reach: &[(Vec<u64>, usize)], target: Option<usize>) -> bool {
        self.rivals(target)
            .chain(self.silent_rival(target))
            .any(|class| self.most_units(class, reach) >= self.gap(class))
    }

    /// The smallest gap to another class; `None` with one class.
    pub(crate) fn smallest_gap(&self) -> Option<u32> {
        self.rivals(None).chain(self.silent_rival(None)).map(|class| self.gap(class)).min()
    }

    /// What makes two samples one column; `None` if no attack changes the sample.
    fn key(&self, reach: &[(Vec<u64>, usize)], target: Option<usize>) -> Option<Vec<u64>> {
        let mut rows: Vec<usize> = self.rivals(target).collect();
        let without_votes = self.silent_rival(target);
        // a class without votes is no easier than any other that wins the same ties
        if let Some(class) = without_votes
            && rows.iter().all(|&other| class < self.prediction && self.prediction < other)
        {
            rows.push(class);
        }
        rows.retain(|&class| self.most_units(class, reach) >= self.gap(class));
        if rows.is_empty() {
            return None;
        }
        rows.sort_unstable_by(|&a, &b| self.voters(a).cmp(self.voters(b)));
        let mut key = self.voters(self.prediction).to_vec();
        for class in rows {
            key.extend_from_slice(self.voters(class));
            key.push(self.gap(class).into());
        }
        Some(key)
    }
}

/// The sum of the `budget` largest units over a set: 2 for those that voted for the prediction, 0 for those of the class, 1 for others.
#[inline(always)]
pub(crate) fn most_units(set: &[u64], budget: u32, predicted: &[u64], class: &[u64]) -> u32 {
    let (mut twos, mut others) = (0, 0);
    for ((set, predicted), class) in set.iter().zip(predicted).zip(class) {
        twos += (set & predicted).count_ones();
        others += (set & !predicted & !class).count_ones();
    }
    let twos = twos.min(budget);
    2 * twos + others.min(budget - twos)
}
