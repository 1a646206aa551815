//! Solvers against brute force over every attack, by the definition of the attack itself: what controlled sub-classifiers vote is replaced, and the majority is counted anew.

#![allow(clippy::unwrap_used)]

use adversarial::bagging::solve::{Automatic, BranchAndBound, Enumeration, Limits, Solver};
use adversarial::bagging::{
    CertifyConfig, Problem, Scope, Structure, Votes, certify, certify_curve, changed_by, samplewise, tolerable_budget,
};
use proptest::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[derive(Debug, Clone)]
enum Touch {
    Blocks(Vec<Vec<usize>>),
    /// The sub-trainsets that each training sample lies in.
    Samples(Vec<Vec<usize>>),
}

#[derive(Debug, Clone)]
struct Case {
    classes: usize,
    rows: Vec<Vec<u16>>,
    labels: Vec<u16>,
    weights: Vec<u32>,
    touch: Touch,
    budget: usize,
}

impl Case {
    fn votes(&self) -> Votes {
        Votes::from_rows(self.classes, &self.rows).unwrap()
    }

    fn structure(&self) -> Structure {
        match &self.touch {
            Touch::Blocks(blocks) => Structure::hash(self.rows.len(), blocks).unwrap(),
            Touch::Samples(samples) => {
                let mut sub_trainsets = vec![Vec::new(); self.rows.len()];
                for (sample, touched) in samples.iter().enumerate() {
                    touched.iter().for_each(|&g| sub_trainsets[g].push(sample as u32));
                }
                Structure::general(&sub_trainsets).unwrap()
            }
        }
    }

    /// Every set of sub-classifiers that the budget controls.
    fn attacks(&self) -> Vec<Vec<bool>> {
        let num_sub_classifiers = self.rows.len();
        match &self.touch {
            Touch::Blocks(blocks) => (0..1u32 << num_sub_classifiers)
                .filter(|set| blocks.iter().all(|b| b.iter().filter(|&&g| set >> g & 1 == 1).count() <= self.budget))
                .map(|set| (0..num_sub_classifiers).map(|g| set >> g & 1 == 1).collect())
                .collect(),
            Touch::Samples(samples) => (0..1u32 << samples.len())
                .filter(|poisoned| poisoned.count_ones() as usize <= self.budget)
                .map(|poisoned| {
                    let mut controlled = vec![false; num_sub_classifiers];
                    for (sample, touched) in samples.iter().enumerate() {
                        touched.iter().filter(|_| poisoned >> sample & 1 == 1).for_each(|&g| controlled[g] = true);
                    }
                    controlled
                })
                .collect(),
        }
    }

    fn predict(&self, votes: impl Iterator<Item = u16>) -> u16 {
        let mut counts = vec![0; self.classes];
        votes.for_each(|vote| counts[usize::from(vote)] += 1);
        let most = counts.iter().max().unwrap();
        counts.iter().position(|count| count == most).unwrap() as u16
    }

    /// The weight that one set of controlled sub-classifiers changes.
    fn changed(&self, controlled: &[bool], scope: &Scope<'_>) -> u64 {
        (0..self.labels.len())
            .map(|at| {
                let prediction = self.predict(self.rows.iter().map(|row| row[at]));
                let is_in_scope = scope.labels.is_none_or(|labels| labels[at] == prediction);
                let wins = |class: u16| {
                    let forced = self.rows.iter().zip(controlled).map(|(row, &c)| if c { class } else { row[at] });
                    match scope.target_class {
                        // the target overtakes the prediction, whatever other classes do
                        Some(target) => {
                            let both = forced.filter(|vote| [class, prediction].contains(vote));
                            class == target && class != prediction && self.predict(both) == class
                        }
                        None => class != prediction && self.predict(forced) == class,
                    }
                };
                let weight = scope.weights.map_or(1, |weights| u64::from(weights[at]));
                if is_in_scope && (0..self.classes as u16).any(wins) { weight } else { 0 }
            })
            .sum()
    }

    fn brute_force(&self, scope: &Scope<'_>) -> u64 {
        self.attacks().iter().map(|attack| self.changed(attack, scope)).max().unwrap()
    }

    fn scopes(&self) -> [Scope<'_>; 4] {
        [
            Scope::all(),
            Scope::correct(&self.labels),
            Scope { weights: Some(&self.weights), ..Scope::all() },
            Scope { target_class: Some(0), ..Scope::all() },
        ]
    }
}

