//! Super-nets: paths alone move, scores change nothing, exports are whole.

use candle_core::{DType, Device, Tensor};
use candle_nn::{Module, VarBuilder};
use core_tensor::gradcheck::gradcheck;
use core_tensor::nn::{Linear, linear};
use core_tensor::optim::{Adam, AdamConfig, AdamW, Optimizer, Sgd, SgdConfig};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::{Mode, ops};
use nas::nas_interference::{MaskedLanguageConfig, masked_accuracy, masked_loss};
use nas::operator::{ImageConfig, NormPlace, SequenceConfig, image_operator, sequence_operator};
use nas::{
    AlignmentConfig, Anchor, AnchorPolicy, AnchorScore, Architecture, Blueprint, Ends, Error, Fair, Output, Probe,
    Reduction, ReptileConfig, Result, SearchSpace, StepOptions, SuperNet, alignment, layer_passes, projected_step,
    reptile_step, score_all, train_step,
};
use std::collections::BTreeMap;

const CPU: Device = Device::Cpu;

/// Tokens, targets and a mask for the tiny language.
struct Batch {
    ids: Tensor,
    targets: Tensor,
    mask: Tensor,
}

impl Batch {
    fn new(count: usize, seed: u64) -> Result<Self> {
        let mut rng = Rng::new(seed);
        let targets: Vec<u32> = (0..count * 16).map(|_| rng.below(12) as u32).collect();
        let mask: Vec<u8> = (0..count * 16).map(|at| u8::from(at % 16 == 0 || rng.unit() < 0.2)).collect();
        let ids: Vec<u32> =
            targets.iter().zip(&mask).map(|(&target, &mask)| if mask == 1 { 12 } else { target }).collect();
        let shape = (count, 16);
        Ok(Self {
            ids: Tensor::from_vec(ids, shape, &CPU)?,
            targets: Tensor::from_vec(targets, shape, &CPU)?,
            mask: Tensor::from_vec(mask, shape, &CPU)?,
        })
    }

    fn loss(&self) -> impl Fn(&Output) -> Result<Tensor> + '_ {
        |output: &Output| masked_loss(&output.prediction, &self.targets, &self.mask)
    }
}

fn tiny(dtype: DType) -> Result<(SuperNet, Batch)> {
    let batch = Batch::new(4, 1)?;
    let store = ParamStore::new(0, dtype, &CPU);
    Ok((MaskedLanguageConfig::tiny().blueprint()?.build(&store, &batch.ids)?, batch))
}

fn bits(net: &SuperNet, layer: usize, operator: usize) -> Result<Vec<u32>> {
    let mut all = Vec::new();
    for (_, var) in net.operator_parameters(layer, operator) {
        all.extend(var.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f32::to_bits));
    }
    Ok(all)
}

/// With momentum and decay, an operator that was last used 50 steps ago is unchanged to the bit (fault 1).
#[test]
fn what_is_off_the_path_does_not_move() -> Result<()> {
    let first = Architecture(vec![0, 1, 2, 0, 1]);
    let second = Architecture(vec![1, 1, 0, 2, 1]);
    for kind in 0..3 {
        let (net, batch) = tiny(DType::F32)?;
        let trainable = net.store().trainable();
        let mut optimizer: Box<dyn Optimizer> = match kind {
            0 => Box::new(Sgd::new(
                trainable,
                SgdConfig { learning_rate: 0.1, momentum: 0.9, weight_decay: 0.1, ..SgdConfig::default() },
            )?),
            1 => Box::new(Adam::new(trainable, AdamConfig { weight_decay: 0.1, ..AdamConfig::default() })?),
            _ => Box::new(AdamW::new(trainable, AdamConfig { weight_decay: 0.1, ..AdamConfig::default() })?),
        };
        let options = StepOptions { clip: Some(1.0), ..StepOptions::new(0) };
        for _ in 0..3 {
            train_step(&net, &mut *optimizer, &batch.ids, std::slice::from_ref(&first), &batch.loss(), &options)?;
        }
        let before: Vec<Vec<u32>> = (0..5).map(|layer| bits(&net, layer, first.0[layer])).collect::<Result<_>>()?;
        let state = optimizer.state()?;
        for _ in 0..50 {
            train_step(&net, &mut *optimizer, &batch.ids, std::slice::from_ref(&second), &batch.loss(), &options)?;
        }
        let after = optimizer.state()?;
        for (layer, before) in before.iter().enumerate() {
            let is_shared = first.0[layer] == second.0[layer];
            assert_eq!(bits(&net, layer, first.0[layer])? == *before, !is_shared, "layer {layer}");
            if is_shared {
                continue;
            }
            // moments too
            for (name, _) in net.operator_parameters(layer, first.0[layer]) {
                for (key, value) in state.tensors.iter().filter(|(key, _)| key.ends_with(&format!(".{name}"))) {
                    let same = |x: &Tensor| x.flatten_all()?.to_vec1::<f32>();
                    assert_eq!(same(value)?, same(&after.tensors[key])?, "{key}");
                }
            }
        }
    }
    Ok(())
}

