//! Generated data: five Gaussian classes in 20 dimensions with four kinds of noise.

use crate::apply::{
    Applied, Calibration, Front, Labelled, Ranking, Recipe, Said, Trained, apply, classes_of, ranking, train_classifier,
};
use crate::figures;
use crate::network::{Kind, Net};
use candle_core::{DType, Device, Tensor};
use core_tensor::metrics::accuracy;
use core_tensor::random::Rng;
use core_tensor::train::Cancellation;
use experiment::{BoxError, Context, Measured, Outcome, Result, Table, Trial, TrialContext, statistics};
use noisy_labels::neighbours::Points;
use noisy_labels::noise::{InstanceNoiseConfig, asymmetric, instance_dependent, symmetric_change};
use noisy_labels::training::{GenerativeClassifier, GenerativeConfig, Objective, TrainingConfig, cross_validated};
use noisy_labels::{Probabilities, issues};
use serde::{Deserialize, Serialize};

const CLASSES: usize = 5;
const FEATURES: usize = 20;
const EXAMPLES: usize = 4000;
const EPOCHS: usize = 40;
const SEEDS: u64 = 3;
const DATA: &str = "five Gaussian classes";
pub(crate) const NOISES: [&str; 4] = ["idn40", "sn50", "asn40", "idn20"];

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Setting {
    noise: String,
    seed: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Found {
    applied: Applied,
    /// By probabilities of networks that have not seen the labels.
    out_of_sample: Vec<Ranking>,
    /// The most accurate that a classifier can be.
    bayes: f64,
}

pub(crate) struct Runs {
    settings: Vec<Setting>,
    results: Outcome<Found>,
}

/// Training data with noisy labels, test data, and the accuracy of Bayes' rule.
fn data(noise: &str, seed: u64) -> std::result::Result<(Labelled, Labelled, f64), BoxError> {
    let rng = Rng::new(seed);
    let means = rng.fork("means").normal(0., 0.8, (CLASSES, FEATURES), DType::F64, &Device::Cpu)?.to_vec2::<f64>()?;
    let drawn = |name: &str| -> std::result::Result<(Tensor, Vec<f32>, Vec<u32>, f64), BoxError> {
        let mut rng = rng.fork(name);
        let truth: Vec<u32> = (0..EXAMPLES).map(|_| rng.below(CLASSES) as u32).collect();
        let mut x = rng.normal(0., 1., (EXAMPLES, FEATURES), DType::F64, &Device::Cpu)?.to_vec2::<f64>()?;
        let mut right = 0;
        for (row, &class) in x.iter_mut().zip(&truth) {
            row.iter_mut().zip(&means[class as usize]).for_each(|(x, mean)| *x += mean);
            let distance =
                |class: usize| row.iter().zip(&means[class]).map(|(x, mean)| (x - mean).powi(2)).sum::<f64>();
            let nearest = (0..CLASSES).min_by(|&a, &b| distance(a).total_cmp(&distance(b)));
            right += usize::from(nearest == Some(class as usize));
        }
        let values: Vec<f32> = x.iter().flatten().map(|&x| x as f32).collect();
        let tensor = Tensor::from_slice(&values, (EXAMPLES, FEATURES), &Device::Cpu)?;
        Ok((tensor, values, truth, right as f64 / EXAMPLES as f64))
    };
    let (x, values, truth, _) = drawn("training")?;
    let mut noise_rng = rng.fork("noise");
    let instance = |rate: f64, rng: &mut Rng| {
        let config = InstanceNoiseConfig { rate, deviation: 0.1 };
        Points::new(&values, FEATURES).and_then(|x| instance_dependent(x, &truth, CLASSES, &config, rng))
    };
    let given = match noise {
        "idn40" => instance(0.4, &mut noise_rng)?,
        "idn20" => instance(0.2, &mut noise_rng)?,
        "sn50" => symmetric_change(&truth, CLASSES, 0.5, &mut noise_rng)?,
        _ => asymmetric(&truth, &[1, 2, 3, 4, 0], 0.4, &mut noise_rng)?,
    };
    let training = Labelled { x, truth, given };
    let (x, _, truth, bayes) = drawn("test")?;
    let test = Labelled { x, given: truth.clone(), truth };
    Ok((training, test, bayes))
}

pub(crate) fn run(context: &mut Context) -> Result<Runs> {
    let settings: Vec<Setting> =
        NOISES.iter().flat_map(|noise| (0..SEEDS).map(|seed| Setting { noise: (*noise).to_owned(), seed })).collect();
    let trials = settings.iter().map(|s| Trial::new(format!("{}-{}", s.noise, s.seed), s.clone())).collect();
    let results = context.trials("recipe", trials, |setting, trial| {
        let seed = trial.seed_of(&format!("repetition-{}", setting.seed));
        let (training, test, bayes) = data(&setting.noise, seed)?;
        let (objective, validation) = (Objective::CrossEntropy, None);
        let recipe =
            Recipe { kind: Kind::Mlp, classes: CLASSES, objective: &objective, epochs: EPOCHS, validation, seed };
        let classifier = train_classifier(&recipe, &training, trial)?;
        let calibration = Calibration { front: Front::Copy, epochs: 10, seed };
        let applied = apply(Kind::Mlp, &classifier, &training, &test, &calibration, trial)?;
        let out_of_sample = out_of_sample(&training, seed, trial)?;
        Ok(Found { applied, out_of_sample, bayes })
    })?;
    Ok(Runs { settings, results })
}

/// Rankings that need probabilities out of sample: of five folds, trained until their validation gets worse.
fn out_of_sample(training: &Labelled, seed: u64, trial: &TrialContext) -> std::result::Result<Vec<Ranking>, BoxError> {
    let build = |vb: candle_nn::VarBuilder<'static>| -> core_tensor::Result<Box<dyn core_tensor::train::Classifier>> {
        Ok(Box::new(Net::new(Kind::Mlp, false, vb)?))
    };
    let config = TrainingConfig { epochs: EPOCHS, validation: Some(0.1), seed, ..TrainingConfig::default() };
    let cancellation = Cancellation::when(trial.cancellation());
    let objective = Objective::CrossEntropy;
    let p = cross_validated(&build, &training.x, &training.given, CLASSES, &objective, 5, &config, &cancellation)?;
    let p = Probabilities::new(&p, CLASSES)?;
    let scores = issues::label_scores(p, &training.given, issues::Score::SelfConfidence)?;
    let joint = issues::confident_joint(p, &training.given)?;
    // What is listed as wrong comes before all else.
    let mut listed = scores.clone();
    for example in issues::label_issues(p, &training.given, &joint, issues::Prune::Both)? {
        listed[example as usize] -= 1.;
    }
    Ok(vec![ranking("confident joint", &listed, training)?, ranking("self-confidence", &scores, training)?])
}

