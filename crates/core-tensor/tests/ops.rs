//! Dense operations against PyTorch, against finite differences, and on input that nobody wants.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod golden;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{Module, ModuleT};
use core_tensor::gradcheck::gradcheck;
use core_tensor::nn::{self, BatchNormConfig};
use core_tensor::ops;
use core_tensor::params::ParamStore;
use core_tensor::random::{Rng, dropout};
use core_tensor::{Error, Mode, Result};
use serde_json::Value;

fn normal(seed: u64, shape: impl Into<candle_core::Shape>) -> Tensor {
    Rng::new(seed).normal(0., 1., shape, DType::F64, &Device::Cpu).unwrap()
}

fn zeros(shape: impl Into<candle_core::Shape>, dtype: DType) -> Tensor {
    Tensor::zeros(shape, dtype, &Device::Cpu).unwrap()
}

fn classes(targets: &[u32]) -> Tensor {
    Tensor::new(targets, &Device::Cpu).unwrap()
}

type Operation<'a> = &'a dyn Fn(&[Tensor]) -> Result<Tensor>;

#[test]
fn values_and_gradients_equal_pytorch() {
    let reference = golden::read("operations.json");
    let targets: Vec<u32> =
        reference["targets"].as_array().unwrap().iter().map(|t| t.as_u64().unwrap() as u32).collect();
    let targets = classes(&targets);
    let operations: [(&str, Operation<'_>); 12] = [
        ("linear", &|x| ops::linear(&x[0], &x[1], Some(&x[2]))),
        ("relu", &|x| ops::relu(&x[0])),
        ("leaky_relu", &|x| ops::leaky_relu(&x[0], 0.2)),
        ("elu", &|x| ops::elu(&x[0], 1.)),
        ("sigmoid", &|x| ops::sigmoid(&x[0])),
        ("tanh", &|x| ops::tanh(&x[0])),
        ("softmax", &|x| ops::softmax(&x[0])),
        ("log_softmax", &|x| ops::log_softmax(&x[0])),
        ("cross_entropy", &|x| ops::cross_entropy(&x[0], &targets)),
        ("cross_entropy_each", &|x| ops::cross_entropy_each(&x[0], &targets)),
        ("mse", &|x| ops::mse(&x[0], &x[1])),
        ("batch_norm", &|x| Ok(ops::batch_norm_train(&x[0], &x[1], &x[2], 1e-5)?.0)),
    ];
    for (name, operation) in operations {
        let case = &reference[name];
        let inputs: Vec<Var> = case["inputs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|input| Var::from_tensor(&golden::tensor(input)).unwrap())
            .collect();
        let tensors: Vec<Tensor> = inputs.iter().map(|v| v.as_tensor().clone()).collect();
        let y = operation(&tensors).unwrap();
        golden::assert_equal(name, &y, &case["output"]);
        let n = y.elem_count();
        let seed: Vec<f64> = (0..n).map(|i| 0.5 + i as f64 / (n.max(2) - 1) as f64).collect();
        let seed = Tensor::from_vec(seed, y.shape(), &Device::Cpu).unwrap();
        let grads = (y * seed).unwrap().sum_all().unwrap().backward().unwrap();
        for (input, expected) in inputs.iter().zip(case["gradients"].as_array().unwrap()) {
            golden::assert_equal(&format!("gradient of {name}"), grads.get(input).unwrap(), expected);
        }
    }
}

#[test]
fn running_statistics_equal_pytorch() {
    let case = &golden::read("operations.json")["batch_norm"];
    let store = ParamStore::new(0, DType::F64, &Device::Cpu);
    let layer = nn::batch_norm1d(3, BatchNormConfig::default(), store.var_builder().pp("norm")).unwrap();
    let x = golden::tensor(&case["inputs"][0]);
    layer.forward_t(&x, true).unwrap();
    golden::assert_equal("running_mean", layer.running_mean(), &case["running_mean"]);
    golden::assert_equal("running_var", layer.running_var(), &case["running_var"]);
    // The store sees what the layer changed, and keeps it from the optimiser.
    assert_eq!(
        store.snapshot().unwrap()["norm.running_mean"].to_vec1::<f64>().unwrap(),
        layer.running_mean().to_vec1::<f64>().unwrap()
    );
    let trained: Vec<String> = store.trainable().into_iter().map(|(name, _)| name).collect();
    assert_eq!(trained, ["norm.bias", "norm.weight"]);
    // In evaluation each channel is mapped by the running statistics.
    let y = layer.forward_t(&x, false).unwrap().to_vec2::<f64>().unwrap();
    let (mean, variance) =
        (layer.running_mean().to_vec1::<f64>().unwrap(), layer.running_var().to_vec1::<f64>().unwrap());
    for (row, x) in y.iter().zip(x.to_vec2::<f64>().unwrap()) {
        for j in 0..3 {
            assert!((row[j] - (x[j] - mean[j]) / (variance[j] + 1e-5).sqrt()).abs() < 1e-12);
        }
    }
}

#[test]
fn gradients_are_right() -> Result<()> {
    let targets = classes(&[0, 3, 1, 1, 2]);
    for rows in [1, 2, 5] {
        for width in [1, 3, 17] {
            let x = normal(1, (rows, width));
            gradcheck(|x| ops::sum_dim0(&x[0]), std::slice::from_ref(&x))?;
            gradcheck(|x| ops::bias_add(&x[0], &x[1]), &[x.clone(), normal(2, width)])?;
            gradcheck(|x| ops::bias_relu(&x[0], &x[1]), &[x.clone(), normal(2, width)])?;
            gradcheck(|x| ops::relu(&x[0]), std::slice::from_ref(&x))?;
            gradcheck(|x| ops::leaky_relu(&x[0], 0.1), std::slice::from_ref(&x))?;
            gradcheck(|x| ops::elu(&x[0], 1.3), std::slice::from_ref(&x))?;
            gradcheck(|x| ops::sigmoid(&x[0]), std::slice::from_ref(&x))?;
            gradcheck(|x| ops::tanh(&x[0]), std::slice::from_ref(&x))?;
            gradcheck(|x| ops::softmax(&x[0]), std::slice::from_ref(&x))?;
            gradcheck(|x| ops::log_softmax(&x[0]), std::slice::from_ref(&x))?;
            gradcheck(|x| ops::mse(&x[0], &x[1]), &[x.clone(), normal(3, (rows, width))])?;
            gradcheck(|x| ops::linear(&x[0], &x[1], None), &[x.clone(), normal(4, (4, width))])?;
            gradcheck(|x| ops::linear(&x[0], &x[1], Some(&x[2])), &[x, normal(4, (4, width)), normal(5, 4)])?;
        }
    }
    let logits = normal(6, (5, 4));
    gradcheck(|x| ops::cross_entropy(&x[0], &targets), std::slice::from_ref(&logits))?;
    gradcheck(|x| ops::cross_entropy_each(&x[0], &targets), std::slice::from_ref(&logits))?;
    gradcheck(|x| ops::nll(&ops::log_softmax(&x[0])?, &targets), std::slice::from_ref(&logits))?;
    let norm = [normal(7, (6, 3)), normal(8, 3), normal(9, 3)];
    gradcheck(|x| Ok(ops::batch_norm_train(&x[0], &x[1], &x[2], 1e-3)?.0), &norm)?;
    let (mean, variance) = (normal(10, 3), (normal(11, 3).sqr()? + 0.5)?);
    gradcheck(|x| ops::batch_norm_eval(&x[0], &mean, &variance, &x[1], &x[2], 1e-3), &norm)?;
    gradcheck(|x| dropout(&x[0], 0.4, &mut Rng::new(3)), &[normal(12, (4, 5))])
}

#[test]
fn gradients_survive_views() -> Result<()> {
    let targets = classes(&[0, 2, 1]);
    gradcheck(|x| ops::linear(&x[0].t()?, &x[1].t()?, None), &[normal(1, (3, 5)), normal(2, (3, 2))])?;
    // The case that Candle's own linear layer gets wrong: a batch of transposed matrices.
    gradcheck(
        |x| ops::linear(&x[0].transpose(1, 2)?, &x[1], Some(&x[2])),
        &[normal(1, (2, 3, 5)), normal(2, (4, 3)), normal(3, 4)],
    )?;
    gradcheck(|x| ops::linear(&x[0], &x[1], None), &[normal(1, 3), normal(2, (4, 3))])?;
    gradcheck(|x| ops::bias_add(&x[0].t()?, &x[1].narrow(0, 1, 3)?), &[normal(1, (3, 5)), normal(2, 5)])?;
    gradcheck(|x| ops::sum_dim0(&x[0].t()?), &[normal(1, (3, 5))])?;
    gradcheck(|x| Ok(ops::tanh(&x[0].t()?)?.t()?), &[normal(1, (3, 5))])?;
    gradcheck(|x| Ok(ops::softmax(&x[0].t()?)?.t()?), &[normal(1, (3, 5))])?;
    gradcheck(|x| ops::cross_entropy(&x[0].t()?, &targets), &[normal(1, (4, 3))])?;
    gradcheck(|x| ops::mse(&x[0].t()?, &x[1].narrow(0, 1, 5)?), &[normal(1, (3, 5)), normal(2, (7, 3))])?;
    gradcheck(
        |x| Ok(ops::batch_norm_train(&x[0].t()?, &x[1], &x[2], 1e-3)?.0.t()?),
        &[normal(1, (3, 5)), normal(2, 3), normal(3, 3)],
    )?;
    gradcheck(|x| Ok(dropout(&x[0].t()?, 0.4, &mut Rng::new(3))?.t()?), &[normal(12, (4, 5))])
}

#[test]
fn empty_tensors_are_handled_or_refused() {
    assert_eq!(ops::sum_dim0(&normal(0, (0, 3))).unwrap().to_vec1::<f64>().unwrap(), [0.; 3]);
    assert_eq!(ops::sum_dim0(&normal(0, (3, 0))).unwrap().dims(), [0]);
    assert_eq!(ops::linear(&normal(0, (0, 3)), &normal(0, (2, 3)), Some(&normal(0, 2))).unwrap().dims(), [0, 2]);
    let no_inputs = ops::linear(&normal(0, (2, 0)), &normal(0, (2, 0)), Some(&normal(0, 2))).unwrap();
    assert_eq!(no_inputs.get(1).unwrap().to_vec1::<f64>().unwrap(), normal(0, 2).to_vec1::<f64>().unwrap());
    assert_eq!(ops::relu(&normal(0, 0)).unwrap().dims(), [0]);
    assert_eq!(ops::softmax(&normal(0, (0, 4))).unwrap().dims(), [0, 4]);
    assert_eq!(ops::softmax(&normal(0, (4, 0))).unwrap().dims(), [4, 0]);
    assert_eq!(ops::bias_add(&normal(0, (4, 0)), &normal(0, 0)).unwrap().dims(), [4, 0]);
    assert_eq!(ops::cross_entropy_each(&normal(0, (0, 4)), &zeros(0, DType::U32)).unwrap().dims(), [0]);
    assert!(ops::cross_entropy(&normal(0, (0, 4)), &zeros(0, DType::U32)).is_err());
    assert!(ops::mse(&normal(0, 0), &normal(0, 0)).is_err());
    let x = Var::from_tensor(&normal(0, (0, 3))).unwrap();
    let w = Var::from_tensor(&normal(0, (2, 3))).unwrap();
    let grads = ops::linear(&x, &w, None).unwrap().sum_all().unwrap().backward().unwrap();
    assert_eq!(grads.get(&w).unwrap().to_vec2::<f64>().unwrap(), [[0.; 3]; 2]);
}

#[test]
fn wrong_shapes_and_dtypes_are_errors() {
    let x = normal(0, (4, 3));
    let single = x.to_dtype(DType::F32).unwrap();
    assert!(matches!(ops::linear(&x, &normal(0, (2, 4)), None), Err(Error::Shape { what: "x", .. })));
    assert!(matches!(ops::linear(&x, &normal(0, 3), None), Err(Error::Shape { what: "weight", .. })));
    assert!(matches!(ops::linear(&x, &normal(0, (2, 3)), Some(&normal(0, 3))), Err(Error::Shape { what: "bias", .. })));
    assert!(matches!(ops::linear(&single, &normal(0, (2, 3)), None), Err(Error::DType { .. })));
    assert!(ops::linear(&normal(0, ()), &normal(0, (2, 3)), None).is_err());
    assert!(matches!(ops::bias_add(&x, &normal(0, 4)), Err(Error::Shape { .. })));
    assert!(matches!(ops::bias_relu(&x, &normal(0, (1, 3))), Err(Error::Shape { .. })));
    assert!(ops::sum_dim0(&normal(0, ())).is_err());
    assert!(ops::softmax(&normal(0, ())).is_err());
    assert!(ops::relu(&zeros(3, DType::U32)).is_err());
    assert!(ops::mse(&x, &normal(0, (3, 4))).is_err());
    assert!(ops::mse(&x, &single).is_err());
    assert!(matches!(ops::cross_entropy(&x, &zeros(3, DType::U32)), Err(Error::Shape { what: "targets", .. })));
    assert!(matches!(ops::cross_entropy(&x, &zeros(4, DType::I64)), Err(Error::DType { .. })));
    let norm = |x: &Tensor| ops::batch_norm_train(x, &normal(0, 3), &normal(0, 3), 1e-5);
    assert!(matches!(norm(&normal(0, (1, 3))), Err(Error::Shape { what: "x", .. })), "one row has no variance");
    assert!(norm(&normal(0, (4, 2))).is_err());
    assert!(ops::batch_norm_train(&x, &normal(0, 3), &normal(0, 3), -1.).is_err());
}

#[test]
fn a_target_that_is_no_class_is_named() {
    for f in [ops::cross_entropy, ops::cross_entropy_each, ops::nll] {
        let message = f(&normal(0, (3, 4)), &classes(&[0, 4, 1])).unwrap_err().to_string();
        assert!(message.contains("targets[1] is 4"), "{message}");
    }
}

#[test]
fn relu_has_derivative_zero_at_zero_and_keeps_nan() {
    let x = Var::new(&[0f32, f32::NAN, -1., 2.], &Device::Cpu).unwrap();
    let y = ops::relu(&x).unwrap();
    assert!(y.to_vec1::<f32>().unwrap()[1].is_nan());
    let grads = y.backward().unwrap();
    let grads = grads.get(&x).unwrap().to_vec1::<f32>().unwrap();
    assert_eq!((grads[0], grads[2], grads[3]), (0., 0., 1.));
}

#[test]
fn cross_entropy_is_stable_for_large_logits() {
    let logits = Var::new(&[[1e4f32, 0.], [0., 1e4]], &Device::Cpu).unwrap();
    let loss = ops::cross_entropy(&logits, &classes(&[0, 0])).unwrap();
    assert_eq!(loss.to_scalar::<f32>().unwrap(), 5e3);
    let grads = loss.backward().unwrap();
    assert_eq!(grads.get(&logits).unwrap().to_vec2::<f32>().unwrap(), [[0., 0.], [-0.5, 0.5]]);
}

#[test]
fn batch_norm_is_exact_when_the_mean_is_large() {
    // The naive Σx² − n·mean² would lose every digit of the variance here.
    let x = Tensor::new(&[[10_000f32], [10_001.], [10_002.], [10_003.]], &Device::Cpu).unwrap();
    let ones = Tensor::ones(1, DType::F32, &Device::Cpu).unwrap();
    let (_, statistics) = ops::batch_norm_train(&x, &ones, &ones.zeros_like().unwrap(), 0.).unwrap();
    assert_eq!(statistics.biased_variance.to_vec1::<f32>().unwrap(), [1.25]);
    let unbiased = statistics.unbiased_variance().unwrap().to_vec1::<f32>().unwrap()[0];
    assert!((unbiased - 5. / 3.).abs() < 1e-6);
}

#[test]
fn dropout_keeps_the_mean_and_follows_its_seed() {
    let x = Tensor::ones(100_000, DType::F64, &Device::Cpu).unwrap();
    let draw = |seed| dropout(&x, 0.3, &mut Rng::new(seed)).unwrap().to_vec1::<f64>().unwrap();
    let y = draw(0);
    assert_eq!(y, draw(0));
    assert_ne!(y, draw(1));
    // The standard error of the mean is sqrt(0.3 / 0.7 / n) = 0.002; 5 of them are allowed.
    assert!((y.iter().sum::<f64>() / 1e5 - 1.).abs() < 0.01);
    for p in [1., -0.1, f64::NAN] {
        assert!(dropout(&x, p, &mut Rng::new(0)).is_err());
    }
    let mut rng = Rng::new(4);
    dropout(&x, 0., &mut rng).unwrap();
    assert_eq!(rng, Rng::new(4), "nothing is drawn for p = 0");
    let layer = nn::Dropout::new(0.5, Rng::new(0)).unwrap();
    assert_eq!(layer.forward_t(&x, false).unwrap().to_vec1::<f64>().unwrap(), vec![1.; 100_000]);
    let (rng, first) = (layer.rng(), layer.forward_t(&x, true).unwrap().to_vec1::<f64>().unwrap());
    layer.set_rng(rng);
    assert_eq!(first, layer.forward_t(&x, true).unwrap().to_vec1::<f64>().unwrap());
}

#[test]
fn our_linear_layer_equals_candles_on_contiguous_input() {
    let store = ParamStore::new(0, DType::F64, &Device::Cpu);
    let ours = nn::linear(7, 5, store.var_builder()).unwrap();
    let theirs = candle_nn::Linear::new(ours.weight().clone(), ours.bias().cloned());
    let x = normal(3, (2, 4, 7));
    let (a, b) = (ours.forward(&x).unwrap(), theirs.forward(&x).unwrap());
    golden::assert_equal("linear", &a, &serde_json::to_value(b.to_vec3::<f64>().unwrap()).unwrap());
    let bound = 1. / 7f64.sqrt();
    let weights = ours.weight().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    assert!(weights.iter().all(|w| w.abs() <= bound));
}

/// A step of training, large enough that everything runs over threads.
fn training_bits() -> Vec<u32> {
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let vb = store.var_builder();
    let (first, second) = (nn::linear(50, 300, vb.pp("a")).unwrap(), nn::linear(300, 10, vb.pp("b")).unwrap());
    let norm = nn::batch_norm1d(300, BatchNormConfig::default(), vb.pp("norm")).unwrap();
    let mut rng = Rng::new(1);
    let x = rng.normal(0., 1., (1000, 50), DType::F32, &Device::Cpu).unwrap();
    let targets: Vec<u32> = (0..1000).map(|_| rng.below(10) as u32).collect();
    let hidden = ops::relu(&norm.forward(&first.forward(&x).unwrap(), &Mode::recalibrate()).unwrap()).unwrap();
    let hidden = dropout(&ops::tanh(&hidden).unwrap(), 0.5, &mut rng).unwrap();
    let loss = ops::cross_entropy(&second.forward(&hidden).unwrap(), &classes(&targets)).unwrap();
    let grads = loss.backward().unwrap();
    let mut bits = vec![loss.to_scalar::<f32>().unwrap().to_bits()];
    for (_, var) in store.trainable() {
        let grad = grads.get(&var).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        bits.extend(grad.into_iter().map(f32::to_bits));
    }
    bits
}

#[test]
fn one_two_and_three_threads_give_the_same_bits() {
    let with_threads =
        |n: usize| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap().install(training_bits);
    let one = with_threads(1);
    assert!(one == with_threads(2));
    assert!(one == with_threads(3));
}

#[test]
fn f32_agrees_with_f64_to_single_precision() {
    type Function = fn(&Tensor) -> Result<Tensor>;
    let functions: [(&str, Function); 5] = [
        ("tanh", ops::tanh),
        ("sigmoid", ops::sigmoid),
        ("elu", |x| ops::elu(x, 1.)),
        ("softmax", ops::softmax),
        ("log_softmax", ops::log_softmax),
    ];
    let x = (normal(5, (40, 33)) * 3.).unwrap();
    for (name, f) in functions {
        let wide = f(&x).unwrap();
        let narrow = f(&x.to_dtype(DType::F32).unwrap()).unwrap().to_dtype(DType::F64).unwrap();
        let difference = (wide - narrow).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
        // Log-probabilities reach −20, whose spacing in f32 is 2e-6.
        assert!(difference.to_scalar::<f64>().unwrap() < 4e-6, "{name}");
    }
}

#[test]
fn golden_values_are_read_as_they_are() {
    assert_eq!(
        golden::tensor(&serde_json::from_str::<Value>("[[1, 2.5]]").unwrap()).to_vec2::<f64>().unwrap(),
        [[1., 2.5]]
    );
}