/// Scores in any order give the same, together or one by one, and leave every bit (faults 2 and 4).
#[test]
fn scores_share_beginnings_and_change_nothing() -> Result<()> {
    let (net, batch) = tiny(DType::F32)?;
    let mut all: Vec<Architecture> = net.space().all().collect();
    Rng::new(3).shuffle(&mut all);
    let before = net.checksum()?;
    let loss =
        |logits: &Tensor| -> Result<f32> { Ok(masked_loss(logits, &batch.targets, &batch.mask)?.to_scalar::<f32>()?) };
    let together = score_all(&net, &batch.ids, &all, loss)?;
    for (architecture, &score) in all.iter().zip(&together).take(40) {
        let alone = net.forward(&batch.ids, architecture, &mut Mode::evaluate())?;
        assert_eq!(loss(&alone.prediction)?.to_bits(), score.to_bits());
        assert_eq!(score_all(&net, &batch.ids, std::slice::from_ref(architecture), loss)?, [score]);
    }
    let (a, b) = (all[0].clone(), all[1].clone());
    let twice = score_all(&net, &batch.ids, &[a.clone(), b.clone(), a], loss)?;
    assert!(twice[0] == twice[2] && twice[0] != twice[1]);
    assert_eq!(net.checksum()?, before);
    assert_eq!(layer_passes(&all), (363, 1215));
    assert!(score_all(&net, &batch.ids, &[Architecture(vec![0; 4])], loss).is_err());
    Ok(())
}

#[test]
fn summed_children_are_summed_gradients() -> Result<()> {
    let (net, batch) = tiny(DType::F64)?;
    let children = Fair::new(net.space(), 1)?.next().expect("children");
    let mut sums: BTreeMap<String, Tensor> = BTreeMap::new();
    for child in &children {
        let output = net.forward(&batch.ids, child, &mut Mode::evaluate())?;
        let gradients = core_tensor::backward(&batch.loss()(&output)?)?;
        for (name, var) in net.store().trainable().iter() {
            if let Some(gradient) = gradients.get(var) {
                let sum = match sums.remove(name) {
                    Some(sum) => (sum + gradient)?,
                    None => gradient.clone(),
                };
                sums.insert(name.clone(), sum);
            }
        }
    }
    let start = net.store().snapshot()?;
    let config = SgdConfig { learning_rate: 1.0, ..SgdConfig::default() };
    let mut optimizer = Sgd::new(net.store().trainable(), config)?;
    train_step(&net, &mut optimizer, &batch.ids, &children, &batch.loss(), &StepOptions::new(0))?;
    for (name, value) in net.store().snapshot()? {
        let moved = (&start[&name] - value)?;
        let difference = (moved - &sums[&name])?.abs()?.max_all()?.to_scalar::<f64>()?;
        assert!(difference < 1e-12, "{name}: {difference}");
    }
    Ok(())
}

