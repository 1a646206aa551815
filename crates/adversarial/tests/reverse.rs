//! Dictionaries, the group elastic net and the analysis of signals: properties and hostile input.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use adversarial::reverse::{
    AttackPart, Block, BlockDictionary, GroupElasticNet, Homotopy, NearestSubspace, ReverseEngineer, Solver,
    block_sparse_class, recovery_report,
};
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

struct Numbers(ChaCha8Rng);

impl Numbers {
    fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// About normal: the sum of twelve uniform numbers, less 6.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.
    }

    fn list(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.normal()).collect()
    }

    /// `count` columns of length `d` in a subspace of dimension `rank`, one after the other.
    fn columns(&mut self, d: usize, rank: usize, count: usize) -> Vec<f64> {
        let basis = self.list(d * rank);
        (0..count)
            .flat_map(|_| {
                let weights = self.list(rank);
                (0..d).map(|at| (0..rank).map(|k| basis[k * d + at] * weights[k]).sum()).collect::<Vec<f64>>()
            })
            .collect()
    }
}

/// k classes, a kinds of attack, blocks of b columns.
fn union(d: usize, k: usize, a: usize, b: usize, ranks: (usize, usize), seed: u64) -> BlockDictionary {
    let mut numbers = Numbers::new(seed);
    let names: Vec<String> = (0..a).map(|attack| format!("kind {attack}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut dictionary = BlockDictionary::new(d, &names).unwrap();
    for class in 0..k {
        dictionary.add(Block::Signal(class), &numbers.columns(d, ranks.0, b)).unwrap();
    }
    for attack in 0..a {
        for class in 0..k {
            dictionary.add(Block::Attack { class, attack }, &numbers.columns(d, ranks.1, b)).unwrap();
        }
    }
    dictionary
}

/// Sizes, both weights, columns, x.
type Problem = (Vec<usize>, Vec<f64>, Vec<f64>, Vec<f64>, Vec<f64>);

/// A random problem, some of whose groups are rank-deficient or copies of others.
fn problem(seed: u64, ridge: bool) -> Problem {
    let mut numbers = Numbers::new(seed);
    let d = 12;
    let sizes = vec![3, 5, 2, 4, 3];
    let mut columns = Vec::new();
    let mut first = Vec::new();
    for (group, &size) in sizes.iter().enumerate() {
        let block = match group {
            1 => numbers.columns(d, 2, size),
            4 => Vec::clone(&first),
            _ => numbers.list(d * size),
        };
        if group == 0 {
            first = block.clone();
        }
        columns.extend(block);
    }
    let scale = 0.5 + 4. * numbers.unit();
    let l1: Vec<f64> = sizes.iter().map(|_| scale * (0.5 + numbers.unit())).collect();
    let l2: Vec<f64> = sizes.iter().map(|_| if ridge { 0.1 + numbers.unit() } else { 0. }).collect();
    (sizes, l1, l2, columns, numbers.list(d))
}

fn objective(sizes: &[usize], l1: &[f64], l2: &[f64], columns: &[f64], x: &[f64], c: &[f64]) -> f64 {
    let d = x.len();
    let mut residual = x.to_vec();
    for (column, c) in columns.chunks(d).zip(c) {
        residual.iter_mut().zip(column).for_each(|(r, column)| *r -= c * column);
    }
    let mut total: f64 = residual.iter().map(|r| r * r).sum();
    let mut first = 0;
    for (group, &size) in sizes.iter().enumerate() {
        let square: f64 = c[first..first + size].iter().map(|c| c * c).sum();
        total += l1[group] * square.sqrt() + 0.5 * l2[group] * square;
        first += size;
    }
    total
}

#[test]
fn both_solvers_agree_and_the_gap_is_true() {
    for seed in 0..40 {
        for ridge in [false, true] {
            let (sizes, l1, l2, columns, x) = problem(seed, ridge);
            let mut net = GroupElasticNet::new(&sizes, l1.clone(), l2.clone()).unwrap();
            net.max_iterations = 200_000;
            let exact = net.solve(&columns, &x, None).unwrap();
            let slow = net.clone().solver(Solver::Fista).solve(&columns, &x, None).unwrap();
            let evaluated = objective(&sizes, &l1, &l2, &columns, &x, &exact.coefficients);
            assert!((evaluated - exact.objective).abs() < 1e-9 * evaluated, "{seed} {ridge}");
            assert!((exact.objective - slow.objective).abs() < 1e-9 * evaluated, "{seed} {ridge}");
            // nothing nearby is lower, and the gap says by how much at most
            let mut numbers = Numbers::new(seed + 1000);
            for _ in 0..100 {
                let size = if numbers.unit() < 0.5 { 1e-3 } else { 0.3 };
                let other: Vec<f64> = exact.coefficients.iter().map(|c| c + size * numbers.normal()).collect();
                assert!(objective(&sizes, &l1, &l2, &columns, &x, &other) >= exact.objective - exact.gap - 1e-9);
            }
            // from any start
            let start = numbers.list(exact.coefficients.len());
            let again = net.solve(&columns, &x, Some(&start)).unwrap();
            assert!((again.objective - exact.objective).abs() < 1e-9 * evaluated);
        }
    }
}

#[test]
fn along_a_path_the_fit_becomes_closer() {
    let (sizes, l1, l2, columns, x) = problem(3, true);
    let net = GroupElasticNet::new(&sizes, l1, l2).unwrap();
    let scales = [1e4, 10., 1., 0.1, 0.01, 1e-4];
    let path = net.path(&columns, &x, &scales).unwrap();
    assert!(path[0].coefficients.iter().all(|&c| c == 0.));
    for pair in path.windows(2) {
        assert!(pair[1].objective <= pair[0].objective + 1e-9);
    }
    assert!(net.path(&columns, &x, &[-1.]).is_err() && net.path(&columns, &x, &[0.]).is_err());
}

#[test]
fn many_right_sides_are_each_alone() {
    let (sizes, l1, l2, columns, x) = problem(5, true);
    let net = GroupElasticNet::new(&sizes, l1, l2).unwrap();
    let y: Vec<f64> = x.iter().rev().copied().collect();
    let both = net.solve_many(&columns, &[x.clone(), y.clone()].concat(), x.len(), None).unwrap();
    assert_eq!(both[0], net.solve(&columns, &x, None).unwrap());
    assert_eq!(both[1], net.solve(&columns, &y, None).unwrap());
}

/// (p) unit columns, thousands of groups: a public implementation grows to 1e147 there; (q) the gap is of the whole problem.
#[test]
fn thousands_of_groups_converge() {
    let mut numbers = Numbers::new(9);
    let (d, groups) = (40, 1200);
    let columns: Vec<f64> = (0..groups * 2)
        .flat_map(|_| {
            let column = numbers.list(d);
            let size = column.iter().map(|v| v * v).sum::<f64>().sqrt();
            column.into_iter().map(move |v| v / size)
        })
        .collect();
    let x = numbers.list(d);
    let net = GroupElasticNet::new(&vec![2; groups], vec![1.; groups], vec![0.; groups]).unwrap();
    let found = net.solve(&columns, &x, None).unwrap();
    assert!(found.gap <= 1e-10 * found.objective.max(1.));
    let mut hurried = net;
    hurried.max_iterations = 1;
    let error = hurried.solve(&columns, &x, None).unwrap_err();
    assert!(matches!(error, adversarial::Error::NotConverged { gap, .. } if gap > 1e-6), "{error}");
}

#[test]
fn signals_of_a_union_are_explained() {
    let dictionary = union(200, 5, 3, 10, (4, 3), 1);
    let engineer = ReverseEngineer::new(dictionary.clone()).unwrap();
    let control = NearestSubspace::new(&dictionary).unwrap();
    let mut numbers = Numbers::new(7);
    let (mut right, mut controls) = (0, 0);
    let count = 30;
    let mut signals = Vec::new();
    let mut truth = Vec::new();
    for _ in 0..count {
        let (class, attack) = (numbers.0.next_u64() as usize % 5, numbers.0.next_u64() as usize % 3);
        let x = combined(&dictionary, class, attack, 0.4, &mut numbers);
        signals.extend(x);
        truth.push((class, attack));
    }
    let found = engineer.analyse_all(&signals).unwrap();
    let own = engineer.clone().attack_part(AttackPart::Own).analyse_all(&signals).unwrap();
    for (at, &(class, attack)) in truth.iter().enumerate() {
        right += usize::from(found[at].class == class && found[at].attack == Some(attack) && own[at].class == class);
        let x = &signals[at * 200..(at + 1) * 200];
        controls += usize::from(control.classify(x).unwrap().0 == class);
        assert!(found[at] == engineer.analyse(x).unwrap(), "signal {at} differs alone");
        assert_eq!(found[at].rounds.len(), 12);
        assert!(found[at].rounds.windows(2).all(|pair| pair[1].gamma_signal <= pair[0].gamma_signal * (1. + 1e-9)));
        // what is explained is the sum
        let rest: f64 =
            x.iter().zip(&found[at].clean).zip(&found[at].perturbation).map(|((x, a), b)| (x - a - b).powi(2)).sum();
        assert!(rest.sqrt() < 0.2 * x.iter().map(|x| x * x).sum::<f64>().sqrt());
    }
    assert!(right >= count - 1 && controls >= count - 3, "{right} {controls}");
}

#[test]
fn the_classifier_without_attack_blocks_reaches_its_distance() {
    let dictionary = union(200, 5, 3, 10, (4, 3), 1);
    let engineer = ReverseEngineer::new(dictionary.clone()).unwrap();
    let columns = Columns::of(&dictionary);
    let mut numbers = Numbers::new(3);
    for class in 0..5 {
        let x = combined(&dictionary, class, 0, 0.1, &mut numbers);
        let size = x.iter().map(|x| x * x).sum::<f64>().sqrt();
        let (found, c) = block_sparse_class(&engineer, &x, 0.3 * size).unwrap().unwrap();
        assert_eq!(found, class);
        let mut rest = x.clone();
        for (column, c) in columns.values.chunks(200).zip(&c) {
            rest.iter_mut().zip(column).for_each(|(r, v)| *r -= c * v);
        }
        let reached = rest.iter().map(|r| r * r).sum::<f64>().sqrt();
        // bisection stops within a millionth of the distance
        assert!((reached / (0.3 * size) - 1.).abs() < 2e-6, "{reached} {size}");
        assert_eq!(block_sparse_class(&engineer, &x, 1.1 * size).unwrap(), None);
    }
}

/// A signal of a class plus `weight` times a perturbation of it, both from random combinations of the blocks' columns.
fn combined(dictionary: &BlockDictionary, class: usize, attack: usize, weight: f64, numbers: &mut Numbers) -> Vec<f64> {
    let engineer = Columns::of(dictionary);
    let mut x = vec![0.; dictionary.dimension()];
    for (block, weight) in [(Block::Signal(class), 1.), (Block::Attack { class, attack }, weight)] {
        for column in engineer.block(block) {
            let c = weight * numbers.normal();
            x.iter_mut().zip(column).for_each(|(x, v)| *x += c * v);
        }
    }
    x
}

/// The columns of a dictionary, by its file.
struct Columns {
    dimension: usize,
    values: Vec<f64>,
    blocks: Vec<(Block, usize)>,
}

impl Columns {
    fn of(dictionary: &BlockDictionary) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.safetensors");
        dictionary.save(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let view = file.tensor("columns").unwrap();
        let values = view.data().chunks(8).map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap())).collect();
        Self { dimension: dictionary.dimension(), values, blocks: dictionary.blocks().collect() }
    }

    fn block(&self, block: Block) -> Vec<Vec<f64>> {
        let mut first = 0;
        for &(known, count) in &self.blocks {
            if known == block {
                let part = &self.values[first * self.dimension..(first + count) * self.dimension];
                return part.chunks(self.dimension).map(<[f64]>::to_vec).collect();
            }
            first += count;
        }
        Vec::new()
    }
}