/// Up to 8 sub-classifiers, 12 samples and 4 classes; votes agree more often than by chance, as those of an ensemble do.
fn cases() -> impl Strategy<Value = Case> {
    (1usize..=8, 1usize..=12, 1usize..=4, any::<bool>(), any::<u64>()).prop_map(|(g, n, classes, is_hash, seed)| {
        let mut state = seed;
        let mut below = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) as usize) % bound
        };
        let labels: Vec<u16> = (0..n).map(|_| below(classes) as u16).collect();
        let mut vote = |at: usize| if below(3) > 0 { labels[at] } else { below(classes) as u16 };
        let rows: Vec<Vec<u16>> = (0..g).map(|_| (0..n).map(&mut vote).collect()).collect();
        let weights = (0..n).map(|_| below(5) as u32).collect();
        let touch = if is_hash {
            // blocks of any sizes, with the sub-classifiers in any order
            let mut order: Vec<usize> = (0..g).collect();
            (1..g).rev().for_each(|at| order.swap(at, below(at + 1)));
            let mut blocks = Vec::new();
            while !order.is_empty() {
                let size = 1 + below(order.len());
                blocks.push(order.split_off(order.len() - size));
            }
            Touch::Blocks(blocks)
        } else {
            Touch::Samples((0..1 + below(8)).map(|_| (0..g).filter(|_| below(3) == 0).collect()).collect())
        };
        let budget = below(g.min(4) + 1);
        Case { classes, rows, labels, weights, touch, budget }
    })
}

fn own() -> Vec<Box<dyn Solver>> {
    vec![Box::new(Enumeration::default()), Box::new(BranchAndBound), Box::new(Automatic)]
}

/// Solvers of integer programmes, which are asked less often.
fn foreign() -> Vec<Box<dyn Solver>> {
    vec![
        #[cfg(feature = "microlp")]
        Box::new(adversarial::bagging::solve::MicroLp),
        #[cfg(feature = "highs")]
        Box::new(adversarial::bagging::solve::Highs),
    ]
}