#[test]
fn other_update_rules_move_paths_alone() -> Result<()> {
    let (net, batch) = tiny(DType::F32)?;
    let paths = [Architecture(vec![0, 1, 2, 0, 1]), Architecture(vec![0, 2, 2, 0, 1])];
    let is_used = |layer: usize, operator: usize| paths.iter().any(|path| path.0[layer] == operator);
    let all = |net: &SuperNet| -> Result<Vec<Vec<u32>>> {
        (0..5).flat_map(|layer| (0..3).map(move |operator| (layer, operator))).map(|(l, o)| bits(net, l, o)).collect()
    };
    let before = all(&net)?;
    reptile_step(&net, &batch.ids, &paths, &batch.loss(), (&ReptileConfig::default(), 1.0), 0)?;
    let check = |before: &[Vec<u32>], after: &[Vec<u32>]| {
        for (at, (before, after)) in before.iter().zip(after).enumerate() {
            assert_eq!(before != after, is_used(at / 3, at % 3), "layer {}, operator {}", at / 3, at % 3);
        }
    };
    let after = all(&net)?;
    check(&before, &after);
    let config = SgdConfig { learning_rate: 0.1, ..SgdConfig::default() };
    let mut optimizer = Sgd::new(net.store().trainable(), config)?;
    projected_step(&net, &mut optimizer, &batch.ids, &paths, &batch.loss(), &StepOptions::new(0))?;
    check(&after, &all(&net)?);
    Ok(())
}

/// The same child with all of another child's input has that child's gradient, and itself a similarity of 1.
#[test]
fn a_forced_input_of_ones_own_is_similar_by_construction() -> Result<()> {
    let (net, batch) = tiny(DType::F64)?;
    let loss = batch.loss();
    let probe = Probe::new(&net, &batch.ids, &loss);
    let a = probe.child(&Architecture(vec![0, 1, 2, 0, 1]))?;
    for layer in 0..5 {
        let s = probe.gradient_cosine(layer, &a, &a)?.expect("not 0");
        assert!((s - 1.0).abs() < 1e-12);
    }
    let found = probe.forced_input(&[0.0, 0.5, 1.0], 4, 1)?;
    assert!((found[2].with_first.mean - 1.0).abs() < 1e-12, "{found:?}");
    assert!((found[0].with_first.mean - found[0].with_unrelated.mean).abs() < 1e-12);
    let (consecutive, loss) = probe.consecutive(&[a.architecture.clone(), a.architecture.clone()])?;
    assert!((consecutive.mean - 1.0).abs() < 1e-12 && loss > 0.0 && consecutive.count == 1);
    let other = probe.child(&Architecture(vec![1, 1, 2, 0, 1]))?;
    assert!(probe.gradient_cosine(0, &a, &other).is_err());
    Ok(())
}

/// A child whose outputs are drawn to another's has the gradient of its loss plus the penalty, by finite differences of both; without a weight it is the child itself.
#[test]
fn forced_outputs_have_the_gradient_of_loss_and_penalty() -> Result<()> {
    let (net, batch) = tiny(DType::F64)?;
    let loss = batch.loss();
    let probe = Probe::new(&net, &batch.ids, &loss);
    let (a, b) = (Architecture(vec![0, 1, 2, 0, 1]), Architecture(vec![0, 1, 0, 1, 2]));
    let (of_a, of_b) = (probe.child(&a)?, probe.child(&b)?);
    let config = |weight| AlignmentConfig { weight, reduction: Reduction::Sum, is_normalized: false };
    assert_eq!(probe.drawn(&b, 1, &of_a, &config(0.0))?.gradients, of_b.gradients);
    let drawn = probe.drawn(&b, 1, &of_a, &config(0.5))?;
    assert_eq!(drawn.loss, of_b.loss, "the penalty is not in the loss");
    let total = || -> Result<f64> {
        let output = net.forward(&batch.ids, &b, &mut Mode::evaluate())?;
        let mut sum = loss(&output)?.to_scalar::<f64>()?;
        for layer in 2..5 {
            // a child's states begin with that before the first layer
            let difference = (&output.hidden[layer] - &of_a.hidden[layer + 1])?;
            sum += 0.5 * difference.sqr()?.mean_all()?.to_scalar::<f64>()?;
        }
        Ok(sum)
    };
    let mut at = 0;
    for (name, var) in net.operator_parameters(1, 1) {
        let (shape, start) = (var.dims().to_vec(), var.as_detached_tensor().copy()?.flatten_all()?.to_vec1::<f64>()?);
        for place in [0, start.len() / 2, start.len() - 1] {
            let of = |step: f64| -> Result<f64> {
                let mut moved = start.clone();
                moved[place] += step;
                var.set(&Tensor::from_vec(moved, shape.as_slice(), &CPU)?)?;
                total()
            };
            let difference = (of(1e-5)? - of(-1e-5)?) / 2e-5;
            let found = drawn.gradients[1][at + place];
            assert!((difference - found).abs() < 1e-8, "{name}: {found}, {difference} by differences");
        }
        var.set(&Tensor::from_vec(start.clone(), shape.as_slice(), &CPU)?)?;
        at += start.len();
    }
    assert_eq!(at, drawn.gradients[1].len());
    // behind the last layer is nothing
    assert!(probe.drawn(&b, 4, &of_a, &config(0.5)).is_err());

    let found = probe.forced_output(&[0.0, 0.5], 6, 1)?;
    let [plain, forced] = &found[..] else { panic!("two weights") };
    assert!((plain.with_first.mean - plain.with_unrelated.mean).abs() < 1e-12, "{found:?}");
    assert!(forced.with_first.mean != plain.with_first.mean && forced.with_first.mean != forced.with_unrelated.mean);
    assert!(found.iter().all(|at| at.with_first.count + at.with_first.undefined == 6 && at.loss > 0.0));
    assert!(probe.forced_output(&[], 6, 1).is_err() && probe.forced_output(&[0.5], 0, 1).is_err());
    assert!(probe.forced_output(&[-0.5], 1, 1).is_err());
    Ok(())
}