pub(crate) fn report(context: &mut Context, runs: Runs) -> Result<()> {
    if !runs.results.is_complete() {
        return Ok(());
    }
    let results = runs.results.all()?;
    let of = |noise: &str| -> Vec<&Found> {
        runs.settings.iter().zip(&results).filter(|(s, _)| s.noise == noise).map(|(_, r)| r).collect()
    };
    let last = |applied: &Applied| applied.npc.last().copied().unwrap_or(f64::NAN);
    let values = |noise: &str, value: &dyn Fn(&Found) -> f64| of(noise).into_iter().map(value).collect::<Vec<f64>>();
    let measured = |values: &[f64]| Measured { is_synthetic: true, ..Measured::mean_of(values, DATA) };
    let gain = |r: &Found| last(&r.applied) - r.applied.classifier;
    context.claim("idn40-gain", measured(&values("idn40", &gain)))?;
    let bayes = statistics::mean(&values("idn40", &|r| r.bayes));
    let note = Some(format!("the best rule there is, that of Bayes, has {bayes:.3} on these draws"));
    let accuracy = values("idn40", &|r| last(&r.applied));
    context.claim("idn40-accuracy", Measured { note, ..measured(&accuracy) })?;
    context.claim("idn40-neighbours", measured(&values("idn40", &|r| last(&r.applied) - r.applied.neighbours)))?;
    let votes = |r: &Found| r.applied.voted_training - r.applied.predicted_training;
    context.claim("idn40-votes", measured(&values("idn40", &votes)))?;
    for noise in ["sn50", "asn40", "idn20"] {
        let gains = values(noise, &gain);
        let smallest = gains.iter().copied().fold(f64::INFINITY, f64::min);
        context.claim(&format!("{noise}-gain"), Measured { value: smallest, ..measured(&gains) })?;
    }
    let by = |r: &Found, name: &str| {
        let all = r.applied.rankings.iter().chain(&r.out_of_sample);
        all.filter(|ranking| ranking.name == name).map(|ranking| ranking.average_precision).next().unwrap_or(f64::NAN)
    };
    context.claim("issues", measured(&values("idn40", &|r| by(r, "NPC") - by(r, "confident joint"))))?;

    let mut table = Table::new([
        "noise",
        "wrong labels",
        "ŷ right (training)",
        "ȳ right (training)",
        "classifier",
        "neighbours",
        "NPC 1 epoch",
        "5 epochs",
        "10 epochs",
        "Bayes",
    ]);
    let number = |values: Vec<f64>| format!("{:.3}", statistics::mean(&values));
    for noise in NOISES {
        let mean = |value: &dyn Fn(&Found) -> f64| number(values(noise, value));
        let at = |epoch: usize| mean(&|r: &Found| r.applied.npc.get(epoch - 1).copied().unwrap_or(f64::NAN));
        table.rows.push(vec![
            noise.to_owned(),
            mean(&|r| r.applied.noise),
            mean(&|r| r.applied.predicted_training),
            mean(&|r| r.applied.voted_training),
            mean(&|r| r.applied.classifier),
            mean(&|r| r.applied.neighbours),
            at(1),
            at(5),
            at(10),
            mean(&|r| r.bayes),
        ]);
    }
    context.table("Generated data: accuracies, on test data unless said otherwise, mean of seeds", table);
    let mut table = Table::new(["noise", "classifier", "NPC"]);
    for noise in NOISES {
        let error = |at: usize| number(values(noise, &|r| r.applied.calibration_errors[at]));
        table.rows.push(vec![noise.to_owned(), error(0), error(1)]);
    }
    context.table("Generated data: expected calibration error, ten bins, mean of seeds", table);
    let names = ["NPC", "neighbours' votes", "confident joint", "self-confidence", "self-confidence (in sample)"];
    let mut table = Table::new(["ranking", "idn40", "sn50", "asn40", "idn20"]);
    for name in names {
        let cells = NOISES.map(|noise| number(values(noise, &|r| by(r, name))));
        table.rows.push([name.to_owned()].into_iter().chain(cells).collect());
    }
    context.table("Generated data: average precision of finding wrong labels, mean of seeds", table);
    let idn = of("idn40");
    let applied: Vec<&Applied> = idn.iter().map(|r| &r.applied).collect();
    figures::epochs(context, "epochs", "Generated data, 40 % instance-dependent noise", &applied)?;
    figures::transition(context, "transition", "generated data, 40 % instance-dependent noise", &applied, CLASSES)?;
    figures::reliability(context, "reliability", "Generated data, 40 % instance-dependent noise", &applied)?;
    let rankings: Vec<Vec<&Ranking>> =
        idn.iter().map(|r| r.applied.rankings.iter().chain(&r.out_of_sample).collect()).collect();
    figures::precision(context, "precision", "Generated data, 40 % instance-dependent noise", &rankings)
}

