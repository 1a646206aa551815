//! MNIST with a small convolutional network.

use crate::attacked::{Attacked, Budgets, attack};
use crate::figures;
use crate::methods::{Data, History, Kind, Method, Model, Training, Trajectories, grid, steps, train, trajectories};
use adversarial::attacks::Norm;
use candle_core::{DType, Device, Tensor};
use core_tensor::Mode;
use core_tensor::random::Rng;
use datasets::images::{ImageSplit, LabelledImages, load_mnist};
use experiment::{Context, Measured, Result, Table, Trial, statistics};
use serde::{Deserialize, Serialize};
use timeseries::lyanet::{EstimatedRadius, ExponentialBound};
use timeseries::ode::{Gradient, Solve, Tableau};
use vision::Normalization;

const SEEDS: u64 = 3;
const EPOCHS: usize = 5;
/// Training and test images of `--synthetic`.
const GENERATED: [usize; 2] = [3000, 1000];
/// Test images that are attacked.
const ATTACKED: usize = 500;
const LINF: [f64; 3] = [8. / 255., 0.1, 0.2];
const L2: [f64; 3] = [0.5, 1.5, 3.];
/// The gains that the validation images decide between.
const GAINS: [f64; 2] = [1., 5.];

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Found {
    history: History,
    /// Right among the validation images at t = 1, a fraction.
    validation: f64,
    /// Test error at the end, by 20 steps of order 4 and by dopri5 at 1e-3.
    errors: (f64, f64),
    trajectories: Option<Trajectories>,
    /// Evaluations of dopri5.
    evaluations: f64,
    linf: Option<Attacked>,
    l2: Option<Attacked>,
    /// Mean over validation images of an estimated L2 radius.
    radius: Option<f64>,
}

pub(crate) struct Images {
    pub(crate) x: Tensor,
    pub(crate) labels: Vec<u32>,
}

pub(crate) fn images(from: &LabelledImages, chosen: &[usize]) -> Result<Images> {
    let size = from.image_size();
    let mut pixels = Vec::with_capacity(chosen.len() * size);
    for &at in chosen {
        pixels.extend(from.pixels[at * size..(at + 1) * size].iter().map(|&pixel| f32::from(pixel) / 255.));
    }
    let labels = chosen.iter().map(|&at| from.labels[at].into()).collect();
    Ok(Images {
        x: Tensor::from_vec(pixels, (chosen.len(), from.channels, from.height, from.width), &Device::Cpu)?,
        labels,
    })
}

pub(crate) fn right(model: &Model, data: &Images, options: &Solve) -> Result<(f64, f64)> {
    let (mut right, mut evaluations, mut batches) = (0., 0., 0.);
    let options = options.clone().gradient(Gradient::None);
    for start in (0..data.labels.len()).step_by(500) {
        let count = 500.min(data.labels.len() - start);
        let x = data.x.narrow(0, start, count)?;
        let logits = match &model.kind {
            Kind::Dynamics(net) => {
                let solution = net.solve(&model.standardised(&x)?, &options, &mut Mode::evaluate())?;
                evaluations += solution.statistics.evaluations as f64;
                solution.last()?
            }
            _ => model.logits(&x, &options, &mut Mode::evaluate())?,
        };
        batches += 1.;
        let found = logits.argmax(1)?.to_vec1::<u32>()?;
        right += found.iter().zip(&data.labels[start..]).filter(|(a, b)| a == b).count() as f64;
    }
    Ok((right / data.labels.len() as f64, evaluations / batches))
}