#[test]
fn gradients_of_alignment_and_operators_are_those_of_differences() -> Result<()> {
    let mut rng = Rng::new(5);
    let mut normal = |shape: &[usize]| rng.normal(0.0, 1.0, shape, DType::F64, &CPU);
    let (h, anchor) = (normal(&[2, 3, 4])?, normal(&[2, 3, 4])?);
    for is_normalized in [false, true] {
        let config = AlignmentConfig { weight: 0.3, reduction: Reduction::Mean, is_normalized };
        let of = |x: &[Tensor]| {
            let aligned =
                alignment(&x[..1], std::slice::from_ref(&anchor), &config).map_err(candle_core::Error::from)?;
            Ok(aligned.penalty)
        };
        gradcheck(of, std::slice::from_ref(&h))?;
    }
    let sizes = SequenceConfig { feed_forward: 6, ..SequenceConfig::new(4, 2) };
    for place in [NormPlace::Post, NormPlace::Pre] {
        for name in ["attention", "feed_forward", "convolution", "sep5", "conv3", "identity"] {
            let store = ParamStore::new(1, DType::F64, &CPU);
            let operator = sequence_operator(name, &SequenceConfig { norm: place, ..sizes }, store.var_builder())?;
            gradcheck(
                |x| operator.forward(&x[0], &mut Mode::evaluate()).map_err(|e| candle_core::Error::from(e).into()),
                &[normal(&[2, 3, 4])?],
            )?;
        }
    }
    for name in ["conv3", "sep3", "ir3-2", "max", "average"] {
        let store = ParamStore::new(1, DType::F64, &CPU);
        let operator = image_operator(name, &ImageConfig { channels: 3 }, store.var_builder())?;
        let mode = || Mode::recalibrate().without_updates();
        gradcheck(
            |x| operator.forward(&x[0], &mut mode()).map_err(|e| candle_core::Error::from(e).into()),
            &[normal(&[2, 3, 4, 3])?],
        )?;
    }
    // nothing reaches the anchor
    let anchor = candle_core::Var::from_tensor(&anchor)?;
    let aligned =
        alignment(std::slice::from_ref(&h), std::slice::from_ref(anchor.as_tensor()), &AlignmentConfig::recalled())?;
    assert!(core_tensor::backward(&aligned.penalty)?.get(&anchor).is_none());
    assert!(alignment(&[], &[], &AlignmentConfig::measured()).is_err());
    let negative = AlignmentConfig { weight: -1.0, ..AlignmentConfig::measured() };
    assert!(alignment(std::slice::from_ref(&h), std::slice::from_ref(&h), &negative).is_err());
    Ok(())
}

struct ImageEnds {
    stem: core_tensor::nn::Conv2d,
    head: Linear,
}

