//! The spiral, and the solver.

use crate::attacked::{Attacked, Budgets, attack};
use crate::figures;
use crate::methods::{
    BATCH, Data, History, Kind, Method, Model, Training, Trajectories, epoch, grid, steps, train, trajectories,
};
use crate::solver;
use crate::spiral::{Points, spiral};
use adversarial::attacks::Norm;
use candle_core::Tensor;
use core_tensor::Mode;
use core_tensor::optim::{Adam, AdamConfig};
use core_tensor::random::Rng;
use experiment::{Axis, Context, Measured, Plot, Result, Series, Trial, statistics};
use serde::{Deserialize, Serialize};

const DATA: &str = "spiral of three classes";
const EPOCHS: usize = 60;
const SEEDS: u64 = 3;
/// Test points that are attacked.
const ATTACKED: usize = 200;
const BUDGETS: [f64; 2] = [0.02, 0.05];

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Found {
    history: History,
    trajectories: Trajectories,
    attacked: Attacked,
    /// Some trajectories in the first two coordinates.
    paths: Vec<Path>,
}

fn data(seed: u64) -> Result<(Points, Points)> {
    let rng = Rng::new(seed);
    Ok((spiral(1500, &mut rng.fork("training"))?, spiral(1000, &mut rng.fork("test"))?))
}

/// The models of a seed have the same data, first values and order of batches.
fn trial_of(method: Method, seed: u64, trial: &experiment::TrialContext) -> Result<Found> {
    let (training, test) = data(seed)?;
    let mut model = Model::new(method, Data::Spiral, None, seed)?;
    let history = train(&mut model, method, (&training.x, &training.labels), &Training::small(EPOCHS, seed), trial)?;
    let all = trajectories(&model, (&test.x, &test.labels), &steps(20), &grid())?;
    let budgets =
        Budgets { norm: Norm::Linf, budgets: &BUDGETS, check: 2., bounds: (-3., 3.), step: 0.25, iterations: 10 };
    let few = (&test.x.narrow(0, 0, ATTACKED)?, &test.labels[..ATTACKED]);
    let attacked = attack(&model, None, few, &budgets, false)?;
    Ok(Found { history, trajectories: all, attacked, paths: paths(&model, &test)? })
}

/// A class, and the first two coordinates along a trajectory.
type Path = (u32, Vec<f64>, Vec<f64>);

fn paths(model: &Model, test: &Points) -> Result<Vec<Path>> {
    let Kind::Dynamics(net) = &model.kind else { return Ok(Vec::new()) };
    let count = 30;
    let solution = net.solve(&test.x.narrow(0, 0, count)?, &steps(20).at(grid()), &mut Mode::evaluate())?;
    let states: Vec<Vec<Vec<f32>>> = solution.states().to_vec3()?;
    let coordinate = |example: usize, k: usize| states.iter().map(|state| f64::from(state[example][k])).collect();
    Ok((0..count).map(|example| (test.labels[example], coordinate(example, 0), coordinate(example, 1))).collect())
}

