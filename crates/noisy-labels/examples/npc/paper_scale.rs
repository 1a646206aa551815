//! The row of cross-entropy in the paper's table, with the paper's data, networks and epochs.

use crate::apply::{Calibration, Front, Labelled, Recipe, apply, train_classifier};
use crate::claims::CELLS;
use crate::images::{classes, clean, tensor};
use crate::network::{Kind, Net};
use core_tensor::random::Rng;
use core_tensor::train::Cancellation;
use datasets::images::{ImageSplit, load_cifar_10, load_mnist};
use experiment::{BoxError, Context, Measured, Outcome, Result, Table, Trial, TrialContext, statistics};
use noisy_labels::Probabilities;
use noisy_labels::neighbours::Points;
use noisy_labels::noise::{InstanceNoiseConfig, asymmetric, instance_dependent, similarity_related, symmetric_change};
use noisy_labels::training::{Objective, TrainingConfig, cross_validated};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const CLASSES: usize = 10;
const SEEDS: u64 = 3;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Cell {
    data: String,
    noise: String,
}

/// The classifier's test accuracy, and NPC's of each seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Found {
    classifier: f64,
    npc: Vec<f64>,
}

pub(crate) struct Tables {
    results: Outcome<Found>,
}

fn kind(data: &str) -> Kind {
    if data == "cifar-10" { Kind::Nine } else { Kind::Mnist }
}

/// The classes that asymmetric noise confuses.
fn table(data: &str) -> [u32; CLASSES] {
    match data {
        "mnist" => [0, 1, 7, 8, 4, 6, 5, 7, 8, 9],
        "fashion-mnist" => [6, 1, 4, 3, 4, 7, 6, 7, 8, 9],
        _ => [0, 1, 0, 5, 7, 3, 6, 7, 8, 1],
    }
}

pub(crate) fn run(context: &mut Context) -> Result<Tables> {
    let store = reproduction::store(context)?;
    let mut sets = BTreeMap::new();
    for name in ["mnist", "fashion-mnist"] {
        sets.insert(name.to_owned(), load_mnist(&store, name)?);
    }
    sets.insert("cifar-10".to_owned(), load_cifar_10(&store)?);
    let cells = CELLS.iter().map(|(data, noise, _)| Cell { data: (*data).to_owned(), noise: (*noise).to_owned() });
    let trials = cells.map(|cell| Trial::new(format!("{}-{}", cell.data, cell.noise), cell)).collect();
    let results = context.trials("table", trials, |cell, trial| {
        let set = sets.get(&cell.data).ok_or("unknown data")?;
        train(cell, set, trial)
    })?;
    Ok(Tables { results })
}

fn train(cell: &Cell, set: &ImageSplit, trial: &TrialContext) -> std::result::Result<Found, BoxError> {
    let kind = kind(&cell.data);
    let is_centred = kind == Kind::Nine;
    let seed = trial.seed_of(&format!("{}-{}", cell.data, cell.noise));
    let x = tensor(&set.train, set.train.len(), is_centred)?;
    let truth = classes(&set.train.labels);
    let mut rng = Rng::new(seed).fork("noise");
    let rate = cell.noise.trim_start_matches(char::is_alphabetic).parse::<f64>().unwrap_or(0.) / 100.;
    let given = match cell.noise.trim_end_matches(|c: char| c.is_ascii_digit()) {
        "sn" => symmetric_change(&truth, CLASSES, rate, &mut rng)?,
        "asn" => asymmetric(&truth, &table(&cell.data), rate, &mut rng)?,
        "idn" => {
            let values = x.flatten_all()?.to_vec1::<f32>()?;
            let config = InstanceNoiseConfig { rate, deviation: 0.1 };
            instance_dependent(Points::new(&values, set.train.image_size())?, &truth, CLASSES, &config, &mut rng)?
        }
        "sridn" => {
            let build = move |vb: candle_nn::VarBuilder<'static>| -> core_tensor::Result<Box<dyn core_tensor::train::Classifier>> {
                Ok(Box::new(Net::new(kind, false, vb)?))
            };
            let config = TrainingConfig { epochs: 10, seed, ..TrainingConfig::default() };
            let cancellation = Cancellation::when(trial.cancellation());
            let objective = Objective::CrossEntropy;
            let p = cross_validated(&build, &x, &truth, CLASSES, &objective, 5, &config, &cancellation)?;
            let p = Probabilities::new(&p, CLASSES)?;
            let (mut of_true, mut candidates) = (Vec::new(), Vec::new());
            for (row, &class) in p.rows().zip(&truth) {
                of_true.push(row[class as usize]);
                let others = (0..CLASSES).rev().filter(|&other| other != class as usize);
                candidates.push(others.max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0) as u32);
            }
            similarity_related(&truth, &of_true, &candidates, rate)?
        }
        _ => truth.clone(),
    };
    let training = Labelled { x, truth, given };
    let test = clean(&set.test, is_centred)?;
    let objective = Objective::CrossEntropy;
    let recipe = Recipe { kind, classes: CLASSES, objective: &objective, epochs: 200, validation: None, seed };
    let classifier = train_classifier(&recipe, &training, trial)?;
    let mut found = Found { classifier: f64::NAN, npc: Vec::new() };
    for npc in 0..SEEDS {
        let calibration = Calibration { front: Front::Copy, epochs: 10, seed: trial.seed_of(&format!("npc-{npc}")) };
        let applied = apply(kind, &classifier, &training, &test, &calibration, trial)?;
        found.classifier = applied.classifier;
        found.npc.push(applied.npc.last().copied().unwrap_or(f64::NAN));
    }
    Ok(found)
}

pub(crate) fn report(context: &mut Context, tables: Tables) -> Result<()> {
    if !tables.results.is_complete() {
        return Ok(());
    }
    let mut shown = Table::new(["data", "noise", "cross-entropy", "published", "with NPC", "published"]);
    for ((data, noise, [accuracy, gain]), found) in CELLS.iter().zip(tables.results.all()?) {
        let percent: Vec<f64> = found.npc.iter().map(|npc| 100. * npc).collect();
        let gains: Vec<f64> = percent.iter().map(|npc| npc - 100. * found.classifier).collect();
        context.claim(accuracy.id, Measured::mean_of(&[100. * found.classifier], *data))?;
        context.claim(gain.id, Measured::mean_of(&gains, *data))?;
        let published = |claim: &experiment::Claim| claim.published.map_or(f64::NAN, |published| published.value);
        shown.rows.push(vec![
            (*data).to_owned(),
            (*noise).to_owned(),
            format!("{:.1}", 100. * found.classifier),
            format!("{:.1}", published(accuracy)),
            format!("{:.1}", statistics::mean(&percent)),
            format!("{:.1}", published(accuracy) + published(gain)),
        ]);
    }
    context.table("Test accuracy in %, 200 epochs", shown);
    Ok(())
}