impl Ends for ImageEnds {
    fn stem(&self, x: &Tensor, _: &mut Mode<'_>) -> Result<Tensor> {
        Ok(self.stem.forward(x)?)
    }

    fn head(&self, hidden: &Tensor, _: &mut Mode<'_>) -> Result<Tensor> {
        Ok(self.head.forward(&ops::global_avg_pool(hidden)?)?)
    }
}

fn images(operators: &[&str], layers: usize) -> Result<(SuperNet, Tensor, Tensor)> {
    let ends = |vb: VarBuilder<'_>| -> Result<Box<dyn Ends>> {
        let config = ops::Conv2dConfig { padding: (1, 1), ..Default::default() };
        let stem = core_tensor::nn::conv2d(1, 4, (3, 3), config, vb.pp("stem"))?;
        Ok(Box::new(ImageEnds { stem, head: linear(4, 3, vb.pp("head"))? }))
    };
    let blueprint = Blueprint::new(SearchSpace::uniform(layers, operators)?, ends, |_, name, vb| {
        image_operator(name, &ImageConfig { channels: 4 }, vb)
    });
    // classes by where the bright half is
    let labels: Vec<u32> = (0..48).map(|at| at % 3).collect();
    let mut rng = Rng::new(2);
    let mut pixels: Vec<f32> = rng.normal(0.0, 0.3, 48 * 36, DType::F32, &CPU)?.to_vec1()?;
    for (image, &label) in pixels.chunks_exact_mut(36).zip(&labels) {
        for (at, pixel) in image.iter_mut().enumerate() {
            let (row, column) = (at / 6, at % 6);
            *pixel += [row < 3, column < 3, (row + column) % 2 == 0][label as usize] as u8 as f32 * 2.0;
        }
    }
    let x = Tensor::from_vec(pixels, (48, 1, 6, 6), &CPU)?;
    let net = blueprint.build(&ParamStore::new(0, DType::F32, &CPU), &x)?;
    Ok((net, x, Tensor::from_vec(labels, 48, &CPU)?))
}

/// Batch statistics and recalibrated ones beat guessing after training; running statistics that children share are not what scores use (fault 3).
#[test]
fn batch_norms_score_with_their_own_statistics() -> Result<()> {
    let (net, x, labels) = images(&["conv3", "sep3", "identity"], 3)?;
    let loss = |output: &Output| Ok(ops::cross_entropy(&output.prediction, &labels)?);
    let mut optimizer =
        Adam::new(net.store().trainable(), AdamConfig { learning_rate: 0.02, ..AdamConfig::default() })?;
    for (step, architecture) in nas::Uniform::new(net.space(), 1).take(150).enumerate() {
        train_step(&net, &mut optimizer, &x, &[architecture?], &loss, &StepOptions::new(step as u64))?;
    }
    let right = |logits: &Tensor| -> Result<f64> {
        let found = logits.argmax(1)?.eq(&labels)?.to_dtype(DType::F64)?;
        Ok(found.mean_all()?.to_scalar::<f64>()?)
    };
    let architecture = Architecture(vec![0, 1, 0]);
    let before = net.checksum()?;
    let of_batch = score_all(&net, &x, std::slice::from_ref(&architecture), right)?[0];
    assert_eq!(net.checksum()?, before);
    assert!(of_batch > 0.6, "{of_batch}");
    net.recalibrate(std::slice::from_ref(&x), &architecture)?;
    let recalibrated = right(&net.forward(&x, &architecture, &mut Mode::evaluate())?.prediction)?;
    assert!(recalibrated > 0.6, "{recalibrated}");
    // one image has statistics too: those of its plane
    let one = x.narrow(0, 0, 1)?;
    assert_eq!(score_all(&net, &one, &[architecture], |logits| Ok(logits.dims().to_vec()))?, [vec![1, 3]]);
    assert!(net.recalibrate(&[], &Architecture(vec![0, 1, 0])).is_err());
    Ok(())
}

