//! What the seeds say together.

use crate::defence::{Defence, Runs};
use adversarial::attacks::Share;
use experiment::{Axis, Bars, Context, Measured, Plot, Result, Table, statistics};

/// Accuracy by any iterate, and by the last.
type Value<'a> = &'a dyn Fn(&Defence) -> (f64, Option<f64>);

pub(crate) fn report(context: &mut Context, runs: Runs) -> Result<()> {
    if !runs.results.is_complete() {
        return Ok(());
    }
    let all = runs.results.all()?;
    let sizes = runs.sizes;
    let name = if runs.is_generated {
        "generated gratings of 16 × 16"
    } else {
        "first 4,000 images of CIFAR-10, lossless, 2 × 2 pooled"
    };
    let data = format!("{name}, {} seeds × {} images", all.len(), sizes.attacked);
    let of = |value: &dyn Fn(&Defence) -> f64| -> Vec<f64> { all.iter().map(value).collect() };
    let mean = |value: &dyn Fn(&Defence) -> f64| statistics::mean(&of(value));
    let mut claim = |id: &str, values: Vec<f64>| {
        context.claim(id, Measured { is_synthetic: runs.is_generated, ..Measured::mean_of(&values, data.clone()) })
    };
    claim("undefended", of(&|one| one.undefended.any))?;
    claim("wrong-key", of(&|one| one.wrong_key))?;
    claim("bypass-driven", of(&|one| one.bypass_driven))?;
    claim("transfer", of(&|one| one.transfer / one.clean))?;
    claim("bypass", of(&|one| one.bypass / one.clean))?;
    claim("key-matters", of(&|one| 100. * (one.transfer - one.bpda_surrogate.any)))?;
    let transfer = mean(&|one| one.transfer);
    let (bypass, bpda) = (mean(&|one| one.bypass), mean(&|one| one.bpda_surrogate.any));
    claim("order", vec![100. * (transfer - bypass).min(bypass - bpda)])?;
    claim("shuffle", of(&|one| 100. * (one.shuffle_bypass - one.undefended.any)))?;
    claim("through-fit", of(&|one| one.through_fit.any / one.clean_few))?;
    claim("noise", of(&|one| one.noise / one.clean))?;
    claim("clean-cost", of(&|one| 100. * (one.undefended_clean - one.clean)))?;
    claim("bpda-identity", of(&|one| one.bpda_differs as f64))?;
    claim("batch", of(&|one| one.batch_differs as f64))?;

    // by what the attacker knows: nothing, less and more of the defence, everything
    let rows: [(&str, Value<'_>); 12] = [
        ("nobody attacks", &|one| (one.clean, None)),
        ("random signs of 8/255", &|one| (one.noise, None)),
        ("codes under another key", &|one| (one.wrong_key, None)),
        ("knows another network: transfer", &|one| (one.transfer, None)),
        ("knows the classifier: PBA", &|one| (one.bypass, None)),
        ("and codes of images: surrogate", &|one| (one.surrogate, None)),
        ("may ask: Square (few images)", &|one| (one.square, None)),
        ("and key: BPDA through the bypass", &|one| (one.bpda_bypass.any, Some(one.bpda_bypass.last))),
        ("and key: BPDA through the surrogate", &|one| (one.bpda_surrogate.any, Some(one.bpda_surrogate.last))),
        ("and key: gradient through the fit (few images)", &|one| (one.through_fit.any, Some(one.through_fit.last))),
        ("no attack, few images", &|one| (one.clean_few, None)),
        ("the bypass itself, attacked", &|one| (one.bypass_driven, None)),
    ];
    let mut table = Table::new(["attacker of LINAC", "accuracy %", "interval", "by the last iterate"]);
    let mut bars: Vec<(String, f64, f64)> = Vec::new();
    for (name, value) in rows {
        let values: Vec<f64> = all.iter().map(|one| value(one).0).collect();
        let count = if name.contains("few") { sizes.attacked_slowly } else { sizes.attacked } * all.len();
        let found = statistics::mean(&values);
        let share = Share::new((found * count as f64).round() as usize, count);
        let last: Vec<f64> = all.iter().filter_map(|one| value(one).1).collect();
        let last = if last.is_empty() { "–".to_owned() } else { format!("{:.1}", 100. * statistics::mean(&last)) };
        let interval = format!("{:.1} to {:.1}", 100. * share.interval.0, 100. * share.interval.1);
        table.rows.push(vec![name.to_owned(), format!("{:.1}", 100. * found), interval, last]);
        bars.push((name.to_owned(), found, 0.5 * (share.interval.1 - share.interval.0)));
    }
    context.table("LINAC by what the attacker knows (l_inf 8/255; accuracy, clean errors counted as lost; intervals over images, not seeds)", table);
    let plot = Plot::bars(
        "LINAC: accuracy by what the attacker knows",
        Axis::linear("accuracy"),
        bars.iter().map(|bar| bar.0.clone()).collect(),
        vec![
            Bars::new("accuracy", bars.iter().map(|bar| bar.1).collect())
                .errors(bars.iter().map(|bar| bar.2).collect()),
        ],
    );
    context.plot("knowledge", plot)?;

    let mut table = Table::new(["model", "clean %", "attack", "accuracy %", "by the last iterate"]);
    let percent = |value: f64| format!("{:.1}", 100. * value);
    let mut row = |model: &str, clean: f64, attack: &str, any: f64, last: Option<f64>| {
        let last = last.map_or_else(|| "–".to_owned(), percent);
        table.rows.push(vec![model.to_owned(), percent(clean), attack.to_owned(), percent(any), last]);
    };
    row(
        "undefended",
        mean(&|one| one.undefended_clean),
        "PGD-20",
        mean(&|one| one.undefended.any),
        Some(mean(&|one| one.undefended.last)),
    );
    row(
        "LINAC",
        mean(&|one| one.clean),
        "the strongest above",
        mean(&|one| one.bpda_surrogate.any.min(one.bpda_bypass.any)),
        None,
    );
    row(
        "reconstruction alone",
        mean(&|one| one.reconstruction_clean),
        "transfer",
        mean(&|one| one.reconstruction_transfer),
        None,
    );
    row(
        "4×4 pixel shuffling",
        mean(&|one| one.shuffle_clean),
        "PBA, linear bypass",
        mean(&|one| one.shuffle_bypass),
        None,
    );
    row(
        "bypass before LINAC's classifier",
        mean(&|one| one.bypass_clean),
        "PGD-20",
        mean(&|one| one.bypass_driven),
        None,
    );
    if let (Some(clean), Some(left)) = (all[0].trained_clean, all[0].trained) {
        row("adversarial training, PGD-7 (one seed)", clean, "PGD-20", left.any, Some(left.last));
    }
    context.table("Other models on the same images", table);
    let clean_all = mean(&|one| one.clean_all);
    let error = mean(&|one| one.error);
    context.note(format!(
        "LINAC's clean accuracy on all {} test images is {:.1} %; its reconstructions are off by {error:.2} (mean over pixels of the sum over channels of squared errors).",
        sizes.test,
        100. * clean_all
    ));
    Ok(())
}
