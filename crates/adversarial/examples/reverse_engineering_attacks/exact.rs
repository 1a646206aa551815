//! Facts about attacks that hold exactly.

use adversarial::attacks::{Attack, Bpda, GradientAttack, Loss, Norm, Samples, Square, ThreatModel};
use candle_core::{D, DType, Device, Module, Tensor};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::{nn, ops};
use experiment::{BoxError, Context, Measured, Outcome, Result, Trial, TrialContext};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Counts {
    outside: usize,
    differing: usize,
    unlike: usize,
    inputs: usize,
    /// How many attacks succeeded: so that the counts are seen to be of something, and to follow the seed.
    successes: usize,
    losses: f64,
}

pub(crate) fn run(context: &mut Context) -> Result<Outcome<Counts>> {
    context.trials("exact", vec![Trial::new("attacks", ())], |(), trial| counts(trial))
}

fn rows(x: &Tensor) -> std::result::Result<Vec<Vec<f64>>, BoxError> {
    Ok(x.flatten_from(1)?.to_dtype(DType::F64)?.to_vec2()?)
}

fn counts(trial: &TrialContext) -> std::result::Result<Counts, BoxError> {
    const COUNT: usize = 40;
    let seed = trial.seed_of("attacks");
    let store = ParamStore::new(seed, DType::F32, &Device::Cpu);
    let first = nn::linear(64, 64, store.frozen_var_builder().pp("first"))?;
    let second = nn::linear(64, 20, store.frozen_var_builder().pp("second"))?;
    let model = |x: &Tensor| -> adversarial::Result<Tensor> {
        let hidden = ops::relu(&first.forward(&x.flatten_from(1)?)?)?;
        Ok(second.forward(&hidden)?.affine(5., 0.)?)
    };
    let x = Rng::new(seed).fork("inputs").uniform(-0.1, 1.1, (COUNT, 1, 8, 8), DType::F32, &Device::Cpu)?;
    let x = x.clamp(0f32, 1f32)?;
    let labels: Vec<u32> = model(&x)?.argmax(D::Minus1)?.to_vec1()?;
    let clean = rows(&x)?;
    let order: Vec<u32> = (0..COUNT as u32).rev().step_by(3).collect();
    let part = x.index_select(&Tensor::new(order.as_slice(), &Device::Cpu)?, 0)?;
    let of_part: Vec<u32> = order.iter().map(|&at| labels[at as usize]).collect();
    let part = Samples::numbered(&part, &of_part, order.iter().map(|&at| u64::from(at)).collect())?;
    let through = Bpda::new(|x: &Tensor| Ok(x.clone()), model, |x: &Tensor| Ok(x.clone()));

    let mut counts = Counts { outside: 0, differing: 0, unlike: 0, inputs: 0, successes: 0, losses: 0. };
    for (norm, epsilon, step) in [(Norm::L1, 2., 0.3), (Norm::L2, 0.5, 0.1), (Norm::Linf, 0.05, 0.01)] {
        let threat = ThreatModel::new(norm, epsilon);
        let pgd = GradientAttack::pgd(step, 10).restarts(2);
        let small = pgd.clone().batch_size(3);
        let apgd = GradientAttack::apgd(20, Loss::Dlr);
        let (fgsm, square, small_square) =
            (GradientAttack::fgsm(), Square::new(60), Square { batch_size: 5, ..Square::new(60) });
        let mut all: Vec<[&dyn Attack; 2]> = vec![[&pgd, &small], [&apgd, &apgd], [&fgsm, &fgsm]];
        if norm == Norm::Linf {
            all.push([&square, &small_square]);
        }
        for [attack, other] in all {
            let found = attack.run(&model, &x, &labels, &threat, seed)?;
            let points = rows(&found.adversarial)?;
            counts.inputs += points.len();
            counts.successes += found.is_successful.iter().filter(|is| **is).count();
            counts.losses += found.best_loss.iter().sum::<f64>();
            counts.outside += clean.iter().zip(&points).filter(|(x, y)| !threat.allows(x, y)).count();
            let again = rows(&other.run_on(&model, &part, &threat, seed)?.adversarial)?;
            counts.differing += order.iter().zip(&again).filter(|(at, point)| points[**at as usize] != **point).count();
            let through = rows(&attack.run(&through, &x, &labels, &threat, seed)?.adversarial)?;
            counts.unlike += points.iter().zip(&through).filter(|(a, b)| a != b).count();
        }
    }
    Ok(counts)
}

pub(crate) fn report(context: &mut Context, results: Outcome<Counts>) -> Result<()> {
    if !results.is_complete() {
        return Ok(());
    }
    for counts in results.all()? {
        let data = format!("{} inputs of a generated network, {} of them adversarial", counts.inputs, counts.successes);
        let values = [("budgets", counts.outside), ("determinism", counts.differing), ("bpda-identity", counts.unlike)];
        for (id, value) in values {
            context.claim(id, Measured { is_synthetic: true, ..Measured::mean_of(&[value as f64], data.clone()) })?;
        }
    }
    Ok(())
}