/// An L2 radius from the largest observed quotient |f(h, x + δ) − f(h, x)| / |δ| along trajectories: an estimate.
fn radius(model: &Model, data: &Images, rng: &mut Rng) -> Result<Option<f64>> {
    let Kind::Dynamics(net) = &model.kind else { return Ok(None) };
    let count = 100.min(data.labels.len());
    let x = data.x.narrow(0, 0, count)?;
    let noise = rng.normal(0., 0.01, x.dims(), DType::F32, &Device::Cpu)?;
    let norms = noise.flatten_from(1)?.sqr()?.sum(1)?.sqrt()?.to_vec1::<f32>()?;
    let maps = |x: &Tensor| -> Result<Tensor> { Ok((net.map)(&model.standardised(x)?, &mut Mode::evaluate())?) };
    let (clean, moved) = (maps(&x)?, maps(&(&x + &noise)?)?);
    let states = net.solve(
        &model.standardised(&x)?,
        &steps(20).at([0.1, 0.5, 1.]).gradient(Gradient::None),
        &mut Mode::evaluate(),
    )?;
    let mut largest = vec![0f64; count];
    for at in 0..3 {
        let h = states.states().get(at)?;
        let f = |maps: &Tensor, example: usize| -> Result<Vec<f32>> {
            let pair = net.dynamics.pairs(&maps.narrow(0, example, 1)?, &h.narrow(0, example, 1)?)?;
            Ok(pair.flatten_all()?.to_vec1()?)
        };
        for (example, largest) in largest.iter_mut().enumerate() {
            let change: f64 =
                f(&clean, example)?.iter().zip(f(&moved, example)?).map(|(a, b)| f64::from(a - b).powi(2)).sum();
            *largest = largest.max(change.sqrt() / f64::from(norms[example]));
        }
    }
    let start = (net.dynamics.config().classes as f64).ln();
    let radii = largest.iter().map(|&lipschitz| {
        let bound = ExponentialBound::new(net.dynamics.rate(), start, std::f64::consts::SQRT_2, lipschitz.max(1e-9))?;
        Ok(EstimatedRadius::from_observed(&bound).get())
    });
    Ok(Some(statistics::mean(&radii.collect::<Result<Vec<f64>>>()?)))
}

/// What is trained, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Plan {
    method: Method,
    /// Its number.
    number: u64,
    /// Of its data, first values and order of batches.
    seed: u64,
    epochs: usize,
    /// Training images, all if 0.
    images: usize,
}

fn plans(context: &Context) -> Vec<Plan> {
    let seed_of = |number: u64| context.seed_of(&format!("images {number}"));
    let mut plans = Vec::new();
    for number in 0..SEEDS {
        for method in [Method::NeuralOde(1.), Method::LyaNet(1.), Method::LyaNet(5.)] {
            plans.push(Plan { method, number, seed: seed_of(number), epochs: EPOCHS, images: 0 });
        }
    }
    // controls, one seed
    for (method, images) in [
        (Method::NeuralOde(5.), 0),
        (Method::Schedule, 0),
        (Method::Direct, 0),
        (Method::Untrained, 0),
        (Method::ContinuousNet, 10_000),
        (Method::ContinuousLyaNet, 10_000),
    ] {
        let epochs = if images > 0 { 2 } else { EPOCHS };
        plans.push(Plan { method, number: 0, seed: seed_of(0), epochs, images });
    }
    plans
}

pub(crate) fn run(context: &mut Context) -> Result<()> {
    let is_synthetic = context.is_synthetic();
    let mnist = match is_synthetic {
        true => generated(GENERATED, context.seed_of("digits"))?,
        false => load_mnist(&reproduction::store(context)?, "mnist")?,
    };
    let all = plans(context);
    // the models of a seed together, so that what was made for the neural ODE can be tried on the others
    let mut groups: Vec<Vec<Plan>> = (0..SEEDS)
        .map(|number| all.iter().filter(|plan| is_main(plan) && plan.number == number).copied().collect())
        .collect();
    groups.extend(all.iter().filter(|plan| !is_main(plan)).map(|plan| vec![*plan]));
    let named = groups.iter().map(|plans| {
        let names: Vec<String> = plans.iter().map(|plan| plan.method.name()).collect();
        Trial::new(format!("{}, seed {}", names.join(" and "), plans[0].number), plans.clone())
    });
    let found = context.trials("images", named.collect(), |plans: &Vec<Plan>, trial| {
        let mut baseline = None;
        let mut found = Vec::with_capacity(plans.len());
        for plan in plans {
            let (model, own) = one(plan, baseline.as_ref(), &mnist.train, &mnist.test, trial)?;
            if plan.method == Method::NeuralOde(1.) {
                baseline = Some(model);
            }
            found.push(own);
        }
        Ok(found)
    })?;
    let found: Vec<Vec<Found>> = found.all()?;
    let plans: Vec<Plan> = groups.concat();
    report(context, &plans, &found.concat())
}

