//! Searches operators for a classifier of your data: `cargo run --release -p nas --example search_operators -- train.npz --layers 6 --operators conv3,sep5,identity --sampler gradual --max-parameters 200000 --out search/`.
//!
//! The data are a table, .csv with a header and a column `y`, `label` or `class`, or an archive that holds `x`, images `[n, height, width]` or `[n, channels, height, width]`, a table `[n, columns]`, or, with `--kind sequences`, sequences `[n, steps, features]`; and `y`, a class from 0 for each. Rows are shuffled and cut into three: a super-net is trained on the
//! first part, its children are scored on the second, and the third is looked at once, by the best child, with the weights of the super-net and trained alone, beside a random child that is trained alike (and by the children of `--alone`). Whether the scores can be trusted is measured as well: how differently
//! children pull at weights that they share, and, against `--truth` or `--alone`, how well the scores rank.
//!
//! What is written to `--out` is listed in `--help`.

#[path = "search_operators/data.rs"]
mod data;
#[path = "search_operators/network.rs"]
mod network;
#[path = "search_operators/probes.rs"]
mod probes;
#[path = "search_operators/problem.rs"]
mod problem;
#[path = "search_operators/ranks.rs"]
mod ranks;
#[path = "search_operators/training.rs"]
mod training;

use candle_core::{DType, Device, Tensor};
use clap::{Parser, ValueEnum};
use core_tensor::params::ParamStore;
use data::{Data, Kind, Parts};
use experiment::statistics::median;
use experiment::{Axis, Plot, Series, Table};
use nas::search::{EvolutionConfig, History, Limit, evolutionary, random};
use nas::{Architecture, Direction, SearchSpace, SuperNet, TruthFile, TruthTable};
use network::Classifier;
use problem::{Fallible, Problem};
use reproduction::front::{self, Output, Progress, Results};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;
use training::{Quality, Recipe, Sampler, guessing, only, quality, shared_loss};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Steps by which the time is estimated.
const TIMED: usize = 15;

const AFTER_HELP: &str = "\
The data: an archive, as np.savez(\"train.npz\", x=inputs, y=classes) writes it, or a table whose column y, label or
class has the classes:

  width,height,y
  1.5,0.3,cat
  1.1,0.4,dog

Operators of images:     conv3, conv5 (convolution, batch norm, ReLU), sep3, sep5 (depthwise and pointwise), ir3-3,
                         ir5-6 and the like (inverted residual: kernel, expansion), max, average, identity, zero
Operators of sequences and tables: attention, feed_forward, sep3, sep5, sep7, conv3, conv5, identity, zero
                         (convolutions run along the steps, or along the columns in their order)

Steps: 1. the rows are cut into training, validation (scores, search) and test (looked at once);
       2. a super-net with every operator of every layer is trained, one path a step;
       3. interference is measured: how alike the gradients are that two children send to weights that they share
          (1: they agree; 0: unrelated; below 0: they undo each other), always beside the children's loss;
       4. an evolutionary search and a random one of the same size score children on the validation rows;
       5. the best child is exported, trained alone, and tested, beside a random child that is trained alike.
Scores come from shared weights. Whether they rank children as training alone would is known only from children that
were trained alone: give a table (--truth), or have some trained (--alone 12), whose losses are those on the test rows.

A truth table is CSV with the columns architecture, value and, perhaps, seed; `0-2-1` is the first operator of --operators
in the first layer, the third in the second, the second in the third. Say with --truth-better whether values are losses
or accuracies.

