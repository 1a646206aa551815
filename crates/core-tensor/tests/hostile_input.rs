//! Norms, pools, attention, recurrent layers and losses on input that nobody wants: NaN, infinity, nothing, and arguments that do not fit.

#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, IndexOp, Tensor, Var};
use core_tensor::ops::{self, AttentionConfig, Epilogue, Pool2dConfig};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::{Error, Result, nn};

fn normal(seed: u64, shape: impl Into<candle_core::Shape>) -> Tensor {
    Rng::new(seed).normal(0., 1., shape, DType::F64, &Device::Cpu).unwrap()
}

fn positive(seed: u64, shape: impl Into<candle_core::Shape>) -> Tensor {
    (normal(seed, shape).abs().unwrap() + 0.2).unwrap()
}

#[test]
fn the_stable_losses_survive_large_logits() -> Result<()> {
    let x = Var::new(&[1000f32, -1000., 200., 0.], &Device::Cpu)?;
    let t = Tensor::new(&[1f32, 0., 0., 0.5], &Device::Cpu)?;
    let loss = ops::bce_with_logits(&x, &t)?;
    assert!((loss.to_scalar::<f32>()? - (200. + 2f32.ln()) / 4.).abs() < 1e-4);
    let grads = loss.backward()?;
    assert_eq!(grads.get(&x).unwrap().to_vec1::<f32>()?, [0., 0., 0.25, 0.]);
    assert_eq!(ops::softplus(&x)?.to_vec1::<f32>()?, [1000., 0., 200., 2f32.ln()]);
    // A probability of zero adds nothing to the divergence.
    let q = Tensor::new(&[[f32::NEG_INFINITY, 0.]], &Device::Cpu)?;
    assert_eq!(ops::kl_div(&q, &Tensor::new(&[[0f32, 1.]], &Device::Cpu)?)?.to_scalar::<f32>()?, 0.);
    Ok(())
}

#[test]
fn nan_and_infinity_propagate() -> Result<()> {
    let nan = Tensor::new(&[[f32::NAN, 1., 2., 3.], [1., 2., 3., 4.]], &Device::Cpu)?;
    let ones = Tensor::ones(4, DType::F32, &Device::Cpu)?;
    let is_nan = |t: &Tensor| -> Vec<bool> {
        t.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::is_nan).collect()
    };
    let first_row = [[true; 4], [false; 4]].concat();
    assert_eq!(is_nan(&ops::layer_norm(&nan, &ones, &ones, 1e-5)?), first_row);
    assert_eq!(is_nan(&ops::rms_norm(&nan, &ones, 1e-5)?), first_row);
    assert_eq!(is_nan(&ops::softmax(&nan)?), first_row);
    assert_eq!(is_nan(&ops::softmax_dim(&nan, 0)?), [true, false, false, false, true, false, false, false]);
    type Function = fn(&Tensor) -> Result<Tensor>;
    let functions: [Function; 7] =
        [ops::gelu, ops::gelu_tanh, ops::silu, ops::softplus, ops::exp, ops::sigmoid, ops::tanh];
    for f in functions {
        assert_eq!(is_nan(&f(&nan)?), [true, false, false, false, false, false, false, false]);
    }
    assert_eq!(is_nan(&ops::add_relu(&nan, &nan)?)[..2], [true, false]);
    let plane = nan.reshape((1, 1, 2, 4))?;
    assert_eq!(is_nan(&ops::max_pool2d(&plane, Pool2dConfig::square(2))?), [true, false]);
    assert_eq!(is_nan(&ops::avg_pool2d(&plane, Pool2dConfig::square(2))?), [true, false]);
    let (y, _) = ops::batch_norm_train(&plane, &ones.i(..1)?, &ones.i(..1)?, 1e-5)?;
    assert_eq!(is_nan(&y), [true; 8]);
    let y = ops::attention(&nan, &nan.ones_like()?, &nan.ones_like()?, &AttentionConfig::default())?;
    assert_eq!(is_nan(&y), first_row);
    let infinite = Tensor::new(&[f32::INFINITY, f32::NEG_INFINITY], &Device::Cpu)?;
    assert_eq!(ops::silu(&infinite)?.to_vec1::<f32>()?[0], f32::INFINITY);
    assert_eq!(ops::gelu(&infinite)?.to_vec1::<f32>()?[0], f32::INFINITY);
    assert_eq!(ops::softplus(&infinite)?.to_vec1::<f32>()?, [f32::INFINITY, 0.]);
    Ok(())
}