/// The exported winner runs in a program that has no super-net, with the same bits (fault 11).
#[test]
fn exports_are_plain_weights() -> Result<()> {
    let (net, batch) = tiny(DType::F32)?;
    let architecture = Architecture(vec![2, 0, 1, 1, 0]);
    let (store, child) = net.export(&architecture)?;
    let expected = net.forward(&batch.ids, &architecture, &mut Mode::evaluate())?.prediction;
    let only = Architecture(vec![0; 5]);
    let found = child.forward(&batch.ids, &only, &mut Mode::evaluate())?.prediction;
    let list = |x: &Tensor| x.flatten_all()?.to_vec1::<f32>();
    assert_eq!(list(&found)?, list(&expected)?);
    let own: usize = store.snapshot()?.values().map(Tensor::elem_count).sum();
    let ends = 13 * 24 + 16 * 24 + 24 * 12 + 12;
    assert_eq!(own as u64, net.num_parameters(&architecture)? + ends);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("child.safetensors");
    store.save(&path)?;
    let fresh = ParamStore::new(9, DType::F32, &CPU);
    let config = MaskedLanguageConfig::tiny();
    let names: Vec<Vec<String>> =
        net.space().names(&architecture)?.into_iter().map(|name| vec![name.to_owned()]).collect();
    let (own, sizes) = (config.clone(), config.sizes);
    let blueprint = Blueprint::new(
        SearchSpace::new(names)?,
        move |vb| {
            // the ends of the space, whatever its operators are
            let space = MaskedLanguageConfig { operators: vec!["identity".into()], ..own.clone() };
            space.ends(vb)
        },
        move |_, name, vb| sequence_operator(name, &sizes, vb),
    );
    let network = blueprint.build(&fresh, &batch.ids)?;
    fresh.load(&path)?;
    assert_eq!(list(&network.forward(&batch.ids, &only, &mut Mode::evaluate())?.prediction)?, list(&expected)?);
    Ok(())
}

