//! Attacks with the checks that say whether they mean anything.

use crate::methods::{Model, steps};
use adversarial::attacks::{Attack, GradientAttack, Network, Norm, ThreatModel};
use candle_core::{Device, Tensor};
use core_tensor::Mode;
use experiment::Result;
use serde::{Deserialize, Serialize};

/// Wrong answers under one attack, by budget.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Attacked {
    pub(crate) norm: String,
    pub(crate) budgets: Vec<f64>,
    /// Wrong, a fraction, at each budget.
    pub(crate) wrong: Vec<f64>,
    /// Wrong at the largest budget of the check.
    pub(crate) wrong_at_most: f64,
    /// Wrong at each budget with gradients through four times finer steps; empty where that was not asked.
    pub(crate) finer: Vec<f64>,
    /// Wrong at each budget on what was made for another model; empty without one.
    pub(crate) transferred: Vec<f64>,
}

impl Attacked {
    /// A working attack with a budget that allows nearly every input leaves fewer than 10 % right.
    pub(crate) fn works(&self) -> bool {
        self.wrong_at_most > 0.9
    }

    pub(crate) fn at(&self, budget: f64) -> f64 {
        self.budgets.iter().position(|known| *known == budget).map_or(f64::NAN, |at| self.wrong[at])
    }
}

/// Budgets of an attack, and the budget of its check.
pub(crate) struct Budgets<'a> {
    pub(crate) norm: Norm,
    pub(crate) budgets: &'a [f64],
    pub(crate) check: f64,
    /// What inputs may be.
    pub(crate) bounds: (f64, f64),
    /// The step as a share of the budget.
    pub(crate) step: f64,
    pub(crate) iterations: usize,
}

fn forward(model: &Model, count: usize) -> impl Fn(&Tensor) -> adversarial::Result<Tensor> + '_ {
    move |x: &Tensor| {
        let logits = model.logits(x, &steps(count), &mut Mode::evaluate());
        logits.map_err(|error| adversarial::Error::from(candle_core::Error::Msg(error.to_string())))
    }
}

/// PGD without random starts at all budgets, with its checks; `other` is the model whose adversarial inputs are tried too.
pub(crate) fn attack(
    model: &Model,
    other: Option<&Model>,
    (x, labels): (&Tensor, &[u32]),
    budgets: &Budgets<'_>,
    checks_finer: bool,
) -> Result<Attacked> {
    let run = |of: &Model, epsilon: f64, count: usize| -> Result<Tensor> {
        let network = Network::new(&of.store, forward(of, count));
        let attack =
            GradientAttack::pgd(budgets.step * epsilon, budgets.iterations).start(adversarial::attacks::Start::Clean);
        let threat = match budgets.norm {
            Norm::Linf => ThreatModel::linf(epsilon),
            _ => ThreatModel::l2(epsilon),
        };
        Ok(attack.run(&network, x, labels, &threat.bounds(budgets.bounds.0, budgets.bounds.1), 0)?.adversarial)
    };
    let wrong = |points: &Tensor| -> Result<f64> {
        let found = model
            .logits(&points.to_device(&Device::Cpu)?, &steps(20), &mut Mode::evaluate())?
            .argmax(1)?
            .to_vec1::<u32>()?;
        Ok(found.iter().zip(labels).filter(|(a, b)| a != b).count() as f64 / labels.len() as f64)
    };
    let mut found = Attacked {
        norm: budgets.norm.name().to_owned(),
        budgets: budgets.budgets.to_vec(),
        wrong: Vec::new(),
        wrong_at_most: wrong(&run(model, budgets.check, 20)?)?,
        finer: Vec::new(),
        transferred: Vec::new(),
    };
    for &epsilon in budgets.budgets {
        found.wrong.push(wrong(&run(model, epsilon, 20)?)?);
        if checks_finer {
            found.finer.push(wrong(&run(model, epsilon, 80)?)?);
        }
        if let Some(other) = other {
            found.transferred.push(wrong(&run(other, epsilon, 20)?)?);
        }
    }
    Ok(found)
}