fn agree(case: &Case, solvers: &[Box<dyn Solver>]) -> Result<(), TestCaseError> {
    let (votes, structure) = (case.votes(), case.structure());
    for scope in case.scopes() {
        let wanted = case.brute_force(&scope);
        for solver in solvers {
            let options = CertifyConfig { solver: solver.as_ref(), ..CertifyConfig::default() };
            let found = certify(&votes, &structure, case.budget, &scope, &options).unwrap();
            prop_assert_eq!(found.max_changed_upper, wanted, "{}: {:?}", solver.name(), found);
            prop_assert_eq!(found.best_attack_lower, wanted, "{}: {:?}", solver.name(), found);
            // the attack is within the budget and does what it says
            let controlled: Vec<bool> = (0..case.rows.len()).map(|g| found.attack.contains(&g)).collect();
            let covers = |attack: &Vec<bool>| attack.iter().zip(&controlled).all(|(all, own)| all | !own);
            prop_assert!(case.attacks().iter().any(covers), "{}: {:?}", solver.name(), found);
            prop_assert_eq!(case.changed(&controlled, &scope), wanted);
            prop_assert!(found.certified_samplewise <= found.certified());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn own_solvers_agree_with_brute_force(case in cases()) {
        agree(&case, &own())?;
    }

    #[test]
    fn a_bound_is_never_on_the_wrong_side(case in cases(), size in 1usize..6, gap in 0u64..5) {
        let (votes, structure) = (case.votes(), case.structure());
        for scope in case.scopes() {
            let wanted = case.brute_force(&scope);
            let hurried = Limits { time: Some(Duration::ZERO), ..Limits::default() };
            let content = Limits { target_gap: gap, ..Limits::default() };
            for solver in own() {
                for limits in [hurried, content] {
                    for group_size in [None, Some(size)] {
                        let options = CertifyConfig { solver: solver.as_ref(), limits, group_size };
                        let found = certify(&votes, &structure, case.budget, &scope, &options).unwrap();
                        prop_assert!(found.best_attack_lower <= wanted && wanted <= found.max_changed_upper, "{}: {:?} {}", solver.name(), found, wanted);
                        prop_assert!(found.max_changed_upper <= found.considered);
                    }
                }
                let options = CertifyConfig { solver: solver.as_ref(), limits: content, group_size: None };
                let found = certify(&votes, &structure, case.budget, &scope, &options).unwrap();
                prop_assert!(found.gap() <= gap);
            }
        }
    }

    #[test]
    fn single_samples_are_certified_exactly_by_the_sharper_test(case in cases()) {
        let (votes, structure) = (case.votes(), case.structure());
        let attackable = samplewise::attackable(&votes, &structure, case.budget, &Scope::all()).unwrap();
        let is_hash = structure.num_blocks().is_some();
        let radii = structure.num_blocks().map(|blocks| samplewise::radii(&votes, blocks).unwrap());
        for (at, &found) in attackable.iter().enumerate() {
            let one: Vec<u32> = (0..attackable.len()).map(|other| u32::from(other == at)).collect();
            let wanted = case.brute_force(&Scope { weights: Some(&one), ..Scope::all() }) == 1;
            prop_assert!(found == wanted || (!is_hash && found));
            // the counts alone never certify more
            if let Some(radii) = &radii {
                prop_assert!(radii[at] < case.budget || !wanted);
            }
        }
    }

    #[test]
    fn what_a_set_of_controlled_sub_classifiers_changes_is_what_they_can_outvote(case in cases()) {
        let votes = case.votes();
        for attack in case.attacks().iter().take(40) {
            let controlled: Vec<usize> = (0..attack.len()).filter(|&g| attack[g]).collect();
            let changed = changed_by(&votes, &controlled).unwrap();
            prop_assert_eq!(changed.iter().filter(|&&c| c).count() as u64, case.changed(attack, &Scope::all()));
        }
    }

    #[test]
    fn the_tolerable_budget_is_the_smallest_that_controls_a_majority(case in cases()) {
        let structure = case.structure();
        let most = |budget| {
            let case = Case { budget, ..case.clone() };
            case.attacks().iter().map(|attack| attack.iter().filter(|&&c| c).count()).max().unwrap()
        };
        let wanted = (1..=8).find(|&budget| 2 * most(budget) > case.rows.len());
        let found = tolerable_budget(&structure, u64::MAX);
        prop_assert_eq!(found.map(|found| (found.lower, found.upper)), wanted.map(|budget| (budget, budget)));
        if let Some(found) = found {
            prop_assert!(found.greedy >= found.upper);
            let cut = tolerable_budget(&structure, 1).unwrap();
            prop_assert!(cut.lower <= found.upper && found.upper <= cut.upper);
            // more than half of the votes is every prediction, if there is another class
            if case.classes > 1 && found.upper <= case.rows.len() {
                let votes = case.votes();
                let at = certify(&votes, &structure, found.upper, &Scope::all(), &CertifyConfig::default()).unwrap();
                prop_assert_eq!(at.certified(), 0);
            }
        }
    }

    #[test]
    fn a_curve_never_rises(case in cases()) {
        let (votes, structure) = (case.votes(), case.structure());
        let budgets: Vec<usize> = (0..=case.rows.len()).collect();
        let curve = certify_curve(&votes, &structure, &budgets, &Scope::all(), &CertifyConfig::default()).unwrap();
        prop_assert_eq!(curve[0].certified(), case.labels.len() as u64);
        prop_assert!(curve.windows(2).all(|pair| pair[0].certified() >= pair[1].certified()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn solvers_of_integer_programmes_agree_with_brute_force(case in cases()) {
        agree(&case, &foreign())?;
    }
}

/// Votes of `num_sub_classifiers` on `num_samples`, wrong with a probability of their own.
fn ensemble(num_sub_classifiers: usize, num_samples: usize, classes: usize, error: f64) -> Votes {
    let mut state = 7u64;
    let mut unit = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let rates: Vec<f64> = (0..num_samples).map(|_| 2. * error * unit()).collect();
    let rows: Vec<Vec<u16>> = (0..num_sub_classifiers)
        .map(|_| rates.iter().map(|rate| if unit() < *rate { (unit() * classes as f64) as u16 } else { 0 }).collect())
        .collect();
    Votes::from_rows(classes, &rows).unwrap()
}

#[test]
fn more_than_64_sub_classifiers_are_handled() {
    let votes = ensemble(130, 60, 3, 0.45);
    let structure = Structure::hash_buckets(130, 130).unwrap();
    for budget in [1, 2, 3] {
        let solve = |solver: &dyn Solver| {
            let options = CertifyConfig { solver, ..CertifyConfig::default() };
            certify(&votes, &structure, budget, &Scope::all(), &options).unwrap()
        };
        let (a, b) = (solve(&Enumeration::default()), solve(&BranchAndBound));
        assert_eq!((a.max_changed_upper, a.gap(), b.gap()), (b.max_changed_upper, 0, 0));
    }
}

#[test]
fn limits_of_time_and_cancellation_are_kept() {
    let votes = ensemble(60, 3000, 4, 0.6);
    let structure = Structure::hash_buckets(60, 60).unwrap();
    let problem = Problem::new(&votes, &structure, 12, &Scope::all()).unwrap();
    let start = Instant::now();
    let limits = Limits { time: Some(Duration::from_millis(200)), ..Limits::default() };
    let found = BranchAndBound.solve(&problem, &limits).unwrap();
    assert!(found.lower < found.upper && found.upper <= problem.attackable());
    // generous: the machine may be busy, and the first bound is not interrupted
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());

    let cancel = AtomicBool::new(false);
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(100));
            cancel.store(true, Ordering::Relaxed);
        });
        let limits = Limits { cancel: Some(&cancel), ..Limits::default() };
        let found = BranchAndBound.solve(&problem, &limits).unwrap();
        assert!(found.lower <= found.upper);
    });
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn a_known_attack_is_a_start_unless_the_budget_forbids_it() {
    let votes = ensemble(12, 200, 2, 0.6);
    let structure = Structure::hash_buckets(12, 6).unwrap();
    let problem = Problem::new(&votes, &structure, 2, &Scope::all()).unwrap();
    let best = Enumeration::default().solve(&problem, &Limits::default()).unwrap();
    let hurried = Limits { time: Some(Duration::ZERO), start: Some(&best.attack), ..Limits::default() };
    assert_eq!(BranchAndBound.solve(&problem, &hurried).unwrap().lower, best.lower);
    for wrong in [vec![0, 1, 2], vec![99]] {
        let limits = Limits { start: Some(&wrong), ..hurried };
        let found = BranchAndBound.solve(&problem, &limits).unwrap();
        assert!(found.attack.iter().filter(|&&g| g < 6).count() <= 2 && found.upper >= best.upper);
    }
}

