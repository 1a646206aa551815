//! TRAM's heads: gradients, what the stop of the gradient stops, and wrong arguments.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::Module;
use core_tensor::gradcheck::gradcheck;
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::{backward, nn, ops};
use noisy_labels::Error;
use noisy_labels::tram::{HetConfig, HetNoise, PiTower, PiTowerConfig, het_head, pi_tower, two_head_loss};

fn normal(seed: u64, shape: (usize, usize)) -> Tensor {
    Rng::new(seed).normal(0., 1., shape, DType::F64, &Device::Cpu).unwrap()
}

fn core(error: Error) -> core_tensor::Error {
    match error {
        Error::Core(error) => error,
        other => candle_core::Error::Msg(other.to_string()).into(),
    }
}

fn tower(store: &ParamStore, has_residual: bool) -> PiTower {
    let config = PiTowerConfig { features: 5, information: 3, width: 4, classes: 3, has_residual };
    pi_tower(config, store.var_builder().pp("pi")).unwrap()
}

#[test]
fn gradients_are_right() {
    for has_residual in [false, true] {
        let tower = tower(&ParamStore::new(1, DType::F64, &Device::Cpu), has_residual);
        let inputs = [normal(2, (6, 5)), normal(3, (6, 3))];
        gradcheck(|x| ops::tanh(&tower.forward(&x[0], &x[1]).map_err(core)?), &inputs).unwrap();
    }
    for rank in [0, 2] {
        let config = HetConfig { inputs: 4, classes: 3, rank, temperature: 1.3 };
        let store = ParamStore::new(4, DType::F64, &Device::Cpu);
        let head = het_head(config, store.var_builder()).unwrap();
        let h = normal(5, (3, 4));
        let noise = head.draw(3, 20, &h, &mut Rng::new(6)).unwrap();
        gradcheck(|x| head.log_probabilities(&x[0], &noise).map_err(core), std::slice::from_ref(&h)).unwrap();
        let p = head.log_probabilities(&h, &noise).unwrap().exp().unwrap().sum(1).unwrap();
        assert!(p.to_vec1::<f64>().unwrap().iter().all(|sum| (sum - 1.).abs() < 1e-6));
    }
    let loss = |x: &[Tensor]| Ok(two_head_loss(&x[0], &x[1], &[0, 1, 1, 0], &[2, 1, 0, 0], 0.6).map_err(core)?.loss);
    gradcheck(loss, &[normal(7, (4, 3)), normal(8, (2, 3))]).unwrap();
}

#[test]
fn the_head_without_information_sends_no_gradient_into_the_features() {
    let store = ParamStore::new(9, DType::F64, &Device::Cpu);
    let backbone = nn::linear(4, 5, store.var_builder().pp("backbone")).unwrap();
    let plain = nn::linear(5, 3, store.var_builder().pp("plain")).unwrap();
    let tower = tower(&store, true);
    let (x, information) = (normal(10, (3, 4)), normal(11, (4, 3)));
    // Images once, features repeated: the second example has two annotations.
    let (examples, labels) = ([0u32, 1, 1, 2], [0, 1, 2, 0]);
    let features = ops::relu(&backbone.forward(&x).unwrap()).unwrap();
    let rows = ops::index_select(&features, &Tensor::new(&examples, &Device::Cpu).unwrap(), 0).unwrap();
    let with = tower.forward(&rows, &information).unwrap();
    let without = plain.forward(&features.detach()).unwrap();
    let found = two_head_loss(&with, &without, &examples, &labels, 1.).unwrap();
    assert!(core_tensor::tape::foreign(&found.loss).is_empty());
    let of_plain = backward(&found.without_information).unwrap();
    let of_tower = backward(&found.with_information).unwrap();
    let both = backward(&found.loss).unwrap();
    let norm = |x: Option<&Tensor>| x.map_or(0., |x| x.sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap());
    for (name, var) in store.vars() {
        let (a, b) = (norm(of_plain.get(&var)), norm(of_tower.get(&var)));
        assert_eq!(a > 0., name.starts_with("plain"), "{name}");
        assert_eq!(b > 0., !name.starts_with("plain"), "{name}");
        assert!((norm(both.get(&var)) - a - b).abs() < 1e-12, "{name}");
    }
    // Its logits do not depend on the information at all: they are made without it.
    assert_eq!(without.dims(), [3, 3]);
}

