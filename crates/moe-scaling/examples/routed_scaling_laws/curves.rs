//! The law on the authors' released losses.

use crate::figures;
use datasets::routing_curves::{self, Evaluation, Router};
use experiment::{Context, Measured, Result, Table};
use moe_scaling::law::{
    Analysis, Coefficient, FitConfig, Form, Interval, Law, Point, analyse, compare, fit, leave_one_out,
};
use serde_json::Value;
use std::collections::BTreeMap;

pub(crate) const ROUTERS: [Router; 3] = [Router::SBase, Router::RlR, Router::Hash];
const RESAMPLES: usize = 1000;

/// Recalled: a, b, c, d, E_start, E_max.
const PUBLISHED: [[f64; 6]; 3] = [
    [-0.082, -0.108, 0.009, 1.104, 1.847, 314.478],
    [-0.083, -0.126, 0.012, 1.111, 1.880, 469.982],
    [-0.087, -0.136, 0.012, 1.157, 4.175, 477.741],
];

/// A router's runs: the points of the main law, and all of seed 42.
pub(crate) struct Series {
    pub(crate) router: Router,
    pub(crate) ids: Vec<u32>,
    pub(crate) points: Vec<Point>,
    pub(crate) analysis: Analysis,
}

impl Series {
    pub(crate) fn law(&self) -> &Law {
        &self.analysis.fit.law
    }
}

fn is_dense(run: &Evaluation) -> bool {
    run.router == Router::Dense && run.flop_increase == 1.
}

fn is_main(run: &Evaluation) -> bool {
    run.routing_frequency == 0.5 && run.k == 1
}

fn measured(value: f64, trials: usize) -> Measured {
    Measured { value, trials, data: "routing-curves".into(), ..Measured::default() }
}

pub(crate) fn report(context: &mut Context) -> Result<()> {
    let store = reproduction::store(context)?;
    let curves = routing_curves::load(&store)?;
    let last: Vec<&Evaluation> = curves.last().into_iter().filter(|run| run.seed == 42).collect();
    let of = |router: Router| last.iter().copied().filter(move |run| run.router == router || is_dense(run));
    let point = |run: &Evaluation| {
        let loss = run.loss_validation.ok_or_else(|| experiment::BoxError::from("a run without a loss"))?;
        Ok(Point::new(run.dense_parameters, f64::from(run.num_experts), loss))
    };
    let config = FitConfig::default();
    let mut all = Vec::new();
    for router in ROUTERS {
        let runs: Vec<&Evaluation> = of(router).filter(|run| is_main(run)).collect();
        let points = runs.iter().map(|run| point(run)).collect::<Result<Vec<_>>>()?;
        let analysis = analyse(&points, Form::Saturating, &config, RESAMPLES, 0.95, context.seed())?;
        all.push(Series { router, ids: runs.iter().map(|run| run.hyper_id).collect(), points, analysis });
    }
    against_reference(context, &all)?;
    against_published(context, &all)?;
    forms(context, &all)?;
    slopes(context, &all)?;
    ranking(context, &all)?;
    effective_counts(context, &all)?;
    general_law(context, &last, &all)?;
    hold_outs(context, &all)?;
    comparisons(context, &all)?;
    earlier_steps(context, &curves)?;
    figures::law(context, &all)?;
    context.note(
        "All runs saw the same number of tokens, so N_cutoff mixes \"routing saturates\" with \"large models are under-trained\"; later work with tokens \
         scaled to the size (Krajewski et al., 2024) does not see it.",
    );
    Ok(())
}