#[test]
fn dictionaries_survive_a_file() {
    let dictionary = union(20, 3, 2, 4, (2, 2), 5);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dictionary.safetensors");
    dictionary.save(&path).unwrap();
    assert_eq!(BlockDictionary::load(&path).unwrap(), dictionary);
    let bytes = std::fs::read(&path).unwrap();
    for len in [0, 7, 8, 40, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..len]).unwrap();
        assert!(BlockDictionary::load(&path).is_err(), "{len}");
    }
    assert!(BlockDictionary::load(folder.path().join("absent")).is_err());
}

#[test]
fn the_order_of_blocks_has_no_say() {
    let dictionary = union(60, 4, 3, 6, (3, 2), 8);
    let columns = Columns::of(&dictionary);
    let names: Vec<&str> = dictionary.attacks().iter().map(String::as_str).collect();
    let mut turned = BlockDictionary::new(60, &names).unwrap();
    for (block, _) in columns.blocks.iter().rev() {
        turned.add(*block, &columns.block(*block).concat()).unwrap();
    }
    let mut numbers = Numbers::new(2);
    let (one, other) = (ReverseEngineer::new(dictionary.clone()).unwrap(), ReverseEngineer::new(turned).unwrap());
    for _ in 0..10 {
        let x = combined(&dictionary, 1, 2, 0.7, &mut numbers);
        let (a, b) = (one.analyse(&x).unwrap(), other.analyse(&x).unwrap());
        assert_eq!((a.class, a.attack, a.is_minimum), (b.class, b.attack, b.is_minimum));
        assert!(a.clean.iter().zip(&b.clean).all(|(a, b)| (a - b).abs() < 1e-6));
    }
}