#[test]
fn a_constant_draw_is_the_softmax_itself() {
    let config = HetConfig { inputs: 2, classes: 3, rank: 1, temperature: 2. };
    let head = het_head(config, ParamStore::new(12, DType::F64, &Device::Cpu).var_builder()).unwrap();
    let h = normal(13, (4, 2));
    let zeros = |width| Tensor::zeros((4, 5, width), DType::F64, &Device::Cpu).unwrap();
    let noise = HetNoise { diagonal: zeros(3), factors: Some(zeros(1)) };
    let store = ParamStore::new(12, DType::F64, &Device::Cpu);
    let mean = nn::linear(2, 3, store.var_builder().pp("loc")).unwrap();
    let expected = ops::log_softmax(&ops::affine(&mean.forward(&h).unwrap(), 0.5, 0.).unwrap()).unwrap();
    let found = head.log_probabilities(&h, &noise).unwrap();
    let difference = (found - expected).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
    assert!(difference < 1e-12);
    // A probability below the least has that logarithm, and no gradient.
    let h = Var::from_tensor(&normal(14, (1, 2)).affine(1e3, 0.).unwrap()).unwrap();
    let noise = head.draw(1, 3, &h, &mut Rng::new(1)).unwrap();
    let logs = head.log_probabilities(&h, &noise).unwrap();
    let least = logs.min_all().unwrap().to_scalar::<f64>().unwrap();
    assert!(least >= 1e-7f64.ln() - 1e-12);
    let grads = backward(&ops::sum_all(&logs).unwrap()).unwrap();
    assert!(grads.get(&h).unwrap().sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap().is_finite());
}

#[test]
fn wrong_arguments_are_errors() {
    let store = ParamStore::new(0, DType::F64, &Device::Cpu);
    let tower = tower(&store, false);
    let (features, information) = (normal(1, (2, 5)), normal(2, (2, 3)));
    assert!(matches!(tower.forward(&information, &information), Err(Error::Shape { .. })));
    assert!(tower.forward(&features, &normal(2, (3, 3))).is_err());
    assert!(matches!(tower.marginal(&features, &normal(2, (2, 4)), None), Err(Error::Shape { .. })));
    let none = Tensor::zeros((0, 3), DType::F64, &Device::Cpu).unwrap();
    assert!(matches!(tower.marginal(&features, &none, None), Err(Error::Empty { .. })));
    assert!(matches!(tower.marginal(&features, &information, Some(&[1.])), Err(Error::Length { .. })));
    for weights in [[-1., 1.], [f64::NAN, 1.], [f64::INFINITY, 1.], [0., 0.]] {
        assert!(tower.marginal(&features, &information, Some(&weights)).is_err(), "{weights:?}");
    }
    let nobody = Tensor::zeros((0, 5), DType::F64, &Device::Cpu).unwrap();
    assert_eq!(tower.marginal(&nobody, &information, None).unwrap().dims(), [0, 3]);
    let sizes = PiTowerConfig { features: 0, information: 1, width: 1, classes: 1, has_residual: true };
    assert!(matches!(pi_tower(sizes, store.var_builder().pp("none")), Err(Error::InvalidConfig { .. })));
    for temperature in [0., -1., f64::NAN] {
        let config = HetConfig { inputs: 1, classes: 2, rank: 0, temperature };
        assert!(het_head(config, store.var_builder().pp("het")).is_err());
    }
    let config = HetConfig { inputs: 4, classes: 3, rank: 2, temperature: 1. };
    let head = het_head(config, store.var_builder().pp("het")).unwrap();
    let h = normal(3, (2, 4));
    assert!(head.draw(2, 0, &h, &mut Rng::new(0)).is_err());
    let noise = head.draw(3, 4, &h, &mut Rng::new(0)).unwrap();
    assert!(matches!(head.log_probabilities(&h, &noise), Err(Error::Shape { .. })));
    let noise = HetNoise { factors: None, ..head.draw(2, 4, &h, &mut Rng::new(0)).unwrap() };
    assert!(matches!(head.log_probabilities(&h, &noise), Err(Error::Empty { .. })));
    let logits = normal(4, (2, 3));
    assert!(two_head_loss(&logits, &logits, &[0, 1], &[0, 3], 1.).is_err());
    assert!(two_head_loss(&logits, &logits, &[0, 2], &[0, 0], 1.).is_err());
    assert!(two_head_loss(&logits, &logits, &[0], &[0, 0], 1.).is_err());
    assert!(two_head_loss(&logits, &normal(4, (2, 2)), &[0, 1], &[0, 0], 1.).is_err());
    assert!(two_head_loss(&logits, &logits, &[0, 1], &[0, 0], f64::NAN).is_err());
    let nothing = Tensor::zeros((0, 3), DType::F64, &Device::Cpu).unwrap();
    assert!(matches!(two_head_loss(&nothing, &logits, &[], &[], 1.), Err(Error::Empty { .. })));
}

