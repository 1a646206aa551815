//! The group elastic net, the active-set method with several active classes, and the classifier without attack blocks, against an interior-point solver of general cone programmes (Clarabel).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use adversarial::reverse::{Block, BlockDictionary, GroupElasticNet, Homotopy, ReverseEngineer, block_sparse_class};
use clarabel::algebra::CscMatrix;
use clarabel::solver::{
    DefaultSettingsBuilder, DefaultSolver, IPSolver, SecondOrderConeT, SolverStatus, SupportedConeT, ZeroConeT,
};
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
    fn list(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| (0..12).map(|_| self.unit()).sum::<f64>() - 6.).collect()
    }

    /// `count` columns of length `d` in a subspace of dimension `rank`.
    fn columns(&mut self, d: usize, rank: usize, count: usize) -> Vec<f64> {
        let basis = self.list(d * rank);
        let column = |weights: Vec<f64>| -> Vec<f64> {
            (0..d).map(|at| (0..rank).map(|k| basis[k * d + at] * weights[k]).sum()).collect()
        };
        (0..count).flat_map(|_| column(self.list(rank))).collect()
    }
}

/// Groups of columns, one after the other, each with both penalties.
struct Groups {
    d: usize,
    sizes: Vec<usize>,
    l1: Vec<f64>,
    l2: Vec<f64>,
    columns: Vec<f64>,
}

/// What the residual has to do with the objective.
enum Residual {
    /// Its square is part of it.
    Squared,
    /// Its norm is at most this, and it has no other part.
    AtMost(f64),
}

impl Groups {
    /// `min [‖x − D c‖²] + Σ l1 ‖c_g‖ + ½ l2 ‖c_g‖²`, as a cone programme in c, the residual r and bounds t_g of the norms.
    fn minimum(&self, x: &[f64], residual: &Residual) -> f64 {
        let (d, n, groups) = (self.d, self.columns.len() / self.d, self.sizes.len());
        let variables = n + d + groups;
        let (mut rows, mut places, mut values) = (Vec::new(), Vec::new(), Vec::new());
        let mut put = |row: usize, place: usize, value: f64| {
            rows.push(row);
            places.push(place);
            values.push(value);
        };
        for (column, of_column) in self.columns.chunks(d).enumerate() {
            of_column.iter().enumerate().for_each(|(row, &value)| put(row, column, value));
        }
        (0..d).for_each(|row| put(row, n + row, 1.));
        let mut cones: Vec<SupportedConeT<f64>> = vec![ZeroConeT(d)];
        let mut b = x.to_vec();
        let mut first = 0;
        for (group, &size) in self.sizes.iter().enumerate() {
            put(b.len(), n + d + group, -1.);
            (0..size).for_each(|at| put(b.len() + 1 + at, first + at, -1.));
            b.extend(vec![0.; size + 1]);
            cones.push(SecondOrderConeT(size + 1));
            first += size;
        }
        let mut quadratic = vec![0.; variables];
        match residual {
            Residual::Squared => quadratic[n..n + d].fill(2.),
            Residual::AtMost(distance) => {
                (0..d).for_each(|at| put(b.len() + 1 + at, n + at, -1.));
                b.push(*distance);
                b.extend(vec![0.; d]);
                cones.push(SecondOrderConeT(d + 1));
            }
        }
        let mut first = 0;
        for (&size, &l2) in self.sizes.iter().zip(&self.l2) {
            quadratic[first..first + size].fill(l2);
            first += size;
        }
        let mut linear = vec![0.; n + d];
        linear.extend(&self.l1);
        let a = CscMatrix::new_from_triplets(b.len(), variables, rows, places, values);
        let diagonal: Vec<usize> = (0..variables).collect();
        let p = CscMatrix::new_from_triplets(variables, variables, diagonal.clone(), diagonal, quadratic);
        let settings = DefaultSettingsBuilder::default()
            .verbose(false)
            .tol_gap_abs(1e-11)
            .tol_gap_rel(1e-11)
            .tol_feas(1e-11)
            .build()
            .unwrap();
        let mut solver = DefaultSolver::new(&p, &linear, &a, &b, &cones, settings).unwrap();
        solver.solve();
        let is_solved = matches!(solver.solution.status, SolverStatus::Solved | SolverStatus::AlmostSolved);
        assert!(is_solved, "{:?}", solver.solution.status);
        solver.solution.obj_val
    }
}

#[test]
fn group_elastic_nets_reach_the_same_minimum() {
    for seed in 0..30 {
        let mut numbers = Numbers::new(seed);
        let (d, sizes) = (12, vec![3, 5, 2, 4, 3]);
        let mut columns = numbers.list(d * 3);
        // a group of rank 2, and a copy of the first
        columns.extend(numbers.columns(d, 2, 5));
        columns.extend(numbers.list(d * 6));
        let copy = columns[..d * 3].to_vec();
        columns.extend(copy);
        let scale = 0.5 + 4. * numbers.unit();
        let l1: Vec<f64> = sizes.iter().map(|_| scale * (0.5 + numbers.unit())).collect();
        for has_ridge in [false, true] {
            let l2: Vec<f64> = sizes.iter().map(|_| if has_ridge { 0.1 + numbers.unit() } else { 0. }).collect();
            let x = numbers.list(d);
            let net = GroupElasticNet::new(&sizes, l1.clone(), l2.clone()).unwrap();
            let found = net.solve(&columns, &x, None).unwrap().objective;
            let groups = Groups { d, sizes: sizes.clone(), l1: l1.clone(), l2, columns: columns.clone() };
            let expected = groups.minimum(&x, &Residual::Squared);
            assert!((found - expected).abs() < 1e-7 * expected.abs().max(1.), "{seed} {has_ridge}: {found} {expected}");
        }
    }
}

