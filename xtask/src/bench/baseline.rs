//! The committed ratios that `--check` compares with.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::pairing::Comparison;
use crate::error::{Error, Result, file};

/// A ratio may fall to 1 / 1.3 of the committed one: measured on shared machines, repeated runs of unchanged code differ
/// by up to a fifth.
const TOLERANCE: f64 = 1.3;

/// Ratios by benchmark and operation.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Baseline(BTreeMap<String, BTreeMap<String, Entry>>);

/// Rounded to three digits: more would change with every recording and say nothing.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    threads: u32,
    /// peer / ours
    ratio: f64,
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

    /// Replaces the ratios of one benchmark.
    pub(super) fn set(&mut self, bench: &str, comparisons: &[Comparison]) {
        let entry = |comparison: &Comparison| {
            let ratio = (comparison.ratio * 1e3).round() / 1e3;
            (comparison.name.clone(), Entry { threads: comparison.threads, ratio })
        };
        self.0.insert(bench.to_owned(), comparisons.iter().map(entry).collect());
    }

    /// A sentence for each ratio that is worse than the committed one by more than [`TOLERANCE`], and for each committed
    /// one that was not measured. Ratios for another number of threads are not compared.
    pub(super) fn worsened(&self, bench: &str, comparisons: &[Comparison]) -> Vec<String> {
        let Some(entries) = self.0.get(bench) else {
            return vec![format!("{bench}: no committed ratios; `cargo xtask bench --record` writes them")];
        };
        let sentence = |(name, entry): (&String, &Entry)| {
            let Some(now) = comparisons.iter().find(|comparison| comparison.name == *name) else {
                return Some(format!("{bench}: {name} has a committed ratio and was not measured"));
            };
            let is_worse = now.threads == entry.threads && now.ratio * TOLERANCE < entry.ratio;
            is_worse.then(|| format!("{bench}: {name}: peer / ours fell from {:.2} to {:.2}", entry.ratio, now.ratio))
        };
        entries.iter().filter_map(sentence).collect()
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

    #[test]
    fn a_ratio_may_fall_by_less_than_the_tolerance() {
        let mut baseline = Baseline::default();
        baseline.set("bench", &comparisons(2.0));
        assert!(baseline.worsened("bench", &comparisons(1.6)).is_empty());
        assert_eq!(baseline.worsened("bench", &comparisons(1.5)), ["bench: op: peer / ours fell from 2.00 to 1.50"]);
    }

    #[test]
    fn an_operation_that_vanished_is_reported() {
        let mut baseline = Baseline::default();
        baseline.set("bench", &comparisons(2.0));
        assert_eq!(baseline.worsened("bench", &[]).len(), 1);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("baseline.json");
        let mut baseline = Baseline::default();
        baseline.set("bench", &comparisons(2.0));
        baseline.write(&path).unwrap();
        assert!(Baseline::read(&path).unwrap().worsened("bench", &comparisons(2.0)).is_empty());
    }
}
