//! What must be fast: selection of large elements, compared with one read of the gradient, and decoding. `cargo xtask bench dragonn [--peers]`.
//!
//! After the rows the program prints ratios between its own rows, which are measured in turns.

use distributed::compress::{DgcConfig, SidCoConfig, TopK, TopKMethod};
use distributed::dragonn::{DragonnConfig, SampleLayout};
use distributed::encoded::{decode_naive, decode_sparse};
use distributed::{Compression, Compressor, Encoded, Key, wire};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};
use std::hint::black_box;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const RATIO: f64 = 1e-3;
const ROUNDS: usize = 7;

fn gaussian(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| StandardNormal.sample(&mut rng)).collect()
}

/// The largest magnitude: one read of the tensor, the lower bound of every selection.
fn read(values: &[f32]) -> f32 {
    let part = |values: &[f32]| {
        pulp::Arch::new().dispatch(|| {
            let mut lanes = [0u32; 64];
            let (parts, rest) = values.as_chunks::<64>();
            for part in parts {
                for (lane, value) in lanes.iter_mut().zip(part) {
                    *lane = (*lane).max(value.to_bits() & 0x7fff_ffff);
                }
            }
            rest.iter().map(|value| value.to_bits() & 0x7fff_ffff).chain(lanes).max().unwrap_or(0)
        })
    };
    use rayon::prelude::*;
    let bits = if rayon::current_num_threads() > 1 {
        values.par_chunks(1 << 18).map(part).max().unwrap_or(0)
    } else {
        part(values)
    };
    f32::from_bits(bits)
}

struct Row<'a> {
    name: String,
    run: Box<dyn FnMut(u64) + 'a>,
    seconds: Vec<f64>,
}

fn row<'a>(name: impl Into<String>, run: impl FnMut(u64) + 'a) -> Row<'a> {
    Row { name: name.into(), run: Box::new(run), seconds: Vec::new() }
}

/// Runs all rows in turns, so that changes of the machine's speed affect all alike, and prints the smallest time of each and the ratios of medians.
fn measure(mut rows: Vec<Row<'_>>, threads: usize, ratios: &[(usize, usize)]) {
    for round in 0..=ROUNDS as u64 {
        for row in &mut rows {
            let start = Instant::now();
            (row.run)(round);
            if round > 0 {
                row.seconds.push(start.elapsed().as_secs_f64());
            }
        }
    }
    for row in &mut rows {
        row.seconds.sort_by(f64::total_cmp);
        let best = row.seconds[0];
        match std::env::var_os("BENCH_JSON") {
            Some(_) => println!(r#"{{"name":"{}","threads":{threads},"seconds":{best}}}"#, row.name),
            None => println!("{:<60} {:>10.3} ms", row.name, best * 1e3),
        }
    }
    let median = |at: usize| rows[at].seconds[ROUNDS / 2];
    for &(first, second) in ratios {
        println!("# {} / {} = {:.2}", rows[first].name, rows[second].name, median(first) / median(second));
    }
}

fn main() -> experiment::Result<()> {
    let threads = reproduction::bench::threads()?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    pool.install(|| {
        for log in [20, 22, 24] {
            selection(1 << log, log, threads);
        }
        decoding(1 << 22, threads);
    });
    Ok(())
}

fn selection(len: usize, log: usize, threads: usize) {
    let values = gaussian(len, log as u64);
    let build = |compression: Compression| compression.build().expect("valid settings");
    let encode = |mut compressor: Box<dyn Compressor>| {
        let values = &values;
        move |step| {
            let key = Key { step, ..Key::default() };
            black_box(compressor.compress(black_box(values), &key).expect("finite"));
        }
    };
    let quick = TopK::with_method(RATIO, TopKMethod::Quickselect).expect("a valid ratio");
    let name = |what: &str| format!("{what} n=2^{log} r=0.001");
    let stratified = DragonnConfig { sampling: SampleLayout::Stratified, ..DragonnConfig::with_ratio(RATIO) };
    let rows = vec![
        row(format!("one read n=2^{log}"), |_| {
            black_box(read(black_box(&values)));
        }),
        row(name("dragonn"), encode(build(Compression::Dragonn(DragonnConfig::with_ratio(RATIO))))),
        row(name("top-k"), encode(build(Compression::TopK(RATIO)))),
        row(name("top-k, quickselect over all"), encode(Box::new(quick))),
        row(name("dragonn, stratified sample"), encode(build(Compression::Dragonn(stratified)))),
        row(name("dgc"), encode(build(Compression::Dgc(DgcConfig::with_ratio(RATIO))))),
        row(name("sidco"), encode(build(Compression::SidCo(SidCoConfig { ratio: RATIO, ..SidCoConfig::default() })))),
        row(name("random-k"), encode(build(Compression::RandomK(RATIO)))),
    ];
    measure(rows, threads, &[(1, 0), (4, 0), (1, 3), (1, 2), (1, 5), (2, 3)]);
}

fn decoding(len: usize, threads: usize) {
    let gradients: Vec<Encoded> = (0..8)
        .map(|rank| {
            let mut dragonn = Compression::Dragonn(DragonnConfig::with_ratio(RATIO)).build().expect("valid settings");
            dragonn.compress(&gaussian(len, rank), &Key { rank, ..Key::default() }).expect("finite")
        })
        .collect();
    let mut out = vec![0f32; len];
    let mut second = vec![0f32; len];
    let bytes = wire::to_bytes(&gradients[0], wire::WireFormat::default()).expect("lists of one length");
    let rows = vec![
        row("sparse decoding N=8 n=2^22 r=0.001", |_| decode_sparse(&gradients, 0.125, &mut out).expect("fits")),
        row("naive decoding N=8 n=2^22 r=0.001", |_| decode_naive(&gradients, 0.125, &mut second).expect("fits")),
        row("bytes of a gradient n=2^22 r=0.001, read", |_| {
            black_box(wire::from_bytes(black_box(&bytes)).expect("whole"));
        }),
    ];
    measure(rows, threads, &[(1, 0)]);
}