#[test]
fn empty_tensors_are_handled_or_refused() -> Result<()> {
    let w = normal(0, 4);
    assert_eq!(ops::layer_norm(&normal(0, (0, 4)), &w, &w, 1e-5)?.dims(), [0, 4]);
    assert_eq!(ops::layer_norm(&normal(0, (3, 0)), &normal(0, 0), &normal(0, 0), 1e-5)?.dims(), [3, 0]);
    assert_eq!(ops::group_norm(&normal(0, (0, 4, 2)), 2, &w, &w, 1e-5)?.dims(), [0, 4, 2]);
    assert_eq!(ops::group_norm(&normal(0, (2, 4, 0)), 2, &w, &w, 1e-5)?.dims(), [2, 4, 0]);
    assert!(ops::batch_norm_train(&normal(0, (0, 4, 2)), &w, &w, 1e-5).is_err());
    assert!(ops::batch_norm_train(&normal(0, (1, 4)), &w, &w, 1e-5).is_err());
    assert_eq!(ops::batch_norm_eval(&normal(0, (0, 4, 2)), &w, &positive(0, 4), &w, &w, 1e-5)?.dims(), [0, 4, 2]);
    assert_eq!(ops::max_pool2d(&normal(0, (0, 2, 4, 4)), Pool2dConfig::square(2))?.dims(), [0, 2, 2, 2]);
    assert!(ops::max_pool2d(&normal(0, (1, 2, 0, 4)), Pool2dConfig::square(2)).is_err());
    assert!(ops::global_avg_pool(&normal(0, (1, 2, 0))).is_err());
    assert_eq!(ops::global_avg_pool(&normal(0, (0, 2, 3)))?.dims(), [0, 2]);
    assert_eq!(ops::matmul(&normal(0, (0, 2, 3)), &normal(0, (0, 3, 4)))?.dims(), [0, 2, 4]);
    assert_eq!(ops::matmul(&normal(0, (2, 0, 3)), &normal(0, (2, 3, 4)))?.dims(), [2, 0, 4]);
    let zeros = ops::matmul(&normal(0, (2, 2, 0)), &normal(0, (2, 0, 4)))?;
    assert_eq!(zeros.sqr()?.sum_all()?.to_scalar::<f64>()?, 0.);
    assert_eq!(zeros.dims(), [2, 2, 4]);
    let config = AttentionConfig::default();
    assert_eq!(
        ops::attention(&normal(0, (2, 0, 3)), &normal(0, (2, 4, 3)), &normal(0, (2, 4, 3)), &config)?.dims(),
        [2, 0, 3]
    );
    let none = ops::attention(&normal(0, (2, 3, 3)), &normal(0, (2, 0, 3)), &normal(0, (2, 0, 3)), &config)?;
    assert_eq!(none.sqr()?.sum_all()?.to_scalar::<f64>()?, 0.);
    assert_eq!(ops::softmax_dim(&normal(0, (2, 0, 3)), 1)?.dims(), [2, 0, 3]);
    assert_eq!(ops::softmax_dim(&normal(0, (2, 3, 0)), 1)?.dims(), [2, 3, 0]);
    let no_ids = Tensor::zeros(0, DType::U32, &Device::Cpu)?;
    assert_eq!(ops::embedding(&normal(0, (3, 2)), &no_ids)?.dims(), [0, 2]);
    assert_eq!(ops::scatter_add(&normal(0, (0, 2)), &no_ids, 3)?.dims(), [3, 2]);
    assert_eq!(ops::scatter_add(&normal(0, (0, 2)), &no_ids, 0)?.dims(), [0, 2]);
    let state = normal(0, (2, 3));
    let (h, c) = ops::lstm(&normal(0, (0, 2, 12)), &normal(0, (12, 3)), &state, &state)?;
    assert_eq!((h.dims(), c.dims()), ([0, 2, 3].as_slice(), [2, 3].as_slice()));
    assert_eq!(
        ops::lstm(&normal(0, (2, 0, 12)), &normal(0, (12, 3)), &normal(0, (0, 3)), &normal(0, (0, 3)))?.0.dims(),
        [2, 0, 3]
    );
    assert_eq!(ops::gru(&normal(0, (0, 2, 9)), &normal(0, (9, 3)), &normal(0, 9), &state)?.dims(), [0, 2, 3]);
    assert_eq!(ops::sum_all(&normal(0, (3, 0)))?.to_scalar::<f64>()?, 0.);
    assert!(ops::mean_all(&normal(0, 0)).is_err());
    assert!(ops::bce_with_logits(&normal(0, 0), &normal(0, 0)).is_err());
    assert!(ops::soft_cross_entropy(&normal(0, (0, 3)), &normal(0, (0, 3))).is_err());
    Ok(())
}

