//! One seed: an undefended classifier, LINAC's, and everyone who attacks them.

use crate::attackers::{Left, accuracy, crafted, pgd, threat};
use crate::data::{Images, MEAN, STD, Sizes, load};
use crate::training::{LinearBypass, Target, bypass, train, train_bypass};
use adversarial::attacks::{Attack, Bpda, Square};
use adversarial::linac::{
    Activation, FitOptions, Key, Linac, NetworkConfig, PixelShuffle, ThroughFit, Training, fit_images,
};
use candle_core::{Device, Tensor};
use core_tensor::random::Rng;
use experiment::{Context, Outcome, Scale, Trial, TrialContext};
use serde::{Deserialize, Serialize};

/// Accuracies of one seed, on the attacked images where nothing else is said.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Defence {
    pub(crate) undefended_clean: f64,
    pub(crate) undefended: Left,
    pub(crate) clean: f64,
    /// On all test images.
    pub(crate) clean_all: f64,
    pub(crate) wrong_key: f64,
    pub(crate) noise: f64,
    pub(crate) transfer: f64,
    pub(crate) bypass_clean: f64,
    pub(crate) bypass_driven: f64,
    pub(crate) bypass: f64,
    pub(crate) surrogate: f64,
    pub(crate) bpda_surrogate: Left,
    pub(crate) bpda_bypass: Left,
    /// On the first few.
    pub(crate) clean_few: f64,
    pub(crate) through_fit: Left,
    pub(crate) square: f64,
    pub(crate) reconstruction_clean: f64,
    pub(crate) reconstruction_transfer: f64,
    pub(crate) shuffle_clean: f64,
    pub(crate) shuffle_bypass: f64,
    pub(crate) trained_clean: Option<f64>,
    pub(crate) trained: Option<Left>,
    pub(crate) bpda_differs: usize,
    pub(crate) batch_differs: usize,
    pub(crate) error: f64,
}

pub(crate) struct Runs {
    pub(crate) results: Outcome<Defence>,
    pub(crate) sizes: Sizes,
    pub(crate) is_generated: bool,
}

/// H = 32, 20 epochs, 3e-3, fixed with the specification's measurements; the rest is the paper's.
fn options() -> FitOptions {
    FitOptions {
        network: NetworkConfig { frequencies: 5, widths: vec![32; 5], channels: 3, activation: Activation::Relu },
        training: Training { epochs: 20, learning_rate: 3e-3, ..Training::default() },
        layer: 2,
    }
}

pub(crate) fn run(context: &mut Context) -> experiment::Result<Runs> {
    let sizes = Sizes::of(context);
    let seeds = if context.scale() == Scale::Smoke { 1 } else { 3 };
    let images = load(context, &sizes)?;
    let trials = (0..seeds).map(|seed| Trial::new(format!("seed-{seed}"), seed)).collect();
    let results = context.trials("defence", trials, |seed, trial| of_seed(&images, &sizes, *seed, trial))?;
    Ok(Runs { results, sizes, is_generated: images.is_generated })
}

pub(crate) fn normalise(x: &Tensor) -> adversarial::Result<Tensor> {
    let along = |values: &[f32; 3]| Tensor::new(values, x.device())?.reshape((1, 3, 1, 1));
    let std: [f32; 3] = STD.map(|std| 1. / std);
    let shift = [0, 1, 2].map(|at| -MEAN[at] / STD[at]);
    Ok(core_tensor::ops::add(&core_tensor::ops::mul(x, &along(&std)?)?, &along(&shift)?)?)
}

