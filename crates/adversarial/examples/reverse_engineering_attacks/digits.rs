//! MNIST: a convolutional network, 50 images of a class in the dictionary.

use crate::methods::{Answers, Classes, Kinds, accuracy, answers, detected};
use crate::networks::{Kind, Kindred, perturbations, train};
use adversarial::attacks::ThreatModel;
use adversarial::reverse::{BlockDictionary, NearestSubspace, ReverseEngineer};
use core_tensor::random::Rng;
use datasets::images::{ImageSplit, load_mnist};
use experiment::{BoxError, Context, Measured, Outcome, Result, Table, Trial, TrialContext, statistics};
use serde::{Deserialize, Serialize};
use vision::ImageShape;

const CLASSES: usize = 10;
const PER_CLASS: usize = 50;
const IMAGES: usize = 100;

fn kinds() -> [(&'static str, Kindred); 3] {
    let of = |threat, step, iterations| Kindred { threat, step, iterations };
    [
        ("l_1 10", of(ThreatModel::l1(10.), 0.8, 100)),
        ("l_2 2", of(ThreatModel::l2(2.), 0.1, 200)),
        ("l_inf 0.3", of(ThreatModel::linf(0.3), 0.01, 100)),
    ]
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Found {
    /// Clean, then one for each kind.
    table: Vec<Answers>,
}

pub(crate) fn run(context: &mut Context) -> Result<Outcome<Found>> {
    let mnist = load_mnist(&reproduction::store(context)?, "mnist")?;
    context.trials("digits", vec![Trial::new("digits", ())], |(), trial| of_mnist(&mnist, trial))
}

fn of_mnist(mnist: &ImageSplit, trial: &TrialContext) -> std::result::Result<Found, BoxError> {
    let seed = trial.seed_of("digits");
    let d = mnist.train.image_size();
    let numbers = |pixels: &[u8]| -> Vec<f64> { pixels.iter().map(|&x| f64::from(f32::from(x) / 255.)).collect() };
    let labels: Vec<u32> = mnist.train.labels.iter().map(|&label| label.into()).collect();
    let shape = ImageShape { channels: 1, height: mnist.train.height, width: mnist.train.width };
    let network = {
        let x = numbers(&mnist.train.pixels);
        train(Kind::Convolutional([32, 64], shape), (&x, &labels, CLASSES), 2, seed, trial)?
    };
    let mut used = [0; CLASSES];
    let mut chosen = Vec::new();
    for (at, &label) in mnist.train.labels.iter().enumerate() {
        if used[label as usize] < PER_CLASS {
            used[label as usize] += 1;
            chosen.push(at);
        }
    }
    let signals: Vec<f64> = chosen.iter().flat_map(|&at| numbers(&mnist.train.pixels[at * d..(at + 1) * d])).collect();
    let of_signals: Vec<u32> = chosen.iter().map(|&at| labels[at]).collect();
    let mut found = Vec::new();
    for (_, kind) in &kinds() {
        trial.check_cancelled()?;
        found.push(perturbations(&network, kind, &signals, &of_signals, seed)?);
    }
    let named: Vec<(&str, &[f64])> =
        kinds().iter().zip(&found).map(|((name, _), list)| (*name, list.as_slice())).collect();
    let dictionary = BlockDictionary::from_samples(d, &signals, &of_signals, &named, PER_CLASS)?;
    let control = NearestSubspace::new(&dictionary)?;
    let engineer = ReverseEngineer::new(dictionary)?;
    let order = Rng::new(seed).fork("test").sample_without_replacement(mnist.test.len(), IMAGES);
    let clean: Vec<f64> =
        order.iter().flat_map(|&at| numbers(&mnist.test.pixels[at as usize * d..(at as usize + 1) * d])).collect();
    let truth: Vec<u32> = order.iter().map(|&at| mnist.test.labels[at as usize].into()).collect();
    let classes: Vec<usize> = truth.iter().map(|&class| class as usize).collect();
    let mut table = vec![answers(&engineer, &control, &network, &clean, &classes, true)?.0];
    for (_, kind) in &kinds() {
        trial.check_cancelled()?;
        let delta = perturbations(&network, kind, &clean, &truth, seed ^ 1)?;
        let attacked: Vec<f64> = clean.iter().zip(&delta).map(|(x, delta)| x + delta).collect();
        table.push(answers(&engineer, &control, &network, &attacked, &classes, true)?.0);
    }
    Ok(Found { table })
}

pub(crate) fn report(context: &mut Context, results: Outcome<Found>) -> Result<()> {
    if !results.is_complete() {
        return Ok(());
    }
    for found in results.all()? {
        let class = |setting: usize, of: Classes| accuracy(of(&found.table[setting]), &found.table[setting].truth);
        let data = format!("MNIST, {IMAGES} test images, one network");
        let mut claim = |id: &str, value: f64| context.claim(id, Measured::mean_of(&[value], data.clone()));
        claim("digits-gain", class(3, |answers| &answers.class) - class(3, |answers| &answers.undefended))?;
        for (setting, id) in [(1, "digits-l1"), (2, "digits-l2"), (3, "digits-linf")] {
            claim(id, class(setting, |answers| &answers.class))?;
        }
        claim("digits-attack", detected(&found.table[3].attack, 2))?;
        let certified: Vec<f64> = found
            .table
            .iter()
            .flat_map(|answers| answers.certified.iter().map(|&is| f64::from(u8::from(is))))
            .collect();
        claim("digits-certified", statistics::mean(&certified))?;
        let mut table = Table::new(["method", "clean", "l_1 10", "l_2 2", "l_inf 0.3"]);
        let rows: [(&str, Classes); 6] = [
            ("no defence", |answers| &answers.undefended),
            ("SBSC, authors' rule", |answers| &answers.official_class),
            ("SBSC, 12 rounds", |answers| &answers.class),
            ("SBSC+CNN, 12 rounds", |answers| &answers.through_network),
            ("signal blocks alone, 12 rounds", |answers| &answers.signal_only),
            ("control: nearest subspace", |answers| &answers.subspace),
        ];
        for (name, of) in rows {
            let mut row = vec![name.to_owned()];
            row.extend((0..4).map(|setting| format!("{:.0}", 100. * class(setting, of))));
            table.rows.push(row);
        }
        let rows: [(&str, Kinds); 2] = [
            ("kind: SBSAD, 12 rounds", |answers| &answers.attack),
            ("kind, control: residual rule", |answers| &answers.residual_rule),
        ];
        for (name, of) in rows {
            let mut row = vec![name.to_owned(), "–".to_owned()];
            row.extend((1..4).map(|setting| format!("{:.0}", 100. * detected(of(&found.table[setting]), setting - 1))));
            table.rows.push(row);
        }
        context.table("MNIST: accuracy in % of 100 test images, 50 images of a class in the dictionary", table);
    }
    Ok(())
}