#[test]
fn several_classes_join_and_the_limit_of_rounds_holds() {
    // signals of three classes and two kinds of attack together
    let dictionary = union(30, 5, 3, 6, (3, 3), 11);
    let mut numbers = Numbers::new(4);
    let parts = [(0, 0, 1.), (2, 1, 0.8), (3, 1, 0.6)].map(|(class, attack, weight)| {
        let x = combined(&dictionary, class, attack, 0.9, &mut numbers);
        x.into_iter().map(move |x| x * weight).collect::<Vec<f64>>()
    });
    let x: Vec<f64> = (0..30).map(|at| parts.iter().map(|part| part[at]).sum()).collect();
    for max_rounds in [1, 3, 6] {
        let engineer = ReverseEngineer::new(dictionary.clone()).unwrap();
        let found = engineer
            .clone()
            .homotopy(Homotopy { max_rounds, tolerance: 1e-12, ..Homotopy::default() })
            .analyse(&x)
            .unwrap();
        assert_eq!(found.rounds.len(), max_rounds);
        let last = found.rounds.last().unwrap();
        assert!(last.classes.len() <= max_rounds && last.attacks.len() <= max_rounds.min(3));
        // every round minimises over all pairs of an active class and an active kind
        let slow = Homotopy { max_rounds, tolerance: 1e-12, solver: Solver::Fista, ..Homotopy::default() };
        let other = engineer.homotopy(slow).analyse(&x).unwrap();
        for (a, b) in found.rounds.iter().zip(&other.rounds) {
            assert!((a.objective - b.objective).abs() < 1e-6 * a.objective, "{} {}", a.objective, b.objective);
            assert_eq!((&a.classes, &a.attacks), (&b.classes, &b.attacks));
        }
    }
    let found = ReverseEngineer::new(dictionary).unwrap().analyse(&x).unwrap();
    assert!(found.rounds.last().unwrap().classes.len() >= 3);
}