/// Drawn digits in the place of handwriting, for `--synthetic`.
pub(crate) fn generated([training, test]: [usize; 2], seed: u64) -> Result<ImageSplit> {
    let all = datasets::synthetic::digits(training + test, &Default::default(), seed)?;
    let part = |from: usize, to: usize| LabelledImages {
        pixels: all.pixels[from * all.image_size()..to * all.image_size()].to_vec(),
        labels: all.labels[from..to].to_vec(),
        ..all
    };
    Ok(ImageSplit { train: part(0, training), test: part(training, training + test) })
}

fn is_main(plan: &Plan) -> bool {
    matches!(plan.method, Method::NeuralOde(1.) | Method::LyaNet(_))
}

fn one(
    plan: &Plan,
    baseline: Option<&Model>,
    training: &LabelledImages,
    test: &LabelledImages,
    trial: &experiment::TrialContext,
) -> Result<(Model, Found)> {
    // the same split and baseline for all methods of a seed
    let order = Rng::new(plan.seed).fork("split").permutation(training.len());
    let order: Vec<usize> = order.into_iter().map(|at| at as usize).collect();
    let (validation, training_ids) = order.split_at(training.len() / 10);
    let count = if plan.images == 0 { training_ids.len() } else { plan.images.min(training_ids.len()) };
    let data = images(training, &training_ids[..count])?;
    let validation = images(training, validation)?;
    let test = images(test, &(0..test.len()).collect::<Vec<_>>())?;
    // MNIST's mean and standard deviation
    let standard = Some(Normalization { mean: vec![0.1307], std: vec![0.3081] });
    let mut model = Model::new(plan.method, Data::Images, standard, plan.seed)?;
    let training = Training::small(plan.epochs, plan.seed);
    let history = train(&mut model, plan.method, (&data.x, &data.labels), &training, trial)?;
    let (rk4, dopri5) = (steps(20), Solve::default().method(Tableau::dopri5()).tolerance(1e-3));
    let (by_rk4, _) = right(&model, &test, &rk4)?;
    let (by_dopri5, evaluations) = right(&model, &test, &dopri5)?;
    let has_dynamics = plan.method.has_dynamics();
    let all = match has_dynamics {
        true => Some(trajectories(&model, (&test.x, &test.labels), &rk4, &grid())?),
        false => None,
    };
    let few = (&test.x.narrow(0, 0, ATTACKED)?, &test.labels[..ATTACKED]);
    let is_attacked = !matches!(plan.method, Method::Untrained | Method::ContinuousNet | Method::ContinuousLyaNet);
    let under = |norm: Norm, budgets: &[f64], check: f64| -> Result<Option<Attacked>> {
        if !is_attacked {
            return Ok(None);
        }
        let budgets = Budgets { norm, budgets, check, bounds: (0., 1.), step: 0.25, iterations: 10 };
        Ok(Some(attack(&model, baseline, few, &budgets, has_dynamics && plan.number == 0)?))
    };
    let found = Found {
        history,
        validation: right(&model, &validation, &rk4)?.0,
        errors: (1. - by_rk4, 1. - by_dopri5),
        trajectories: all,
        evaluations,
        linf: under(Norm::Linf, &LINF, 1.)?,
        l2: under(Norm::L2, &L2, 28.)?,
        radius: radius(&model, &validation, &mut Rng::new(plan.seed).fork("radius"))?,
    };
    Ok((model, found))
}

