//! Spaces, samplers, rankings, truths and searches: properties, faults of public reports, hostile input.

use core_tensor::random::Rng;
use nas::ranking::{agreement, paired_tau, precision_at_k, seeds_for_power, top_k_regret};
use nas::search::{EvolutionConfig, History, Limit, evolutionary, random};
use nas::{
    Accuracies, Architecture, Direction, Error, Fair, Gradual, Losses, Result, SearchSpace, TruthFile, TruthTable,
    Uniform,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn cube() -> SearchSpace {
    SearchSpace::uniform(3, &["a", "b", "c"]).expect("a space")
}

fn quality(architecture: &Architecture) -> f64 {
    architecture.0.iter().enumerate().map(|(layer, &operator)| (layer + 1) as f64 * operator as f64).sum()
}

proptest! {
    #[test]
    fn numbers_and_architectures_are_inverse(sizes in prop::collection::vec(1usize..5, 1..8), draw in any::<u64>()) {
        let names = ["a", "b", "c", "d"];
        let layers = sizes.iter().map(|&size| names[..size].iter().map(|&name| name.to_owned()).collect()).collect();
        let space = SearchSpace::new(layers).expect("a space");
        let count = space.count().expect("a count");
        let index = u128::from(draw) % count;
        let architecture = space.decode(index).expect("an architecture");
        prop_assert_eq!(space.index(&architecture).expect("a number"), index);
        prop_assert_eq!(architecture.to_string().parse::<Architecture>().expect("a name"), architecture.clone());
        for neighbour in space.neighbours(&architecture).expect("neighbours") {
            prop_assert_eq!(neighbour.distance(&architecture), 1);
        }
        prop_assert_eq!(space.all().count() as u128, count);
        prop_assert!(space.decode(count).is_err());
    }

    #[test]
    fn searches_keep_limits_and_score_nothing_twice(seed in any::<u64>(), most in 1.0f64..12.0) {
        let space = cube();
        let limits = [Limit::new("cost", most, |architecture| Ok(quality(architecture)))];
        let mut asked = BTreeSet::new();
        let config = EvolutionConfig { population: 6, generations: 4, ..EvolutionConfig::default() };
        let found = evolutionary(&space, &limits, &config, seed, History::default(), |architecture| {
            assert!(asked.insert(architecture.clone()), "{architecture} twice");
            Ok(quality(architecture))
        }).expect("a history");
        prop_assert!(found.scored.iter().all(|(architecture, _)| quality(architecture) <= most));
        let curve = found.curve();
        prop_assert!(curve.windows(2).all(|pair| pair[0] <= pair[1]));
    }

    #[test]
    fn any_bytes_are_a_truth_table_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read_any(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn nearly_right_truth_tables_are_tables_or_errors(parts in prop::collection::vec(prop::sample::select(PARTS.to_vec()), 0..60)) {
        read_any(&parts.concat());
        read_any(&format!("architecture,seed,value\n{}", parts.concat()));
    }
}

/// Of what tables are made, and what damages them.
const PARTS: &[&str] = &[
    "architecture",
    "seed",
    "value",
    ",",
    "\n",
    "\r\n",
    "0-1",
    "0-1",
    "2",
    "-",
    "0",
    "1",
    "1e308",
    "-0.0",
    "nan",
    "inf",
    "0.1",
    "# key=",
    "# key=a better=higher\n",
    "better=lower",
    "=",
    " ",
    "\t",
    "\u{85}",
    "\u{2028}",
    "\0",
    "18446744073709551616",
    "\n0-1,0,0.5\n",
    "\n2-0,1,0.25\n",
];

/// What a text is read as is finite, and is read again as it was.
fn read_any(text: &str) {
    let Ok(table) = TruthTable::parse(text, Direction::LowerIsBetter) else { return };
    for (architecture, values) in table.iter() {
        assert!(!values.is_empty() && values.values().all(|value| value.is_finite()));
        assert!(table.mean(architecture).is_some());
    }
    assert_eq!(TruthTable::parse(&table.to_csv(), Direction::HigherIsBetter).expect("a table that was written"), table);
}

#[test]
fn chains_change_one_layer_and_are_uniform_in_the_long_run() -> Result<()> {
    let space = cube();
    let mut counts = BTreeMap::new();
    let mut before: Option<Architecture> = None;
    // states that are near depend on each other: every twentieth counts
    let steps = 20 * 2700;
    for (step, architecture) in Gradual::new(&space, 3)?.take(steps).enumerate() {
        let architecture = architecture?;
        if let Some(before) = before.replace(architecture.clone()) {
            assert_eq!(before.distance(&architecture), 1);
        }
        if step % 20 == 19 {
            *counts.entry(architecture).or_insert(0.0) += 1.0;
        }
    }
    let chi_square: f64 = counts.values().map(|count: &f64| (count - 100.0).powi(2) / 100.0).sum();
    assert_eq!(counts.len(), 27);
    // 26 degrees of freedom: p = 0.001 at 54.05
    assert!(chi_square < 54.05, "{chi_square}");
    // two candidates: half of the space at even steps, all of it over time
    let space = SearchSpace::uniform(3, &["a", "b"])?;
    let chain: Vec<Architecture> = Gradual::new(&space, 1)?.take(4000).collect::<Result<_>>()?;
    for parity in 0..2 {
        let seen: BTreeSet<&Architecture> = chain.iter().skip(parity).step_by(2).collect();
        assert_eq!(seen.len(), 4, "{parity}");
    }
    assert!(Gradual::new(&SearchSpace::uniform(4, &["only"])?, 0).is_err());
    let one = SearchSpace::new(vec![vec!["a".into()], vec!["a".into(), "b".into()]])?;
    assert!(Gradual::new(&one, 0)?.take(50).all(|architecture| architecture.is_ok_and(|a| a.0[0] == 0)));
    Ok(())
}

#[test]
fn fair_children_use_each_operator_once_and_anew_each_step() -> Result<()> {
    let space = SearchSpace::uniform(5, &["a", "b", "c"])?;
    let steps: Vec<Vec<Architecture>> = Fair::new(&space, 1)?.take(30).collect();
    for children in &steps {
        for layer in 0..5 {
            let used: BTreeSet<usize> = children.iter().map(|child| child.0[layer]).collect();
            assert_eq!((used.len(), children.len()), (3, 3));
        }
    }
    // public report: permutations that are not drawn anew (fault 8)
    assert!(steps.iter().collect::<BTreeSet<_>>().len() > 25);
    assert!(Fair::new(&SearchSpace::new(vec![vec!["a".into()], vec!["a".into(), "b".into()]])?, 0).is_err());
    assert!(Fair::new(&space.constrained("none", |_| false), 0).is_err());
    Ok(())
}

#[test]
fn huge_spaces_are_sampled_and_not_counted() -> Result<()> {
    let space = SearchSpace::uniform(40, &["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"])?;
    assert_eq!(space.count(), None);
    assert!((space.log10_count() - 40.0).abs() < 1e-9);
    let drawn: Vec<Architecture> = Uniform::new(&space, 1).take(10).collect::<Result<_>>()?;
    assert!(drawn.iter().all(|architecture| space.check(architecture).is_ok()));
    assert!(space.index(&drawn[0]).is_err());
    let limits =
        [Limit::new("sum", 150.0, |architecture: &Architecture| Ok(architecture.0.iter().sum::<usize>() as f64))];
    assert_eq!(random(&space, &limits, 5, 1, History::default(), |_| Ok(0.0))?.scored.len(), 5);
    Ok(())
}

/// Three children and a population of 50: the search ends with three (fault 5).
#[test]
fn small_spaces_and_impossible_limits_end() -> Result<()> {
    let space = SearchSpace::uniform(1, &["a", "b", "c"])?;
    let found = evolutionary(&space, &[], &EvolutionConfig::default(), 0, History::default(), |a| Ok(quality(a)))?;
    assert_eq!(found.scored.len(), 3);
    assert_eq!(found.best().map(|(architecture, _)| architecture.0[0]), Some(2));
    let limits = [
        Limit::new("parameters", 100.0, |_| Ok(50.0)),
        Limit::new("multiplications", 10.0, |architecture| Ok(20.0 + quality(architecture))),
    ];
    let error = evolutionary(&space, &limits, &EvolutionConfig::default(), 0, History::default(), |_| Ok(0.0));
    match error {
        Err(Error::Infeasible { limit, most, least, architecture }) => {
            assert_eq!((limit.as_str(), most, least, architecture.as_str()), ("multiplications", 10.0, 20.0, "0"));
        }
        other => panic!("{other:?}"),
    }
    assert!(random(&space, &[Limit::new("x", f64::NAN, |_| Ok(0.0))], 1, 0, History::default(), |_| Ok(0.0)).is_err());
    assert!(random(&space, &[], 1, 0, History::default(), |_| Ok(f64::NAN)).is_err());
    Ok(())
}

#[test]
fn searches_resume_without_scoring_again() -> Result<()> {
    let space = cube();
    let config = EvolutionConfig { population: 5, generations: 2, ..EvolutionConfig::default() };
    let first = evolutionary(&space, &[], &config, 1, History::default(), |a| Ok(quality(a)))?;
    let stored = serde_json::to_string(&first).expect("JSON");
    let first: History = serde_json::from_str(&stored).expect("a history");
    let before = first.scored.len();
    let known: BTreeSet<Architecture> = first.scored.iter().map(|(architecture, _)| architecture.clone()).collect();
    let second = evolutionary(&space, &[], &config, 2, first, |architecture| {
        assert!(!known.contains(architecture));
        Ok(quality(architecture))
    })?;
    assert!(second.scored.len() > before);
    let front = second.front(|architecture| Ok(quality(architecture)))?;
    assert!(front.windows(2).all(|pair| pair[0].2 < pair[1].2 && pair[0].1 < pair[1].1));
    let foreign = History { scored: vec![(Architecture(vec![0, 9, 0]), 1.0)] };
    assert!(random(&space, &[], 3, 0, foreign, |_| Ok(0.0)).is_err());
    Ok(())
}

#[test]
fn rankings_know_their_direction() -> Result<()> {
    let losses = Losses::new(vec![0.9, 0.5, 0.7, 0.2])?;
    let accuracies = Accuracies::new(vec![0.1, 0.5, 0.3, 0.8])?;
    let found = agreement(&losses, &accuracies)?;
    assert_eq!((found.kendall, found.spearman), (1.0, 1.0));
    assert_eq!(top_k_regret(&losses, &accuracies, 1)?, 0.0);
    let wrong = Losses::new(vec![0.1, 0.5, 0.7, 0.9])?;
    assert!((top_k_regret(&wrong, &accuracies, 1)? - 0.7).abs() < 1e-12);
    assert_eq!(precision_at_k(&wrong, &accuracies, 2)?, 0.5);
    // all equal: no ranking, an error instead of 0 (fault 6)
    assert!(agreement(&Losses::new(vec![1.0; 4])?, &accuracies).is_err());
    assert!(agreement(&Losses::new(vec![1.0; 3])?, &accuracies).is_err());
    assert!(top_k_regret(&losses, &accuracies, 0).is_err() && top_k_regret(&losses, &accuracies, 5).is_err());
    assert!(Losses::new(vec![f64::NAN]).is_err());
    Ok(())
}

#[test]
fn small_effects_come_with_intervals_and_power() -> Result<()> {
    let truth = Losses::new((0..40).map(f64::from).collect())?;
    let mut rng = Rng::new(1);
    let noisy =
        |noise: f64, rng: &mut Rng| Losses::new((0..40).map(|at| f64::from(at) + noise * (rng.unit() - 0.5)).collect());
    let mut seeds = |noise: f64| (0..12).map(|_| noisy(noise, &mut rng)).collect::<Result<Vec<_>>>();
    let (good, bad, same) = (seeds(5.0)?, seeds(80.0)?, seeds(80.0)?);
    let clear = paired_tau(&good, &bad, &truth, 500, 1)?;
    assert!(clear.is_above && clear.over_seeds.1 > 0.2 && clear.bootstrap.1 > 0.0, "{clear:?}");
    let none = paired_tau(&bad, &same, &truth, 500, 1)?;
    assert!(!none.is_above, "{none:?}");
    assert!(paired_tau(&good[..1], &bad[..1], &truth, 500, 1).is_err());
    // the specification's effect: 0.026 with a spread of 0.03 to 0.04 needs 13 to 21 pairs by the t distribution, 11 and 19 by the normal one
    assert_eq!((seeds_for_power(0.026, 0.03), seeds_for_power(0.026, 0.04)), (Some(11), Some(19)));
    assert_eq!(seeds_for_power(-0.1, 0.03), None);
    Ok(())
}

#[test]
fn truths_are_shared_by_processes() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("truth.csv");
    let key = TruthTable::key_of(&["tiny", "1500 steps"]);
    assert_ne!(key, TruthTable::key_of(&["tiny1", "500 steps"]));
    let open = || TruthFile::open(&path, &key, Direction::LowerIsBetter);
    let threads: Vec<_> = (0..4u64)
        .map(|seed| {
            let mut file = open().expect("a file");
            std::thread::spawn(move || {
                for at in 0..5 {
                    file.record(Architecture(vec![at, 1]), seed, seed as f64 + at as f64 / 3.0).expect("a value");
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("a thread"));
    let file = open()?;
    let table = file.table();
    assert_eq!((table.len(), table.iter().map(|(_, values)| values.len()).sum::<usize>()), (5, 20));
    // the mean of all seeds, none picked (fault 9)
    let mean = table.mean(&Architecture(vec![1, 1])).expect("a mean");
    assert!((mean - (1.5 + 1.0 / 3.0)).abs() < 1e-12);
    assert_eq!(table.get(&Architecture(vec![1, 1]), 2), Some(2.0 + 1.0 / 3.0));
    assert_eq!(&TruthTable::parse(&table.to_csv(), Direction::HigherIsBetter)?, table);
    let mut file = open()?;
    assert!(file.record(Architecture(vec![1, 1]), 2, 7.0).is_err());
    // what is contradicted stays
    let mut table = file.table().clone();
    assert!(table.insert(Architecture(vec![1, 1]), 2, 7.0).is_err());
    assert_eq!(&table, file.table());
    assert!(TruthFile::open(&path, "another", Direction::LowerIsBetter).is_err());
    assert!(open().is_ok(), "no lock is left");
    Ok(())
}

#[test]
fn damaged_tables_are_errors_with_their_lines() {
    let parse = |text: &str| TruthTable::parse(text, Direction::HigherIsBetter);
    let table = parse("architecture,value\n0-1,0.5\n1-1,0.25\n").expect("a table without seeds");
    assert_eq!(table.get(&Architecture(vec![0, 1]), 0), Some(0.5));
    for (text, part) in [
        ("", "no line"),
        ("name,value\n", "line 1"),
        ("architecture,seed,value\n0-1,0,0.5\n1-1,0\n", "line 3"),
        ("architecture,seed,value\n0-x,0,0.5\n", "line 2"),
        ("architecture,seed,value\n0-1,-1,0.5\n", "`-1`"),
        ("architecture,seed,value\n0-1,0,abc\n", "`abc`"),
        ("architecture,seed,value\n0-1,0,inf\n", "inf"),
        ("architecture,seed,value\n0-1,0,1\n0-1,0,2\n", "both 1 and 2"),
    ] {
        let error = parse(text).expect_err("an error").to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn spaces_that_cannot_be_are_errors() -> Result<()> {
    assert!(SearchSpace::new(Vec::new()).is_err());
    assert!(SearchSpace::new(vec![vec!["a".into()], Vec::new()]).is_err());
    assert!(SearchSpace::uniform(2, &["a", "a"]).is_err());
    let space = cube().constrained("not two of a kind", |a| a.0[0] != a.0[1]);
    assert!(space.check(&Architecture(vec![1, 1, 0])).expect_err("an error").to_string().contains("not two of a kind"));
    assert_eq!(space.all().count(), 18);
    assert!(space.neighbours(&Architecture(vec![0, 1, 2]))?.iter().all(|a| a.0[0] != a.0[1]));
    assert_eq!(space.sample_distinct(18, &mut Rng::new(1))?.len(), 18);
    assert!(space.sample_distinct(19, &mut Rng::new(1)).is_err());
    assert!(cube().constrained("none", |_| false).sample(&mut Rng::new(1)).is_err());
    assert!("1-a".parse::<Architecture>().is_err());
    Ok(())
}
