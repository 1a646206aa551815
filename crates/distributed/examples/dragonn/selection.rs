//! Hashes, collisions, thresholds, decoding, and the time that selection takes.

use crate::generated;
use distributed::compress::{DgcConfig, SidCoConfig, TopK, TopKMethod};
use distributed::dragonn::{Dragonn, DragonnConfig, hash_select, murmur3};
use distributed::encoded::{decode_naive, decode_sparse};
use distributed::memory::Memory;
use distributed::{Compression, Compressor, Encoded, Key};
use experiment::{Axis, Context, Measured, Plot, Result, Scale, Series, Table, Trial, statistics};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::hint::black_box;
use std::time::Instant;

const REFERENCE: &str = include_str!("../../tests/golden/dragonn/murmur3.json");
const RATIO: f64 = 1e-3;

fn rng(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

fn gaussian(len: usize, seed: u64, stream: u64) -> Vec<f32> {
    let mut rng = rng(seed, stream);
    (0..len).map(|_| StandardNormal.sample(&mut rng)).collect()
}

pub(crate) fn report(context: &mut Context) -> Result<()> {
    hashes(context)?;
    collisions(context)?;
    thresholds(context)?;
    conservation(context)?;
    decoding(context)?;
    times(context)
}

fn hashes(context: &mut Context) -> Result<()> {
    let reference: serde_json::Value = serde_json::from_str(REFERENCE)?;
    let rows = reference["rows"].as_array().cloned().unwrap_or_default();
    let is_wrong = |row: &&serde_json::Value| {
        let number = |at: usize| row[at].as_u64().unwrap_or(u64::MAX) as u32;
        murmur3(number(0), number(1)) != number(2)
    };
    let wrong = rows.iter().filter(is_wrong).count();
    // no rows at all would be no evidence
    let value = if rows.is_empty() { f64::NAN } else { wrong as f64 };
    context.claim("hash-matches-reference", generated(value, rows.len(), "keys and seeds of the reference file"))
}

fn collisions(context: &mut Context) -> Result<()> {
    const CANDIDATES: usize = 10_000;
    let seed = context.seed();
    let drawn = |stream: u64| -> Vec<u32> {
        let mut rng = rng(seed, stream);
        rand::seq::index::sample(&mut rng, 1 << 26, CANDIDATES)
            .into_iter()
            .map(|at| at as u32)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    };
    let fractions = (0..20).map(|round| {
        let sent = hash_select(&drawn(round), 4 * CANDIDATES, 43 + round as u32)?;
        Ok(sent.len() as f64 / CANDIDATES as f64)
    });
    let fractions: Vec<f64> = fractions.collect::<distributed::Result<_>>()?;
    let spread = statistics::sample_standard_deviation(&fractions);
    let measured = generated(statistics::mean(&fractions), fractions.len(), "random indices");
    context.claim("expected-loss", Measured { spread, ..measured })?;
    for (id, is_fresh) in [("fresh-seeds-recover", true), ("frozen-seed-loses", false)] {
        let candidates = drawn(100);
        let mut sent = BTreeSet::new();
        for call in 0..4 {
            sent.extend(hash_select(&candidates, 4 * CANDIDATES, if is_fresh { 43 + call } else { 43 })?);
        }
        let never = 1. - sent.len() as f64 / CANDIDATES as f64;
        context.claim(id, generated(never, 1, "random indices"))?;
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Candidates(usize);

fn thresholds(context: &mut Context) -> Result<()> {
    const LEN: usize = 1 << 22;
    let seed = context.seed();
    let trials = (0..20u64).map(|round| Trial::new(format!("seed-{round}"), round)).collect();
    let found = context.trials("thresholds", trials, |&round, trial| {
        trial.check_cancelled()?;
        // Student's t: a normal over the root of a third of three squares
        let mut normal = rng(seed, 1000 + round);
        let mut draw = || -> f32 { StandardNormal.sample(&mut normal) };
        let values: Vec<f32> = (0..LEN)
            .map(|_| {
                let (a, b, c) = (draw(), draw(), draw());
                draw() / ((a * a + b * b + c * c) / 3.).sqrt().max(1e-10)
            })
            .collect();
        let mut dragonn = Dragonn::new(DragonnConfig::with_ratio(RATIO))?;
        dragonn.compress(&values, &Key { seed, step: round, ..Key::default() })?;
        Ok(Candidates(dragonn.candidates().unwrap_or(0)))
    })?;
    let ratios: Vec<f64> = found.all()?.iter().map(|c| c.0 as f64 / (LEN as f64 * RATIO).floor()).collect();
    let good = ratios.iter().filter(|ratio| (0.5..=2.).contains(*ratio)).count();
    let low = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let high = ratios.iter().copied().fold(0., f64::max);
    let note = format!("candidates from {low:.2} k to {high:.2} k");
    let measured = generated(good as f64 / ratios.len() as f64, ratios.len(), "Student's t, 3 degrees of freedom");
    context.claim("threshold-is-good-enough", Measured { note: Some(note), ..measured })
}

fn conservation(context: &mut Context) -> Result<()> {
    const LEN: usize = 200_000;
    let mut dragonn = Dragonn::new(DragonnConfig::with_ratio(RATIO))?;
    let mut memory = Memory::residual();
    let (mut sent, mut total) = (vec![0f64; LEN], vec![0f64; LEN]);
    for step in 0..50 {
        let gradient = gaussian(LEN, context.seed(), 2000 + step);
        let encoded = dragonn.compress(memory.compensate(&gradient)?, &Key { step, ..Key::default() })?;
        memory.update(&encoded, &dragonn)?;
        sent.iter_mut().zip(encoded.to_dense()?).for_each(|(sum, value)| *sum += f64::from(value));
        total.iter_mut().zip(&gradient).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    let kept = memory.state().into_values().flatten().copied().collect::<Vec<f32>>();
    let largest = total.iter().fold(0f64, |largest, value| largest.max(value.abs()));
    let error = sent.iter().zip(&kept).zip(&total).map(|((sent, kept), total)| (sent + f64::from(*kept) - total).abs());
    let value = error.fold(0., f64::max) / largest;
    context.claim("residual-conserves", generated(value, 50, "Gaussian gradients"))
}

/// The median time of each operation, run in turns.
fn medians(rounds: usize, operations: &mut [&mut dyn FnMut(u64)]) -> Vec<f64> {
    let mut seconds = vec![Vec::new(); operations.len()];
    for round in 0..=rounds as u64 {
        for (operation, seconds) in operations.iter_mut().zip(&mut seconds) {
            let start = Instant::now();
            operation(round);
            if round > 0 {
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
    }
    seconds.iter().map(|times| statistics::median(times)).collect()
}

fn decoding(context: &mut Context) -> Result<()> {
    const LEN: usize = 1 << 22;
    let seed = context.seed();
    let gradients: Vec<Encoded> = (0..8)
        .map(|rank| {
            let mut dragonn = Dragonn::new(DragonnConfig::with_ratio(RATIO))?;
            dragonn.compress(&gaussian(LEN, seed, 3000 + rank), &Key { rank, ..Key::default() })
        })
        .collect::<distributed::Result<_>>()?;
    let (mut sparse, mut naive) = (vec![0f32; LEN], vec![0f32; LEN]);
    let (mut first, mut second) = (Ok(()), Ok(()));
    let times = medians(
        5,
        &mut [&mut |_| first = decode_sparse(&gradients, 0.125, &mut sparse), &mut |_| {
            second = decode_naive(&gradients, 0.125, &mut naive)
        }],
    );
    first.and(second)?;
    let difference = sparse.iter().zip(&naive).fold(0f32, |largest, (a, b)| largest.max((a - b).abs()));
    let data = "Gaussian gradients";
    context.claim("sparse-decoding-equals-naive", generated(f64::from(difference), 8, data))?;
    context.claim("sparse-decoding-is-faster", generated(times[1] / times[0], 5, data).timed())
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Times {
    /// Median seconds of [`METHODS`].
    seconds: Vec<f64>,
}

const METHODS: [&str; 6] = ["DRAGONN", "top-k, quickselect", "top-k, filtered", "DGC", "SIDCo", "random-k"];

fn time(len: usize, seed: u64, rounds: usize) -> distributed::Result<Times> {
    let values = gaussian(len, seed, 4000 + len.ilog2() as u64);
    let mut compressors: Vec<Box<dyn Compressor>> = vec![
        Compression::Dragonn(DragonnConfig::with_ratio(RATIO)).build()?,
        Box::new(TopK::with_method(RATIO, TopKMethod::Quickselect)?),
        Compression::TopK(RATIO).build()?,
        Compression::Dgc(DgcConfig::with_ratio(RATIO)).build()?,
        Compression::SidCo(SidCoConfig { ratio: RATIO, ..SidCoConfig::default() }).build()?,
        Compression::RandomK(RATIO).build()?,
    ];
    let mut failure = None;
    let mut operations: Vec<Box<dyn FnMut(u64)>> = Vec::new();
    let failures = std::cell::RefCell::new(&mut failure);
    for compressor in &mut compressors {
        let (values, failures) = (&values, &failures);
        operations.push(Box::new(move |step| {
            if let Err(error) = black_box(compressor.compress(values, &Key { step, ..Key::default() })) {
                **failures.borrow_mut() = Some(error);
            }
        }));
    }
    let mut references: Vec<&mut dyn FnMut(u64)> =
        operations.iter_mut().map(|operation| operation.as_mut() as _).collect();
    let seconds = medians(rounds, &mut references);
    drop(references);
    drop(operations);
    match failure {
        Some(error) => Err(error),
        None => Ok(Times { seconds }),
    }
}

fn times(context: &mut Context) -> Result<()> {
    let is_smoke = context.scale() == Scale::Smoke;
    let logs: Vec<u32> = if is_smoke { vec![22] } else { (17..=26).collect() };
    let seed = context.seed();
    // all in one trial: two that run side by side would disturb each other
    let trials = vec![Trial::new("all", logs.clone())];
    let outcome = context.trials("times", trials, |logs, trial| {
        let one = |&log: &u32| {
            trial.check_cancelled()?;
            let rounds = if log > 24 { 5 } else { 9 };
            Ok(time(1 << log, seed, rounds)?)
        };
        logs.iter().map(one).collect::<experiment::Result<Vec<Times>>>()
    })?;
    let all = outcome.all()?.into_iter().next().unwrap_or_default();
    let data = "Gaussian gradients";
    let at = |log: u32| logs.iter().position(|&known| known == log).map(|at| &all[at].seconds);
    if let Some(seconds) = at(22) {
        context.claim("selection-is-fast", generated(seconds[0] / seconds[1], 9, data).timed())?;
        context.claim("selection-beats-dgc", generated(seconds[0] / seconds[3], 9, data).timed())?;
        context.claim("filtered-top-k", generated(seconds[2] / seconds[0], 9, data).timed())?;
    }
    if is_smoke {
        return Ok(());
    }
    let cuts = all.iter().map(|times| 1. - times.seconds[0] / times.seconds[1].min(times.seconds[3]));
    context
        .claim("compression-time-cut", generated(cuts.fold(f64::NEG_INFINITY, f64::max), all.len(), data).timed())?;
    let mut table = Table::new(["n", "DRAGONN", "top-k, quickselect", "top-k, filtered", "DGC", "SIDCo", "random-k"]);
    for (log, times) in logs.iter().zip(&all) {
        let cells = times.seconds.iter().map(|seconds| format!("{:.3}", seconds * 1e3));
        table.rows.push(std::iter::once(format!("2^{log}")).chain(cells).collect());
    }
    context.table("Time of compression, ms, one thread, r = 0.001", table);
    let x: Vec<f64> = logs.iter().map(|&log| f64::from(1u32 << log)).collect();
    let series = METHODS.iter().enumerate().map(|(method, name)| {
        Series::new(*name, x.clone(), all.iter().map(|times| times.seconds[method] * 1e3).collect())
    });
    let title = "Time of compression, r = 0.001, one thread";
    let plot = Plot::lines(title, Axis::log("elements"), Axis::log("milliseconds"), series.collect());
    context.plot("encode_time", plot)
}