/// An operator that changes the shape is named before training, with both shapes (fault 7); losses that are not finite name step, path and operator.
#[test]
fn errors_name_layers_and_operators() -> Result<()> {
    struct Wide;
    impl nas::Operator for Wide {
        fn forward(&self, x: &Tensor, _: &mut Mode<'_>) -> Result<Tensor> {
            Ok(Tensor::cat(&[x, x], 2)?)
        }

        fn multiplications(&self, _: &[usize]) -> u64 {
            0
        }
    }
    struct Broken;
    impl nas::Operator for Broken {
        fn forward(&self, x: &Tensor, _: &mut Mode<'_>) -> Result<Tensor> {
            Ok((x * f64::NAN)?)
        }

        fn multiplications(&self, _: &[usize]) -> u64 {
            0
        }
    }
    let batch = Batch::new(2, 1)?;
    let config = MaskedLanguageConfig::tiny();
    let build = |bad: &'static str| {
        let (own, sizes) = (config.clone(), config.sizes);
        let blueprint = Blueprint::new(
            SearchSpace::uniform(3, &["feed_forward", bad])?,
            move |vb| own.ends(vb),
            move |layer, name, vb| match name {
                "wide" if layer == 1 => Ok(Box::new(Wide) as Box<dyn nas::Operator>),
                "broken" if layer == 2 => Ok(Box::new(Broken) as Box<dyn nas::Operator>),
                "wide" | "broken" => sequence_operator("identity", &sizes, vb),
                name => sequence_operator(name, &sizes, vb),
            },
        );
        blueprint.build(&ParamStore::new(0, DType::F32, &CPU), &batch.ids)
    };
    match build("wide").err() {
        Some(Error::Shape { layer: 1, operator, got, expected, .. }) => {
            assert_eq!((operator.as_str(), got, expected), ("wide", vec![2, 16, 48], vec![2, 16, 24]));
        }
        other => panic!("{other:?}"),
    }
    let net = build("broken")?;
    let mut optimizer = Sgd::new(net.store().trainable(), SgdConfig { learning_rate: 0.1, ..SgdConfig::default() })?;
    let before = net.checksum()?;
    let path = [Architecture(vec![0, 0, 1])];
    match train_step(&net, &mut optimizer, &batch.ids, &path, &batch.loss(), &StepOptions::new(7)).err() {
        Some(Error::NotFinite { step: 7, path, operator: Some(operator), .. }) => {
            assert_eq!((path.as_str(), operator.as_str()), ("0-0-1", "layer 2, `broken`"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(net.checksum()?, before, "nothing was updated");
    assert!(net.forward(&batch.ids, &Architecture(vec![0, 0]), &mut Mode::evaluate()).is_err());
    assert!(net.forward(&batch.ids, &Architecture(vec![0, 0, 2]), &mut Mode::evaluate()).is_err());
    let short = Tensor::zeros((2, 15), DType::U32, &CPU)?;
    assert!(net.forward(&short, &Architecture(vec![0, 0, 0]), &mut Mode::evaluate()).is_err());
    let none = Tensor::zeros((2, 16), DType::U8, &CPU)?;
    let logits = net.forward(&batch.ids, &Architecture(vec![0, 0, 0]), &mut Mode::evaluate())?.prediction;
    assert!(masked_loss(&logits, &batch.targets, &none).is_err());
    assert!(masked_accuracy(&logits, &batch.targets, &batch.mask)? <= 1.0);
    for name in ["convolution9", "ir4-2", "ir3-0"] {
        let store = ParamStore::new(0, DType::F32, &CPU);
        assert!(sequence_operator(name, &config.sizes, store.var_builder()).is_err());
        assert!(image_operator(name, &ImageConfig { channels: 4 }, store.var_builder()).is_err());
    }
    let odd = SequenceConfig { heads: 5, ..config.sizes };
    assert!(sequence_operator("attention", &odd, ParamStore::new(0, DType::F32, &CPU).var_builder()).is_err());
    Ok(())
}

#[test]
fn anchors_follow_their_policy() -> Result<()> {
    let named = |operator: usize| Architecture(vec![operator]);
    let score =
        |architecture: &Architecture| Ok(AnchorScore { accuracy: 0.5, loss: 1.0 / (1.0 + architecture.0[0] as f64) });
    let mut first = Anchor::new(AnchorPolicy::First)?;
    for step in 0..4 {
        first.observe(step, &named(step as usize), score)?;
    }
    assert_eq!(first.current(), Some(&named(0)));
    let mut best = Anchor::new(AnchorPolicy::BestOf { warm_up: 2, candidates: 3 })?;
    let operators = [9, 8, 1, 4, 2, 7];
    for (step, &operator) in operators.iter().enumerate() {
        best.observe(step as u64, &named(operator), score)?;
        assert_eq!(best.current().is_some(), step >= 4, "{step}");
    }
    assert_eq!(best.current(), Some(&named(4)));
    let mut replaced = Anchor::new(AnchorPolicy::Replaced { warm_up: 0, candidates: 1, every: 2 })?;
    for (step, operator) in [3, 9, 5, 9, 4].into_iter().enumerate() {
        replaced.observe(step as u64, &named(operator), score)?;
    }
    // step 1 is no challenge, step 2 is won, step 4 lost
    assert_eq!((replaced.current(), replaced.num_replaced()), (Some(&named(5)), 1));
    assert!(Anchor::new(AnchorPolicy::BestOf { warm_up: 0, candidates: 0 }).is_err());
    assert!(Anchor::new(AnchorPolicy::Replaced { warm_up: 0, candidates: 1, every: 0 }).is_err());
    Ok(())
}

/// Ranges that overlap are in no order (fault 10).
#[test]
fn latencies_are_ordered_only_where_their_ranges_are_apart() -> Result<()> {
    let (net, batch) = tiny(DType::F32)?;
    let found = net.latency(&batch.ids, &Architecture(vec![0; 5]), 5)?;
    assert!(found.least <= found.median && found.median <= found.largest);
    assert_eq!(found.order(&found), None);
    let slower = nas::Latency { least: found.largest * 2.0, median: found.largest * 2.0, largest: found.largest * 3.0 };
    assert_eq!(found.order(&slower), Some(std::cmp::Ordering::Less));
    assert!(net.latency(&batch.ids, &Architecture(vec![0; 5]), 0).is_err());
    let attention = net.multiplications(&Architecture(vec![0; 5]))?;
    let head = 16 * 24 * 12;
    assert_eq!(attention - head, 5 * 16 * (4 * 24 * 24 + 2 * 16 * 24));
    Ok(())
}