/// A method of training with and without NPC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Method {
    name: String,
    classifier: f64,
    neighbours: f64,
    /// A robust generative classifier on the logarithms of the probabilities.
    generative: f64,
    npc: f64,
}

pub(crate) struct Methods {
    results: Outcome<Method>,
}

pub(crate) fn run_baselines(context: &mut Context) -> Result<Methods> {
    // by number: a method is a choice of the program, not of a stored trial
    let mut trials = vec![Trial::new("early-stopping", None)];
    let all = Objective::all(EPOCHS);
    trials.extend(all.iter().enumerate().map(|(at, objective)| Trial::new(objective.name(), Some(at))));
    let results = context.trials("methods", trials, |at, trial| {
        let seed = trial.seed_of("methods");
        let (training, test, _) = data("idn40", seed)?;
        let (objective, validation) = match at {
            Some(at) => (&all[*at], None),
            None => (&Objective::CrossEntropy, Some(0.1)),
        };
        // Robust early-learning is meant with early stopping.
        let validation = match objective {
            Objective::RobustEarlyLearning { .. } => Some(0.1),
            _ => validation,
        };
        let recipe = Recipe { kind: Kind::Mlp, classes: CLASSES, objective, epochs: EPOCHS, validation, seed };
        let classifier = train_classifier(&recipe, &training, trial)?;
        let calibration = Calibration { front: Front::Copy, epochs: 10, seed };
        let applied = apply(Kind::Mlp, &classifier, &training, &test, &calibration, trial)?;
        Ok(Method {
            name: trial.id().to_owned(),
            classifier: applied.classifier,
            neighbours: applied.neighbours,
            generative: generative(&classifier, &training, &test)?,
            npc: applied.npc.last().copied().unwrap_or(f64::NAN),
        })
    })?;
    Ok(Methods { results })
}

