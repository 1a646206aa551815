//! Generated unions of subspaces: does the method find the blocks, and when must it?

use crate::methods::{accuracy, detected};
use adversarial::reverse::{
    Block, BlockDictionary, GroupElasticNet, Homotopy, NearestSubspace, ReverseEngineer, recovery_report,
};
use core_tensor::random::Rng;
use experiment::{
    Axis, BoxError, Context, Measured, Outcome, Plot, Result, Series, Table, Trial, TrialContext, statistics,
};
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Part {
    /// The specification's recipe, with noise of this deviation.
    Union(f64),
    /// Dictionaries of the recovery condition.
    Recovery(u64),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Found {
    /// Accuracies: class and kind of attack by the authors' rule, by 12 rounds, class by the nearest subspace, kind by the residual rule.
    accuracies: Vec<f64>,
    /// For each pair τ/ρ, and the shares of its signals that are recovered.
    pairs: Vec<(f64, f64)>,
    /// Something that follows the seed to the last bit.
    trace: f64,
}

pub(crate) struct Runs {
    parts: Vec<Part>,
    results: Outcome<Found>,
}

const DRAWS: usize = 100;
const DICTIONARIES: u64 = 6;
const SIGNALS: usize = 20;

fn normals(count: usize, rng: &mut Rng) -> Vec<f64> {
    (0..count).map(|_| StandardNormal.sample(rng)).collect()
}

/// `count` columns of a random subspace of dimension `rank`, and the columns scaled to length 1.
fn columns(d: usize, rank: usize, count: usize, rng: &mut Rng) -> Vec<f64> {
    let basis = normals(d * rank, rng);
    let mut all = Vec::with_capacity(d * count);
    for _ in 0..count {
        let weights = normals(rank, rng);
        let column: Vec<f64> = (0..d).map(|at| (0..rank).map(|k| basis[k * d + at] * weights[k]).sum()).collect();
        let size = column.iter().map(|v: &f64| v * v).sum::<f64>().sqrt();
        all.extend(column.into_iter().map(|v| v / size));
    }
    all
}

struct Union {
    d: usize,
    dictionary: BlockDictionary,
    /// By class; by attack, then class.
    signals: Vec<Vec<f64>>,
    attacks: Vec<Vec<Vec<f64>>>,
}

fn union(
    d: usize,
    classes: usize,
    kinds: usize,
    count: usize,
    ranks: [usize; 2],
    rng: &mut Rng,
) -> std::result::Result<Union, BoxError> {
    let names: Vec<String> = (0..kinds).map(|kind| format!("kind {kind}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut dictionary = BlockDictionary::new(d, &names)?;
    let mut signals = Vec::new();
    for class in 0..classes {
        signals.push(columns(d, ranks[0], count, rng));
        dictionary.add(Block::Signal(class), &signals[class])?;
    }
    let mut attacks = Vec::new();
    for attack in 0..kinds {
        let mut of_kind = Vec::new();
        for class in 0..classes {
            of_kind.push(columns(d, ranks[1], count, rng));
            dictionary.add(Block::Attack { class, attack }, &of_kind[class])?;
        }
        attacks.push(of_kind);
    }
    Ok(Union { d, dictionary, signals, attacks })
}

impl Union {
    /// A random signal of a class plus `weight` times a random perturbation.
    fn signal(&self, class: usize, attack: usize, weight: f64, rng: &mut Rng) -> Vec<f64> {
        let mut x = vec![0.; self.d];
        for (columns, weight) in [(&self.signals[class], 1.), (&self.attacks[attack][class], weight)] {
            for column in columns.chunks(self.d) {
                let c: f64 = StandardNormal.sample(rng);
                x.iter_mut().zip(column).for_each(|(x, v)| *x += weight * c * v);
            }
        }
        x
    }
}

pub(crate) fn run(context: &mut Context) -> Result<Runs> {
    let mut parts = vec![Part::Union(0.), Part::Union(0.01)];
    parts.extend((0..DICTIONARIES).map(Part::Recovery));
    let id = |part: &Part| match part {
        Part::Union(noise) => format!("union-noise-{noise}"),
        Part::Recovery(number) => format!("recovery-{number}"),
    };
    let trials = parts.iter().map(|part| Trial::new(id(part), part.clone())).collect();
    let results = context.trials("synthetic", trials, |part, trial| match part {
        Part::Union(noise) => of_union(*noise, trial),
        Part::Recovery(number) => of_recovery(*number, trial),
    })?;
    Ok(Runs { parts, results })
}

fn of_union(noise: f64, trial: &TrialContext) -> std::result::Result<Found, BoxError> {
    let mut rng = Rng::new(trial.seed_of("union"));
    let union = union(200, 5, 3, 10, [4, 3], &mut rng)?;
    let (mut signals, mut classes, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..DRAWS {
        let (class, attack) = (rng.below(5), rng.below(3));
        let x = union.signal(class, attack, 0.4, &mut rng);
        let noisy =
            x.iter().map(|x| x + noise * <StandardNormal as Distribution<f64>>::sample(&StandardNormal, &mut rng));
        signals.extend(noisy.collect::<Vec<f64>>());
        classes.push(class);
        kinds.push(attack);
    }
    let control = NearestSubspace::new(&union.dictionary)?;
    let engineer = ReverseEngineer::new(union.dictionary.clone())?;
    let mut accuracies = Vec::new();
    let mut trace = 0.;
    for homotopy in [Homotopy::official(), Homotopy::default()] {
        let found = engineer.clone().homotopy(homotopy).analyse_all(&signals)?;
        accuracies.push(accuracy(&found.iter().map(|one| one.class).collect::<Vec<_>>(), &classes));
        let right = found.iter().zip(&kinds).filter(|(one, kind)| one.attack == Some(**kind)).count();
        accuracies.push(right as f64 / DRAWS as f64);
        trace += found.iter().map(|one| one.margin).sum::<f64>();
    }
    let (mut of_class, mut of_kind) = (Vec::new(), Vec::new());
    for x in signals.chunks(union.d) {
        of_class.push(control.classify(x)?.0);
        of_kind.push(control.attack(&union.dictionary, x)?);
    }
    accuracies.push(accuracy(&of_class, &classes));
    let right: f64 = (0..3)
        .map(|kind| {
            let of: Vec<_> =
                of_kind.iter().zip(&kinds).filter(|(_, truth)| **truth == kind).map(|(found, _)| *found).collect();
            if of.is_empty() { 0. } else { detected(&of, kind) * of.len() as f64 }
        })
        .sum();
    accuracies.push(right / DRAWS as f64);
    Ok(Found { accuracies, pairs: Vec::new(), trace })
}

/// The share of signals of each pair for which the problem over all blocks, without a ridge, is supported on the pair. For a signal in the span of the pair's blocks the proof of the condition holds at any penalty.
fn of_recovery(number: u64, trial: &TrialContext) -> std::result::Result<Found, BoxError> {
    let mut rng = Rng::new(trial.seed_of(&format!("recovery-{number}")));
    let (classes, kinds, count) = (3, 2, 8);
    let union = union(120, classes, kinds, count, [3, 2], &mut rng)?;
    let mut order = Vec::new();
    let mut all = Vec::new();
    for class in 0..classes {
        order.push((class, None));
        all.extend_from_slice(&union.signals[class]);
    }
    for attack in 0..kinds {
        for class in 0..classes {
            order.push((class, Some(attack)));
            all.extend_from_slice(&union.attacks[attack][class]);
        }
    }
    let sizes = vec![count; order.len()];
    let mut pairs = Vec::new();
    let mut trace = 0.;
    for pair in recovery_report(&union.dictionary)? {
        trial.check_cancelled()?;
        let mut recovered = 0;
        for _ in 0..SIGNALS {
            let x = union.signal(pair.class, pair.attack, 1., &mut rng);
            let mut largest = 0.;
            for column in all.chunks(union.d) {
                largest = f64::max(largest, column.iter().zip(&x).map(|(a, b)| a * b).sum::<f64>().abs());
            }
            let gamma = 0.01 * largest;
            let net = GroupElasticNet::new(&sizes, vec![gamma; sizes.len()], vec![0.; sizes.len()])?.tolerance(1e-12);
            let found = net.solve(&all, &x, None)?;
            trace += found.objective;
            let is_supported = order.iter().zip(found.coefficients.chunks(count)).all(|(&(class, attack), c)| {
                let is_own = class == pair.class && attack.is_none_or(|attack| attack == pair.attack);
                is_own || c.iter().all(|c| c.abs() < 1e-6)
            });
            recovered += usize::from(is_supported);
        }
        pairs.push((pair.tau / pair.rho, recovered as f64 / SIGNALS as f64));
    }
    Ok(Found { accuracies: Vec::new(), pairs, trace })
}

pub(crate) fn report(context: &mut Context, runs: Runs) -> Result<()> {
    if !runs.results.is_complete() {
        return Ok(());
    }
    let found = runs.results.all()?;
    let synthetic = |values: &[f64], data: String| Measured { is_synthetic: true, ..Measured::mean_of(values, data) };
    let mut table = Table::new(["noise", "method", "class", "kind of attack"]);
    let mut smallest = 1f64;
    for (part, found) in runs.parts.iter().zip(&found) {
        let Part::Union(noise) = part else { continue };
        smallest = smallest.min(found.accuracies[0]).min(found.accuracies[1]);
        let names = ["authors' rule, 4 rounds", "12 rounds", "controls: nearest subspace, residual rule"];
        for (name, pair) in names.iter().zip(found.accuracies.chunks(2)) {
            table.rows.push(vec![
                noise.to_string(),
                (*name).to_owned(),
                format!("{:.2}", pair[0]),
                format!("{:.2}", pair[1]),
            ]);
        }
    }
    context.table("Generated unions of subspaces: accuracy", table);
    context.claim("union", synthetic(&[smallest], format!("2 × {DRAWS} generated signals")))?;

    let pairs: Vec<(f64, f64)> = found.iter().flat_map(|found| found.pairs.iter().copied()).collect();
    let shares = |holds: bool| -> Vec<f64> {
        pairs.iter().filter(|(ratio, _)| (*ratio < 1.) == holds).map(|(_, share)| *share).collect()
    };
    let (with, without) = (shares(true), shares(false));
    let enough = with.len() * SIGNALS >= 200;
    let value = if enough { statistics::mean(&with) } else { f64::NAN };
    context.claim(
        "recovery",
        synthetic(&[value], format!("{} signals of {} generated pairs", with.len() * SIGNALS, with.len())),
    )?;
    context.claim(
        "recovery-pairs",
        synthetic(&[with.len() as f64 / pairs.len() as f64], format!("{} generated pairs", pairs.len())),
    )?;
    if !without.is_empty() {
        let data = format!("{} signals of {} generated pairs", without.len() * SIGNALS, without.len());
        context.claim("recovery-without", synthetic(&[statistics::mean(&without)], data))?;
    }
    let (x, y) = pairs.iter().copied().unzip();
    context.plot(
        "recovery",
        Plot::scatter(
            "Generated pairs: recovered share",
            Axis::linear("τ / ρ (recovery is certain below 1)"),
            Axis::linear("share of signals recovered"),
            vec![Series::new("pairs", x, y)],
        ),
    )
}
