//! Makes the small files that the guides in `docs/guides` work on: `cargo run --release -p guide-tests --example guide_data -- ensemble`.
//!
//! All of them are synthetic, and the same in every run. They go to a folder of the set's name in the current one; what is there and differs is not replaced.

use candle_core::{DType, Device, Tensor};
use core_tensor::optim::{Adam, AdamConfig, Optimizer};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::{Mode, ops};
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use timeseries::ode::{Solve, solve};
use vision::small::{ConvPoolCnnConfig, conv_pool_cnn};
use vision::{ImageNetwork, ImageShape};

type Fallible<T> = Result<T, Box<dyn Error>>;
type Make = fn(&mut Files) -> Fallible<()>;

/// The sets, what they hold, and what makes them.
const SETS: [(&str, &str, Make); 11] = [
    ("ensemble", "votes of 11 sub-classifiers for 60 samples of 3 classes", ensemble),
    (
        "labels",
        "300 examples of 3 classes, a quarter of the labels wrong; probabilities and features of a model",
        labels,
    ),
    (
        "annotators",
        "40 pictures, labelled by 7 people, of whom one guesses and one is always of another opinion",
        annotators,
    ),
    ("losses", "25 trained models, one of which failed", losses),
    ("sensors", "hourly readings of 4 sensors over 12 days", sensors),
    ("animals", "prey and predators at two sites, on 120 irregular days each, a tenth of the counts missing", animals),
    ("images", "bars in 12 by 12 images, 4 classes, for training and for tests", images),
    ("network", "a small network that was trained on such bars, and images that it has not seen", network),
    ("signals", "signals of 3 classes, what two attacks add to them, and attacked signals", signals),
    ("graphs", "40 rings and stars; a graph of 60 nodes in 3 groups", graphs),
    ("calls", "who calls whom how often, among 60 people of 4 villages", calls),
];