pub(crate) fn run(context: &mut Context) -> Result<()> {
    let seconds = times(context)?;
    let solver = solver::run(context)?;
    let mut trials = Vec::new();
    for seed in 0..SEEDS {
        for method in [Method::NeuralOde(1.), Method::LyaNet(5.), Method::LyaNet(1.)] {
            trials.push((method, seed));
        }
    }
    trials.push((Method::NeuralOde(5.), 0));
    let named = trials.iter().map(|&(method, seed)| {
        let own = context.seed_of(&format!("spiral {seed}"));
        Trial::new(format!("{}, seed {seed}", method.name()), (method, own))
    });
    let named: Vec<_> = named.collect();
    let found =
        context.trials("spiral", named, |&(method, seed): &(Method, u64), trial| trial_of(method, seed, trial))?;
    let found: Vec<Found> = found.all()?;
    solver::report(context, &solver.all()?)?;
    let of = |method: Method| -> Vec<&Found> {
        trials.iter().zip(&found).filter(|((own, _), _)| *own == method).map(|(_, found)| found).collect()
    };
    let measured = |values: &[f64]| {
        let each: Vec<String> = values.iter().map(|value| format!("{value:.3}")).collect();
        Measured {
            is_synthetic: true,
            note: Some(format!("each seed: {}", each.join(", "))),
            ..Measured::mean_of(values, DATA)
        }
    };
    let right =
        |found: &[&Found], at: usize| -> Vec<f64> { found.iter().map(|found| found.trajectories.right[at]).collect() };
    let (fast, slow, baseline) = (of(Method::LyaNet(5.)), of(Method::LyaNet(1.)), of(Method::NeuralOde(1.)));
    for (gain, own) in [("5", &fast), ("1", &slow)] {
        context.claim(&format!("right-at-the-end-gain-{gain}"), measured(&right(own, 20)))?;
        context.claim(&format!("right-early-gain-{gain}"), measured(&right(own, 1)))?;
        let differences: Vec<f64> = right(own, 1).iter().zip(right(&baseline, 1)).map(|(a, b)| a - b).collect();
        context.claim(&format!("earlier-than-baseline-gain-{gain}"), measured(&differences))?;
    }
    let bounds = |found: &[&Found]| found.iter().map(|found| found.trajectories.bound).collect::<Vec<f64>>();
    let mut bound = measured(&bounds(&fast));
    bound.note = Some(format!("neural ODE at gain 1: {:.3}", statistics::mean(&bounds(&baseline))));
    context.claim("bound-holds", bound)?;
    context.claim("bound-holds-gain-1", measured(&bounds(&slow)))?;
    let last = |found: &Found| found.history.violating.last().copied().unwrap_or(f64::NAN);
    let mut violations = measured(&fast.iter().map(|found| last(found)).collect::<Vec<_>>());
    violations.note =
        Some(format!("at gain 1: {:.3}", statistics::mean(&slow.iter().map(|found| last(found)).collect::<Vec<_>>())));
    context.claim("few-violations", violations)?;
    context.claim("baseline-at-gain-5", measured(&right(&of(Method::NeuralOde(5.)), 20)))?;
    let (lyanet, ode) = seconds;
    let note = format!(
        "{:.3} s and {:.3} s; in PyTorch the ratio was about 14 (derived from the specification's seconds)",
        ode, lyanet
    );
    context.claim(
        "epoch-is-faster",
        Measured { note: Some(note), is_synthetic: true, ..Measured::mean_of(&[ode / lyanet], DATA) }.timed(),
    )?;
    context.claim(
        "evaluations",
        Measured {
            note: Some("80 of 20 steps of order 4; LyaNet evaluates all pairs at once".to_owned()),
            ..measured(&[80.])
        },
    )?;
    let wrong = |found: &[&Found]| found.iter().map(|found| found.attacked.at(BUDGETS[1])).collect::<Vec<f64>>();
    let differences: Vec<f64> = wrong(&fast).iter().zip(wrong(&baseline)).map(|(a, b)| a - b).collect();
    let works = fast.iter().chain(&baseline).all(|found| found.attacked.works());
    let note = format!(
        "LyaNet {:.3}, neural ODE {:.3}; {}",
        statistics::mean(&wrong(&fast)),
        statistics::mean(&wrong(&baseline)),
        if works { "both attacks work" } else { "an attack failed: no statement about robustness" }
    );
    let value = if works { statistics::mean(&differences) } else { f64::NAN };
    if value.is_finite() {
        context.claim("attack-errors-spiral", Measured { note: Some(note), ..measured(&differences) })?;
    } else {
        context.note(format!("attack-errors-spiral: {note}"));
    }

    let models = [
        (Method::LyaNet(5.), &fast),
        (Method::LyaNet(1.), &slow),
        (Method::NeuralOde(1.), &baseline),
        (Method::NeuralOde(5.), &of(Method::NeuralOde(5.))),
    ];
    let named: Vec<_> = models
        .iter()
        .map(|(method, found)| (method.name(), found.iter().map(|found| &found.trajectories).collect()))
        .collect();
    figures::accuracy(context, &named)?;
    figures::potential(context, &named[..3])?;
    let histories: Vec<_> = models
        .iter()
        .map(|(method, found)| (method.name(), found.iter().map(|found| &found.history).collect()))
        .collect();
    figures::training(context, &histories)?;
    let attacked: Vec<_> = models[..3]
        .iter()
        .map(|(method, found)| (method.name(), found.iter().map(|found| &found.attacked).collect()))
        .collect();
    figures::attacks(context, "attacks", &attacked)?;
    for (method, found) in &models[..3] {
        let Some(first) = found.first() else { continue };
        let class = |class: u32| {
            let own = first.paths.iter().filter(|(label, ..)| *label == class);
            let (mut x, mut y) = (Vec::new(), Vec::new());
            for (_, a, b) in own {
                x.extend(a);
                y.extend(b);
            }
            Series::new(format!("class {class}"), x, y)
        };
        let title = format!("States of {} on the way from 0 to 1, first two coordinates", method.name());
        let name = format!("phase-{}", method.name().replace([',', ' '], "-").replace("--", "-"));
        context
            .plot(&name, Plot::scatter(title, Axis::linear("h₁"), Axis::linear("h₂"), (0..3).map(class).collect()))?;
    }
    Ok(())
}

/// Seconds of an epoch of LyaNet and of the neural ODE, one after the other on one thread.
fn times(context: &mut Context) -> Result<(f64, f64)> {
    let trials = vec![Trial::new("an epoch of each", ())];
    let found = context.trials("epochs", trials, |(), trial| {
        let (training, _) = data(trial.seed())?;
        let mut seconds = Vec::new();
        for method in [Method::LyaNet(5.), Method::NeuralOde(1.)] {
            let mut model = Model::new(method, Data::Spiral, None, trial.seed())?;
            let mut adam = Adam::new(&model.store, AdamConfig { learning_rate: 1e-3, ..AdamConfig::default() })?;
            let mut rng = Rng::new(trial.seed());
            let (x, labels): (&Tensor, &[u32]) = (&training.x, &training.labels);
            debug_assert!(labels.len() > BATCH);
            let mut number = 0;
            seconds.push(solver::fastest(3, || {
                number += 1;
                epoch(&mut model, (method, number), (x, labels), (&Training::small(1, 0), &mut adam), &mut rng)?;
                Ok(())
            })?);
        }
        Ok((seconds[0], seconds[1]))
    })?;
    let all: Vec<(f64, f64)> = found.all()?;
    Ok(all[0])
}
