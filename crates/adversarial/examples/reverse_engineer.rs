//! Of which class is an attacked signal, by which kind of attack, and what was it before? `cargo run --release -p adversarial --example reverse_engineer -- --signals train.npy --labels y.npy --perturbations l1=a.npy,linf=b.npy --input attacked.npy`.
//!
//! Signals, perturbations of the same signals (in the same order, from any framework) and the input are arrays `[n, …]` (`.npy`, `.npz`) or tables with a row for each; whatever stands behind the first axis is flattened. Writes one page (`index.html`), `analysis.csv` (a row for each input signal),
//! `denoised.npy` (in the shape of the input), `recovery.csv` (for which pairs of class and attack the result is certain), `explained.json` and figures to `--out`.
//!
//! Three columns of `analysis.csv` say how far an answer can be trusted:
//!
//! | column | is |
//! |---|---|
//! | `is_minimum` | the solver has found the minimum over all blocks, not over the active ones alone; it says nothing of the answer |
//! | `unexplained` | the share of the signal's norm that signals of this class and perturbations of this kind together leave, by least squares |
//! | `is_guaranteed` | the pair found has tau below rho (`recovery.csv`), and at most 1e-5 is unexplained: the minimum that the method approaches can be on no other blocks |

#[path = "own_data/tiles.rs"]
mod tiles;

use adversarial::reverse::{
    Analysis, Block, BlockDictionary, Homotopy, NearestSubspace, PairRecovery, ReverseEngineer, recovery_report,
};
use candle_core::{Device, Tensor};
use clap::Parser;
use experiment::{Axis, Bars, Plot, Result, Table, Tile};
use reproduction::front::{self, Output, Progress, Results};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Examples for `--help`.
const HELP: &str = "\
Every file is an array [n, ...] (.npy), or a table with a row for each signal; here three signals of four numbers, what one attack \
adds to them, and their classes:

    train.csv         a.csv             y.csv
    0.1,0.9,0.3,0.2   0.05,0,-0.05,0    0
    0.2,0.8,0.1,0.2   0,0.05,-0.05,0    0
    0.7,0.1,0.4,0.9   0.05,0,0,-0.05    1

In an .npz the arrays are called signals, labels, input, clean, and as the attacks are. A signal is explained as a combination of few \
blocks: signals of a class, and perturbations of them by a kind of attack. Written are index.html with all of it, analysis.csv (class, \
attack, margin), denoised.npy, recovery.csv, explained.json and figures.

    reverse_engineer --signals train.npy --labels y.npy --perturbations l1=a.npy,linf=b.npy --input attacked.npy";

/// Explain attacked signals
#[derive(Debug, Parser)]
#[command(after_help = HELP, mut_arg("out", |out| out.default_value("reverse_engineered")))]
struct Arguments {
    /// Clean signals
    #[arg(long)]
    signals: PathBuf,
    /// Their classes
    #[arg(long)]
    labels: PathBuf,
    /// What each kind of attack adds to the signals: NAME=FILE, separated by commas
    #[arg(long, value_delimiter = ',', required = true)]
    perturbations: Vec<String>,
    /// Signals to explain
    #[arg(long)]
    input: PathBuf,
    /// Clean signals that are not among the others: what they look like counts as not attacked
    #[arg(long)]
    clean: Option<PathBuf>,
    /// How many signals of a class make its block
    #[arg(long, default_value_t = 50)]
    per_class: usize,
    /// Rounds of the active-set method
    #[arg(long, default_value_t = 12)]
    rounds: usize,
    /// The share of their size to which the numbers are exact [default: 1.2e-7 where all are 32-bit numbers]
    #[arg(long, value_name = "SHARE")]
    rounding: Option<f64>,
    #[command(flatten)]
    output: Output,
}

/// A signal of which less than this share is unexplained is in the span of its pair.
const EXPLAINED: f64 = 1e-5;

fn main() -> ExitCode {
    front::main(run)
}

/// Signals one after the other, and the shape of one.
struct Signals {
    count: usize,
    shape: Vec<usize>,
    values: Vec<f64>,
}

fn signals(path: &Path, name: &str, dimension: Option<usize>) -> Result<Signals> {
    let fail = |reason: String| Err(format!("{}: {reason}", path.display()).into());
    let array = front::named_array(path, name)?;
    let Some((&count, shape)) = array.shape.split_first().filter(|_| !array.values.is_empty()) else {
        return fail("there are no signals".to_owned());
    };
    let found = array.values.len() / count;
    if let Some(expected) = dimension.filter(|expected| *expected != found) {
        return fail(format!("signals have {found} numbers, those of --signals have {expected}"));
    }
    if let Some(at) = array.values.iter().position(|value| !value.is_finite()) {
        return fail(format!("signal {} has {}, expected finite numbers", at / found, array.values[at]));
    }
    Ok(Signals { count, shape: shape.to_vec(), values: array.values })
}