fn of_seed(
    images: &Images,
    sizes: &Sizes,
    number: u64,
    trial: &TrialContext,
) -> std::result::Result<Defence, experiment::BoxError> {
    let seed = trial.seed_of(&format!("seed-{number}"));
    let order = Rng::new(seed).fork("split").permutation(images.labels.len());
    let (test, training) = order.split_at(sizes.test);
    let (x, y) = (images.tensor(training)?, images.classes(training));
    let (test_x, test_y) = (images.tensor(test)?, images.classes(test));
    let (attacked, labels) = (test_x.narrow(0, 0, sizes.attacked)?.contiguous()?, &test_y[..sizes.attacked]);
    let (few, few_labels) =
        (test_x.narrow(0, 0, sizes.attacked_slowly)?.contiguous()?, &test_y[..sizes.attacked_slowly]);
    let classes = images.num_classes;
    let normalised = normalise(&x)?;

    let plain = train(&normalised, &y, classes, sizes.epochs, seed, None, trial)?;
    let undefended = |x: &Tensor| plain.logits(&normalise(x)?);
    let on_undefended = pgd(20).run(&undefended, &attacked, labels, &threat(), seed)?;

    let key = Key::of_seed(seed);
    let linac = Linac::new(options(), key.clone())?;
    trial.epoch(0, 1, "encoding the images");
    let fitted = fit_images(&normalised, &options(), &key)?;
    trial.check_cancelled()?;
    let test_fitted = fit_images(&normalise(&test_x)?, &options(), &key)?;
    let error = (&test_fitted.reconstruction - &normalise(&test_x)?)?.sqr()?.sum(1)?.mean_all()?.to_scalar::<f32>()?;
    let head = train(&fitted.codes, &y, classes, sizes.epochs, seed, None, trial)?;
    let model = |x: &Tensor| head.logits(&linac.apply(&normalise(x)?)?);
    let of_attacked = test_fitted.codes.narrow(0, 0, sizes.attacked)?;
    let clean = head.accuracy(&of_attacked, labels)?;
    let clean_few = head.accuracy(&of_attacked.narrow(0, 0, sizes.attacked_slowly)?, few_labels)?;

    // nobody attacks
    let other_key = Linac::new(options(), Key::of_seed(seed ^ 1))?;
    let wrong_key = head.accuracy(&other_key.apply(&normalise(&attacked)?)?, labels)?;
    let mut signs = Rng::new(seed).fork("signs");
    let noise: Vec<f32> =
        (0..attacked.elem_count()).map(|_| if signs.unit() < 0.5 { -8. / 255. } else { 8. / 255. }).collect();
    let noisy = (&attacked + Tensor::from_vec(noise, attacked.shape(), &Device::Cpu)?)?.clamp(0f32, 1f32)?;
    let noise = accuracy(&model, &noisy, labels)?;
    trial.check_cancelled()?;

    // without the key: another network, the bypass
    let (_, transfer) = crafted(&undefended, &model, &attacked, labels, seed)?;
    let codes = options().num_codes();
    let (store, through) = bypass(codes, seed)?;
    let forward = |x: &Tensor| through.forward(x);
    train_bypass(&store, &forward, &normalised, &Target::Labels(&head, &y), sizes.epochs, seed, trial)?;
    let bypassed = |x: &Tensor| head.logits(&through.forward(&normalise(x)?)?);
    let bypass_clean = accuracy(&bypassed, &attacked, labels)?;
    let (on_bypass, bypass_left) = crafted(&bypassed, &model, &attacked, labels, seed)?;
    let bypass_driven = accuracy(&bypassed, &on_bypass.last, labels)?;

    // with codes of some images, and with the key
    let (surrogate_store, surrogate) = bypass(codes, seed ^ 2)?;
    let forward = |x: &Tensor| surrogate.forward(x);
    train_bypass(&surrogate_store, &forward, &normalised, &Target::Codes(&fitted.codes), sizes.epochs, seed, trial)?;
    let regressed = |x: &Tensor| head.logits(&surrogate.forward(&normalise(x)?)?);
    let (_, surrogate_left) = crafted(&regressed, &model, &attacked, labels, seed)?;
    let encode = |x: &Tensor| linac.apply(&normalise(x)?);
    let classify = |codes: &Tensor| head.logits(codes);
    let bpda = Bpda::new(encode, classify, |x: &Tensor| surrogate.forward(&normalise(x)?));
    let bpda_surrogate = Left::of(&pgd(10).run(&bpda, &attacked, labels, &threat(), seed)?);
    trial.check_cancelled()?;
    let bpda = Bpda::new(encode, classify, |x: &Tensor| through.forward(&normalise(x)?));
    let bpda_bypass = Left::of(&pgd(10).run(&bpda, &attacked, labels, &threat(), seed)?);
    trial.check_cancelled()?;
    let exact = ThroughFit::new(&linac, classify, [&MEAN, &STD], None)?;
    let through_fit = Left::of(&pgd(10).run(&exact, &few, few_labels, &threat(), seed)?);
    trial.check_cancelled()?;
    let square = Square::new(sizes.queries).run(&model, &few, few_labels, &threat(), seed)?.robust_accuracy();
    trial.check_cancelled()?;

    // what else could be done
    let rebuilt = train(&fitted.reconstruction, &y, classes, sizes.epochs, seed, None, trial)?;
    let lossy = Linac::new(FitOptions { layer: 5, ..options() }, key.clone())?;
    let lossy_model = |x: &Tensor| rebuilt.logits(&lossy.apply(&normalise(x)?)?);
    let reconstruction_clean = accuracy(&lossy_model, &attacked, labels)?;
    let (_, reconstruction_transfer) = crafted(&undefended, &lossy_model, &attacked, labels, seed)?;
    let shuffle = PixelShuffle::new(4, 3, &key)?;
    let shuffled = train(&shuffle.apply(&normalised)?, &y, classes, sizes.epochs, seed, None, trial)?;
    let shuffled_model = |x: &Tensor| shuffled.logits(&shuffle.apply(&normalise(x)?)?);
    let shuffle_clean = accuracy(&shuffled_model, &attacked, labels)?;
    let (linear_store, linear) = LinearBypass::new(seed)?;
    let forward = |x: &Tensor| linear.forward(x);
    train_bypass(&linear_store, &forward, &normalised, &Target::Labels(&shuffled, &y), sizes.epochs, seed, trial)?;
    let linear_model = |x: &Tensor| shuffled.logits(&linear.forward(&normalise(x)?)?);
    let (_, shuffle_bypass) = crafted(&linear_model, &shuffled_model, &attacked, labels, seed)?;
    let (mut trained_clean, mut trained) = (None, None);
    if number == 0 {
        let careful = train(&x, &y, classes, sizes.epochs, seed, Some(&normalise), trial)?;
        let model = |x: &Tensor| careful.logits(&normalise(x)?);
        trained_clean = Some(accuracy(&model, &attacked, labels)?);
        trained = Some(Left::of(&pgd(20).run(&model, &attacked, labels, &threat(), seed)?));
    }

    // exact facts
    let identity = Bpda::new(|x: &Tensor| Ok(x.clone()), undefended, |x: &Tensor| Ok(x.clone()));
    let same = pgd(5).run(&identity, &few, few_labels, &threat(), seed)?;
    let direct = pgd(5).run(&undefended, &few, few_labels, &threat(), seed)?;
    let numbers = |x: &Tensor| x.flatten_all()?.to_vec1::<f32>();
    let len = few.elem_count() / sizes.attacked_slowly;
    let bpda_differs =
        numbers(&same.last)?.chunks(len).zip(numbers(&direct.last)?.chunks(len)).filter(|(a, b)| a != b).count();
    let alone = linac.apply(&normalise(&few.narrow(0, 3, 1)?)?)?;
    let in_batch = test_fitted.codes.narrow(0, 3, 1)?;
    let batch_differs = numbers(&alone)?.iter().zip(numbers(&in_batch)?).filter(|(a, b)| **a != *b).count();
    Ok(Defence {
        undefended_clean: accuracy(&undefended, &attacked, labels)?,
        undefended: Left::of(&on_undefended),
        clean,
        clean_all: head.accuracy(&test_fitted.codes, &test_y)?,
        wrong_key,
        noise,
        transfer,
        bypass_clean,
        bypass_driven,
        bypass: bypass_left,
        surrogate: surrogate_left,
        bpda_surrogate,
        bpda_bypass,
        clean_few,
        through_fit,
        square,
        reconstruction_clean,
        reconstruction_transfer,
        shuffle_clean,
        shuffle_bypass,
        trained_clean,
        trained,
        bpda_differs,
        batch_differs,
        error: f64::from(error),
    })
}