fn report(context: &mut Context, plans: &[Plan], found: &[Found]) -> Result<()> {
    let is_synthetic = context.is_synthetic();
    let data = if is_synthetic { "generated digits" } else { "MNIST" };
    let of = |method: Method| -> Vec<&Found> {
        plans.iter().zip(found).filter(|(plan, _)| plan.method == method).map(|(_, found)| found).collect()
    };
    let mean = |found: &[&Found], of: &dyn Fn(&Found) -> f64| {
        statistics::mean(&found.iter().map(|found| of(found)).collect::<Vec<_>>())
    };
    // validation decides between the gains
    let chosen = GAINS.into_iter().max_by(|a, b| {
        let value = |gain: f64| mean(&of(Method::LyaNet(gain)), &|found| found.validation);
        value(*a).total_cmp(&value(*b))
    });
    let gain = chosen.unwrap_or(1.);
    let (lyanet, baseline) = (of(Method::LyaNet(gain)), of(Method::NeuralOde(1.)));
    let measured = |values: &[f64], note: &str| {
        let each: Vec<String> = values.iter().map(|value| format!("{value:.4}")).collect();
        let note = format!(
            "gain {gain} by validation; each seed: {}{}{note}",
            each.join(", "),
            if note.is_empty() { "" } else { "; " }
        );
        Measured { note: Some(note), is_synthetic, ..Measured::mean_of(values, data) }
    };
    let right_at = |found: &Found, at: usize| found.trajectories.as_ref().map_or(f64::NAN, |all| all.right[at]);
    let values =
        |found: &[&Found], of: &dyn Fn(&Found) -> f64| found.iter().map(|found| of(found)).collect::<Vec<f64>>();
    let differences: Vec<f64> = lyanet.iter().zip(&baseline).map(|(a, b)| right_at(a, 2) - right_at(b, 2)).collect();
    let note = format!(
        "at equal gain 1: {:.4} against {:.4}",
        mean(&of(Method::LyaNet(1.)), &|found| right_at(found, 2)),
        mean(&baseline, &|found| right_at(found, 2))
    );
    context.claim("earlier-on-images", measured(&differences, &note))?;
    let other = GAINS.into_iter().find(|other| *other != gain).unwrap_or(gain);
    let note = format!(
        "gain {other}: {:.4}; neural ODE {:.4}; the network alone {:.4}",
        mean(&of(Method::LyaNet(other)), &|found| found.errors.0),
        mean(&baseline, &|found| found.errors.0),
        mean(&of(Method::Direct), &|found| found.errors.0)
    );
    context.claim("error-on-images", measured(&values(&lyanet, &|found| found.errors.0), &note))?;
    let bound = |found: &Found| found.trajectories.as_ref().map_or(f64::NAN, |all| all.bound);
    let note = format!(
        "gain {other}: {:.3}; neural ODE {:.3}",
        mean(&of(Method::LyaNet(other)), &bound),
        mean(&baseline, &bound)
    );
    context.claim("bound-on-images", measured(&values(&lyanet, &bound), &note))?;
    let time = |found: &Found| {
        let Some(all) = &found.trajectories else { return f64::NAN };
        let last = all.right.last().copied().unwrap_or(f64::NAN);
        let reached = all.right.iter().position(|right| *right >= 0.99 * last);
        reached.map_or(f64::NAN, |at| all.times[at])
    };
    let later: Vec<f64> = lyanet.iter().zip(&baseline).map(|(a, b)| time(b) - time(a)).collect();
    let note = format!("LyaNet {:.2}, neural ODE {:.2}", mean(&lyanet, &time), mean(&baseline, &time));
    context.claim("time-to-99", measured(&later, &note))?;
    let note = format!("neural ODE {:.0}", mean(&baseline, &|found| found.evaluations));
    context.claim("evaluations-on-images", measured(&values(&lyanet, &|found| found.evaluations), &note))?;
    let last = |found: &Found| found.history.violating.last().copied().unwrap_or(f64::NAN);
    context.claim("violations-on-images", measured(&values(&lyanet, &last), ""))?;
    let radius = |found: &Found| found.radius.unwrap_or(f64::NAN);
    let note = format!(
        "100 validation images, 3 states of each trajectory; neural ODE {:.4}, which the condition does not hold for",
        mean(&baseline, &radius)
    );
    context.claim("estimated-radius", measured(&values(&lyanet, &radius), &note))?;
    for (id, attacked, budget) in [
        ("linf-errors", (|found: &Found| found.linf.clone()) as fn(&Found) -> Option<Attacked>, LINF[0]),
        ("l2-errors", |found: &Found| found.l2.clone(), L2[0]),
    ] {
        let wrong = |found: &Found| attacked(found).map_or(f64::NAN, |attacked| attacked.at(budget));
        let works =
            lyanet.iter().chain(&baseline).all(|found| attacked(found).is_some_and(|attacked| attacked.works()));
        let note = format!("LyaNet {:.3}, neural ODE {:.3}", mean(&lyanet, &wrong), mean(&baseline, &wrong));
        if works {
            let differences: Vec<f64> = lyanet.iter().zip(&baseline).map(|(a, b)| wrong(a) - wrong(b)).collect();
            context.claim(id, measured(&differences, &note))?;
        } else {
            context.note(format!(
                "{id}: {note}; an attack failed at the check's budget, so that this says nothing about robustness"
            ));
        }
    }
    let gap: Vec<f64> = lyanet.iter().map(|found| found.errors.0 - found.errors.1).collect();
    let note = format!(
        "LyaNet {:.4} by dopri5; neural ODE {:.4} by RK4, {:.4} by dopri5",
        mean(&lyanet, &|found| found.errors.1),
        mean(&baseline, &|found| found.errors.0),
        mean(&baseline, &|found| found.errors.1)
    );
    context.claim("solvers-differ", measured(&gap, &note))?;

    let mut methods: Vec<Method> = Vec::new();
    for plan in plans {
        if !methods.contains(&plan.method) {
            methods.push(plan.method);
        }
    }
    let mut table = Table::new([
        "model",
        "seeds",
        "test error, RK4",
        "test error, dopri5",
        "right at 0.05",
        "right at 0.1",
        "bound",
        "violations",
        "evaluations",
    ]);
    for &method in &methods {
        let own = of(method);
        let shown =
            |value: f64, digits: usize| if value.is_finite() { format!("{value:.digits$}") } else { "-".to_owned() };
        table.rows.push(vec![
            method.name(),
            own.len().to_string(),
            shown(mean(&own, &|found| found.errors.0), 4),
            shown(mean(&own, &|found| found.errors.1), 4),
            shown(mean(&own, &|found| right_at(found, 1)), 4),
            shown(mean(&own, &|found| right_at(found, 2)), 4),
            shown(mean(&own, &bound), 3),
            shown(mean(&own, &last), 3),
            shown(if method.has_dynamics() { mean(&own, &|found| found.evaluations) } else { f64::NAN }, 0),
        ]);
    }
    context.table("All models; the two ContinuousNets saw 10,000 images twice, the others 54,000 five times", table);
    let with_dynamics: Vec<Method> = methods.iter().copied().filter(|method| method.has_dynamics()).collect();
    let named: Vec<_> = with_dynamics
        .iter()
        .map(|&method| {
            (method.name(), of(method).into_iter().filter_map(|found| found.trajectories.as_ref()).collect())
        })
        .collect();
    figures::accuracy(context, &named)?;
    figures::potential(context, &named[..3])?;
    let histories: Vec<_> = with_dynamics
        .iter()
        .map(|&method| (method.name(), of(method).into_iter().map(|found| &found.history).collect()))
        .collect();
    figures::training(context, &histories)?;
    for (name, which) in [("attacks-linf", 0), ("attacks-l2", 1)] {
        let named: Vec<_> = methods
            .iter()
            .map(|&method| {
                let own = of(method)
                    .into_iter()
                    .filter_map(|found| if which == 0 { found.linf.as_ref() } else { found.l2.as_ref() });
                (method.name(), own.collect::<Vec<_>>())
            })
            .filter(|(_, found)| !found.is_empty())
            .collect();
        figures::attacks(context, name, &named)?;
    }
    Ok(())
}