#[test]
fn no_attack_is_an_answer() {
    let dictionary = union(80, 4, 2, 8, (3, 2), 21);
    let mut engineer = ReverseEngineer::new(dictionary.clone()).unwrap();
    let mut numbers = Numbers::new(1);
    let clean: Vec<f64> = (0..20).flat_map(|at| combined(&dictionary, at % 4, 0, 0., &mut numbers)).collect();
    let attacked: Vec<f64> = (0..20).flat_map(|at| combined(&dictionary, at % 4, at % 2, 1., &mut numbers)).collect();
    engineer.calibrate(&clean, 0.95).unwrap();
    let count =
        |signals: &[f64]| engineer.analyse_all(signals).unwrap().iter().filter(|found| found.attack.is_none()).count();
    assert!(count(&clean) >= 19 && count(&attacked) <= 4, "{} {}", count(&clean), count(&attacked));
    assert!(engineer.calibrate(&clean, 2.).is_err());
}

#[test]
fn recovery_conditions_of_a_grid() {
    // rank 3: rho against a fine grid on the sphere
    let dictionary = union(10, 2, 1, 3, (2, 1), 3);
    let columns = Columns::of(&dictionary);
    for pair in recovery_report(&dictionary).unwrap() {
        assert_eq!(pair.rank, 3);
        let b1 = columns.block(Block::Signal(pair.class));
        let b2 = columns.block(Block::Attack { class: pair.class, attack: pair.attack });
        // Gram-Schmidt
        let mut basis: Vec<Vec<f64>> = Vec::new();
        for column in b1.iter().chain(&b2) {
            let mut v = column.clone();
            for _ in 0..2 {
                for u in &basis {
                    let along: f64 = v.iter().zip(u).map(|(a, b)| a * b).sum();
                    v.iter_mut().zip(u).for_each(|(v, u)| *v -= along * u);
                }
            }
            let size = v.iter().map(|v| v * v).sum::<f64>().sqrt();
            if size > 1e-8 {
                basis.push(v.into_iter().map(|v| v / size).collect());
            }
        }
        assert_eq!(basis.len(), 3);
        let coordinates = |b: &[Vec<f64>]| -> Vec<[f64; 3]> {
            b.iter()
                .map(|column| std::array::from_fn(|k| column.iter().zip(&basis[k]).map(|(a, b)| a * b).sum()))
                .collect()
        };
        let (b1, b2) = (coordinates(&b1), coordinates(&b2));
        let value = |u: [f64; 3]| {
            let size =
                |b: &[[f64; 3]]| b.iter().map(|c| (c[0] * u[0] + c[1] * u[1] + c[2] * u[2]).powi(2)).sum::<f64>();
            size(&b1).max(size(&b2)).sqrt()
        };
        let mut least = f64::INFINITY;
        let steps = 600;
        for i in 0..=steps {
            let theta = std::f64::consts::PI * f64::from(i) / f64::from(steps);
            for j in 0..steps {
                let phi = std::f64::consts::PI * f64::from(j) / f64::from(steps);
                least = least.min(value([theta.sin() * phi.cos(), theta.sin() * phi.sin(), theta.cos()]));
            }
        }
        assert!(pair.rho <= least + 1e-9 && least - pair.rho < 1e-3 * least.max(1.), "{} {least}", pair.rho);
    }
}