fn main() -> ExitCode {
    let named: Vec<String> = std::env::args().skip(1).collect();
    let chosen: Vec<_> = SETS.iter().filter(|(name, ..)| named.iter().any(|word| word == name)).collect();
    if chosen.is_empty() || chosen.len() < named.len() {
        println!("Usage: guide_data SET...\n\nThe sets:");
        SETS.iter().for_each(|(name, what, _)| println!("  {name:<11} {what}"));
        let asks = named.iter().all(|word| word == "--help" || word == "-h") && !named.is_empty();
        return if asks { ExitCode::SUCCESS } else { ExitCode::from(2) };
    }
    for (name, what, make) in chosen {
        let mut files = Files { folder: PathBuf::from(name), written: Vec::new() };
        if let Err(error) = std::fs::create_dir_all(name).map_err(Into::into).and_then(|()| make(&mut files)) {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
        println!("{what}: {}", files.written.join(", "));
    }
    ExitCode::SUCCESS
}

/// A folder that is being filled.
struct Files {
    folder: PathBuf,
    written: Vec<String>,
}

impl Files {
    /// Writes by `write`, unless another file is there.
    fn add(&mut self, name: &str, write: impl FnOnce(&Path) -> Fallible<()>) -> Fallible<()> {
        let (path, part) = (self.folder.join(name), self.folder.join(format!("{name}.part")));
        write(&part)?;
        if path.exists() && std::fs::read(&path)? != std::fs::read(&part)? {
            std::fs::remove_file(&part)?;
            return Err(format!("{} is there and another file: it is not replaced", path.display()).into());
        }
        std::fs::rename(&part, &path)?;
        self.written.push(path.display().to_string());
        Ok(())
    }

    fn text(&mut self, name: &str, text: &str) -> Fallible<()> {
        self.add(name, |path| Ok(std::fs::write(path, text)?))
    }

    /// A NumPy array.
    fn array(&mut self, name: &str, tensor: &Tensor) -> Fallible<()> {
        self.add(name, |path| Ok(tensor.write_npy(path)?))
    }

    /// A NumPy archive of inputs and classes.
    fn archive(&mut self, name: &str, x: &Tensor, y: &[u32]) -> Fallible<()> {
        let y = classes(y)?;
        self.add(name, |path| Ok(Tensor::write_npz(&[("x", x), ("y", &y)], path)?))
    }
}

/// Classes as integers that NumPy knows.
fn classes(values: &[u32]) -> Fallible<Tensor> {
    let values: Vec<i64> = values.iter().map(|&value| i64::from(value)).collect();
    Ok(Tensor::new(values, &Device::Cpu)?)
}

fn normal(rng: &mut Rng, shape: (usize, usize)) -> Fallible<Tensor> {
    Ok(rng.normal(0., 1., shape, DType::F32, &Device::Cpu)?)
}

fn ensemble(files: &mut Files) -> Fallible<()> {
    let mut rng = Rng::new(1);
    let names = ["ant", "bee", "cow"];
    let truth: Vec<usize> = (0..60).map(|_| rng.below(3)).collect();
    // some samples are easier than others
    let easy: Vec<f64> = truth.iter().map(|_| 0.1 + 0.9 * rng.unit()).collect();
    let mut votes = (0..60).map(|sample| format!("s{sample}")).collect::<Vec<_>>().join(",") + "\n";
    for _ in 0..11 {
        let row: Vec<&str> =
            (0..60).map(|at| names[if rng.unit() < easy[at] { truth[at] } else { rng.below(3) }]).collect();
        votes += &(row.join(",") + "\n");
    }
    files.text("votes.csv", &votes)?;
    let labels: Vec<&str> = truth.iter().map(|&class| names[class]).collect();
    files.text("labels.csv", &format!("label\n{}\n", labels.join("\n")))
}

fn labels(files: &mut Files) -> Fallible<()> {
    let mut rng = Rng::new(2);
    let names = ["oak", "elm", "fir"];
    let truth: Vec<u32> = (0..300).map(|at| at % 3).collect();
    let noise = normal(&mut rng, (300, 4))?.to_vec2::<f32>()?;
    let (mut features, mut probabilities) = (Vec::new(), Vec::new());
    let (mut given, mut text) = (Vec::new(), "label\n".to_owned());
    for (&class, noise) in truth.iter().zip(&noise) {
        let x: Vec<f32> =
            (0..4u32).map(|at| 2. * f32::from(u8::from(at == class)) + 0.6 * noise[at as usize]).collect();
        let label = if rng.unit() < 0.25 { (class + 1 + rng.below(2) as u32) % 3 } else { class };
        given.push(label);
        writeln!(text, "{}", names[label as usize])?;
        // a model that has learned from these very labels: it leans to what it was told
        let scores: Vec<f32> =
            (0..3u32).map(|at| 1.2 * x[at as usize] + if at == label { 1. } else { 0. }).map(f32::exp).collect();
        let sum: f32 = scores.iter().sum();
        probabilities.extend(scores.iter().map(|score| score / sum));
        features.extend(x);
    }
    files.text("labels.csv", &text)?;
    files.array("probabilities.npy", &Tensor::from_vec(probabilities, (300, 3), &Device::Cpu)?)?;
    files.array("features.npy", &Tensor::from_vec(features, (300, 4), &Device::Cpu)?)?;
    let true_names: Vec<&str> = truth.iter().map(|&class| names[class as usize]).collect();
    files.text("truth.csv", &format!("label\n{}\n", true_names.join("\n")))
}

fn annotators(files: &mut Files) -> Fallible<()> {
    let mut rng = Rng::new(3);
    let names = ["cat", "dog", "fox"];
    // how often each says what is there; gus guesses, and una says the next class instead
    let people = [("ann", 0.9), ("bob", 0.85), ("cy", 0.8), ("dee", 0.8), ("eve", 0.75), ("gus", 0.), ("una", 0.)];
    let mut text = "item,annotator,label\n".to_owned();
    for item in 0..40 {
        let truth = rng.below(3);
        for (name, skill) in people {
            let guess = rng.below(3);
            let said = match name {
                "una" => (truth + 1) % 3,
                _ if rng.unit() < skill => truth,
                _ => guess,
            };
            if rng.unit() < 0.7 {
                writeln!(text, "p{item:02}.png,{name},{}", names[said])?;
            }
        }
    }
    files.text("annotations.csv", &text)
}

fn losses(files: &mut Files) -> Fallible<()> {
    let law = moe_scaling::law::Law::saturating(-0.083, -0.118, 0.01, 1.11, 2., 240.);
    let mut rng = Rng::new(4);
    let mut text = "router,N,E,loss\n".to_owned();
    for size in ["1.5e7", "5.5e7", "1.3e8", "3.7e8", "1.3e9"] {
        for experts in [1, 4, 16, 64, 256] {
            let router = if experts == 1 { "Dense" } else { "top-2" };
            let noise = (0.004 * (rng.unit() - 0.5)).exp();
            let failed = if size == "3.7e8" && experts == 16 { 1.2 } else { 1. };
            let loss = law.predict(size.parse()?, f64::from(experts)) * noise * failed;
            writeln!(text, "{router},{size},{experts},{loss:.4}")?;
        }
    }
    files.text("losses.csv", &text)
}

fn sensors(files: &mut Files) -> Fallible<()> {
    let mut rng = Rng::new(5);
    let mut text = "time,north,south,hall,cellar\n".to_owned();
    let mut weather = 0.;
    for step in 0..12 * 24 {
        weather = 0.9 * weather + (rng.unit() - 0.5);
        let wave = |shift: f64| (std::f64::consts::TAU * (step as f64 - shift) / 24.).sin();
        let mut noise = || 0.6 * (rng.unit() - 0.5);
        let values = [
            11. + 5. * wave(9.) + weather + noise(),
            13. + 7. * wave(8.) + weather + noise(),
            20. + wave(10.) + 0.3 * noise(),
            60. - 3. * wave(12.) + noise(),
        ];
        let cell = |at: usize| if step == 100 + at { String::new() } else { format!("{:.2}", values[at]) };
        let day = 1 + step / 24;
        writeln!(text, "2024-03-{day:02} {:02}:00,{},{},{},{}", step % 24, cell(0), cell(1), cell(2), cell(3))?;
    }
    files.text("readings.csv", &text)
}

fn animals(files: &mut Files) -> Fallible<()> {
    let field = |_: f64, y: &[f64], dy: &mut [f64]| {
        dy[0] = y[0] * (1.1 - 0.4 * y[1]);
        dy[1] = y[1] * (0.1 * y[0] - 0.4);
    };
    let mut rng = Rng::new(4);
    let mut table = String::from("day,site,prey,predators\n");
    for (site, y0) in [("north", [10., 5.]), ("south", [6., 2.])] {
        let mut times: Vec<f64> = (0..120).map(|at| f64::from(at) * 0.25 + 0.1 * rng.unit()).collect();
        times[0] = 0.;
        let options = Solve::default().tolerance(1e-9).at(times.clone());
        let solution = solve(&field, &y0, (0., times[119]), &options)?;
        for (t, state) in times.iter().zip(solution.values.chunks(2)) {
            let mut cell = |x: f64| match rng.unit() < 0.1 {
                true => String::new(),
                false => format!("{:.3}", x * (1. + 0.01 * (rng.unit() - 0.5))),
            };
            writeln!(table, "{t:.4},{site},{},{}", cell(state[0]), cell(state[1]))?;
        }
    }
    files.text("animals.csv", &table)
}

/// Noisy images of bars, lying, standing or in one of two diagonals, `[n, 1, size, size]` between 0 and 1, and their classes.
fn bars(rng: &mut Rng, count: usize, size: usize, contrast: f64) -> Fallible<(Tensor, Vec<u32>)> {
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for at in 0..count {
        let (class, place) = (at % 4, 2 + rng.below(size - 4));
        for row in 0..size {
            for column in 0..size {
                let is_bar = match class {
                    0 => row.abs_diff(place) < 2,
                    1 => column.abs_diff(place) < 2,
                    2 => (row + place).abs_diff(column + size / 2) < 2,
                    _ => (row + column).abs_diff(place + size / 2) < 2,
                };
                let bar = if is_bar { contrast } else { 0. };
                x.push(((1. - contrast) * rng.unit() + bar) as f32);
            }
        }
        y.push(class as u32);
    }
    Ok((Tensor::from_vec(x, (count, 1, size, size), &Device::Cpu)?, y))
}

fn images(files: &mut Files) -> Fallible<()> {
    let mut rng = Rng::new(6);
    for (name, count) in [("train.npz", 320), ("test.npz", 160)] {
        let (x, y) = bars(&mut rng, count, 12, 0.3)?;
        files.archive(name, &x, &y)?;
    }
    Ok(())
}

fn network(files: &mut Files) -> Fallible<()> {
    let mut rng = Rng::new(7);
    let (x, y) = bars(&mut rng, 400, 16, 0.6)?;
    let image = ImageShape { channels: 1, height: 16, width: 16 };
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let network = conv_pool_cnn(&ConvPoolCnnConfig::carlini([8, 16], image, 4), store.var_builder())?;
    let mut optimizer = Adam::new(&store, AdamConfig { learning_rate: 3e-3, ..AdamConfig::default() })?;
    for _ in 0..8 {
        for rows in rng.permutation(400).chunks(40) {
            let labels: Vec<u32> = rows.iter().map(|&row| y[row as usize]).collect();
            let batch = x.index_select(&Tensor::new(rows, &Device::Cpu)?, 0)?;
            let logits = network.forward(&batch, &mut Mode::train(&mut rng))?;
            optimizer.backward_step(&ops::cross_entropy(&logits, &Tensor::new(labels, &Device::Cpu)?)?)?;
        }
    }
    files.add("weights.safetensors", |path| Ok(store.save(path)?))?;
    let (x, y) = bars(&mut rng, 100, 16, 0.6)?;
    files.array("images.npy", &x)?;
    files.array("labels.npy", &classes(&y)?)
}

fn signals(files: &mut Files) -> Fallible<()> {
    let mut rng = Rng::new(8);
    // every class and every kind of attack has three directions of its own
    let bases = (0..5).map(|_| normal(&mut rng, (3, 60))).collect::<Fallible<Vec<_>>>()?;
    let clean = |rng: &mut Rng, each: usize| -> Fallible<Tensor> {
        let parts = bases[..3].iter().map(|basis| Ok(normal(rng, (each, 3))?.matmul(basis)?));
        Ok(Tensor::cat(&parts.collect::<Fallible<Vec<_>>>()?, 0)?)
    };
    let train = clean(&mut rng, 20)?;
    let held_out = clean(&mut rng, 10)?;
    let kinds = [3, 4].map(|at| -> Fallible<Tensor> { Ok(normal(&mut rng, (60, 3))?.matmul(&bases[at])?) });
    let [stripes, spots] = kinds;
    let (stripes, spots) = (stripes?, spots?);
    // six new signals, two of each class: the first of each pair is attacked by stripes, the second by spots
    let rows = |kind: &Tensor, at: usize| kind.narrow(0, at, 1);
    let attacks: Vec<Tensor> = (0..6)
        .map(|at| if at % 2 == 0 { rows(&stripes, 10 * at) } else { rows(&spots, 10 * at) })
        .collect::<Result<_, _>>()?;
    let attacked = (clean(&mut rng, 2)? + (Tensor::cat(&attacks, 0)? * 0.3)?)?;
    files.array("train.npy", &train)?;
    files.array("classes.npy", &classes(&(0..60).map(|at| at / 20).collect::<Vec<_>>())?)?;
    files.array("stripes.npy", &stripes)?;
    files.array("spots.npy", &spots)?;
    files.array("clean.npy", &held_out)?;
    files.array("attacked.npy", &attacked)
}

fn graphs(files: &mut Files) -> Fallible<()> {
    let mut rng = Rng::new(9);
    // rings (0) and stars (1), with a chord or two; the tag of a node is 1 where a coin says so
    let mut text = "40\n".to_owned();
    for at in 0..40 {
        let (nodes, label) = (6 + rng.below(8), at % 2);
        let mut near: Vec<Vec<usize>> = vec![Vec::new(); nodes];
        let mut join = |a: usize, b: usize| {
            if a != b && !near[a].contains(&b) {
                near[a].push(b);
                near[b].push(a);
            }
        };
        (1..nodes).for_each(|node| join(node, if label == 0 { node - 1 } else { 0 }));
        if label == 0 {
            join(0, nodes - 1);
        }
        join(rng.below(nodes), rng.below(nodes));
        writeln!(text, "{nodes} {label}")?;
        for list in near {
            let names: Vec<String> = list.iter().map(ToString::to_string).collect();
            writeln!(text, "{} {} {}", rng.below(2), names.len(), names.join(" "))?;
        }
    }
    files.text("graphs.txt", &text)?;

    // three groups of twenty people who know each other well, and strangers seldom
    let mut edges = "from,to\n".to_owned();
    for a in 0..60 {
        for b in a + 1..60 {
            let is_near = a / 20 == b / 20;
            if rng.unit() < if is_near { 0.2 } else { 0.04 } {
                writeln!(edges, "{a},{b}")?;
            }
        }
    }
    files.text("edges.csv", &edges)?;
    let (mut features, mut labels) = ("height,age,pets\n".to_owned(), "node,label\n".to_owned());
    let noise = normal(&mut rng, (60, 3))?.to_vec2::<f32>()?;
    for (node, noise) in noise.iter().enumerate() {
        let group = node / 20;
        let of = |at: usize| noise[at] + if at == group { 0.7 } else { 0. };
        writeln!(features, "{:.3},{:.3},{:.3}", of(0), of(1), of(2))?;
        writeln!(labels, "{node},{}", ["red", "green", "blue"][group])?;
    }
    files.text("features.csv", &features)?;
    files.text("labels.csv", &labels)
}

fn calls(files: &mut Files) -> Fallible<()> {
    let mut rng = Rng::new(10);
    let villages = ["ash", "birch", "cedar", "dogwood"];
    let mut text = "from,to,calls\n".to_owned();
    for a in 0..60 {
        for b in a + 1..60 {
            let is_near = a % 4 == b % 4;
            if rng.unit() < if is_near { 0.7 } else { 0.03 } {
                let name = |person: usize| format!("{}-{}", villages[person % 4], person / 4);
                writeln!(text, "{},{},{}", name(a), name(b), 1 + rng.below(if is_near { 20 } else { 5 }))?;
            }
        }
    }
    files.text("calls.csv", &text)
}