#[test]
fn misfits_are_errors() {
    let x = normal(0, (4, 3));
    let w = normal(0, 3);
    let single = w.to_dtype(DType::F32).unwrap();
    assert!(matches!(ops::layer_norm(&x, &normal(0, 4), &w, 1e-5), Err(Error::Shape { what: "weight", .. })));
    assert!(matches!(ops::layer_norm(&x, &w, &single, 1e-5), Err(Error::DType { what: "bias", .. })));
    assert!(ops::layer_norm(&x, &w, &w, -1.).is_err());
    assert!(ops::layer_norm(&normal(0, ()), &w, &w, 1e-5).is_err());
    assert!(ops::group_norm(&x, 2, &w, &w, 1e-5).is_err());
    assert!(ops::group_norm(&x, 0, &w, &w, 1e-5).is_err());
    let residual = normal(0, (4, 2));
    let epilogue = Epilogue { residual: Some(&residual), has_relu: true };
    assert!(matches!(
        ops::batch_norm_train_with(&x, &w, &w, 1e-5, &epilogue),
        Err(Error::Shape { what: "residual", .. })
    ));
    let plane = normal(0, (1, 1, 4, 4));
    for (kernel, stride, padding) in
        [((5, 2), (1, 1), (0, 0)), ((2, 2), (0, 1), (0, 0)), ((0, 2), (1, 1), (0, 0)), ((2, 2), (1, 1), (2, 0))]
    {
        assert!(ops::max_pool2d(&plane, Pool2dConfig { kernel, stride, padding }).is_err());
        assert!(ops::avg_pool2d(&plane, Pool2dConfig { kernel, stride, padding }).is_err());
    }
    assert!(ops::adaptive_avg_pool2d(&plane, (0, 1)).is_err());
    assert!(ops::max_pool2d(&x, Pool2dConfig::square(2)).is_err());
    assert!(ops::matmul(&x, &x).is_err());
    assert!(ops::matmul(&w, &x).is_err());
    assert!(ops::matmul(&normal(0, (2, 3, 4)), &normal(0, (3, 4, 2))).is_err());
    let config = AttentionConfig::default();
    assert!(matches!(ops::attention(&x, &normal(0, (4, 2)), &x, &config), Err(Error::Shape { what: "k", .. })));
    assert!(matches!(ops::attention(&x, &x, &normal(0, (3, 3)), &config), Err(Error::Shape { what: "v", .. })));
    let masked = AttentionConfig { mask: Some(normal(0, (3, 4))), ..Default::default() };
    assert!(ops::attention(&x, &x, &x, &masked).is_err());
    assert!(ops::attention(&x, &x, &x, &AttentionConfig { scale: Some(f64::NAN), ..Default::default() }).is_err());
    assert!(ops::attention(&x, &x, &x, &AttentionConfig { scale: Some(0.), ..Default::default() }).is_err());
    assert!(ops::softmax_dim(&x, 2).is_err());
    assert!(ops::add_relu(&x, &w).is_err());
    assert!(ops::bias_gelu(&x, &normal(0, 4)).is_err());
    assert!(ops::huber(&x, &x, 0.).is_err());
    assert!(ops::kl_div(&x, &w).is_err());
    let ids = Tensor::new(&[0u32, 4], &Device::Cpu).unwrap();
    assert!(matches!(ops::embedding(&x, &ids), Err(Error::OutOfRange { position: 1, .. })));
    assert!(ops::embedding(&x, &ids.to_dtype(DType::I64).unwrap()).is_err());
    assert!(matches!(ops::scatter_add(&normal(0, (2, 2)), &ids, 4), Err(Error::OutOfRange { position: 1, .. })));
    assert!(ops::scatter_add(&x, &ids, 9).is_err());
    let smooth = ops::CrossEntropyConfig { label_smoothing: 1.5, class_weights: None };
    let targets = Tensor::new(&[0u32, 1, 2, 0], &Device::Cpu).unwrap();
    assert!(ops::cross_entropy_with(&x, &targets, &smooth).is_err());
    let weighted = |weights| ops::CrossEntropyConfig { label_smoothing: 0., class_weights: Some(weights) };
    assert!(ops::cross_entropy_with(&x, &targets, &weighted(vec![1.; 2])).is_err());
    assert!(ops::cross_entropy_with(&x, &targets, &weighted(vec![0.; 3])).is_err());
    assert!(ops::cross_entropy_with(&x, &targets, &weighted(vec![f64::NAN; 3])).is_err());
    assert!(ops::lstm(&normal(0, (2, 2, 12)), &normal(0, (11, 3)), &normal(0, (2, 3)), &normal(0, (2, 3))).is_err());
    assert!(ops::lstm(&normal(0, (2, 2, 12)), &normal(0, (12, 3)), &normal(0, (1, 3)), &normal(0, (2, 3))).is_err());
    let store = ParamStore::new(0, DType::F64, &Device::Cpu);
    assert!(nn::multihead_attention(5, 2, store.var_builder()).is_err());
    assert!(nn::gru(3, 0, Default::default(), store.var_builder()).is_err());
    let config = ops::Conv2dConfig { groups: 2, ..Default::default() };
    assert!(nn::conv2d(3, 4, 3, config, store.var_builder()).is_err());
}
