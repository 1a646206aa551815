//! Every method on one set of signals.

use crate::networks::{Trained, predicted};
use adversarial::reverse::{Analysis, AttackPart, Homotopy, NearestSubspace, ReverseEngineer};
use experiment::BoxError;
use serde::{Deserialize, Serialize};

/// What methods say of each signal.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Answers {
    pub(crate) truth: Vec<usize>,
    pub(crate) undefended: Vec<usize>,
    pub(crate) class: Vec<usize>,
    pub(crate) attack: Vec<Option<usize>>,
    pub(crate) through_network: Vec<usize>,
    pub(crate) own_part: Vec<usize>,
    pub(crate) official_class: Vec<usize>,
    pub(crate) official_attack: Vec<Option<usize>>,
    pub(crate) signal_only: Vec<usize>,
    pub(crate) subspace: Vec<usize>,
    pub(crate) residual_rule: Vec<Option<usize>>,
    pub(crate) certified: Vec<bool>,
}

/// A list of classes, or of kinds of attack, of a method.
pub(crate) type Classes = fn(&Answers) -> &Vec<usize>;
pub(crate) type Kinds = fn(&Answers) -> &Vec<Option<usize>>;

/// The share of answers that are right.
pub(crate) fn accuracy(answers: &[usize], truth: &[usize]) -> f64 {
    answers.iter().zip(truth).filter(|(a, b)| a == b).count() as f64 / truth.len() as f64
}

/// The share of signals whose kind of attack is found.
pub(crate) fn detected(answers: &[Option<usize>], truth: usize) -> f64 {
    answers.iter().filter(|answer| **answer == Some(truth)).count() as f64 / answers.len() as f64
}

type Result<T> = std::result::Result<T, BoxError>;

fn classes(found: &[Analysis]) -> Vec<usize> {
    found.iter().map(|one| one.class).collect()
}

/// All methods; `is_whole` runs those too that stand in the table alone.
pub(crate) fn answers(
    engineer: &ReverseEngineer,
    control: &NearestSubspace,
    network: &Trained,
    signals: &[f64],
    truth: &[usize],
    is_whole: bool,
) -> Result<(Answers, Vec<Analysis>)> {
    let d = engineer.dictionary().dimension();
    let found = engineer.analyse_all(signals)?;
    let mut answers = Answers {
        truth: truth.to_vec(),
        undefended: predicted(network, signals)?,
        class: classes(&found),
        attack: found.iter().map(|one| one.attack).collect(),
        certified: found.iter().map(|one| one.is_minimum).collect(),
        ..Answers::default()
    };
    for x in signals.chunks(d) {
        answers.subspace.push(control.classify(x)?.0);
        answers.residual_rule.push(control.attack(engineer.dictionary(), x)?);
    }
    if is_whole {
        let clean: Vec<f64> = found.iter().flat_map(|one| one.clean.iter().copied()).collect();
        answers.through_network = predicted(network, &clean)?;
        answers.own_part = classes(&engineer.clone().attack_part(AttackPart::Own).analyse_all(signals)?);
        let official = engineer.clone().homotopy(Homotopy::official()).analyse_all(signals)?;
        answers.official_class = classes(&official);
        answers.official_attack = official.iter().map(|one| one.attack).collect();
        answers.signal_only =
            classes(&engineer.clone().homotopy(Homotopy::default().signal_only()).analyse_all(signals)?);
    }
    Ok((answers, found))
}