/// Test accuracy of RoG on the last layer.
fn generative(classifier: &Trained, training: &Labelled, test: &Labelled) -> std::result::Result<f64, BoxError> {
    let logs = |x: &Tensor| -> std::result::Result<Vec<f32>, BoxError> {
        let said = Said::of(&classifier.net, x)?;
        Ok(said.probabilities.iter().map(|p| p.max(1e-12).ln()).collect())
    };
    let (of_training, of_test) = (logs(&training.x)?, logs(&test.x)?);
    let points = Points::new(&of_training, CLASSES)?;
    let model = GenerativeClassifier::fit(points, &training.given, CLASSES, &GenerativeConfig::default())?;
    let p = model.predict(Points::new(&of_test, CLASSES)?)?;
    let p: Vec<f32> = p.into_iter().map(|p| p as f32).collect();
    Ok(accuracy(&classes_of(&p, CLASSES), &test.truth)?)
}

pub(crate) fn report_baselines(context: &mut Context, methods: Methods) -> Result<()> {
    if !methods.results.is_complete() {
        return Ok(());
    }
    let results = methods.results.all()?;
    let gains: Vec<f64> = results.iter().map(|method| method.npc - method.classifier).collect();
    context.claim("baselines-gain", Measured { is_synthetic: true, ..Measured::mean_of(&gains, DATA) })?;
    let mut table = Table::new(["method", "alone", "neighbours", "generative (RoG)", "with NPC"]);
    for method in &results {
        let number = |x: f64| format!("{x:.3}");
        table.rows.push(vec![
            method.name.clone(),
            number(method.classifier),
            number(method.neighbours),
            number(method.generative),
            number(method.npc),
        ]);
    }
    context.table(
        "Generated data, 40 % instance-dependent noise: test accuracy of every method of training, one seed",
        table,
    );
    let bars =
        |name: &str, value: &dyn Fn(&Method) -> f64| experiment::Bars::new(name, results.iter().map(value).collect());
    let series = vec![bars("alone", &|m| m.classifier), bars("with NPC", &|m| m.npc)];
    let categories = results.iter().map(|method| method.name.clone()).collect();
    let axis = experiment::Axis::linear("test accuracy");
    let title = "Generated data, 40 % instance-dependent noise: methods with and without NPC";
    context.plot("methods", experiment::Plot::bars(title, axis, categories, series))
}