mod trained {
    use super::normal;
    use candle_core::{DType, Device, Module, Tensor};
    use core_tensor::nn::linear;
    use core_tensor::optim::{Adam, AdamConfig, Sgd, SgdConfig};
    use core_tensor::params::ParamStore;
    use core_tensor::random::Rng;
    use core_tensor::train::{Cancellation, Trainer};
    use core_tensor::{Mode, ops};
    use noisy_labels::Error;
    use noisy_labels::tram::{
        Annotated, Backbone, HeadKind, Information, PiColumn, PiEncoder, PiEncoderConfig, Strategy, Tram, TramConfig,
        TramTraining, annotation_report, export, fit, tram, without_information,
    };
    use proptest::prelude::*;

    const CLASSES: usize = 3;

    /// Inputs with two annotations each, by one who looks, and by one of two who do not.
    struct Set {
        x: Tensor,
        truth: Vec<u32>,
        examples: Vec<u32>,
        labels: Vec<u32>,
        annotators: Vec<u64>,
        information: Information,
    }

    fn set(count: usize) -> Set {
        let truth: Vec<u32> = (0..count as u32).map(|at| at % CLASSES as u32).collect();
        let mut values = normal(1, (count, 4)).to_vec2::<f64>().unwrap();
        values.iter_mut().zip(&truth).for_each(|(row, &class)| row[class as usize] += 4.);
        let x = Tensor::from_vec(values.concat(), (count, 4), &Device::Cpu).unwrap();
        let (mut examples, mut labels, mut annotators) = (Vec::new(), Vec::new(), Vec::new());
        for (at, &class) in (0u32..).zip(&truth) {
            examples.extend([at, at]);
            let other = 1 + u64::from(at % 2);
            labels.extend([class, other as u32]);
            annotators.extend([0, other]);
        }
        let ids = PiColumn::Ids(annotators.iter().copied().map(Some).collect());
        let information = Information::new(labels.len(), vec![ids]).unwrap();
        Set { x, truth, examples, labels, annotators, information }
    }

    fn model(store: &ParamStore, information: usize, head: HeadKind) -> Tram<impl Backbone + use<>> {
        let vb = store.var_builder();
        let layer = linear(4, 8, vb.pp("backbone")).unwrap();
        let backbone = move |x: &Tensor, _: &mut Mode<'_>| ops::relu(&layer.forward(x)?);
        let config = TramConfig { width: 6, head, ..TramConfig::new(8, information, CLASSES) };
        tram(backbone, config, vb).unwrap()
    }

    fn adam(store: &ParamStore) -> Trainer {
        Trainer::new(Adam::new(store, AdamConfig { learning_rate: 0.01, ..Default::default() }).unwrap())
    }

    fn training() -> TramTraining {
        TramTraining { epochs: 20, batch_size: 16, ..TramTraining::default() }
    }

    fn run<B: Backbone>(
        model: &Tram<B>,
        trainer: &mut Trainer,
        set: &Set,
        encoder: &PiEncoder,
        strategy: Strategy<'_>,
        config: &TramTraining,
    ) -> Result<(), Error> {
        let data = Annotated::new(&set.x, &set.examples, &set.labels, &set.information)?;
        fit(model, trainer, data, encoder, strategy, config, &Cancellation::never(), |_| Ok(()))
    }

    fn snapshot(store: &ParamStore) -> Vec<(String, Vec<f64>)> {
        let all = store.vars().into_iter();
        all.map(|(name, var)| (name, var.flatten_all().unwrap().to_vec1::<f64>().unwrap())).collect()
    }

    fn flat(x: &Tensor) -> Vec<f64> {
        x.flatten_all().unwrap().to_vec1::<f64>().unwrap()
    }

    fn accuracy(p: &Tensor, truth: &[u32]) -> f64 {
        let found = p.argmax(1).unwrap().to_vec1::<u32>().unwrap();
        found.iter().zip(truth).filter(|(a, b)| a == b).count() as f64 / truth.len() as f64
    }