fn against_reference(context: &mut Context, all: &[Series]) -> Result<()> {
    let reference: Value = serde_json::from_str(include_str!("../../tests/golden/routed-scaling-laws/fits.json"))?;
    let (mut excess, mut difference) = (f64::NEG_INFINITY, 0f64);
    for series in all {
        let golden = &reference["routers"][series.router.name()];
        let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
        let ids: Vec<u64> = golden["hyper_ids"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
        if ids != series.ids.iter().map(|&id| u64::from(id)).collect::<Vec<_>>() {
            return Err(experiment::BoxError::from("the points are not those of the reference"));
        }
        excess = excess.max(series.analysis.fit.mse_log10 / number(&golden["saturating_bilinear"]["mse_log10"]) - 1.);
        for (point, theirs) in series.points.iter().zip(golden["pred_log10_loss"].as_array().into_iter().flatten()) {
            difference = difference.max((series.law().log10_loss(point.size, point.experts) - number(theirs)).abs());
        }
    }
    context.claim("fit-main-law", measured(excess, all.len()))?;
    context.claim("predicted-losses", measured(difference, all.len()))
}

fn coefficients(law: &Law) -> [f64; 6] {
    let (start, max) = law.saturation.map_or((f64::NAN, f64::NAN), |shape| (shape.start(), shape.max()));
    [law.a, law.b, law.c, law.d, start, max]
}

fn against_published(context: &mut Context, all: &[Series]) -> Result<()> {
    for (at, id) in ["coefficient-a", "coefficient-b", "coefficient-c", "coefficient-d"].into_iter().enumerate() {
        let distances =
            all.iter().zip(PUBLISHED).map(|(series, known)| (coefficients(series.law())[at] - known[at]).abs());
        context.claim(id, measured(distances.fold(0., f64::max), all.len()))?;
    }
    let mut table = Table::new(["router", "coefficient", "recalled", "refit", "95% low", "95% high"]);
    const NAMES: [(&str, Coefficient); 6] = [
        ("a", Coefficient::A),
        ("b", Coefficient::B),
        ("c", Coefficient::C),
        ("d", Coefficient::D),
        ("E_start", Coefficient::Log2Start),
        ("E_max", Coefficient::Log2Max),
    ];
    let mut cutoffs = Vec::new();
    for (series, known) in all.iter().zip(PUBLISHED) {
        for (at, (name, which)) in NAMES.into_iter().enumerate() {
            let interval = series.analysis.intervals.iter().find(|(found, _)| *found == which).map(|(_, range)| *range);
            let Interval { lower, upper } = interval.unwrap_or(Interval { lower: f64::NAN, upper: f64::NAN });
            let shown = |value: f64| if at < 4 { value } else { value.exp2() };
            table.rows.push(
                [
                    series.router.name().to_owned(),
                    name.to_owned(),
                    format!("{}", known[at]),
                    format!("{:.5}", coefficients(series.law())[at]),
                    format!("{:.5}", shown(lower)),
                    format!("{:.5}", shown(upper)),
                ]
                .into(),
            );
        }
        let (size, Interval { lower, upper }) =
            series.analysis.cutoff.ok_or_else(|| experiment::BoxError::from("a law without a cut-off"))?;
        let id = match series.router {
            Router::SBase => "cutoff-s-base",
            Router::RlR => "cutoff-rl-r",
            _ => "cutoff-hash",
        };
        let note = format!("95% interval of {RESAMPLES} resamples: {lower:.2e} to {upper:.2e}");
        context.claim(id, Measured { note: Some(note), ..measured(size, series.points.len()) })?;
        cutoffs.push(size);
    }
    context.table("Coefficients of the main law", table);
    context.claim("cutoff-order", measured(cutoffs[0] / cutoffs[1].max(cutoffs[2]), all.len()))
}

fn forms(context: &mut Context, all: &[Series]) -> Result<()> {
    let mut table = Table::new(["router", "law", "RMSLE", "leave-one-out"]);
    let (mut needed, mut gains) = (f64::INFINITY, Vec::new());
    for series in all {
        let mut errors = BTreeMap::new();
        for form in Form::ALL.into_iter().filter(|form| *form != Form::Dense) {
            let config = FitConfig::default();
            let rmsle = fit(&series.points, form, &config)?.rmsle;
            let left_out = leave_one_out(&series.points, form, &config)?.rmsle;
            table.rows.push(
                [series.router.name().into(), format!("{form:?}"), format!("{rmsle:.5}"), format!("{left_out:.5}")]
                    .into(),
            );
            errors.insert(format!("{form:?}"), left_out);
        }
        needed = needed.min(errors["Separable"] / errors["Bilinear"]);
        gains.push(1. - errors["Saturating"] / errors["Bilinear"]);
    }
    context.table("Errors of the laws (natural log)", table);
    context.claim("bilinear-needed", measured(needed, all.len()))?;
    context.claim("saturation-helps", measured(gains[0].min(gains[2]), 2))?;
    context.claim("saturation-helps-all", measured(gains.iter().copied().fold(f64::INFINITY, f64::min), all.len()))
}

fn sizes(points: &[Point]) -> Vec<f64> {
    let mut sizes: Vec<f64> = points.iter().map(|point| point.size).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    sizes
}

fn slopes(context: &mut Context, all: &[Series]) -> Result<()> {
    let mut table = Table::new(["router", "N", "slope in log E"]);
    let mut worst = 0f64;
    for series in all {
        let mut slopes = Vec::new();
        for size in sizes(&series.points) {
            // a power law in E: the dense form with the experts in the place of the size
            let swapped = series.points.iter().filter(|point| point.size == size);
            let swapped: Vec<Point> = swapped.map(|point| Point::new(point.experts, 1., point.loss)).collect();
            let slope = fit(&swapped, Form::Dense, &FitConfig::default())?.law.a;
            table.rows.push([series.router.name().into(), format!("{:.0}M", size / 1e6), format!("{slope:.5}")].into());
            slopes.push(slope);
        }
        worst = worst.max(slopes[slopes.len() - 1] / slopes[0]);
    }
    context.table("Slopes at each size", table);
    context.claim("slopes-shrink", measured(worst, all.len()))
}

fn ranking(context: &mut Context, all: &[Series]) -> Result<()> {
    let cells = |series: &Series| -> BTreeMap<(u64, u64), f64> {
        let routed = series.points.iter().filter(|point| point.experts > 1.);
        routed.map(|point| ((point.size as u64, point.experts as u64), point.loss)).collect()
    };
    let losses: Vec<_> = all.iter().map(cells).collect();
    let common: Vec<[f64; 3]> = losses[0]
        .iter()
        .filter_map(|(cell, loss)| Some([*loss, *losses[1].get(cell)?, *losses[2].get(cell)?]))
        .collect();
    let wins = |first: usize, second: usize| {
        let wins = common.iter().filter(|losses| losses[first] < losses[second]).count();
        measured(wins as f64 / common.len() as f64, common.len())
    };
    context.claim("s-base-beats-hash", wins(0, 2))?;
    context.claim("rl-r-beats-hash", wins(1, 2))?;
    context.claim("s-base-beats-rl-r", wins(0, 1))
}

fn effective_counts(context: &mut Context, all: &[Series]) -> Result<()> {
    let mut worst = f64::NEG_INFINITY;
    for series in all {
        let law = series.law();
        let equivalent =
            |point: &Point| Point::new(law.effective_parameter_count(point.size, point.experts), 1., point.loss);
        let points: Vec<Point> = series.points.iter().map(equivalent).collect();
        let line = fit(&points, Form::Dense, &FitConfig::default())?;
        worst = worst.max(line.rmsle - series.analysis.fit.rmsle);
    }
    context.claim("epc-unifies", measured(worst, all.len()))
}

fn general_law(context: &mut Context, last: &[&Evaluation], all: &[Series]) -> Result<()> {
    let utilisation = |run: &Evaluation| run.total_parameters / run.flops_per_step;
    let dense: BTreeMap<&str, f64> =
        last.iter().filter(|run| is_dense(run)).map(|run| (run.size_label.as_str(), utilisation(run))).collect();
    // there is no dense run of 130M with seed 42, but its counts are those of every 130M run's dense part
    let mut table = Table::new(["router", "runs", "points", "RMSLE in (F, B)", "RMSLE in (N, E)"]);
    let mut worst = 0f64;
    for series in all.iter().filter(|series| series.router != Router::RlR) {
        for (name, has_variants) in [("k = 1, R = 0.5", false), ("all k and R", true)] {
            let runs: Vec<&&Evaluation> = last
                .iter()
                .filter(|run| run.router == series.router || is_dense(run))
                .filter(|run| has_variants || is_main(run))
                .collect();
            let mut in_size = Vec::new();
            let mut in_compute = Vec::new();
            for run in &runs {
                let loss = run.loss_validation.unwrap_or(f64::NAN);
                in_size.push(Point::new(run.dense_parameters, f64::from(run.num_experts), loss));
                let reference = match dense.get(run.size_label.as_str()) {
                    Some(reference) => *reference,
                    None => run.dense_parameters / dense_flops(run),
                };
                let compute = run.flops_per_step / 524_288. / 1e12;
                in_compute.push(Point::new(compute, (utilisation(run) / reference).max(1.), loss));
            }
            let config = FitConfig::flops_and_utilisation();
            let general = fit(&in_compute, Form::Saturating, &config)?.rmsle;
            let main = fit(&in_size, Form::Saturating, &FitConfig::default())?.rmsle;
            let row = [
                series.router.name().into(),
                name.into(),
                runs.len().to_string(),
                format!("{general:.5}"),
                format!("{main:.5}"),
            ];
            table.rows.push(row.into());
            if has_variants {
                worst = worst.max(general / main);
            }
        }
    }
    context.table("One law for all k and R", table);
    context.claim("fb-law-generalises", measured(worst, 2))
}

/// What a run's dense model computes for a step: the run's own flops less what routing adds.
fn dense_flops(run: &Evaluation) -> f64 {
    let routed_layers = (f64::from(run.num_blocks) * run.routing_frequency).round();
    let (d, experts, k) = (f64::from(run.d_model), f64::from(run.num_experts), f64::from(run.k));
    let value = if run.router == Router::RlR { 2. * d * (d / 8.).floor() + 2. * (d / 8.).floor() } else { 0. };
    run.flops_per_step - 524_288. * routed_layers * (2. * d * experts + (k - 1.) * 16. * d * d + value)
}

fn hold_outs(context: &mut Context, all: &[Series]) -> Result<()> {
    let mut table = Table::new(["router", "held out", "law", "RMSLE there"]);
    for series in all {
        for (name, is_held_out) in [
            ("N >= 1e9", (|p: &&Point| p.size >= 1e9) as fn(&&Point) -> bool),
            ("E >= 256", |p: &&Point| p.experts >= 256.),
        ] {
            let (test, train): (Vec<Point>, Vec<Point>) = series.points.iter().partition(is_held_out);
            for form in Form::ALL.into_iter().filter(|form| *form != Form::Dense) {
                let law = fit(&train, form, &FitConfig::default())?.law;
                let squares = test.iter().map(|p| (law.predict(p.size, p.experts) / p.loss).ln().powi(2)).sum::<f64>();
                let rmsle = (squares / test.len() as f64).sqrt();
                table.rows.push(
                    [series.router.name().into(), name.into(), format!("{form:?}"), format!("{rmsle:.4}")].into(),
                );
            }
        }
    }
    context.table("Predictions of models that the fit has not seen", table);
    Ok(())
}

fn comparisons(context: &mut Context, all: &[Series]) -> Result<()> {
    let mut table =
        Table::new(["first", "second", "N", "E", "ln ratio of losses", "95% low", "95% high", "first wins"]);
    let at = [(55e6, 8.), (55e6, 128.), (1.3e9, 8.), (1.3e9, 128.), (10e9, 128.)];
    for (first, second) in [(0, 2), (1, 2), (0, 1)] {
        let (first, second) = (&all[first], &all[second]);
        let found = compare(
            [&first.points, &second.points],
            Form::Saturating,
            &FitConfig::default(),
            &at,
            RESAMPLES,
            0.95,
            context.seed(),
        )?;
        for ((size, experts), result) in at.into_iter().zip(found) {
            table.rows.push(
                [
                    first.router.name().into(),
                    second.router.name().into(),
                    format!("{size:.1e}"),
                    experts.to_string(),
                    format!("{:.5}", result.log_ratio),
                    format!("{:.5}", result.interval.lower),
                    format!("{:.5}", result.interval.upper),
                    format!("{:.3}", result.first_wins),
                ]
                .into(),
            );
        }
    }
    context.table("Routers compared by their laws (paired bootstrap)", table);
    Ok(())
}

fn earlier_steps(context: &mut Context, curves: &routing_curves::Curves) -> Result<()> {
    let mut table = Table::new(["router", "step", "a", "b", "c", "N_cutoff"]);
    for router in ROUTERS {
        for step in [50_000, 100_000, 150_000, 200_000, 250_000] {
            let runs = curves.until(step);
            let is_point = |run: &&&Evaluation| {
                run.seed == 42
                    && is_main(run)
                    && (run.router == router || is_dense(run))
                    && run.loss_validation.is_some()
            };
            let points: Vec<Point> = runs
                .iter()
                .filter(is_point)
                .filter_map(|run| {
                    Some(Point::new(run.dense_parameters, f64::from(run.num_experts), run.loss_validation?))
                })
                .collect();
            let law = fit(&points, Form::Saturating, &FitConfig::default())?.law;
            let cutoff = law.cutoff().map_or("none".into(), |size| format!("{size:.2e}"));
            table.rows.push(
                [
                    router.name().into(),
                    step.to_string(),
                    format!("{:.4}", law.a),
                    format!("{:.4}", law.b),
                    format!("{:.5}", law.c),
                    cutoff,
                ]
                .into(),
            );
        }
    }
    context.table("The law along training", table);
    Ok(())
}
