//! Extended Yale B: 38 people, dense network, three attacks.

use crate::claims::SETTINGS;
use crate::methods::{Answers, Classes, Kinds, accuracy, answers, detected};
use crate::networks::{Kind, Kindred, Trained, perturbations, train};
use adversarial::attacks::ThreatModel;
use adversarial::reverse::{BlockDictionary, Homotopy, NearestSubspace, ReverseEngineer, block_sparse_class};
use core_tensor::random::Rng;
use datasets::images::{LabelledImages, load_yale_faces};
use experiment::{
    Axis, BoxError, Context, Measured, Outcome, Plot, Result, Scale, Series, Table, Tile, Trial, TrialContext,
    statistics,
};
use serde::{Deserialize, Serialize};

const CLASSES: usize = 38;
const TRAINING: usize = 55;
const PER_CLASS: usize = 20;
const EPOCHS: usize = 150;
const SPLITS: u64 = 3;
const SHAPE: [usize; 3] = [1, 40, 35];

/// The three attacks, with the budget of the dictionary.
fn kinds() -> [(&'static str, Kindred); 3] {
    let of = |threat, step, iterations| Kindred { threat, step, iterations };
    [
        ("l1", of(ThreatModel::l1(7.5), 1., 100)),
        ("l2", of(ThreatModel::l2(1.), 0.02, 200)),
        ("linf", of(ThreatModel::linf(0.03), 0.003, 100)),
    ]
}

/// Budgets of the test: of the table, and of the sweeps.
const TABLE: [f64; 3] = [7.5, 0.75, 0.03];
const SWEEPS: [[f64; 6]; 3] =
    [[2.25, 4.5, 7.5, 9.75, 12., 15.], [0.75, 1.5, 2.5, 3.25, 4., 5.], [0.01, 0.02, 0.04, 0.06, 0.08, 0.1]];

/// The lists of the authors' script at the sweeps' budgets: class, kind of attack where it has as many entries.
const LISTED: [([f64; 6], [f64; 6]); 3] = [
    ([94., 93., 93., 91., 91., 87.], [62., 88., 93., 95., 98., 87.]),
    ([92., 86., 79., 61., 49., 32.], [20., 20., 29., 22., 24., 17.]),
    ([94., 93., 92., 87., 86., 81.], [77., 95., 98., 99., 99., f64::NAN]),
];

const ROUNDS: usize = 20;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Split {
    network: f64,
    /// One for each of [`SETTINGS`].
    table: Vec<Answers>,
    /// Of the first split: for each kind, for each budget.
    sweeps: Vec<Vec<Answers>>,
    /// Of the first split: for each setting class and kind right after each round, as shares.
    rounds: Vec<Vec<[f64; 2]>>,
    /// Block-sparse classifier at distance 5, on the first images: share right of those that have a class, and how many have one.
    block_sparse: Vec<(f64, usize)>,
    not_attacked: f64,
    transfer: Vec<f64>,
    /// Of the first split: x', x, x̂, δ, δ̂ of one image under each attack.
    tiles: Vec<[Vec<f64>; 5]>,
}

pub(crate) fn run(context: &mut Context) -> Result<Outcome<Split>> {
    let images = load_yale_faces(&reproduction::store(context)?)?;
    let count = if context.scale() == Scale::Paper { 324 } else { 100 };
    let trials = (0..SPLITS).map(|split| Trial::new(format!("split-{split}"), split)).collect();
    context.trials("faces", trials, |split, trial| of_split(&images, *split, count, trial))
}

fn of_split(
    images: &LabelledImages,
    split: u64,
    count: usize,
    trial: &TrialContext,
) -> std::result::Result<Split, BoxError> {
    let d = images.image_size();
    let seed = trial.seed_of(&format!("faces-{split}"));
    let mut order = Rng::new(seed).fork("split").permutation(images.len());
    let mut taken = vec![0; CLASSES];
    let (mut training, mut test) = (Vec::new(), Vec::new());
    for at in order.drain(..) {
        let class = images.labels[at as usize] as usize;
        if taken[class] < TRAINING {
            taken[class] += 1;
            training.push(at as usize);
        } else {
            test.push(at as usize);
        }
    }
    test.truncate(count);
    let pixels = |chosen: &[usize]| -> Vec<f64> {
        chosen
            .iter()
            .flat_map(|&at| &images.pixels[at * d..(at + 1) * d])
            .map(|&x| f64::from(f32::from(x) / 255.))
            .collect()
    };
    let labels = |chosen: &[usize]| -> Vec<u32> { chosen.iter().map(|&at| images.labels[at].into()).collect() };
    let x = pixels(&training);
    let y = labels(&training);
    let network = train(Kind::Dense, (&x, &y, CLASSES), EPOCHS, seed, trial)?;
    // the first 20 of each person make the dictionaries, the others say what no attack looks like
    let mut used = vec![0; CLASSES];
    let (mut chosen, mut rest) = (Vec::new(), Vec::new());
    for &at in &training {
        let class = images.labels[at] as usize;
        if used[class] < PER_CLASS {
            used[class] += 1;
            chosen.push(at);
        } else {
            rest.push(at);
        }
    }
    let (signals, of_signals) = (pixels(&chosen), labels(&chosen));
    let dictionary = |network: &Trained| -> std::result::Result<BlockDictionary, BoxError> {
        let found: Vec<Vec<f64>> = kinds()
            .iter()
            .map(|(_, kind)| perturbations(network, kind, &signals, &of_signals, seed))
            .collect::<std::result::Result<_, _>>()?;
        let named: Vec<(&str, &[f64])> =
            kinds().iter().zip(&found).map(|((name, _), list)| (*name, list.as_slice())).collect();
        Ok(BlockDictionary::from_samples(d, &signals, &of_signals, &named, PER_CLASS)?)
    };
    let dictionary_of_network = dictionary(&network)?;
    let control = NearestSubspace::new(&dictionary_of_network)?;
    let mut engineer = ReverseEngineer::new(dictionary_of_network)?;

    let (clean, truth) = (pixels(&test), labels(&test));
    let truth_classes: Vec<usize> = truth.iter().map(|&class| class as usize).collect();
    let attacked = |kind: usize, epsilon: f64| -> std::result::Result<Vec<f64>, BoxError> {
        let kindred = kinds()[kind].1;
        let kindred = Kindred { threat: kindred.threat.epsilon(epsilon), ..kindred };
        let delta = perturbations(&network, &kindred, &clean, &truth, seed ^ 1)?;
        Ok(clean.iter().zip(&delta).map(|(x, delta)| x + delta).collect())
    };
    let mut settings = vec![clean.clone()];
    for (kind, &epsilon) in TABLE.iter().enumerate() {
        settings.push(attacked(kind, epsilon)?);
    }
    let mut table = Vec::new();
    let mut tiles = Vec::new();
    let mut block_sparse = Vec::new();
    for (number, signals) in settings.iter().enumerate() {
        trial.check_cancelled()?;
        let (found, analyses) = answers(&engineer, &control, &network, signals, &truth_classes, true)?;
        table.push(found);
        if split == 0 && number > 0 {
            let row = |values: &[f64]| values[..d].to_vec();
            let delta: Vec<f64> = signals[..d].iter().zip(&clean[..d]).map(|(y, x)| y - x).collect();
            let one = &analyses[0];
            tiles.push([row(signals), row(&clean), one.clean.clone(), delta, one.perturbation.clone()]);
        }
        if split == 0 {
            let (mut right, mut some) = (0, 0);
            for (x, &class) in signals.chunks(d).zip(&truth_classes).take(20) {
                trial.check_cancelled()?;
                if let Some((found, _)) = block_sparse_class(&engineer, x, 5.)? {
                    some += 1;
                    right += usize::from(found == class);
                }
            }
            block_sparse.push((right as f64 / some.max(1) as f64, some));
        }
    }
    let mut sweeps = Vec::new();
    let mut rounds = Vec::new();
    let mut transfer = Vec::new();
    if split == 0 {
        for (kind, budgets) in SWEEPS.iter().enumerate() {
            let mut of_kind = Vec::new();
            for &epsilon in budgets {
                trial.check_cancelled()?;
                of_kind
                    .push(answers(&engineer, &control, &network, &attacked(kind, epsilon)?, &truth_classes, false)?.0);
            }
            sweeps.push(of_kind);
        }
        let long = engineer.clone().homotopy(Homotopy { max_rounds: ROUNDS, ..Homotopy::default() });
        for (number, signals) in settings.iter().enumerate() {
            let mut right = vec![[0.; 2]; ROUNDS];
            for (x, &class) in signals.chunks(d).zip(&truth_classes) {
                trial.check_cancelled()?;
                let all = long.analyse_rounds(x)?;
                for (round, right) in right.iter_mut().enumerate() {
                    let found = all.get(round).or(all.last());
                    right[0] += f64::from(found.is_some_and(|found| found.class == class));
                    right[1] += f64::from(found.is_some_and(|found| number > 0 && found.attack == Some(number - 1)));
                }
            }
            rounds.push(right.into_iter().map(|pair| pair.map(|right| right / truth.len() as f64)).collect());
        }
        let other = train(Kind::Dense, (&x, &y, CLASSES), EPOCHS, seed ^ 2, trial)?;
        let foreign = ReverseEngineer::new(dictionary(&other)?)?;
        for (kind, signals) in settings[1..].iter().enumerate() {
            let found: Vec<Option<usize>> = foreign.analyse_all(signals)?.iter().map(|one| one.attack).collect();
            transfer.push(detected(&found, kind));
        }
    }
    // 190 training images outside of the dictionary
    engineer.calibrate(&pixels(&rest[..190.min(rest.len())]), 0.95)?;
    let found = engineer.analyse_all(&clean)?;
    let not_attacked = found.iter().filter(|one| one.attack.is_none()).count() as f64 / found.len() as f64;
    let network = accuracy(&table[0].undefended, &truth_classes);
    Ok(Split { network, table, sweeps, rounds, block_sparse, not_attacked, transfer, tiles })
}

fn percent(values: &[f64]) -> String {
    let spread = statistics::sample_standard_deviation(values)
        .map_or_else(String::new, |spread| format!(" ± {:.1}", 100. * spread));
    format!("{:.1}{spread}", 100. * statistics::mean(values))
}

pub(crate) fn report(context: &mut Context, results: Outcome<Split>) -> Result<()> {
    if !results.is_complete() {
        return Ok(());
    }
    let splits = results.all()?;
    let per_split = |value: &dyn Fn(&Split) -> f64| -> Vec<f64> { splits.iter().map(value).collect() };
    let class = |setting: usize, of: Classes| {
        per_split(&|split| accuracy(of(&split.table[setting]), &split.table[setting].truth))
    };
    let attack = |setting: usize, of: Kinds| per_split(&|split| detected(of(&split.table[setting]), setting - 1));
    let minus = |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a - b).collect() };
    let images = splits.first().map_or(0, |split| split.table[0].truth.len());
    let data = format!("Extended Yale B, {} random splits × {images} test images", splits.len());
    let mut claim = |id: &str, values: &[f64]| context.claim(id, Measured::mean_of(values, data.clone()));
    for (setting, name) in SETTINGS.iter().enumerate() {
        let found = class(setting, |answers| &answers.class);
        claim(&format!("faces-{name}"), &found)?;
        claim(&format!("faces-rounds-{name}"), &minus(&found, &class(setting, |answers| &answers.official_class)))?;
        claim(&format!("faces-subspace-{name}"), &minus(&found, &class(setting, |answers| &answers.subspace)))?;
        if setting > 0 {
            let found = attack(setting, |answers| &answers.attack);
            claim(
                &format!("faces-residual-{name}"),
                &minus(&found, &attack(setting, |answers| &answers.residual_rule)),
            )?;
        }
    }
    let [l1, l2, linf] = [1, 2, 3].map(|setting| attack(setting, |answers| &answers.attack));
    claim("faces-attack-l1", &l1)?;
    claim("faces-attack-linf", &linf)?;
    let lower = statistics::mean(&l1).min(statistics::mean(&linf)) - statistics::mean(&l2);
    claim("faces-attack-l2-lower", &[lower])?;
    claim("faces-undefended", &class(1, |answers| &answers.undefended))?;
    claim("faces-network-l1", &class(1, |answers| &answers.through_network))?;
    claim("faces-network-linf", &class(3, |answers| &answers.through_network))?;
    let own = per_split(&|split| {
        let of =
            |answers: &Answers| accuracy(&answers.own_part, &answers.truth) - accuracy(&answers.class, &answers.truth);
        statistics::mean(&split.table.iter().map(of).collect::<Vec<_>>())
    });
    claim("faces-own-part", &own)?;
    claim("faces-no-attack", &per_split(&|split| split.not_attacked))?;
    claim("faces-transfer", &[statistics::mean(&splits[0].transfer)])?;

    let mut table = Table::new(["method", "clean", "l_1 7.5", "l_2 0.75", "l_inf 0.03"]);
    let rows: [(&str, Classes); 7] = [
        ("no defence", |answers| &answers.undefended),
        ("SBSC, authors' rule", |answers| &answers.official_class),
        ("SBSC, 12 rounds", |answers| &answers.class),
        ("SBSC, each class's own attack part", |answers| &answers.own_part),
        ("SBSC+CNN, 12 rounds", |answers| &answers.through_network),
        ("signal blocks alone, 12 rounds", |answers| &answers.signal_only),
        ("control: nearest subspace", |answers| &answers.subspace),
    ];
    for (name, of) in rows {
        let mut row = vec![name.to_owned()];
        row.extend((0..4).map(|setting| percent(&class(setting, of))));
        table.rows.push(row);
    }
    let rows: [(&str, Kinds); 3] = [
        ("kind: SBSAD, authors' rule", |answers| &answers.official_attack),
        ("kind: SBSAD, 12 rounds", |answers| &answers.attack),
        ("kind, control: residual rule", |answers| &answers.residual_rule),
    ];
    for (name, of) in rows {
        let mut row = vec![name.to_owned(), "–".to_owned()];
        row.extend((1..4).map(|setting| percent(&attack(setting, of))));
        table.rows.push(row);
    }
    let mut row = vec!["block-sparse classifier at distance 5, 20 images, first split".to_owned()];
    row.extend(splits[0].block_sparse.iter().map(|(share, of)| format!("{:.0} of {of}", 100. * share)));
    table.rows.push(row);
    context.table("Yale B: accuracy in %, mean and deviation of splits", table);

    let mut confusion = Table::new(["attacked by", "found l_1", "found l_2", "found l_inf"]);
    for (setting, name) in SETTINGS.iter().enumerate().skip(1) {
        let mut row = vec![(*name).to_owned()];
        for kind in 0..3 {
            row.push(percent(&per_split(&|split| detected(&split.table[setting].attack, kind))));
        }
        confusion.rows.push(row);
    }
    context.table("Yale B: kinds of attack found by SBSAD in %", confusion);
    figures(context, &splits[0])
}