#[test]
fn many_attacks_on_few_samples_are_no_error() {
    // up to 1.6e10 attacks, on samples that none of them changes, and on samples with 55 votes against 45, which six sub-classifiers turn
    for rows in [vec![vec![0u16; 30]; 100], (0..100).map(|g| vec![u16::from(g < 45); 30]).collect::<Vec<_>>()] {
        let votes = Votes::from_rows(2, &rows).unwrap();
        let structure = Structure::hash_buckets(100, 100).unwrap();
        let start = Instant::now();
        let budgets = [1, 5, 7];
        let curve = certify_curve(&votes, &structure, &budgets, &Scope::all(), &CertifyConfig::default()).unwrap();
        let expected = if rows[0] == rows[99] { [0, 0, 0] } else { [0, 0, 30] };
        assert_eq!(curve.iter().map(|found| found.max_changed_upper).collect::<Vec<_>>(), expected);
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    use adversarial::Error;
    let votes = ensemble(4, 10, 2, 0.5);
    let structure = Structure::hash_buckets(4, 4).unwrap();
    let ask = |structure: &Structure, budget: usize, scope: &Scope<'_>| {
        certify(&votes, structure, budget, scope, &CertifyConfig::default()).unwrap_err()
    };
    let other = Structure::hash_buckets(5, 5).unwrap();
    assert!(matches!(ask(&other, 1, &Scope::all()), Error::Length { .. }));
    let error = ask(&structure, 5, &Scope::all());
    assert_eq!(error.to_string(), "the budget is 5, expected at most the number of sub-classifiers, 4");
    assert!(matches!(ask(&structure, 1, &Scope::correct(&[0])), Error::Length { .. }));
    assert!(matches!(ask(&structure, 1, &Scope::correct(&[2; 10])), Error::OutOfRange { .. }));
    assert!(matches!(ask(&structure, 1, &Scope { weights: Some(&[1]), ..Scope::all() }), Error::Length { .. }));
    assert!(matches!(ask(&structure, 1, &Scope { target_class: Some(2), ..Scope::all() }), Error::OutOfRange { .. }));
    let options = CertifyConfig { group_size: Some(0), ..CertifyConfig::default() };
    assert!(matches!(certify(&votes, &structure, 1, &Scope::all(), &options), Err(Error::Empty { .. })));
    let curve = certify_curve(&votes, &structure, &[2, 1], &Scope::all(), &CertifyConfig::default());
    assert!(matches!(curve, Err(Error::InvalidConfig { .. })));
    assert!(matches!(changed_by(&votes, &[4]), Err(Error::OutOfRange { .. })));
    assert!(matches!(samplewise::radii(&votes, 0), Err(Error::Empty { .. })));
    let votes = ensemble(60, 10, 2, 0.5);
    let options = CertifyConfig { solver: &Enumeration::default(), ..CertifyConfig::default() };
    let structure = Structure::hash_buckets(60, 60).unwrap();
    let found = certify(&votes, &structure, 20, &Scope::all(), &options);
    assert!(matches!(found, Err(Error::TooLarge { .. })), "{found:?}");
}