fn run(arguments: &Arguments) -> Result<()> {
    let train = signals(&arguments.signals, "signals", None)?;
    let d = train.values.len() / train.count;
    let labels = front::classes(&arguments.labels, "labels")?;
    let counted = |path: &Path, what: &str, got: usize| match got == train.count {
        true => Ok(()),
        false => Err(format!("{}: {got} {what} for {} signals", path.display(), train.count)),
    };
    counted(&arguments.labels, "labels", labels.len())?;
    let mut named = Vec::new();
    for pair in &arguments.perturbations {
        let (name, path) = pair.split_once('=').ok_or_else(|| format!("--perturbations {pair}: expected NAME=FILE"))?;
        let rows = signals(path.as_ref(), name, Some(d))?;
        counted(path.as_ref(), "perturbations", rows.count)?;
        named.push((name, rows.values));
    }
    let lists: Vec<(&str, &[f64])> = named.iter().map(|(name, list)| (*name, list.as_slice())).collect();
    let dictionary = BlockDictionary::from_samples(d, &train.values, &labels, &lists, arguments.per_class)?;
    let dictionary = dictionary.rounded(arguments.rounding.unwrap_or(0.))?;
    let input = signals(&arguments.input, "input", Some(d))?;
    let clean = arguments.clean.as_ref().map(|path| signals(path, "clean", Some(d))).transpose()?;
    let homotopy = Homotopy { max_rounds: arguments.rounds, ..Homotopy::default() };
    let (classes, names) = (dictionary.num_classes(), dictionary.attacks().to_vec());

    let mut results = Results::prepare("What attacked signals were", &arguments.output)?;
    results.say(&format!(
        "{} signals of {d} numbers to explain; known: {} signals of {classes} classes, attacks: {}",
        input.count,
        train.count,
        names.join(", ")
    ));
    let recovery = recovery_report(&dictionary)?;
    let control = NearestSubspace::new(&dictionary)?;
    let mut engineer = ReverseEngineer::new(dictionary)?.homotopy(homotopy);
    if let Some(clean) = &clean {
        engineer.calibrate(&clean.values, 0.95)?;
    }
    let mut found = Vec::new();
    let mut progress = Progress::new("explaining", "signals", input.count);
    for chunk in input.values.chunks(64 * d) {
        found.extend(engineer.analyse_all(chunk)?);
        progress.at(found.len(), String::new);
    }
    drop(progress);

    let judged = found.iter().zip(input.values.chunks(d));
    let judged: Vec<Judged> =
        judged.map(|(one, x)| Judged::of(engineer.dictionary(), &recovery, &control, one, x)).collect::<Result<_>>()?;
    let certain = recovery.iter().filter(|pair| pair.is_guaranteed()).count();
    results.say(&format!(
        "{} signals explained; recovery is certain for {certain} of {} pairs of class and attack",
        found.len(),
        recovery.len()
    ));
    write(arguments, results, (&input, &names), &found, &judged, &recovery)
}

/// What can be said of an answer.
struct Judged {
    nearest_subspace: usize,
    unexplained: f64,
    is_guaranteed: bool,
}

impl Judged {
    fn of(
        dictionary: &BlockDictionary,
        recovery: &[PairRecovery],
        control: &NearestSubspace,
        found: &Analysis,
        x: &[f64],
    ) -> Result<Self> {
        let class = found.class;
        let mut blocks = vec![Block::Signal(class)];
        blocks.extend(found.attack.map(|attack| Block::Attack { class, attack }));
        let left = dictionary.distances(&blocks, x)?.first().copied().unwrap_or(f64::NAN);
        let unexplained = left / x.iter().map(|x| x * x).sum::<f64>().sqrt();
        let is_pair = |pair: &&PairRecovery| pair.class == class && Some(pair.attack) == found.attack;
        let is_certain = recovery.iter().find(is_pair).is_some_and(PairRecovery::is_guaranteed);
        let is_guaranteed = is_certain && unexplained <= EXPLAINED;
        Ok(Self { nearest_subspace: control.classify(x)?.0, unexplained, is_guaranteed })
    }
}