    #[test]
    fn each_strategy_moves_what_it_names_and_tram_explains_the_noise_away() {
        let set = set(240);
        let encoder = PiEncoder::fit(&set.information, &PiEncoderConfig::default()).unwrap();
        for (strategy, still) in [
            (Strategy::NoInformation, vec!["pi."]),
            (Strategy::InformationOnly, vec!["no_pi."]),
            (Strategy::Tram, vec![]),
            // Of no information and a bias of 0, relu makes 0 without gradient.
            (Strategy::TramZero, vec!["pi.pi_fc."]),
        ] {
            let store = ParamStore::new(3, DType::F64, &Device::Cpu);
            let model = model(&store, encoder.width(), HeadKind::Linear);
            let before = snapshot(&store);
            run(&model, &mut adam(&store), &set, &encoder, strategy, &training()).unwrap();
            for ((name, before), (_, after)) in before.iter().zip(snapshot(&store)) {
                let is_still = still.iter().any(|part| name.starts_with(part));
                assert_eq!(*before == after, is_still, "{strategy:?}: {name}");
            }
            if let Strategy::Tram = strategy {
                let found = accuracy(&model.predict(&set.x).unwrap(), &set.truth);
                assert!(found > 0.9, "{found}");
                let data = Annotated::new(&set.x, &set.examples, &set.labels, &set.information).unwrap();
                let report = annotation_report(&model, data, &encoder, &set.annotators).unwrap();
                let [looks, others @ ..] = report.annotators.as_slice() else { panic!("no annotator") };
                assert_eq!((looks.annotator, looks.annotations, others.len()), (0, 240, 2));
                for other in others {
                    assert!(other.disagreement > looks.disagreement + 0.3, "{other:?}");
                    assert!(other.noise > looks.noise && other.explained > looks.explained, "{other:?}");
                }
                assert_eq!(report.noise.len(), set.labels.len());
            }
        }
    }