Written to --out: index.html (everything on one page); distance, conflict, heat-map, finals, forced-input,
forced-output, search, front, tested, ranking (.svg and .csv, as far as they apply); report.json; supernet.safetensors;
best.safetensors (the best child with the super-net's weights) and retrained.safetensors (trained alone), which load
wherever the same layers are built.

Examples:
  search_operators digits.npz --layers 4 --operators conv3,sep5,identity --dry-run
  search_operators digits.npz --layers 6 --operators conv3,sep5,identity --sampler gradual --max-parameters 200000 --out search
  search_operators table.npz --layers 4 --operators attention,feed_forward,identity --width 32 --alone 12 --out table";

/// Search operators for a classifier of your data, and measure whether the search can be trusted
#[derive(Debug, Parser)]
#[command(after_long_help = AFTER_HELP, after_help = "More, with examples: --help")]
#[command(mut_arg("out", |out| out.default_value("search")))]
struct Arguments {
    /// An .npz archive with inputs `x` and classes `y` (or `images` and `labels`), or a .csv table with a column `y`
    data: PathBuf,
    /// What the inputs are [default: a table where `x` has two dimensions, else images]
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Layers that are searched
    #[arg(long, default_value_t = 4)]
    layers: usize,
    /// The candidates of each layer [default: conv3,sep3,sep5,identity for images, else attention,feed_forward,identity]
    #[arg(long, value_delimiter = ',')]
    operators: Vec<String>,
    /// Which children the super-net trains
    #[arg(long, value_enum, default_value_t = Sampler::Uniform)]
    sampler: Sampler,
    /// Channels, or width of hidden states
    #[arg(long, default_value_t = 16)]
    width: usize,
    /// Stride of the first convolution of images [default: 2 above 20 rows, else 1]
    #[arg(long)]
    stride: Option<usize>,
    /// Children with more parameters, stem and head included, are not searched
    #[arg(long)]
    max_parameters: Option<u64>,
    /// Children with more multiplications for one input are not searched
    #[arg(long)]
    max_multiplications: Option<u64>,
    /// Passes over the training rows of the super-net
    #[arg(long, default_value_t = 60)]
    epochs: usize,
    /// Passes of each child that is trained alone
    #[arg(long, default_value_t = 30)]
    child_epochs: usize,
    /// Rows of a step
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// The largest learning rate
    #[arg(long, default_value_t = 0.002)]
    learning_rate: f64,
    /// The share of rows that children are scored on
    #[arg(long, default_value_t = 0.2)]
    validation: f64,
    /// The share of rows that nothing is chosen by
    #[arg(long, default_value_t = 0.2)]
    test: f64,
    /// Children of a generation of the search
    #[arg(long, default_value_t = 50)]
    population: usize,
    /// Generations of the search
    #[arg(long, default_value_t = 6)]
    generations: usize,
    /// A table of children that were trained alone, which the scores are ranked against
    #[arg(long)]
    truth: Option<PathBuf>,
    /// Which values of --truth are better, where its first line does not say it
    #[arg(long, value_enum, default_value_t = Better::Lower)]
    truth_better: Better,
    /// Train so many random children alone, two seeds each, and rank against them; truth.csv keeps them for a run that is interrupted
    #[arg(long, default_value_t = 0)]
    alone: usize,
    /// Rows of a batch that gradients are compared on
    #[arg(long, default_value_t = 256)]
    probe_rows: usize,
    /// From which all random numbers follow
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    output: Output,
    /// Say what would be done and how long it takes, and end
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Better {
    /// Losses, errors
    Lower,
    /// Accuracies
    Higher,
}

fn main() -> ExitCode {
    front::main(run)
}

/// What stays the same over all parts of the program.
pub(crate) struct Job {
    parts: Parts,
    space: SearchSpace,
    classifier: Classifier,
    recipe: Recipe,
    /// Updates of the super-net and of a child alone.
    steps: [usize; 2],
    /// The loss of saying class frequencies on the validation and the test rows.
    guessing: [f64; 2],
}

fn run(arguments: &Arguments) -> Fallible<()> {
    check(arguments)?;
    let (data, kind) = Data::read(&arguments.data, arguments.kind)?;
    let job = Job::new(arguments, &data, kind)?;
    let truth = match &arguments.truth {
        Some(path) => Some(ranks::read_truth(path, direction(arguments.truth_better), &job.space)?),
        None => None,
    };
    let net = Arc::new(job.supernet(arguments.seed)?);
    let limits = job.limits(arguments, &net)?;
    if arguments.dry_run {
        job.announce(arguments, &net, kind, truth.as_ref())?.iter().for_each(|line| front::say(line));
        return Ok(());
    }
    let title = format!("Operators for {}", arguments.data.file_name().unwrap_or_default().to_string_lossy());
    let mut results = Results::prepare(&title, &arguments.output)?;
    for line in job.announce(arguments, &net, kind, truth.as_ref())? {
        results.say(&line);
    }
    let conflicts = job.train(arguments, &net)?;
    net.store().save(results.path("supernet.safetensors", "weights of the super-net"))?;
    let measured = probes::report(&job, &net, &conflicts, arguments.probe_rows, &mut results)?;
    let batches = job.parts.validation.in_order(512)?;
    let (found, by_chance) = job.search(arguments, &net, &limits, &batches)?;
    let found = job.describe_search(&net, (&found, &by_chance), &mut results)?;
    let tested = job.finish(arguments, &net, &limits, &found, &mut results)?;

    let mut rankings = Vec::new();
    if let Some(table) = &truth {
        rankings.push(ranks::report(&job, &net, ("ranking", "--truth"), table, &mut results)?);
    }
    if arguments.alone > 0 {
        let table = job.train_alone(arguments, &limits, &mut results)?;
        rankings.push(ranks::report(&job, &net, ("ranking-alone", "children trained alone"), &table, &mut results)?);
    }
    if rankings.is_empty() {
        results.heading("Ranking");
        results.note("Not known: no child was trained alone but the best and a random one. --alone 12 trains twelve, --truth gives a table.");
    }
    let report = serde_json::json!({
        "layers": (0..job.space.num_layers()).map(|layer| job.space.candidates(layer)).collect::<Vec<_>>(),
        "sampler": arguments.sampler,
        "recipe": job.recipe,
        "steps": job.steps,
        "guessing_loss": job.guessing,
        "interference": measured,
        "best": { "architecture": found.to_string(), "operators": job.space.names(&found)? },
        "tested": tested,
        "ranking": rankings,
    });
    results.json("report", "all numbers", &report)?;
    Ok(results.finish(&next(&tested, &rankings))?)
}

fn direction(better: Better) -> Direction {
    match better {
        Better::Lower => Direction::LowerIsBetter,
        Better::Higher => Direction::HigherIsBetter,
    }
}

/// Numbers that no data can make good.
fn check(arguments: &Arguments) -> Fallible<()> {
    let counts = [
        ("epochs", arguments.epochs),
        ("child-epochs", arguments.child_epochs),
        ("width", arguments.width),
        ("population", arguments.population),
        ("generations", arguments.generations),
        ("stride", arguments.stride.unwrap_or(1)),
    ];
    if let Some((option, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
        return Err(Problem::option(option, 0, "expected at least 1"));
    }
    for (option, count) in
        [("layers", arguments.layers), ("batch", arguments.batch), ("probe-rows", arguments.probe_rows)]
    {
        if count < 2 {
            return Err(Problem::option(option, count, "expected at least 2"));
        }
    }
    if arguments.alone == 1 {
        return Err(Problem::option("alone", 1, "one child has no ranking; 12 or more say something"));
    }
    for (option, share) in [("validation", arguments.validation), ("test", arguments.test)] {
        if !(share > 0.0 && share < 0.9) {
            return Err(Problem::option(option, share, "expected a share between 0 and 0.9"));
        }
    }
    if !(arguments.learning_rate > 0.0 && arguments.learning_rate.is_finite()) {
        return Err(Problem::option("learning-rate", arguments.learning_rate, "expected a number above 0"));
    }
    Ok(())
}

impl Job {
    fn new(arguments: &Arguments, data: &Data, kind: Kind) -> Fallible<Self> {
        let width = arguments.width;
        let (classes, shape) = (data.classes(), data.x.dims());
        let classifier = match (kind, shape) {
            (Kind::Images, &[_, channels, height, _]) => {
                let stride = arguments.stride.unwrap_or(if height > 20 { 2 } else { 1 });
                Classifier::Images { channels, width, stride, classes }
            }
            (Kind::Sequences, &[_, steps, features]) => Classifier::Sequences { steps, features, width, classes },
            (_, shape) => Classifier::Table { columns: shape[1], width, classes },
        };
        let operators: Vec<&str> = match (arguments.operators.is_empty(), kind) {
            (false, _) => arguments.operators.iter().map(|name| name.trim()).collect(),
            (true, Kind::Images) => vec!["conv3", "sep3", "sep5", "identity"],
            (true, _) => vec!["attention", "feed_forward", "identity"],
        };
        if operators.len() < 2 {
            return Err(Problem::option("operators", operators.join(","), "expected two or more"));
        }
        let parts = Parts::of(data, kind, [arguments.validation, arguments.test], arguments.seed, &arguments.data)?;
        let of_epoch = parts.train.len() / arguments.batch.min(parts.train.len());
        let guessing = [guessing(&parts.train, &parts.validation), guessing(&parts.train, &parts.test)];
        Ok(Self {
            space: SearchSpace::uniform(arguments.layers, &operators)?,
            classifier,
            recipe: Recipe { batch: arguments.batch, learning_rate: arguments.learning_rate, seed: arguments.seed },
            steps: [arguments.epochs * of_epoch, arguments.child_epochs * of_epoch],
            parts,
            guessing,
        })
    }

    /// An untrained super-net; every operator is run once, so that unknown names and shapes that do not fit end the program here.
    fn supernet(&self, seed: u64) -> Fallible<SuperNet> {
        let store = ParamStore::new(seed, DType::F32, &Device::Cpu);
        let net = self.classifier.blueprint(self.space.clone()).build(&store, &self.parts.train.batch(&[0, 1])?.0)?;
        let candidates = self.space.candidates(0);
        if (0..candidates.len()).all(|at| net.operator_parameters(0, at).is_empty()) {
            let reason = "none of them has parameters, so there is nothing to share";
            return Err(Problem::option("operators", candidates.join(","), reason));
        }
        Ok(net)
    }

    fn limits(&self, arguments: &Arguments, net: &Arc<SuperNet>) -> Fallible<Vec<Limit>> {
        let mut limits = Vec::new();
        if let Some(most) = arguments.max_parameters {
            let ends = ends(net);
            let of = |layer: usize, at: usize| {
                net.operator_parameters(layer, at).iter().map(|(_, var)| var.elem_count() as u64).sum::<u64>()
            };
            let smallest = |layer| (0..self.space.candidates(layer).len()).map(|at| of(layer, at)).min().unwrap_or(0);
            let least = ends + (0..self.space.num_layers()).map(smallest).sum::<u64>();
            if least > most {
                return Err(Problem::TooSmall { most, least, ends });
            }
            let own = net.clone();
            limits.push(Limit::new("parameters", most as f64, move |child| {
                Ok((ends + own.num_parameters(child)?) as f64)
            }));
        }
        if let Some(most) = arguments.max_multiplications {
            let own = net.clone();
            limits.push(Limit::new(
                "multiplications",
                most as f64,
                move |child| Ok(own.multiplications(child)? as f64),
            ));
        }
        // a search of one child finds out whether there is any
        random(&self.space, &limits, 1, 0, History::default(), |_| Ok(0.0))?;
        Ok(limits)
    }

    /// What will be done, and for how long: some steps and scores are timed on a super-net that is thrown away.
    fn announce(
        &self,
        arguments: &Arguments,
        net: &SuperNet,
        kind: Kind,
        truth: Option<&TruthTable>,
    ) -> Fallible<Vec<String>> {
        let (parts, space) = (&self.parts, &self.space);
        let scratch = self.supernet(arguments.seed)?;
        let (mut times, mut start) = (Vec::new(), Instant::now());
        self.recipe.train(&scratch, &parts.train, Sampler::Uniform.paths(space, 1)?, TIMED, |_, _, _| {
            times.push(start.elapsed().as_secs_f64());
            start = Instant::now();
            Ok(())
        })?;
        let step = median(&times);
        let first = Architecture(vec![0; space.num_layers()]);
        let batches = parts.validation.in_order(512)?;
        let mut times = Vec::new();
        for _ in 0..3 {
            let start = Instant::now();
            shared_loss(&scratch, &batches, &first)?;
            times.push(start.elapsed().as_secs_f64());
        }
        let score = median(&times);

        let passes = if arguments.sampler == Sampler::Fair { space.candidates(0).len() } else { 1 };
        let children = 2 + 2 * arguments.alone;
        let evaluations = arguments.population * arguments.generations;
        let evaluations = space.count().map_or(evaluations, |count| evaluations.min(count as usize));
        let of_probe = arguments.probe_rows.min(parts.train.len()) as f64 / arguments.batch as f64;
        let probed = probes::passes(space.num_layers()) as f64;
        let ranked = truth.map_or(0, TruthTable::len) + arguments.alone;
        let seconds = [
            ("train the super-net", (self.steps[0] * passes) as f64 * step),
            ("measure interference", probed * of_probe * step),
            ("search", (2 * evaluations + ranked) as f64 * score),
            ("train children alone", (self.steps[1] * children) as f64 * step),
        ];
        let noun = match kind {
            Kind::Images => "images",
            Kind::Sequences => "sequences",
            Kind::Table => "rows of a table",
        };
        let mut lines = vec![format!(
            "{noun} {:?}, {} classes: {} for training, {} for validation (scores), {} for the test; saying class frequencies has a loss of {:.3}",
            &parts.train.x.dims()[1..],
            parts.train.classes(),
            parts.train.len(),
            parts.validation.len(),
            parts.test.len(),
            self.guessing[0],
        )];
        let count = space.count().map_or_else(|| format!("10^{:.0}", space.log10_count()), |count| count.to_string());
        lines.push(format!(
            "{} layers of {}: {count} children; the super-net has {} parameters, {} of them in stem and head",
            space.num_layers(),
            space.candidates(0).join(", "),
            net.store().num_parameters(),
            ends(net),
        ));
        lines.push("this will".to_owned());
        for ((what, seconds), detail) in seconds.iter().zip([
            format!("{} updates of {passes} {}", self.steps[0], if passes == 1 { "path" } else { "paths" }),
            format!("{probed} gradients of {} rows", arguments.probe_rows.min(parts.train.len())),
            format!("{evaluations} children by evolution, as many at random"),
            format!("{children} trainings of {} updates", self.steps[1]),
        ]) {
            lines.push(format!("  {what}: {detail}, about {}", duration(*seconds)));
        }
        lines.push(format!(
            "in all about {} on this machine, and write to {}",
            duration(seconds.iter().map(|(_, seconds)| seconds).sum()),
            arguments.output.out.display()
        ));
        Ok(lines)
    }

    /// Trains the super-net; how alike gradients of consecutive steps were, ten times on the way.
    fn train(&self, arguments: &Arguments, net: &SuperNet) -> Fallible<Vec<probes::Conflict>> {
        let (steps, start) = (self.steps[0], Instant::now());
        let mut progress = Progress::new("training the super-net", "steps", steps);
        let every = (steps / 10).max(1);
        let (x, labels) = probes::batch(&self.parts.train, arguments.probe_rows)?;
        let mut recent: Vec<Architecture> = Vec::new();
        let (mut conflicts, mut sum) = (Vec::new(), 0.0);
        let paths = arguments.sampler.paths(&self.space, arguments.seed)?;
        self.recipe.train(net, &self.parts.train, paths, steps, |step, path, loss| {
            recent.extend_from_slice(path);
            recent.drain(..recent.len().saturating_sub(probes::CONSECUTIVE));
            sum += loss;
            progress.at(step + 1, || format!("loss {loss:.3}"));
            if (step + 1) % every == 0 && recent.len() > 1 {
                let loss = training::loss_of(&labels);
                let (cosine, mean) = nas::Probe::new(net, &x, &loss).consecutive(&recent)?;
                conflicts.push(probes::Conflict { step: step + 1, cosine, loss: mean });
                let seconds = start.elapsed().as_secs_f64();
                front::say(&format!(
                    "super-net, step {} of {steps}: loss {:.3}, {}",
                    step + 1,
                    sum / every as f64,
                    duration(seconds)
                ));
                sum = 0.0;
            }
            Ok(())
        })?;
        Ok(conflicts)
    }

    fn search(
        &self,
        arguments: &Arguments,
        net: &SuperNet,
        limits: &[Limit],
        batches: &[(Tensor, Tensor)],
    ) -> Fallible<(History, History)> {
        let mut known = std::collections::HashMap::new();
        let most = 2 * arguments.population * arguments.generations;
        let most = self.space.count().map_or(most, |count| most.min(count as usize));
        let mut progress = Progress::new("searching", "children at most", most);
        let mut score = |child: &Architecture| {
            if let Some(known) = known.get(child) {
                return Ok(*known);
            }
            let score = -shared_loss(net, batches, child)?;
            known.insert(child.clone(), score);
            progress.step();
            Ok(score)
        };
        let config = EvolutionConfig {
            population: arguments.population,
            generations: arguments.generations,
            parents: arguments.population.div_ceil(5),
            crossovers: arguments.population / 2,
            mutations: arguments.population / 2,
            ..EvolutionConfig::default()
        };
        let seed = arguments.seed;
        let found = evolutionary(&self.space, limits, &config, seed, History::default(), &mut score)?;
        let count = found.scored.len();
        let by_chance = random(&self.space, limits, count, seed, History::default(), &mut score)?;
        Ok((found, by_chance))
    }

    /// Curve and front of the search; gives the best child.
    fn describe_search(
        &self,
        net: &SuperNet,
        (found, by_chance): (&History, &History),
        results: &mut Results,
    ) -> Fallible<Architecture> {
        let ends = ends(net);
        let parameters = |child: &Architecture| Ok((ends + net.num_parameters(child)?) as f64);
        results.heading("Search");
        let none = || Problem::option("generations", 0, "the search has found no child");
        let (best, score) = found.best().cloned().ok_or_else(none)?;
        let names = self.space.names(&best)?.join(", ");
        let count = parameters(&best)?;
        let said = format!(
            "Of {} children the best on the validation rows is {best} ({names}): loss {:.4} with the weights of the super-net (saying class frequencies: {:.4}), {count} parameters. The loss of what was chosen flatters: look at the test below.",
            found.scored.len(),
            -score,
            self.guessing[0],
        );
        front::say(&format!(
            "best of {} children: {best} ({names}), validation loss {:.4}, {count} parameters",
            found.scored.len(),
            -score
        ));
        results.note(&said);
        let curve = |history: &History| {
            let best: Vec<f64> = history.curve().into_iter().map(|score| -score).collect();
            ((1..=best.len()).map(|at| at as f64).collect::<Vec<f64>>(), best)
        };
        let series = [("evolution", found), ("random", by_chance)].map(|(name, history)| {
            let (x, y) = curve(history);
            Series::new(name, x, y)
        });
        let (x, y) = (Axis::linear("children scored"), Axis::linear("best validation loss so far"));
        let curves = Plot::lines("Search", x, y, series.to_vec());
        let mut table =
            Table::new(["search", "number", "architecture", "validation_loss", "parameters", "best_so_far"]);
        for (name, history) in [("evolution", found), ("random", by_chance)] {
            for (at, ((child, score), best)) in history.scored.iter().zip(history.curve()).enumerate() {
                let (loss, best) = (format!("{:.6}", -score), format!("{:.6}", -best));
                let cells = [
                    name.to_owned(),
                    (at + 1).to_string(),
                    child.to_string(),
                    loss,
                    parameters(child)?.to_string(),
                    best,
                ];
                table.rows.push(cells.to_vec());
            }
        }
        results.table("search", "Children in the order in which they were scored", &table)?;
        results.figure("search", &curves, "with the weights of the super-net")?;
        let front = found.front(parameters)?;
        let all: (Vec<f64>, Vec<f64>) = found
            .scored
            .iter()
            .map(|(child, score)| Ok((parameters(child)?, -score)))
            .collect::<nas::Result<Vec<_>>>()?
            .into_iter()
            .unzip();
        let on_front = front.iter().map(|(_, score, cost)| (*cost, -score)).unzip();
        let series = vec![Series::new("scored", all.0, all.1), Series::new("front", on_front.0, on_front.1)];
        let (x, y) = (Axis::linear("parameters"), Axis::linear("validation loss"));
        let scatter = Plot::scatter("Loss against size", x, y, series);
        let mut table = Table::new(["architecture", "operators", "parameters", "multiplications", "validation_loss"]);
        for (child, score, cost) in front {
            let operators = self.space.names(&child)?.join(" ");
            let multiplications = net.multiplications(&child)?.to_string();
            table.rows.push(vec![
                child.to_string(),
                operators,
                cost.to_string(),
                multiplications,
                format!("{:.6}", -score),
            ]);
        }
        results.table("front", "Children that no smaller one beats", &table)?;
        results.figure("front", &scatter, "with the weights of the super-net")?;
        Ok(best)
    }

    /// The best child with the super-net's weights and trained alone, and a random one trained alone, on the test rows.
    fn finish(
        &self,
        arguments: &Arguments,
        net: &SuperNet,
        limits: &[Limit],
        best: &Architecture,
        results: &mut Results,
    ) -> Fallible<Vec<(&'static str, String, Quality)>> {
        let (store, child) = net.export(best)?;
        let batches: Vec<Tensor> = self.parts.train.in_order(512)?.into_iter().take(8).map(|(x, _)| x).collect();
        child.recalibrate(&batches, &only(&child))?;
        store.save(results.path("best.safetensors", "the best child with the super-net's weights"))?;
        let alone = |architecture: &Architecture| {
            let blueprint = |space| self.classifier.blueprint(space);
            self.recipe.alone(&blueprint, (&self.space, architecture), &self.parts.train, self.steps[1])
        };
        let retrained = alone(best)?;
        retrained.store().save(results.path("retrained.safetensors", "the best child, trained alone"))?;
        let drawn = random(&self.space, limits, 1, arguments.seed + 1, History::default(), |_| Ok(0.0))?;
        let other = drawn.scored[0].0.clone();
        let test = &self.parts.test;
        let tested = vec![
            ("best child, weights of the super-net", best.to_string(), quality(&child, test)?),
            ("best child, trained alone", best.to_string(), quality(&retrained, test)?),
            ("random child, trained alone", other.to_string(), quality(&alone(&other)?, test)?),
        ];
        results.heading("Test");
        results.note(&format!(
            "{} rows that nothing was chosen by; one training each, so that differences of two standard errors or less mean nothing. Saying class frequencies has a loss of {:.4}.",
            test.len(),
            self.guessing[1],
        ));
        let mut table = Table::new(["network", "architecture", "test loss", "accuracy in percent", "standard error"]);
        front::say(&format!("on {} test rows that nothing was chosen by:", test.len()));
        for (name, architecture, found) in &tested {
            let [loss, accuracy, error] =
                [format!("{:.4}", found.loss), format!("{:.2}", found.accuracy), format!("{:.2}", found.error)];
            front::say(&format!("  {name} ({architecture}): loss {loss}, accuracy {accuracy} % +- {error}"));
            table.rows.push(vec![(*name).to_owned(), architecture.clone(), loss, accuracy, error]);
        }
        results.table("tested", "On the test rows", &table)?;
        Ok(tested)
    }

    /// Random children with two seeds each, on the test rows: a table that an interrupted run goes on with.
    fn train_alone(&self, arguments: &Arguments, limits: &[Limit], results: &mut Results) -> Fallible<TruthTable> {
        let settings = [format!("{:?}", self.classifier), format!("{:?}", self.recipe), format!("{:?}", self.steps)];
        let sum = |data: &Data| -> Fallible<String> { Ok(format!("{:?}", data.x.sum_all()?.to_scalar::<f32>()?)) };
        let data = [sum(&self.parts.train)?, sum(&self.parts.test)?];
        let candidates = self.space.candidates(0).join(",");
        let key = TruthTable::key_of(&[&settings[0], &settings[1], &settings[2], &data[0], &data[1], &candidates]);
        let path = results.path("truth.csv", "children that were trained alone, which a later run goes on with");
        if arguments.output.force && path.exists() && TruthFile::open(&path, &key, Direction::LowerIsBetter).is_err() {
            std::fs::remove_file(&path).map_err(|error| Problem::file(&path, error))?;
        }
        let mut file = TruthFile::open(&path, &key, Direction::LowerIsBetter)?;
        let drawn = random(&self.space, limits, arguments.alone, arguments.seed + 2, History::default(), |_| Ok(0.0))?;
        let mut progress = Progress::new("training alone", "children", drawn.scored.len());
        for (at, (child, _)) in drawn.scored.iter().enumerate() {
            for seed in 0..2 {
                if file.table().get(child, seed).is_some() {
                    continue;
                }
                let recipe = Recipe { seed: 1000 + self.recipe.seed * 2 + seed, ..self.recipe };
                let blueprint = |space| self.classifier.blueprint(space);
                let net = recipe.alone(&blueprint, (&self.space, child), &self.parts.train, self.steps[1])?;
                file.record(child.clone(), seed, quality(&net, &self.parts.test)?.loss)?;
            }
            progress.step();
            front::say(&format!("trained alone: {} of {} children", at + 1, drawn.scored.len()));
        }
        Ok(file.table().clone())
    }
}

/// Parameters of what stands around the layers.
fn ends(net: &SuperNet) -> u64 {
    let trainable = net.store().trainable();
    trainable.iter().filter(|(name, _)| !name.starts_with("layer.")).map(|(_, var)| var.elem_count() as u64).sum()
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

fn next(tested: &[(&str, String, Quality)], rankings: &[ranks::Ranking]) -> String {
    let mut advice = Vec::new();
    let (best, other) = (&tested[1].2, &tested[2].2);
    if other.accuracy > best.accuracy + 2.0 * best.error.hypot(other.error) {
        advice.push("a random child is better than the best: the search has found nothing; train both for longer (--epochs, --child-epochs)");
    }
    if rankings.is_empty() {
        advice.push("train children alone to see whether the ranking holds: the same command with --alone 12 --force");
    } else if rankings.iter().all(|ranking| ranking.kendall - 2.0 * ranking.error <= 0.0) {
        advice.push("the ranking is not distinguishable from chance: train the super-net longer (--epochs), or more children alone");
    }
    advice.push("use retrained.safetensors, or train the best child longer (--child-epochs)");
    advice.join("; ")
}
