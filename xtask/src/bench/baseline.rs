//! The committed ratios that `--check` compares with, by class of processor.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::machine::Processor;
use super::pairing::Comparison;
use crate::error::{Error, Result, file};

/// A ratio may fall to 1 / 1.3 of the committed one: measured on shared machines, repeated runs of unchanged code differ
/// by up to a fifth.
const TOLERANCE: f64 = 1.3;

/// Measurements by class of processor and benchmark.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Baseline(BTreeMap<String, BTreeMap<String, Recorded>>);

/// One benchmark on one machine.
#[derive(Debug, Serialize, Deserialize)]
struct Recorded {
    /// The processor's name for itself.
    processor: String,
    /// The day, year first.
    date: String,
    threads: u32,
    /// Peer / ours by operation, rounded to three digits: more would change with every recording and say nothing.
    ratios: BTreeMap<String, f64>,
}

impl Baseline {
    /// Reads the file; an absent one holds nothing.
    pub(super) fn read(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = std::fs::read_to_string(path).map_err(file("read", path))?;
        serde_json::from_str(&text)
            .map_err(|error| Error::Failed(format!("{} is not a table of ratios: {error}", path.display())))
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::Failed(format!("the ratios cannot be written: {error}")))?;
        std::fs::write(path, text + "\n").map_err(file("write", path))
    }

    /// Replaces the ratios of one benchmark on this class of processor.
    pub(super) fn set(&mut self, processor: &Processor, date: &str, bench: &str, comparisons: &[Comparison]) {
        let Some(first) = comparisons.first() else { return };
        let ratio = |comparison: &Comparison| (comparison.name.clone(), (comparison.ratio * 1e3).round() / 1e3);
        let recorded = Recorded {
            processor: processor.model.clone(),
            date: date.to_owned(),
            threads: first.threads,
            ratios: comparisons.iter().map(ratio).collect(),
        };
        self.0.entry(processor.class.clone()).or_default().insert(bench.to_owned(), recorded);
    }

    /// Whether there are ratios of this benchmark for this class of processor.
    pub(super) fn has(&self, processor: &Processor, bench: &str) -> bool {
        self.of(processor, bench).is_some()
    }

    fn of(&self, processor: &Processor, bench: &str) -> Option<&Recorded> {
        self.0.get(&processor.class)?.get(bench)
    }

    /// A sentence for each ratio that is worse than the committed one of this class of processor by more than [`TOLERANCE`], and for each committed
    /// one that was not measured. Ratios for another number of threads are not compared.
    pub(super) fn worsened(&self, processor: &Processor, bench: &str, comparisons: &[Comparison]) -> Vec<String> {
        let Some(recorded) = self.of(processor, bench) else { return Vec::new() };
        let sentence = |(name, ratio): (&String, &f64)| {
            let Some(now) = comparisons.iter().find(|comparison| comparison.name == *name) else {
                return Some(format!("{bench}: {name} has a committed ratio and was not measured"));
            };
            let is_worse = now.threads == recorded.threads && now.ratio * TOLERANCE < *ratio;
            is_worse.then(|| format!("{bench}: {name}: peer / ours fell from {ratio:.2} to {:.2}", now.ratio))
        };
        recorded.ratios.iter().filter_map(sentence).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::pairing::{Sample, compare};
    use super::*;

    fn comparisons(peer: f64) -> Vec<Comparison> {
        let side = |seconds| BTreeMap::from([("op".to_owned(), Sample { threads: 1, seconds })]);
        compare(&[(side(1.0), side(peer))])
    }

    fn processor(class: &str) -> Processor {
        Processor { class: class.to_owned(), model: "a model".to_owned() }
    }

    #[test]
    fn a_ratio_may_fall_by_less_than_the_tolerance() {
        let (mut baseline, here) = (Baseline::default(), processor("here"));
        baseline.set(&here, "2026-01-01", "bench", &comparisons(2.0));
        assert!(baseline.worsened(&here, "bench", &comparisons(1.6)).is_empty());
        let expected = ["bench: op: peer / ours fell from 2.00 to 1.50"];
        assert_eq!(baseline.worsened(&here, "bench", &comparisons(1.5)), expected);
    }

    #[test]
    fn ratios_of_other_processors_are_not_compared() {
        let mut baseline = Baseline::default();
        baseline.set(&processor("there"), "2026-01-01", "bench", &comparisons(2.0));
        assert!(!baseline.has(&processor("here"), "bench") && baseline.has(&processor("there"), "bench"));
        assert!(baseline.worsened(&processor("here"), "bench", &comparisons(0.1)).is_empty());
    }

    #[test]
    fn an_operation_that_vanished_is_reported() {
        let (mut baseline, here) = (Baseline::default(), processor("here"));
        baseline.set(&here, "2026-01-01", "bench", &comparisons(2.0));
        assert_eq!(baseline.worsened(&here, "bench", &[]).len(), 1);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("baseline.json");
        let (mut baseline, here) = (Baseline::default(), processor("here"));
        baseline.set(&here, "2026-01-01", "bench", &comparisons(2.0));
        baseline.write(&path).unwrap();
        let read = Baseline::read(&path).unwrap();
        assert!(read.has(&here, "bench") && read.worsened(&here, "bench", &comparisons(2.0)).is_empty());
    }
}