/// Blocks of a dictionary that is built here, so that their columns are known.
struct Union {
    d: usize,
    signals: Vec<Vec<f64>>,
    attacks: Vec<Vec<Vec<f64>>>,
}

const COLUMNS: usize = 6;

impl Union {
    fn new(d: usize, classes: usize, kinds: usize, seed: u64) -> Self {
        let mut numbers = Numbers::new(seed);
        // of length 1, as a dictionary makes them
        let mut block = || -> Vec<f64> {
            let mut columns = numbers.columns(d, 3, COLUMNS);
            for column in columns.chunks_mut(d) {
                let length = column.iter().map(|value| value * value).sum::<f64>().sqrt();
                column.iter_mut().for_each(|value| *value /= length);
            }
            columns
        };
        let signals = (0..classes).map(|_| block()).collect();
        let attacks = (0..kinds).map(|_| (0..classes).map(|_| block()).collect()).collect();
        Self { d, signals, attacks }
    }

    fn dictionary(&self) -> BlockDictionary {
        let names: Vec<String> = (0..self.attacks.len()).map(|kind| format!("kind {kind}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut dictionary = BlockDictionary::new(self.d, &names).unwrap();
        for (class, columns) in self.signals.iter().enumerate() {
            dictionary.add(Block::Signal(class), columns).unwrap();
        }
        for (attack, classes) in self.attacks.iter().enumerate() {
            for (class, columns) in classes.iter().enumerate() {
                dictionary.add(Block::Attack { class, attack }, columns).unwrap();
            }
        }
        dictionary
    }

    fn mixture(&self, parts: &[(usize, usize, f64)], numbers: &mut Numbers) -> Vec<f64> {
        let mut x = vec![0.; self.d];
        for &(class, kind, weight) in parts {
            for columns in [&self.signals[class], &self.attacks[kind][class]] {
                for column in columns.chunks(self.d) {
                    let c = weight * numbers.list(1)[0];
                    x.iter_mut().zip(column).for_each(|(x, value)| *x += c * value);
                }
            }
        }
        x
    }
}

#[test]
fn rounds_with_several_active_classes_reach_the_same_minimum() {
    let mut most = 0;
    for seed in 0..6 {
        let union = Union::new(30, 5, 3, seed);
        let mut numbers = Numbers::new(seed + 100);
        let x = union.mixture(&[(0, 0, 1.), (2, 1, 0.8), (3, 1, 0.6)], &mut numbers);
        let homotopy = Homotopy { max_rounds: 6, tolerance: 1e-12, ..Homotopy::default() };
        let found = ReverseEngineer::new(union.dictionary()).unwrap().homotopy(homotopy).analyse(&x).unwrap();
        for round in found.rounds.iter().filter(|round| round.classes.len() >= 2) {
            most = most.max(round.classes.len());
            let mut groups = Groups { d: 30, sizes: vec![], l1: vec![], l2: vec![], columns: vec![] };
            let mut add = |columns: &[f64], gamma: f64, lambda: f64| {
                groups.columns.extend_from_slice(columns);
                groups.sizes.push(COLUMNS);
                groups.l1.push(gamma * lambda);
                groups.l2.push(gamma * (1. - lambda));
            };
            round.classes.iter().for_each(|&class| add(&union.signals[class], round.gamma_signal, 0.99));
            for &kind in &round.attacks {
                round.classes.iter().for_each(|&class| add(&union.attacks[kind][class], round.gamma_attack, 0.99));
            }
            let expected = groups.minimum(&x, &Residual::Squared);
            let difference = (round.objective - expected).abs() / expected;
            assert!(difference < 1e-7, "{seed} {:?}: {} {expected}", round.classes, round.objective);
        }
    }
    assert!(most >= 3, "three classes were active nowhere");
}

#[test]
fn the_classifier_without_attack_blocks_reaches_the_same_minimum() {
    for seed in 0..5 {
        let union = Union::new(30, 5, 1, seed);
        let mut numbers = Numbers::new(seed + 200);
        let x = union.mixture(&[(seed as usize % 5, 0, 1.)], &mut numbers);
        let size = x.iter().map(|x| x * x).sum::<f64>().sqrt();
        let engineer = ReverseEngineer::new(union.dictionary()).unwrap();
        let distance = 0.9 * size;
        let (_, c) = block_sparse_class(&engineer, &x, distance).unwrap().unwrap();
        let found: f64 = c.chunks(COLUMNS).map(|c| c.iter().map(|c| c * c).sum::<f64>().sqrt()).sum();
        let groups = Groups {
            d: 30,
            sizes: vec![COLUMNS; 5],
            l1: vec![1.; 5],
            l2: vec![0.; 5],
            columns: union.signals.concat(),
        };
        let expected = groups.minimum(&x, &Residual::AtMost(distance));
        // our distance is right to a millionth of it
        assert!((found - expected).abs() < 1e-5 * expected, "{seed}: {found} {expected}");
    }
}
