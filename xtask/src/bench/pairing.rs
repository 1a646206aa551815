//! The measurements of two programs, matched by name.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// One operation as one program measured it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) threads: u32,
    pub(super) seconds: f64,
}

/// What both programs measured in one round: ours, then the peer's.
pub(super) type Round = (BTreeMap<String, Sample>, BTreeMap<String, Sample>);

#[derive(Deserialize)]
struct Line {
    name: String,
    threads: u32,
    seconds: f64,
}

/// A line of the protocol; nothing for text that is meant for people.
pub(super) fn parse(line: &str) -> Option<Result<(String, Sample), String>> {
    if !line.trim_start().starts_with('{') {
        return None;
    }
    let sample = serde_json::from_str::<Line>(line).map_err(|error| error.to_string()).and_then(|line| {
        if !line.seconds.is_finite() || line.seconds <= 0.0 {
            return Err(format!("`seconds` is {}, expected a positive number", line.seconds));
        }
        Ok((line.name, Sample { threads: line.threads, seconds: line.seconds }))
    });
    Some(sample)
}

/// One operation that both programs have.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Comparison {
    pub(super) name: String,
    pub(super) threads: u32,
    /// Median over the rounds, seconds
    ours: f64,
    /// Median over the rounds, seconds
    peer: f64,
    /// Median over the rounds of peer / ours: above 1, ours is faster
    pub(super) ratio: f64,
    /// The least and the greatest of the rounds
    range: (f64, f64),
}

pub(super) const HEADING: [&str; 6] = ["operation", "threads", "ours", "peer", "peer / ours", "range"];

impl Comparison {
    pub(super) fn row(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.threads.to_string(),
            duration(self.ours),
            duration(self.peer),
            format!("{:.2}", self.ratio),
            format!("{:.2} to {:.2}", self.range.0, self.range.1),
        ]
    }
}

/// The names that every round has on both sides, compared.
pub(super) fn compare(rounds: &[Round]) -> Vec<Comparison> {
    let Some((first, _)) = rounds.first() else { return Vec::new() };
    first
        .iter()
        .filter_map(|(name, sample)| {
            let pairs: Option<Vec<(f64, f64)>> =
                rounds.iter().map(|(ours, peer)| Some((ours.get(name)?.seconds, peer.get(name)?.seconds))).collect();
            let pairs = pairs?;
            let ratios: Vec<f64> = pairs.iter().map(|(ours, peer)| peer / ours).collect();
            Some(Comparison {
                name: name.clone(),
                threads: sample.threads,
                ours: median(pairs.iter().map(|pair| pair.0).collect()),
                peer: median(pairs.iter().map(|pair| pair.1).collect()),
                ratio: median(ratios.clone()),
                range: ratios
                    .iter()
                    .fold((f64::INFINITY, 0.0), |(low, high), ratio| (low.min(*ratio), high.max(*ratio))),
            })
        })
        .collect()
}

/// A sentence for each name that only one side has, or for which the sides used different numbers of threads.
pub(super) fn unmatched(rounds: &[Round]) -> Vec<String> {
    let Some((ours, peer)) = rounds.first() else { return Vec::new() };
    let names: BTreeSet<&String> = ours.keys().chain(peer.keys()).collect();
    let sentence = |name: &String| match (ours.get(name), peer.get(name)) {
        (Some(_), None) => Some(format!("only ours: {name}")),
        (None, Some(_)) => Some(format!("only the peer: {name}")),
        (Some(ours), Some(peer)) if ours.threads != peer.threads => {
            Some(format!("{name}: ours used {} threads, the peer {}", ours.threads, peer.threads))
        }
        _ => None,
    };
    names.into_iter().filter_map(sentence).collect()
}

/// The middle value; the mean of the two middle ones when there is none. `values` is not empty.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

fn duration(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 1e-3 => format!("{:.2} µs", seconds * 1e6),
        seconds if seconds < 1.0 => format!("{:.2} ms", seconds * 1e3),
        seconds => format!("{seconds:.2} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(ours: f64, peer: f64) -> Round {
        let side = |seconds| BTreeMap::from([("op".to_owned(), Sample { threads: 1, seconds })]);
        (side(ours), side(peer))
    }

    #[test]
    fn the_ratio_is_paired_within_each_round() {
        // The machine is ten times slower in the last round, for both: the ratio stays 2 in each.
        let comparison = &compare(&[round(1.0, 2.0), round(1.0, 2.0), round(10.0, 20.0)])[0];
        assert_eq!((comparison.ratio, comparison.range), (2.0, (2.0, 2.0)));
    }

    #[test]
    fn a_name_that_one_side_lacks_is_reported_and_not_compared() {
        let rounds = [(round(1.0, 1.0).0, BTreeMap::new())];
        assert!(compare(&rounds).is_empty());
        assert_eq!(unmatched(&rounds), ["only ours: op"]);
    }

    #[test]
    fn text_for_people_is_not_a_measurement() {
        assert!(parse("op: 3 ms").is_none());
        assert!(parse(r#"{"name":"op","threads":1,"seconds":0.5}"#).unwrap().is_ok());
        assert!(parse(r#"{"name":"op"}"#).unwrap().is_err());
        assert!(parse(r#"{"name":"op","threads":1,"seconds":0}"#).unwrap().is_err());
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