fn write(
    arguments: &Arguments,
    mut results: Results,
    (input, names): (&Signals, &[String]),
    found: &[Analysis],
    judged: &[Judged],
    recovery: &[PairRecovery],
) -> Result<()> {
    let name = |attack: Option<usize>| attack.map_or("none", |attack| &names[attack]);
    let mut table = Table::new([
        "signal",
        "class",
        "attack",
        "margin",
        "attack_norm",
        "is_minimum",
        "rounds",
        "nearest_subspace",
        "unexplained",
        "is_guaranteed",
    ]);
    let mut entries = Vec::new();
    for (at, (one, judged)) in found.iter().zip(judged).enumerate() {
        table.rows.push(vec![
            at.to_string(),
            one.class.to_string(),
            name(one.attack).to_owned(),
            format!("{:.4}", one.margin),
            format!("{:.4}", one.attack_norm),
            one.is_minimum.to_string(),
            one.rounds.len().to_string(),
            judged.nearest_subspace.to_string(),
            format!("{:.1e}", judged.unexplained),
            judged.is_guaranteed.to_string(),
        ]);
        entries.push(json!({
            "class": one.class,
            "attack": one.attack.map(|attack| &names[attack]),
            "margin": one.margin,
            "attack_norm": one.attack_norm,
            "is_minimum": one.is_minimum,
            "rounds": one.rounds.len(),
            "nearest_subspace": judged.nearest_subspace,
            "unexplained": judged.unexplained,
            "is_guaranteed": judged.is_guaranteed,
            "class_residuals": one.class_residuals,
            "attack_residuals": one.attack_residuals,
        }));
    }
    results.table("analysis", "Each signal: what was found, and how far it can be trusted", &table)?;
    results.note(
        "margin: how much worse the second-best class explains the signal, as a share of it. is_minimum: the solver is done; it says nothing of the answer. unexplained: the share that class and attack leave. is_guaranteed: tau is below rho for this pair, and nothing is unexplained.",
    );
    results.figure(
        "found",
        &counts(found, names, recovery),
        "How many signals are of each class and kind of attack.",
    )?;
    if let Some(plot) = images(input, found, names) {
        results.figure("images", &plot, "The first signals: as they came, without the attack, and the attack.")?;
    }

    let mut table = Table::new(["class", "attack", "rank", "rho", "tau", "is_guaranteed", "cos_smallest_angle"]);
    for pair in recovery {
        table.rows.push(vec![
            pair.class.to_string(),
            names[pair.attack].clone(),
            pair.rank.to_string(),
            format!("{:.6}", pair.rho),
            format!("{:.6}", pair.tau),
            pair.is_guaranteed().to_string(),
            format!("{:.6}", pair.cos_smallest_angle),
        ]);
    }
    results.table(
        "recovery",
        "For which pairs of class and attack the right blocks are certain to be found",
        &table,
    )?;
    if recovery.len() <= 40 {
        let pairs = recovery.iter().map(|pair| format!("{}, {}", pair.class, names[pair.attack])).collect();
        let values = |of: fn(&PairRecovery) -> f64| recovery.iter().map(of).collect();
        let bars = vec![Bars::new("tau", values(|pair| pair.tau)), Bars::new("rho", values(|pair| pair.rho))];
        let plot = Plot::bars("Recovery conditions", Axis::linear("value"), pairs, bars);
        results.figure("conditions", &plot, "Where tau is below rho, recovery is certain.")?;
    }
    let shape = [&[found.len()], &input.shape[..]].concat();
    let clean: Vec<f32> = found.iter().flat_map(|one| one.clean.iter().map(|&value| value as f32)).collect();
    let path = results.path("denoised.npy", "the signals without the attack, in the shape of the input");
    Tensor::from_vec(clean, shape, &Device::Cpu)?.write_npy(path)?;
    results.json("explained", "all of it", &json!({ "signals": entries, "recovery": recovery }))?;

    let differ: Vec<String> = (0..found.len())
        .filter(|&at| found[at].class != judged[at].nearest_subspace)
        .map(|at| at.to_string())
        .collect();
    let next = match (differ.len(), &arguments.clean) {
        (0, None) => {
            "give clean signals that are not in --signals by --clean: without, every signal counts as attacked"
                .to_owned()
        }
        (0, Some(_)) => {
            "class and nearest_subspace agree on every signal: compare margins, and keep the cheaper of the two"
                .to_owned()
        }
        (count, _) => {
            let (shown, more) = (differ[..count.min(8)].join(", "), if count > 8 { ", …" } else { "" });
            format!("look at the {count} signals on which class and nearest_subspace differ: {shown}{more}")
        }
    };
    results.finish(&next)
}

/// How many signals of each class and kind of attack there are.
fn counts(found: &[Analysis], names: &[String], recovery: &[PairRecovery]) -> Plot {
    let classes = recovery.iter().map(|pair| pair.class + 1).chain(found.iter().map(|one| one.class + 1));
    let classes = classes.max().unwrap_or(1);
    let count = |class: usize, attack: Option<usize>| {
        found.iter().filter(|one| one.class == class && one.attack == attack).count() as f64
    };
    let mut columns = names.to_vec();
    columns.push("no attack".to_owned());
    let kinds: Vec<Option<usize>> = (0..names.len()).map(Some).chain([None]).collect();
    let values = (0..classes).map(|class| kinds.iter().map(|&kind| count(class, kind)).collect()).collect();
    Plot::heat_map("What was found", columns, (0..classes).map(|class| format!("class {class}")).collect(), values)
}

/// A few signals, where they are images.
fn images(input: &Signals, found: &[Analysis], names: &[String]) -> Option<Plot> {
    let shape = tiles::drawable(&input.shape)?;
    let range = |values: &[f64]| {
        values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &x| (low.min(x), high.max(x)))
    };
    let rows = found.iter().zip(input.values.chunks(shape.iter().product())).enumerate().take(4);
    let rows = rows.map(|(at, (one, x))| {
        let bounds = range(x);
        let attack = one.attack.map_or("none", |attack| &names[attack]);
        vec![
            tiles::tile(format!("signal {at}"), shape, x, bounds),
            tiles::tile(format!("class {}", one.class), shape, &one.clean, bounds),
            Tile::signed(attack, shape, one.perturbation.clone()),
        ]
    });
    Some(Plot::images("Signals, explained", rows.collect()))
}