    #[test]
    fn without_information_nothing_depends_on_it() {
        let set = set(60);
        let encoder = PiEncoder::fit(&set.information, &PiEncoderConfig::default()).unwrap();
        let trained = |strategy: Strategy<'_>, information: &Information| {
            let store = ParamStore::new(4, DType::F64, &Device::Cpu);
            let model = model(&store, encoder.width(), HeadKind::Linear);
            let data = Annotated::new(&set.x, &set.examples, &set.labels, information).unwrap();
            let mut trainer = adam(&store);
            fit(&model, &mut trainer, data, &encoder, strategy, &training(), &Cancellation::never(), |_| Ok(()))
                .unwrap();
            flat(&model.predict(&set.x).unwrap())
        };
        let nobody = Information::new(set.labels.len(), vec![PiColumn::Ids(vec![None; set.labels.len()])]).unwrap();
        for strategy in [Strategy::NoInformation, Strategy::TramZero] {
            assert_eq!(trained(strategy, &set.information), trained(strategy, &nobody), "{strategy:?}");
        }
        // TRAM whose annotators are all unknown is TRAM with zeros.
        assert_eq!(trained(Strategy::Tram, &nobody), trained(Strategy::TramZero, &set.information));
        assert_ne!(trained(Strategy::Tram, &set.information), trained(Strategy::TramZero, &set.information));
    }

    #[test]
    fn the_weight_of_the_second_loss_moves_its_head_alone() {
        let set = set(40);
        let encoder = PiEncoder::fit(&set.information, &PiEncoderConfig::default()).unwrap();
        let trained = |weight: f64| {
            let store = ParamStore::new(5, DType::F64, &Device::Cpu);
            let model = model(&store, encoder.width(), HeadKind::Linear);
            let sgd = Sgd::new(&store, SgdConfig { learning_rate: 0.1, ..Default::default() }).unwrap();
            let config = TramTraining { weight, label_smoothing: 0.1, ..training() };
            run(&model, &mut Trainer::new(sgd), &set, &encoder, Strategy::Tram, &config).unwrap();
            snapshot(&store)
        };
        for ((name, one), (_, three)) in trained(1.).into_iter().zip(trained(3.)) {
            assert_eq!(one == three, !name.starts_with("no_pi."), "{name}");
        }
    }

    #[test]
    fn distillation_is_ordinary_training_at_weight_0_and_follows_its_teacher_at_1() {
        let set = set(120);
        let encoder = PiEncoder::fit(&set.information, &PiEncoderConfig::default()).unwrap();
        let of_teacher = ParamStore::new(6, DType::F64, &Device::Cpu);
        let teacher = model(&of_teacher, encoder.width(), HeadKind::Linear);
        run(&teacher, &mut adam(&of_teacher), &set, &encoder, Strategy::InformationOnly, &training()).unwrap();
        let before = snapshot(&of_teacher);
        let trained = |strategy: Strategy<'_>| {
            let store = ParamStore::new(7, DType::F64, &Device::Cpu);
            let model = model(&store, encoder.width(), HeadKind::Linear);
            run(&model, &mut adam(&store), &set, &encoder, strategy, &training()).unwrap();
            flat(&model.predict(&set.x).unwrap())
        };
        let distilled = |weight, temperature| Strategy::Distillation { teacher: &teacher, weight, temperature };
        let near = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(near(&trained(distilled(0., 1.)), &trained(Strategy::NoInformation)));
        // Followed alone, the teacher decides: the labels do not matter.
        let mut other = Set { labels: set.labels.iter().map(|label| (label + 1) % 3).collect(), ..self::set(120) };
        other.information = set.information.clone();
        let store = ParamStore::new(7, DType::F64, &Device::Cpu);
        let student = model(&store, encoder.width(), HeadKind::Linear);
        run(&student, &mut adam(&store), &other, &encoder, distilled(1., 1.), &training()).unwrap();
        assert!(near(&flat(&student.predict(&set.x).unwrap()), &trained(distilled(1., 1.))));
        assert_eq!(snapshot(&of_teacher), before, "the teacher has moved");
    }

    #[test]
    fn inputs_are_run_once_whatever_their_annotations() {
        let set = set(20);
        let encoder = PiEncoder::fit(&set.information, &PiEncoderConfig::default()).unwrap();
        let store = ParamStore::new(8, DType::F64, &Device::Cpu);
        let layer = linear(4, 8, store.var_builder().pp("backbone")).unwrap();
        let seen = std::cell::Cell::new(0);
        let backbone = |x: &Tensor, _: &mut Mode<'_>| {
            seen.set(seen.get() + x.dims()[0]);
            ops::relu(&layer.forward(x)?)
        };
        let config = TramConfig { width: 6, ..TramConfig::new(8, encoder.width(), CLASSES) };
        let model = tram(&backbone, config, store.var_builder()).unwrap();
        let once = TramTraining { epochs: 1, batch_size: 7, ..TramTraining::default() };
        run(&model, &mut adam(&store), &set, &encoder, Strategy::Tram, &once).unwrap();
        assert_eq!(seen.get(), 20);
        let few = TramTraining { annotations_per_step: Some(1), ..once };
        run(&model, &mut adam(&store), &set, &encoder, Strategy::Tram, &few).unwrap();
        assert_eq!(seen.get(), 40);
    }

    #[test]
    fn marginal_over_one_row_is_the_head_and_counted_rows_are_repeated_ones() {
        let set = set(30);
        let config = PiEncoderConfig::default();
        let encoder = PiEncoder::fit(&set.information, &config).unwrap();
        let het = HeadKind::Heteroscedastic { rank: 2, temperature: 1.3, training_draws: 10, draws: 50 };
        for head in [HeadKind::Linear, het] {
            let store = ParamStore::new(9, DType::F64, &Device::Cpu);
            let model = model(&store, encoder.width(), head);
            run(&model, &mut adam(&store), &set, &encoder, Strategy::InformationOnly, &training()).unwrap();
            let (rows, counts) = encoder.distinct(&set.information, DType::F64, &Device::Cpu).unwrap();
            assert_eq!((rows.dims(), counts.iter().sum::<f64>()), (&[3, 3][..], 60.));
            let one = rows.narrow(0, 1, 1).unwrap();
            let features = model.features(&set.x, &mut Mode::evaluate()).unwrap();
            let all = one.broadcast_as((30, 3)).unwrap().contiguous().unwrap();
            let logits = model.informed_logits(&features, &all, &mut Mode::evaluate()).unwrap();
            let expected = flat(&ops::softmax(&logits).unwrap());
            let near = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12);
            assert!(near(&flat(&model.predict_marginal(&set.x, &one, None).unwrap()), &expected));
            let every: Vec<u32> = (0..60).collect();
            let repeated = encoder.encode(&set.information, &every, DType::F64, &Device::Cpu).unwrap();
            let a = flat(&model.predict_marginal(&set.x, &rows, Some(&counts)).unwrap());
            let b = flat(&model.predict_marginal(&set.x, &repeated, None).unwrap());
            assert!(near(&a, &b));
            // Draws come near to what they are drawn from, and are the same for one seed.
            let drawn = |seed| encoder.sample(&set.information, 20_000, &mut Rng::new(seed), DType::F64, &Device::Cpu);
            let (rows, counts) = drawn(1).unwrap();
            assert_eq!(counts.iter().sum::<f64>(), 20_000.);
            let c = flat(&model.predict_marginal(&set.x, &rows, Some(&counts)).unwrap());
            assert!(a.iter().zip(&c).all(|(a, c)| (a - c).abs() < 0.02));
            assert_eq!(drawn(1).unwrap().1, counts);
        }
    }

    #[test]
    fn het_tram_learns() {
        let set = set(240);
        let encoder = PiEncoder::fit(&set.information, &PiEncoderConfig::default()).unwrap();
        let store = ParamStore::new(10, DType::F64, &Device::Cpu);
        let head = HeadKind::Heteroscedastic { rank: 1, temperature: 1.3, training_draws: 30, draws: 200 };
        let model = model(&store, encoder.width(), head);
        run(&model, &mut adam(&store), &set, &encoder, Strategy::Tram, &training()).unwrap();
        let p = model.predict(&set.x).unwrap();
        assert!(accuracy(&p, &set.truth) > 0.9);
        assert_eq!(flat(&p), flat(&model.predict(&set.x).unwrap()), "predictions change from call to call");
    }

    #[test]
    fn what_is_exported_predicts_the_same_and_knows_nothing_of_information() {
        let set = set(60);
        let encoder = PiEncoder::fit(&set.information, &PiEncoderConfig::default()).unwrap();
        let store = ParamStore::new(11, DType::F64, &Device::Cpu);
        let model = model(&store, encoder.width(), HeadKind::Linear);
        run(&model, &mut adam(&store), &set, &encoder, Strategy::Tram, &training()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        export(&store, &path).unwrap();
        let names: Vec<String> = core_tensor::checkpoint::read_tensors(&path).unwrap().into_keys().collect();
        assert_eq!(names, ["backbone.bias", "backbone.weight", "no_pi.bias", "no_pi.weight"]);
        let other = ParamStore::new(12, DType::F64, &Device::Cpu);
        let layer = linear(4, 8, other.var_builder().pp("backbone")).unwrap();
        let backbone = move |x: &Tensor, _: &mut Mode<'_>| ops::relu(&layer.forward(x)?);
        let plain = without_information(backbone, TramConfig::new(8, 1, CLASSES), other.var_builder()).unwrap();
        other.load(&path).unwrap();
        let p = ops::softmax(&plain.logits(&set.x, &mut Mode::evaluate()).unwrap()).unwrap();
        assert_eq!(flat(&p), flat(&model.predict(&set.x).unwrap()));
    }

    #[test]
    fn encodings_of_strangers_padding_and_gaps_are_zero() {
        let ids = |values: &[Option<u64>]| PiColumn::Ids(values.to_vec());
        let numbers = |values: &[Option<f64>]| PiColumn::Numbers(values.to_vec());
        let training = Information::new(
            4,
            vec![ids(&[Some(5), Some(9), Some(5), None]), numbers(&[Some(1.), Some(3.), None, None])],
        )
        .unwrap();
        let encoder = PiEncoder::fit(&training, &PiEncoderConfig::default()).unwrap();
        assert_eq!(encoder.width(), 3);
        assert_eq!(encoder.rows(&training, &[0, 3]).unwrap(), [1., 0., -1., 0., 0., 0.]);
        // An id that training has not seen, and one beyond every vocabulary; padding has neither id nor number.
        let later = Information::new(3, vec![ids(&[Some(6), Some(u64::MAX), None]), numbers(&[None, Some(2.), None])]);
        assert_eq!(encoder.rows(&later.unwrap(), &[0, 1, 2]).unwrap(), [0.; 9]);
        // Padding changes no statistics.
        let padded = Information::new(2, vec![ids(&[Some(5), None]), numbers(&[Some(4.), None])]).unwrap();
        let alone = Information::new(1, vec![ids(&[Some(5)]), numbers(&[Some(4.)])]).unwrap();
        let of = |information| PiEncoder::fit(information, &PiEncoderConfig::default()).unwrap();
        assert_eq!(of(&padded), of(&alone));
        let marked = PiEncoderConfig { marks_missing: true, ..Default::default() };
        let encoder = PiEncoder::fit(&training, &marked).unwrap();
        assert_eq!(encoder.rows(&training, &[0, 3]).unwrap(), [1., 0., -1., 0., 0., 0., 0., 1.]);
        // Numbers that are all the same say nothing, however large they are.
        let same = Information::new(3, vec![numbers(&[Some(1e300), Some(1e300), Some(1e300)])]).unwrap();
        assert_eq!(of(&same).rows(&same, &[0, 1]).unwrap(), [0., 0.]);
        let far = Information::new(2, vec![numbers(&[Some(-1e308), Some(1e308)])]).unwrap();
        assert_eq!(of(&far).rows(&far, &[0, 1]).unwrap(), [-1., 1.]);
    }

    #[test]
    fn random_numbers_belong_to_their_annotation() {
        let information = Information::new(50, vec![]).unwrap();
        let config = PiEncoderConfig { random: 8, seed: 3, ..Default::default() };
        let encoder = PiEncoder::fit(&information, &config).unwrap();
        let all: Vec<u32> = (0..50).collect();
        let rows = encoder.rows(&information, &all).unwrap();
        assert_eq!(encoder.rows(&information, &[7]).unwrap(), rows[7 * 8..8 * 8]);
        assert_ne!(rows[..8], rows[8..16]);
        let mean = rows.iter().sum::<f64>() / 400.;
        let square = rows.iter().map(|x| x * x).sum::<f64>() / 400.;
        assert!(mean.abs() < 0.2 && (square - 1.).abs() < 0.3, "{mean} {square}");
        let other = PiEncoder::fit(&information, &PiEncoderConfig { seed: 4, ..config }).unwrap();
        assert_ne!(other.rows(&information, &all).unwrap(), rows);
    }

    proptest! {
        #[test]
        fn an_encoding_has_one_place_for_each_id(values in prop::collection::vec(prop::option::of(0u64..40), 1..60), buckets in 1usize..30) {
            let information = Information::new(values.len(), vec![PiColumn::Ids(values.clone())]).unwrap();
            let rows: Vec<u32> = (0..values.len() as u32).collect();
            for hash_buckets in [None, Some(buckets)] {
                let config = PiEncoderConfig { hash_buckets, ..Default::default() };
                let Ok(encoder) = PiEncoder::fit(&information, &config) else {
                    prop_assert!(hash_buckets.is_none() && values.iter().all(Option::is_none));
                    continue;
                };
                let encoded = encoder.rows(&information, &rows).unwrap();
                for (row, value) in encoded.chunks(encoder.width()).zip(&values) {
                    prop_assert_eq!(row.iter().sum::<f64>(), f64::from(u8::from(value.is_some())));
                }
                for (a, first) in values.iter().enumerate() {
                    for (b, second) in values.iter().enumerate() {
                        let same = encoded[a * encoder.width()..][..encoder.width()] == encoded[b * encoder.width()..][..encoder.width()];
                        prop_assert!(same || first != second);
                        prop_assert!(!same || first == second || hash_buckets.is_some());
                    }
                }
            }
        }
    }

    #[test]
    fn wrong_arguments_are_errors() {
        let set = set(10);
        let encoder = PiEncoder::fit(&set.information, &PiEncoderConfig::default()).unwrap();
        let store = ParamStore::new(13, DType::F64, &Device::Cpu);
        let model = model(&store, encoder.width(), HeadKind::Linear);
        let mut trainer = adam(&store);
        let mut attempt = |strategy: Strategy<'_>, change: &dyn Fn(&mut TramTraining)| {
            let mut config = training();
            change(&mut config);
            run(&model, &mut trainer, &set, &encoder, strategy, &config)
        };
        assert!(attempt(Strategy::Tram, &|c| c.epochs = 0).is_err());
        assert!(attempt(Strategy::Tram, &|c| c.batch_size = 0).is_err());
        assert!(attempt(Strategy::Tram, &|c| c.annotations_per_step = Some(0)).is_err());
        for weight in [-1., f64::NAN, f64::INFINITY] {
            assert!(attempt(Strategy::Tram, &|c| c.weight = weight).is_err());
        }
        for smoothing in [-0.1, 1.1, f64::NAN] {
            assert!(attempt(Strategy::Tram, &|c| c.label_smoothing = smoothing).is_err());
        }
        for (weight, temperature) in [(1.1, 1.), (f64::NAN, 1.), (0.5, 0.), (0.5, -1.), (0.5, f64::NAN)] {
            assert!(attempt(Strategy::Distillation { teacher: &model, weight, temperature }, &|_| {}).is_err());
        }
        let (x, information) = (&set.x, &set.information);
        assert!(matches!(Annotated::new(x, &[], &[], information), Err(Error::Empty { .. })));
        assert!(Annotated::new(x, &set.examples[1..], &set.labels, information).is_err());
        assert!(Annotated::new(x, &set.examples, &set.labels[1..], information).is_err());
        assert!(matches!(Annotated::new(x, &[10; 20], &set.labels, information), Err(Error::OutOfRange { .. })));
        let bad = Set { labels: vec![3; 20], ..self::set(10) };
        assert!(matches!(
            run(&model, &mut trainer, &bad, &encoder, Strategy::Tram, &training()),
            Err(Error::OutOfRange { .. })
        ));
        let data = Annotated::new(x, &set.examples, &set.labels, information).unwrap();
        assert!(matches!(annotation_report(&model, data, &encoder, &[1]), Err(Error::Length { .. })));
        let other = PiEncoder::fit(information, &PiEncoderConfig { random: 1, ..Default::default() }).unwrap();
        assert!(run(&model, &mut trainer, &set, &other, Strategy::Tram, &training()).is_err());
        // Information.
        assert!(Information::new(2, vec![PiColumn::Ids(vec![None])]).is_err());
        assert!(Information::new(1, vec![PiColumn::Numbers(vec![Some(f64::NAN)])]).is_err());
        assert!(information.select(&[20]).is_err());
        assert_eq!(information.select(&[2, 0]).unwrap().len(), 2);
        let empty = Information::new(0, vec![]).unwrap();
        assert!(matches!(PiEncoder::fit(&empty, &PiEncoderConfig::default()), Err(Error::Empty { .. })));
        let none = PiEncoderConfig { hash_buckets: Some(0), ..Default::default() };
        assert!(PiEncoder::fit(information, &none).is_err());
        assert!(encoder.rows(information, &[20]).is_err());
        let numbers = Information::new(1, vec![PiColumn::Numbers(vec![None])]).unwrap();
        assert!(matches!(encoder.rows(&numbers, &[0]), Err(Error::InvalidData { .. })));
        assert!(encoder.rows(&empty, &[]).is_err());
        let mut rng = Rng::new(0);
        assert!(encoder.sample(information, 0, &mut rng, DType::F64, &Device::Cpu).is_err());
        // Networks.
        for (features, information, classes) in [(0, 1, 2), (1, 0, 2), (1, 1, 0)] {
            let backbone = |x: &Tensor, _: &mut Mode<'_>| Ok(x.clone());
            let vb = ParamStore::new(0, DType::F64, &Device::Cpu).var_builder();
            assert!(tram(backbone, TramConfig::new(features, information, classes), vb).is_err());
        }
        let het =
            |draws, temperature| HeadKind::Heteroscedastic { rank: 1, temperature, training_draws: draws, draws: 5 };
        for head in [het(0, 1.), het(1, 0.), het(1, f64::NAN)] {
            let backbone = |x: &Tensor, _: &mut Mode<'_>| Ok(x.clone());
            let vb = ParamStore::new(0, DType::F64, &Device::Cpu).var_builder();
            assert!(tram(backbone, TramConfig { head, ..TramConfig::new(2, 2, 2) }, vb).is_err());
        }
        // A backbone that gives another number of features.
        let store = ParamStore::new(0, DType::F64, &Device::Cpu);
        let backbone = |x: &Tensor, _: &mut Mode<'_>| Ok(x.clone());
        let wide = tram(backbone, TramConfig::new(5, 3, 2), store.var_builder()).unwrap();
        assert!(matches!(wide.predict(&set.x), Err(Error::Shape { .. })));
        let nothing = Tensor::zeros((0, 4), DType::F64, &Device::Cpu).unwrap();
        assert_eq!(model.predict(&nothing).unwrap().dims(), [0, CLASSES]);
        let rows = model.no_information(DType::F64, &Device::Cpu).unwrap();
        for weights in [[f64::MAX, f64::MAX], [0., 0.], [f64::NAN, 1.]] {
            let two = Tensor::cat(&[&rows, &rows], 0).unwrap();
            assert!(model.predict_marginal(&set.x, &two, Some(&weights)).is_err());
        }
    }
}