#[test]
fn hostile_input_is_an_error() {
    assert!(BlockDictionary::new(0, &[]).is_err());
    let mut dictionary = BlockDictionary::new(3, &["a"]).unwrap();
    for (block, columns) in [
        (Block::Signal(0), vec![]),
        (Block::Signal(0), vec![1., 2.]),
        (Block::Signal(0), vec![1., f64::NAN, 0.]),
        (Block::Attack { class: 0, attack: 1 }, vec![1., 0., 0.]),
        (Block::Signal(usize::MAX), vec![1., 0., 0.]),
    ] {
        assert!(dictionary.add(block, &columns).is_err(), "{block:?} {columns:?}");
    }
    assert!(ReverseEngineer::new(dictionary.clone()).is_err(), "no signals");
    dictionary.add(Block::Signal(0), &[0., 0., 0., 0., 3e200, 4e200]).unwrap();
    assert!(dictionary.add(Block::Signal(0), &[1., 0., 0.]).is_err(), "twice");
    assert!(recovery_report(&dictionary).is_err(), "no pairs");
    // one class, a column of zeros, no attacks
    let engineer = ReverseEngineer::new(dictionary.clone()).unwrap();
    let found = engineer.analyse(&[0., 0.3, 0.4]).unwrap();
    assert_eq!((found.class, found.attack), (0, None));
    for x in [vec![], vec![1., 2.], vec![0.; 3], vec![f64::INFINITY, 0., 0.]] {
        assert!(engineer.analyse(&x).is_err(), "{x:?}");
    }
    // orthogonal to everything
    let found = engineer.analyse(&[1., 0., 0.]).unwrap();
    assert_eq!(found.class, 0);
    for homotopy in [
        Homotopy { max_rounds: 0, ..Homotopy::default() },
        Homotopy { lambda_signal: 0., ..Homotopy::default() },
        Homotopy { lambda_attack: 1.5, ..Homotopy::default() },
        Homotopy { tolerance: f64::NAN, ..Homotopy::default() },
    ] {
        assert!(engineer.clone().homotopy(homotopy).analyse(&[0., 1., 0.]).is_err());
    }
    // the same block under two classes, blocks of zeros, d = 1
    let mut twins = BlockDictionary::new(1, &["a", "b"]).unwrap();
    for class in 0..2 {
        twins.add(Block::Signal(class), &[1.]).unwrap();
        twins.add(Block::Attack { class, attack: 0 }, &[0.]).unwrap();
        twins.add(Block::Attack { class, attack: 1 }, &[-1.]).unwrap();
    }
    let found = ReverseEngineer::new(twins.clone()).unwrap().analyse(&[0.5]).unwrap();
    assert_eq!(found.class, 0);
    let free = Homotopy { lambda_signal: 1., lambda_attack: 1., ..Homotopy::default() };
    ReverseEngineer::new(twins.clone()).unwrap().homotopy(free).analyse(&[0.5]).unwrap();
    recovery_report(&twins).unwrap();
    assert!(GroupElasticNet::new(&[], vec![], vec![]).is_err());
    assert!(GroupElasticNet::new(&[0], vec![1.], vec![0.]).is_err());
    assert!(GroupElasticNet::new(&[1], vec![-1.], vec![0.]).is_err());
    let net = GroupElasticNet::new(&[1], vec![1.], vec![0.]).unwrap();
    assert!(net.solve(&[1., 2.], &[1.], None).is_err());
    assert!(net.solve(&[f64::NAN], &[1.], None).is_err());
    assert!(net.solve(&[1.], &[1.], Some(&[1., 2.])).is_err());
    assert!(net.solve(&[], &[], None).is_err());
    assert!(block_sparse_class(&engineer, &[0., 1., 0.], 0.).is_err());
    assert!(NearestSubspace::new(&BlockDictionary::new(2, &[]).unwrap()).is_err());
    let (two, control) = (ReverseEngineer::new(twins.clone()).unwrap(), NearestSubspace::new(&twins).unwrap());
    for value in [f64::NAN, f64::INFINITY, 1e200] {
        assert!(control.classify(&[value]).is_err());
        assert!(control.attack(&twins, &[value]).is_err());
        assert!(two.analyse(&[value]).is_err());
    }
    // one signal, not two
    assert!(two.analyse(&[0.5, 0.5]).is_err());
    assert!(two.clone().calibrate(&[], 0.9).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// At the minimum the optimality conditions hold.
    #[test]
    fn minima_are_stationary(seed in 0_u64..10_000, ridge in any::<bool>()) {
        let (sizes, l1, l2, columns, x) = problem(seed, ridge);
        let mut net = GroupElasticNet::new(&sizes, l1.clone(), l2.clone()).unwrap();
        net.tolerance = 1e-14;
        let c = match net.solve(&columns, &x, None) {
            Ok(found) => found.coefficients,
            Err(_) => {
                net.tolerance = 1e-11;
                net.solve(&columns, &x, None).unwrap().coefficients
            }
        };
        let d = x.len();
        let mut residual = x.clone();
        for (column, c) in columns.chunks(d).zip(&c) {
            residual.iter_mut().zip(column).for_each(|(r, column)| *r -= c * column);
        }
        let mut first = 0;
        for (group, &size) in sizes.iter().enumerate() {
            let q: Vec<f64> = (first..first + size)
                .map(|at| 2. * columns[at * d..(at + 1) * d].iter().zip(&residual).map(|(a, b)| a * b).sum::<f64>())
                .collect();
            let own = &c[first..first + size];
            let norm = own.iter().map(|c| c * c).sum::<f64>().sqrt();
            if norm > 1e-6 {
                for (q, c) in q.iter().zip(own) {
                    prop_assert!((q - l1[group] * c / norm - l2[group] * c).abs() < 2e-3);
                }
            } else {
                prop_assert!(q.iter().map(|q| q * q).sum::<f64>().sqrt() <= l1[group] + 1e-4);
            }
            first += size;
        }
    }
}

#[test]
fn dictionaries_refuse_what_cannot_be_meant() {
    let signals = [1., 0., 0., 1., 1., 1.];
    let of = |labels: &[u32], perturbations: &[(&str, &[f64])]| {
        BlockDictionary::from_samples(2, &signals, labels, perturbations, 2).map(|_| ()).unwrap_err().to_string()
    };
    let ones: &[f64] = &[1.; 6];
    assert!(of(&[0, 2, 2], &[("linf", ones)]).contains("class 1"));
    assert!(of(&[0, 1, 1], &[("linf", ones), ("linf", ones)]).contains("`linf` twice"));
    assert!(of(&[0, 1, 1], &[("linf", ones), ("l1", &[0.; 6])]).contains("`l1` are all zero"));
}

#[test]
fn rounding_is_no_direction() {
    for (seed, (d, ranks, count)) in [(60, (3, 3), 20), (300, (5, 2), 30), (40, (1, 4), 8)].into_iter().enumerate() {
        let mut numbers = Numbers::new(seed as u64);
        let signals = numbers.columns(d, ranks.0, count);
        let small: Vec<f64> = numbers.columns(d, ranks.1, count).iter().map(|value| 1e-2 * value).collect();
        let labels = vec![0; count];
        let single = |values: &[f64]| values.iter().map(|&value| f64::from(value as f32)).collect::<Vec<f64>>();
        // a perturbation as the difference of two arrays of 32-bit numbers
        let attacked: Vec<f64> = signals.iter().zip(&small).map(|(x, delta)| x + delta).collect();
        let delta: Vec<f64> = single(&attacked).iter().zip(single(&signals)).map(|(y, x)| y - x).collect();
        for (x, delta) in [(signals.clone(), small.clone()), (single(&signals), delta)] {
            let dictionary = BlockDictionary::from_samples(d, &x, &labels, &[("a", &delta)], count).unwrap();
            let found = recovery_report(&dictionary).unwrap();
            assert_eq!(found[0].rank, ranks.0 + ranks.1, "{d}");
            let both = [Block::Signal(0), Block::Attack { class: 0, attack: 0 }];
            let left = dictionary.distances(&both, &attacked).unwrap();
            assert!(left.iter().all(|&left| left < 1e-3), "{left:?}");
            assert!(dictionary.distances(&[Block::Signal(1)], &attacked).is_err());
        }
        // six digits in a table
        let few: Vec<f64> = signals.iter().map(|value| (value * 1e5).round() / 1e5).collect();
        let of = |share: f64| {
            let dictionary = BlockDictionary::from_samples(d, &few, &labels, &[("a", &small)], count).unwrap();
            recovery_report(&dictionary.rounded(share).unwrap()).unwrap()[0].rank
        };
        assert!(of(0.) > of(1e-5) && of(1e-5) == ranks.0 + ranks.1, "{} {}", of(0.), of(1e-5));
    }
    assert!(BlockDictionary::new(3, &[]).unwrap().rounded(f64::NAN).is_err());
}