fn figures(context: &mut Context, split: &Split) -> Result<()> {
    let x: Vec<f64> = (1..=ROUNDS).map(|round| round as f64).collect();
    for (what, name, at) in [("class", "rounds-class", 0), ("kind of attack", "rounds-attack", 1)] {
        let mut series: Vec<Series> = SETTINGS
            .iter()
            .zip(&split.rounds)
            .skip(at)
            .map(|(setting, rounds)| Series::new(*setting, x.clone(), rounds.iter().map(|pair| pair[at]).collect()))
            .collect();
        series.push(Series::new("4: authors' limit", vec![4., 4.], vec![0., 1.]));
        series.push(Series::new("12: ours", vec![12., 12.], vec![0., 1.]));
        let title = format!("Yale B, first split: {what} right after each round");
        context.plot(name, Plot::lines(title, Axis::linear("rounds"), Axis::linear("share"), series))?;
    }
    let mut table = Table::new([
        "attack",
        "budget",
        "no defence",
        "SBSC",
        "listed",
        "nearest subspace",
        "SBSAD",
        "listed",
        "residual rule",
    ]);
    for (kind, (sweep, budgets)) in split.sweeps.iter().zip(&SWEEPS).enumerate() {
        let mut lines: Vec<(&str, Vec<f64>)> =
            ["no defence", "SBSC", "nearest subspace", "SBSAD", "residual rule"].map(|name| (name, Vec::new())).into();
        for (at, found) in sweep.iter().enumerate() {
            let of = |list: &[usize]| accuracy(list, &found.truth);
            let values = [
                of(&found.undefended),
                of(&found.class),
                of(&found.subspace),
                detected(&found.attack, kind),
                detected(&found.residual_rule, kind),
            ];
            lines.iter_mut().zip(values).for_each(|(line, value)| line.1.push(value));
            let text = |value: f64| if value.is_finite() { format!("{:.0}", 100. * value) } else { "–".to_owned() };
            let (listed, of_kind) = (LISTED[kind].0[at] / 100., LISTED[kind].1[at] / 100.);
            let row = [values[0], values[1], listed, values[2], values[3], of_kind, values[4]];
            let mut cells = vec![kinds()[kind].0.to_owned(), budgets[at].to_string()];
            cells.extend(row.map(text));
            table.rows.push(cells);
        }
        let mut series: Vec<Series> =
            lines.into_iter().map(|(name, y)| Series::new(name, budgets.to_vec(), y)).collect();
        series.push(Series::new(
            "SBSC, authors' script",
            budgets.to_vec(),
            LISTED[kind].0.map(|value| value / 100.).to_vec(),
        ));
        let name = kinds()[kind].0;
        context.plot(
            &format!("budgets-{name}"),
            Plot::lines(
                format!("Yale B, first split: accuracy against the budget, {name}"),
                Axis::linear("budget"),
                Axis::linear("share"),
                series,
            ),
        )?;
    }
    context.table("Yale B, first split: budgets, in %, beside the lists of the authors' script (indicative, other splits and attacks)", table);
    let rows = split
        .tiles
        .iter()
        .zip(kinds())
        .map(|(tiles, (name, _))| {
            let [attacked, clean, found, delta, found_delta] = tiles.clone();
            vec![
                Tile::new(format!("{name}: x'"), SHAPE, attacked),
                Tile::new("x", SHAPE, clean),
                Tile::new("x̂", SHAPE, found),
                Tile::signed("δ", SHAPE, delta),
                Tile::signed("δ̂", SHAPE, found_delta),
            ]
        })
        .collect();
    context.plot("faces", Plot::images("An attacked image, taken apart", rows))
}
