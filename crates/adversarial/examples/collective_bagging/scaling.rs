//! How certificates grow with samples, sub-classifiers and budget.

use crate::synthetic;
use adversarial::bagging::solve::Limits;
use adversarial::bagging::{CertifyConfig, Scope, Structure, certify};
use experiment::{Context, Result, Table, Trial};
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Setting {
    num_sub_classifiers: usize,
    num_samples: usize,
    classes: usize,
    budget: usize,
    seconds: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Outcome {
    columns: usize,
    attackable: u64,
    upper: u64,
    lower: u64,
    nodes: u64,
    seconds: f64,
}

fn settings() -> Vec<Setting> {
    let one = |num_sub_classifiers, num_samples, classes, budget| Setting {
        num_sub_classifiers,
        num_samples,
        classes,
        budget,
        seconds: 10,
    };
    let samples = [1_000, 10_000, 100_000, 1_000_000];
    let mut settings: Vec<Setting> =
        samples.into_iter().flat_map(|samples| [one(20, samples, 2, 3), one(20, samples, 2, 8)]).collect();
    for num_sub_classifiers in [20, 50, 100, 200, 500] {
        for share in [5, 15, 30].into_iter().filter(|&share| num_sub_classifiers > 20 || share != 15) {
            // G = 20, r = 3 stands above
            settings.push(one(num_sub_classifiers, 10_000, 2, (num_sub_classifiers * share).div_ceil(100)));
        }
        settings.push(one(num_sub_classifiers, 10_000, 10, (num_sub_classifiers * 30).div_ceil(100)));
    }
    settings
}

pub(crate) fn run(context: &mut Context) -> Result<()> {
    let settings = settings();
    let id = |s: &Setting| format!("g{}-n{}-c{}-r{}", s.num_sub_classifiers, s.num_samples, s.classes, s.budget);
    let trials = settings.iter().map(|setting| Trial::new(id(setting), setting.clone())).collect();
    let results = context.trials("scaling", trials, |setting, trial| {
        let (votes, _) =
            synthetic::votes(setting.num_sub_classifiers, setting.num_samples, setting.classes, 40, trial.seed())?;
        let structure = Structure::hash_buckets(setting.num_sub_classifiers, setting.num_sub_classifiers)?;
        let limits = Limits { time: Some(Duration::from_secs(setting.seconds)), ..Limits::default() };
        let options = CertifyConfig { limits, ..CertifyConfig::default() };
        let found = certify(&votes, &structure, setting.budget, &Scope::all(), &options)?;
        Ok(Outcome {
            columns: found.columns,
            attackable: found.considered - found.certified_samplewise,
            upper: found.max_changed_upper,
            lower: found.best_attack_lower,
            nodes: found.nodes,
            seconds: found.seconds,
        })
    })?;
    if !results.is_complete() {
        return Ok(());
    }
    let mut table = Table::new([
        "G",
        "N",
        "C",
        "r",
        "distinct columns",
        "attackable one at a time",
        "bound of M_ATK",
        "best attack",
        "attacks or nodes",
        "time",
    ]);
    for (setting, outcome) in settings.iter().zip(results.all()?) {
        table.rows.push(
            [
                setting.num_sub_classifiers.to_string(),
                setting.num_samples.to_string(),
                setting.classes.to_string(),
                setting.budget.to_string(),
                outcome.columns.to_string(),
                outcome.attackable.to_string(),
                outcome.upper.to_string(),
                outcome.lower.to_string(),
                outcome.nodes.to_string(),
                format!("{:.2} s", outcome.seconds),
            ]
            .into(),
        );
    }
    context.table("Scaling on generated votes, stopped after 10 s; several run side by side", table);
    Ok(())
}
