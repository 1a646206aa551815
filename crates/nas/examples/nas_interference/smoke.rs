//! 600 steps of training, and what is seen there already.

use crate::language::Language;
use crate::training::{Method, guessing, loss_of, train};
use core_tensor::random::Rng;
use experiment::{Axis, Bars, Context, Measured, Plot, Result, Table, Trial};
use nas::interference::{AtDistance, Collapse, ForcedInput, Mean};
use nas::{Gradual, Probe, SearchSpace};
use serde::{Deserialize, Serialize};

const STEPS: usize = 600;
const DATA: &str = "the language local-and-copy";

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Found {
    distances: Vec<AtDistance>,
    forced: Vec<ForcedInput>,
    consecutive: Mean,
    /// Mean loss of the consecutive children.
    loss: f64,
    collapse: Collapse,
}

pub(crate) fn run(context: &mut Context) -> Result<()> {
    let language = Language::new(context.seed_of("language"));
    let methods = [Method::Spos, Method::MagicT, Method::Collapsing];
    let trials = methods.iter().map(|&method| Trial::new(method.name(), method)).collect();
    let outcome = context.trials("nets", trials, |&method, trial| {
        let seed = trial.seed();
        let trained = train(method, &language, (STEPS, seed), trial)?;
        let batch = language.batch(256, &mut Rng::new(seed).fork("probe"))?;
        let loss = loss_of(&batch);
        let probe = Probe::new(&trained.net, &batch.ids, &loss);
        let (consecutive, mean_loss) = probe.consecutive(&trained.last)?;
        Ok(Found {
            distances: probe.by_distance(20, seed)?,
            forced: probe.forced_input(&[0.5], 12, seed)?,
            consecutive,
            loss: mean_loss,
            collapse: probe.collapse(guessing(), 6, seed)?,
        })
    })?;
    let found = outcome.all()?;
    let measured = |value: f64, note: String| Measured {
        is_synthetic: true,
        note: Some(note),
        ..Measured::mean_of(&[value], DATA)
    };
    let ends = |found: &Found| -> (f64, f64) {
        let at = |distance: usize| {
            let of = found.distances.iter().find(|at| at.distance == distance);
            of.map_or(f64::NAN, |at| at.cosine.mean)
        };
        (at(1), at(4))
    };
    let (spos, gradual, collapsed) = (&found[0], &found[1], &found[2]);
    let (near, far) = ends(spos);
    let note =
        format!("SPOS: {near:.3} at distance 1, {far:.3} at 4; mean loss {:.2}, guessing {:.2}", spos.loss, guessing());
    context.claim("more-different-more-interference", measured(near - far, note))?;
    let (a, b) = (gradual.consecutive.mean, spos.consecutive.mean);
    let note = format!("MAGIC-T {a:.3} at a mean loss of {:.2}, SPOS {b:.3} at {:.2}", gradual.loss, spos.loss);
    context.claim("gradual-steps-interfere-less", measured(a - b, note))?;
    let half = &spos.forced[0];
    let note = format!("{:.3} and {:.3}", half.with_first.mean, half.with_unrelated.mean);
    context.claim("forced-input", measured(half.with_first.mean - half.with_unrelated.mean, note))?;
    let (p, chi_square) = uniformity(context.seed_of("chain"))?;
    context.claim("chain-is-uniform", measured(p, format!("chi-square {chi_square:.1} with 26 degrees of freedom")))?;
    let right = usize::from(collapsed.collapse.is_collapsed) + usize::from(!spos.collapse.is_collapsed);
    let shown = |of: &Collapse| format!("loss {:.2}, similarity {:.3}", of.loss, of.cosine);
    let note = format!("aligned pre-norm: {}; SPOS: {}", shown(&collapsed.collapse), shown(&spos.collapse));
    context.claim("collapse-is-reported", measured(right as f64, note))?;
    let mut table = Table::new(["super-net", "distance", "similarity", "standard error", "pairs", "mean loss"]);
    let mut bars = Vec::new();
    for (method, found) in methods.iter().zip(&found) {
        for at in &found.distances {
            table.rows.push(vec![
                method.name().to_owned(),
                at.distance.to_string(),
                format!("{:.3}", at.cosine.mean),
                format!("{:.3}", at.cosine.error),
                at.cosine.count.to_string(),
                format!("{:.2}", at.loss),
            ]);
        }
        bars.push(Bars::new(method.name(), found.distances.iter().map(|at| at.cosine.mean).collect()));
    }
    context
        .table("Similarity of gradients at a shared operator, by the number of layers in which children differ", table);
    let names = spos.distances.iter().map(|at| format!("distance {}", at.distance)).collect();
    context.plot("distance", Plot::bars("Similarity of gradients", Axis::linear("cosine similarity"), names, bars))?;
    Ok(())
}

/// p and chi-square of MAGIC-T's chain on three layers of three, every 20th state.
fn uniformity(seed: u64) -> Result<(f64, f64)> {
    let space = SearchSpace::uniform(3, &["a", "b", "c"])?;
    let mut counts = vec![0.0f64; 27];
    for (step, architecture) in Gradual::new(&space, seed)?.take(20 * 2700).enumerate() {
        if step % 20 == 19 {
            counts[space.index(&architecture?)? as usize] += 1.0;
        }
    }
    let chi_square: f64 = counts.iter().map(|count| (count - 100.0).powi(2) / 100.0).sum();
    // 26 degrees of freedom: e^(-x/2) times the first 13 terms of the exponential series
    let half = chi_square / 2.0;
    let (mut term, mut sum) = (1.0, 1.0);
    for at in 1..13 {
        term *= half / f64::from(at);
        sum += term;
    }
    Ok(((-half).exp() * sum, chi_square))
}
