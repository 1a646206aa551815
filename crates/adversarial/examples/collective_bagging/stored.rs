//! Stored votes of independently trained ensembles against counts of an independent exhaustive search.

use crate::curves::curve;
use adversarial::bagging::solve::{BranchAndBound, Enumeration, Solver};
use adversarial::bagging::{CertifyConfig, Structure, Votes};
use experiment::{Context, Measured, Result, Table};
use safetensors::SafeTensors;
use serde_json::Value;
use std::path::PathBuf;

/// Votes, labels and reference counts.
pub(crate) fn load(name: &str) -> Result<(Votes, Vec<u16>, Value)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/collective-bagging");
    let bytes = std::fs::read(folder.join(format!("{name}_votes_g20.safetensors")))?;
    let file = SafeTensors::deserialize(&bytes)?;
    let votes = file.tensor("preds")?.data().iter().map(|&vote| u16::from(vote)).collect();
    let labels = file.tensor("labels")?.data().iter().map(|&label| u16::from(label)).collect();
    let certificates = std::fs::read(folder.join(format!("{name}_certificates_g20.json")))?;
    Ok((Votes::new(2, 20, votes)?, labels, serde_json::from_slice(&certificates)?))
}

pub(crate) fn run(context: &mut Context) -> Result<()> {
    let mut different = 0;
    let mut count = 0;
    let mut table =
        Table::new(["votes", "r", "sample-wise / collective CR", "sample-wise / collective CA", "solver", "time"]);
    for name in ["bank", "electricity"] {
        let (votes, labels, wanted) = load(name)?;
        let structure = Structure::hash_buckets(20, 20)?;
        let budgets: Vec<usize> = (1..=10).collect();
        let solvers: [&dyn Solver; 2] = [&Enumeration::default(), &BranchAndBound];
        for solver in solvers {
            let options = CertifyConfig { solver, ..CertifyConfig::default() };
            let points = curve(&votes, &labels, &structure, &budgets, &options)?;
            for (point, wanted) in points.iter().zip(wanted["results"].as_array().into_iter().flatten()) {
                let counts = [
                    (point.samplewise_robust, "samplewise_robust"),
                    (point.samplewise_correct, "samplewise_robust_correct"),
                    (point.robust, "collective_robust"),
                    (point.correct, "collective_correct"),
                ];
                different += counts.iter().filter(|(found, key)| wanted[key].as_u64() != Some(*found)).count();
                count += counts.len();
                table.rows.push(
                    [
                        name.to_owned(),
                        point.budget.to_string(),
                        format!("{} / {}", point.samplewise_robust, point.robust),
                        format!("{} / {}", point.samplewise_correct, point.correct),
                        solver.name().to_owned(),
                        format!("{:.0} ms", 1e3 * point.seconds),
                    ]
                    .into(),
                );
            }
        }
    }
    context.table("Stored votes (seed 0 of an independent run), of 10,000 predictions", table);
    context.claim(
        "stored-certificates",
        Measured {
            value: different as f64,
            trials: count,
            data: "stored votes on bank-marketing and electricity".into(),
            note: Some("each count by two solvers".into()),
            ..Measured::default()
        },
    )
}
