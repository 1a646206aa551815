//! Gradients, views and threads of norms, pools, attention, recurrent layers and losses.

#![allow(clippy::unwrap_used)]

use candle_core::{D, DType, Device, IndexOp, Tensor, Var};
use candle_nn::Module;
use core_tensor::gradcheck::gradcheck;
use core_tensor::ops::{self, AttentionConfig, Conv2dConfig, Epilogue, Pool2dConfig};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::{Result, nn};
use proptest::prelude::*;

fn normal(seed: u64, shape: impl Into<candle_core::Shape>) -> Tensor {
    Rng::new(seed).normal(0., 1., shape, DType::F64, &Device::Cpu).unwrap()
}

fn positive(seed: u64, shape: impl Into<candle_core::Shape>) -> Tensor {
    (normal(seed, shape).abs().unwrap() + 0.2).unwrap()
}

fn difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    if a.elem_count() == 0 {
        return 0.;
    }
    let difference = (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
    difference.to_dtype(DType::F64).unwrap().to_scalar().unwrap()
}

#[test]
fn gradients_of_norms_are_right() -> Result<()> {
    for (rows, width) in [(1, 1), (3, 5), (2, 33), (40, 3)] {
        let (x, w, b) = (normal(1, (rows, width)), normal(2, width), normal(3, width));
        gradcheck(|t| ops::layer_norm(&t[0], &t[1], &t[2], 1e-3), &[x.clone(), w.clone(), b.clone()])?;
        gradcheck(|t| ops::rms_norm(&t[0], &t[1], 1e-3), &[x, w])?;
    }
    gradcheck(|t| ops::layer_norm(&t[0].t()?, &t[1], &t[2], 1e-3), &[normal(1, (3, 5)), normal(2, 3), normal(3, 3)])?;
    for (groups, positions) in [(1, vec![3, 2]), (2, vec![5]), (4, vec![2]), (2, vec![])] {
        let shape = [vec![3, 4], positions].concat();
        let inputs = [normal(1, shape), normal(2, 4), normal(3, 4)];
        gradcheck(|t| ops::group_norm(&t[0], groups, &t[1], &t[2], 1e-3), &inputs)?;
    }
    for shape in [vec![4, 3], vec![3, 2, 5], vec![2, 3, 2, 20], vec![2, 3, 1, 1]] {
        let c = shape[1];
        let inputs = [normal(1, shape.clone()), normal(2, c), normal(3, c), normal(4, shape.clone())];
        let (mean, variance) = (normal(5, c), positive(6, c));
        gradcheck(|t| Ok(ops::batch_norm_train(&t[0], &t[1], &t[2], 1e-3)?.0), &inputs[..3])?;
        gradcheck(|t| ops::batch_norm_eval(&t[0], &mean, &variance, &t[1], &t[2], 1e-3), &inputs[..3])?;
        for has_relu in [false, true] {
            gradcheck(
                |t| {
                    let epilogue = Epilogue { residual: Some(&t[3]), has_relu };
                    Ok(ops::batch_norm_train_with(&t[0], &t[1], &t[2], 1e-3, &epilogue)?.0)
                },
                &inputs,
            )?;
            gradcheck(
                |t| {
                    let epilogue = Epilogue { residual: Some(&t[3]), has_relu };
                    ops::batch_norm_eval_with(&t[0], [&mean, &variance], &t[1], &t[2], 1e-3, &epilogue)
                },
                &inputs,
            )?;
        }
        let epilogue = Epilogue { residual: None, has_relu: true };
        gradcheck(|t| Ok(ops::batch_norm_train_with(&t[0], &t[1], &t[2], 1e-3, &epilogue)?.0), &inputs[..3])?;
    }
    Ok(())
}

#[test]
fn gradients_of_pools_are_right() -> Result<()> {
    let x = normal(1, (2, 3, 5, 7));
    for (kernel, stride, padding) in [
        ((2, 2), (2, 2), (0, 0)),
        ((3, 3), (2, 2), (1, 1)),
        ((3, 2), (1, 3), (0, 1)),
        ((5, 7), (1, 1), (0, 0)),
        ((1, 1), (1, 1), (0, 0)),
    ] {
        let config = Pool2dConfig { kernel, stride, padding };
        gradcheck(|t| ops::max_pool2d(&t[0], config), std::slice::from_ref(&x))?;
        gradcheck(|t| ops::avg_pool2d(&t[0], config), std::slice::from_ref(&x))?;
    }
    gradcheck(|t| ops::adaptive_avg_pool2d(&t[0], (2, 3)), std::slice::from_ref(&x))?;
    gradcheck(|t| ops::adaptive_avg_pool2d(&t[0], (1, 1)), std::slice::from_ref(&x))?;
    gradcheck(|t| ops::global_avg_pool(&t[0].transpose(1, 3)?), std::slice::from_ref(&x))?;
    gradcheck(|t| ops::max_pool2d(&t[0].transpose(2, 3)?, Pool2dConfig::square(2)), &[x])
}

#[test]
fn gradients_of_pointwise_functions_are_right() -> Result<()> {
    for shape in [(1, 1), (3, 5), (2, 33)] {
        let (a, b, bias) = (normal(1, shape), normal(2, shape), normal(3, shape.1));
        let one = std::slice::from_ref(&a);
        gradcheck(|t| ops::gelu(&t[0]), one)?;
        gradcheck(|t| ops::gelu_tanh(&t[0]), one)?;
        gradcheck(|t| ops::silu(&t[0]), one)?;
        gradcheck(|t| ops::softplus(&t[0]), one)?;
        gradcheck(|t| ops::exp(&t[0]), one)?;
        let two = [a.clone(), b];
        gradcheck(|t| ops::add_relu(&t[0], &t[1]), &two)?;
        gradcheck(|t| ops::swiglu(&t[0], &t[1]), &two)?;
        let biased = [a, bias];
        gradcheck(|t| ops::bias_gelu(&t[0], &t[1]), &biased)?;
        gradcheck(|t| ops::bias_silu(&t[0], &t[1]), &biased)?;
        gradcheck(|t| ops::bias_tanh(&t[0], &t[1]), &biased)?;
    }
    gradcheck(|t| ops::add_relu(&t[0].t()?, &t[1]), &[normal(1, (3, 5)), normal(2, (5, 3))])?;
    let x = normal(4, (3, 4, 5));
    for dim in 0..3 {
        gradcheck(|t| ops::softmax_dim(&t[0], dim), std::slice::from_ref(&x))?;
        gradcheck(|t| ops::log_softmax_dim(&t[0], dim), std::slice::from_ref(&x))?;
    }
    Ok(())
}

#[test]
fn gradients_of_products_and_attention_are_right() -> Result<()> {
    let (a, b) = (normal(1, (2, 3, 4, 5)), normal(2, (2, 3, 5, 2)));
    gradcheck(|t| ops::matmul(&t[0], &t[1]), &[a.clone(), b.clone()])?;
    gradcheck(
        |t| ops::matmul(&t[0].transpose(2, 3)?, &t[1].transpose(2, 3)?),
        &[normal(1, (2, 1, 5, 4)), normal(2, (2, 1, 2, 5))],
    )?;
    gradcheck(|t| ops::matmul(&t[0].transpose(0, 1)?, &t[1].transpose(0, 1)?), &[a, b])?;
    gradcheck(|t| ops::matmul(&t[0], &t[1]), &[normal(1, (3, 4)), normal(2, (4, 2))])?;
    let mask =
        Tensor::new(&[[0., -1., f64::NEG_INFINITY, 2.], [0.5; 4], [0., 0., 0., f64::NEG_INFINITY]], &Device::Cpu)?;
    for config in [
        AttentionConfig::default(),
        AttentionConfig { is_causal: true, scale: Some(0.7), mask: None },
        AttentionConfig { mask: Some(mask), ..Default::default() },
    ] {
        let (q, k, v) = (normal(1, (2, 3, 5)), normal(2, (2, 4, 5)), normal(3, (2, 4, 2)));
        gradcheck(|t| ops::attention(&t[0], &t[1], &t[2], &config), &[q, k, v])?;
    }
    // More queries than a block, and causal with more queries than keys: the first see nothing.
    let causal = AttentionConfig { is_causal: true, ..Default::default() };
    gradcheck(
        |t| ops::attention(&t[0], &t[1], &t[2], &causal),
        &[normal(1, (1, 70, 2)), normal(2, (1, 67, 2)), normal(3, (1, 67, 1))],
    )?;
    let y = ops::attention(&normal(1, (3, 2)), &normal(2, (1, 2)), &normal(3, (1, 2)), &causal)?;
    assert_eq!(y.to_vec2::<f64>()?[0], [0., 0.]);
    Ok(())
}

#[test]
fn gradients_of_recurrent_layers_are_right() -> Result<()> {
    for (time, batch, hidden) in [(1, 1, 1), (4, 2, 3), (3, 1, 17)] {
        let (h0, c0) = (normal(1, (batch, hidden)), normal(2, (batch, hidden)));
        let (gates, w) = (normal(3, (time, batch, 4 * hidden)), (normal(4, (4 * hidden, hidden)) * 0.5)?);
        gradcheck(
            |t| {
                let (h, c) = ops::lstm(&t[0], &t[1], &t[2], &t[3])?;
                Ok(Tensor::cat(&[h.flatten_all()?, c.flatten_all()?], 0)?)
            },
            &[gates, w, h0.clone(), c0],
        )?;
        let (gates, w) = (normal(5, (time, batch, 3 * hidden)), (normal(6, (3 * hidden, hidden)) * 0.5)?);
        gradcheck(|t| ops::gru(&t[0], &t[1], &t[2], &t[3]), &[gates, w, normal(7, 3 * hidden), h0])?;
    }
    let store = ParamStore::new(0, DType::F64, &Device::Cpu);
    let config = nn::RecurrentConfig { num_layers: 2, is_bidirectional: true };
    let lstm = nn::lstm(3, 4, config, store.var_builder().pp("a"))?;
    let gru = nn::gru(3, 4, config, store.var_builder().pp("b"))?;
    gradcheck(|t| Ok(lstm.forward(&t[0], None)?.0), &[normal(1, (3, 2, 3))])?;
    gradcheck(|t| Ok(gru.forward(&t[0], Some(&t[1]))?.0), &[normal(1, (3, 2, 3)), normal(2, (4, 2, 4))])?;
    // Cut in two with the state carried over, a sequence gives the same.
    let one = nn::lstm(3, 4, Default::default(), store.var_builder().pp("c"))?;
    let x = normal(3, (6, 2, 3));
    let (whole, _) = one.forward(&x, None)?;
    let (_, state) = one.forward(&x.i(..4)?, None)?;
    let (rest, _) = one.forward(&x.i(4..)?, Some(&state))?;
    assert!(difference(&whole.i(4..)?, &rest) < 1e-12);
    Ok(())
}

#[test]
fn gradients_of_losses_and_indexing_are_right() -> Result<()> {
    let (a, b) = (normal(1, (4, 3)), normal(2, (4, 3)));
    let shares = ops::softmax(&normal(3, (4, 3)))?;
    gradcheck(|t| ops::bce_with_logits(&t[0], &t[1]), &[a.clone(), shares.clone()])?;
    gradcheck(|t| ops::kl_div(&t[0], &t[1]), &[a.clone(), shares.clone()])?;
    gradcheck(|t| ops::huber(&t[0], &t[1], 0.8), &[a.clone(), b.clone()])?;
    gradcheck(|t| ops::l1(&t[0], &t[1]), &[a.clone(), b])?;
    gradcheck(|t| ops::sum_all(&t[0].t()?), std::slice::from_ref(&a))?;
    gradcheck(|t| ops::mean_all(&t[0]), std::slice::from_ref(&a))?;
    gradcheck(|t| ops::soft_cross_entropy(&t[0], &t[1]), &[a.clone(), shares])?;
    let targets = Tensor::new(&[0u32, 2, 1, 2], &Device::Cpu)?;
    let config = ops::CrossEntropyConfig { label_smoothing: 0.2, class_weights: Some(vec![1., 0.5, 2.]) };
    gradcheck(|t| ops::cross_entropy_with(&t[0], &targets, &config), &[a])?;
    let ids = Tensor::new(&[[0u32, 3, 3], [1, 0, 3]], &Device::Cpu)?;
    gradcheck(|t| ops::embedding(&t[0], &ids), &[normal(1, (5, 2))])?;
    let index = Tensor::new(&[4u32, 0, 4, 2], &Device::Cpu)?;
    gradcheck(|t| ops::scatter_add(&t[0].t()?, &index, 6), &[normal(1, (3, 4))])
}

#[test]
fn every_number_of_threads_gives_the_same_bits() {
    let run = || -> Vec<u32> {
        let mut rng = Rng::new(0);
        let mut leaf =
            |shape: &[usize]| Var::from_tensor(&rng.normal(0., 1., shape, DType::F32, &Device::Cpu).unwrap()).unwrap();
        let mut bits = Vec::new();
        let mut record = |y: Tensor, leaves: &[&Var]| {
            let grads = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            for tensor in std::iter::once(&y).chain(leaves.iter().map(|leaf| grads.get(leaf).unwrap())) {
                bits.extend(tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits));
            }
        };
        let (x, w, b) = (leaf(&[600, 130]), leaf(&[130]), leaf(&[130]));
        record(ops::layer_norm(&x, &w, &b, 1e-5).unwrap(), &[&x, &w, &b]);
        record(ops::bias_gelu(&x, &b).unwrap(), &[&x, &b]);
        record(ops::softmax_dim(&x, 0).unwrap(), &[&x]);
        let (x, w, b) = (leaf(&[8, 20, 18, 18]), leaf(&[20]), leaf(&[20]));
        record(ops::group_norm(&x, 4, &w, &b, 1e-5).unwrap(), &[&x, &w, &b]);
        record(ops::batch_norm_train(&x, &w, &b, 1e-5).unwrap().0, &[&x, &w, &b]);
        record(ops::max_pool2d(&x, Pool2dConfig::square(2)).unwrap(), &[&x]);
        let (q, k, v) = (leaf(&[6, 90, 32]), leaf(&[6, 90, 32]), leaf(&[6, 90, 32]));
        record(ops::attention(&q, &k, &v, &AttentionConfig::default()).unwrap(), &[&q, &k, &v]);
        record(ops::matmul(&q, &k.transpose(1, 2).unwrap()).unwrap(), &[&q, &k]);
        let (gates, weight, state) = (leaf(&[7, 32, 256]), leaf(&[256, 64]), leaf(&[32, 64]));
        record(ops::lstm(&gates, &weight, &state, &state).unwrap().0, &[&gates, &weight, &state]);
        let (table, ids) = (leaf(&[50, 64]), (0..4000u32).map(|i| i * 7 % 50).collect::<Vec<_>>());
        let ids = Tensor::new(ids, &Device::Cpu).unwrap();
        record(ops::embedding(&table, &ids).unwrap(), &[&table]);
        let x = leaf(&[4000, 64]);
        record(ops::scatter_add(&x, &ids, 50).unwrap(), &[&x]);
        bits
    };
    let with_threads = |n: usize| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap().install(run);
    let one = with_threads(1);
    assert!(one == with_threads(2));
    assert!(one == with_threads(3));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// The kernels against the same formulas of Candle operations.
    #[test]
    fn kernels_equal_candle_compositions(
        batch in 1usize..4, channels in 1usize..5, height in 1usize..9, width in 1usize..20, seed in 0u64..1000
    ) {
        let x = (normal(seed, (batch, channels, height, width)) * 2.).unwrap();
        let (w, b) = (normal(seed + 1, width), normal(seed + 2, width));
        let mean = x.mean_keepdim(3).unwrap();
        let centered = x.broadcast_sub(&mean).unwrap();
        let variance = (centered.sqr().unwrap().mean_keepdim(3).unwrap() + 1e-5).unwrap();
        let expected = centered.broadcast_div(&variance.sqrt().unwrap()).unwrap();
        let expected = expected.broadcast_mul(&w).unwrap().broadcast_add(&b).unwrap();
        prop_assert!(difference(&ops::layer_norm(&x, &w, &b, 1e-5).unwrap(), &expected) < 1e-9);
        for dim in 0..4 {
            let expected = candle_nn::ops::softmax(&x, dim).unwrap();
            prop_assert!(difference(&ops::softmax_dim(&x, dim).unwrap(), &expected) < 1e-12);
        }
        prop_assert!(difference(&ops::gelu(&x).unwrap(), &x.gelu_erf().unwrap()) < 1e-12);
        prop_assert!(difference(&ops::gelu_tanh(&x).unwrap(), &x.gelu().unwrap()) < 1e-7);
        prop_assert!(difference(&ops::silu(&x).unwrap(), &x.silu().unwrap()) < 1e-12);
        let y = normal(seed + 3, (batch, channels, width, height));
        prop_assert!(difference(&ops::matmul(&x, &y).unwrap(), &x.matmul(&y).unwrap()) < 1e-10);
        if height >= 2 && width >= 2 {
            let pooled = ops::max_pool2d(&x, Pool2dConfig::square(2)).unwrap();
            prop_assert!(difference(&pooled, &x.max_pool2d(2).unwrap()) == 0.);
            let pooled = ops::avg_pool2d(&x, Pool2dConfig::square(2)).unwrap();
            prop_assert!(difference(&pooled, &x.avg_pool2d(2).unwrap()) < 1e-12);
        }
        let scores = (x.matmul(&x.transpose(2, 3).unwrap()).unwrap() / (width as f64).sqrt()).unwrap();
        let expected = candle_nn::ops::softmax(&scores, 3).unwrap().matmul(&x).unwrap();
        prop_assert!(difference(&ops::attention(&x, &x, &x, &AttentionConfig::default()).unwrap(), &expected) < 1e-10);
    }
}

#[test]
fn kernels_may_be_rectangular_and_norms_without_parameters() -> Result<()> {
    let store = ParamStore::new(1, DType::F64, &Device::Cpu);
    let vb = store.var_builder();
    let x = normal(3, (2, 4, 7, 9));
    let wide = nn::conv2d(4, 6, (1, 5), Conv2dConfig::default(), vb.pp("wide"))?;
    assert_eq!(wide.weight().dims(), [6, 4, 1, 5]);
    assert_eq!(wide.forward(&x)?.dims(), [2, 6, 7, 5]);
    let square = nn::conv2d_no_bias(4, 6, 3, Conv2dConfig::default(), vb.pp("square"))?;
    assert_eq!(square.weight().dims(), [6, 4, 3, 3]);
    let spread = nn::conv_transpose2d(4, 2, (2, 3), Default::default(), vb.pp("spread"))?;
    assert_eq!(spread.forward(&x)?.dims(), [2, 2, 8, 11]);
    let count = store.trainable().len();

    let plain = nn::group_norm_no_affine(2, 4, 1e-5, vb.pp("norm"))?.forward(&x)?;
    let affine = nn::group_norm(2, 4, 1e-5, ParamStore::new(0, DType::F64, &Device::Cpu).var_builder())?;
    assert_eq!(difference(&plain, &affine.forward(&x)?), 0.);
    let plain = nn::layer_norm_no_affine(9, 1e-5, vb.pp("norm"))?.forward(&x)?;
    assert!(plain.mean_keepdim(D::Minus1)?.abs()?.max_all()?.to_scalar::<f64>()? < 1e-12);
    assert_eq!(store.trainable().len(), count, "norms without parameters made some");
    Ok(())
}

#[test]
fn learned_slopes_have_right_gradients() -> Result<()> {
    for (shape, slopes) in [(vec![5], 1), (vec![7, 3], 1), (vec![7, 3], 3), (vec![2, 3, 4], 3), (vec![2, 3, 2, 2], 1)] {
        let (x, slopes) = (normal(1, shape.clone()), normal(2, slopes));
        gradcheck(|t| ops::prelu(&t[0], &t[1]), &[x.clone(), slopes.clone()])?;
        // the formula, and f32
        let view: Vec<usize> = (0..x.rank()).map(|d| if d == 1 && slopes.elem_count() > 1 { 3 } else { 1 }).collect();
        let formula = x.ge(0.)?.where_cond(&x, &x.broadcast_mul(&slopes.reshape(view)?)?)?;
        assert!(difference(&ops::prelu(&x, &slopes)?, &formula) == 0.);
        let narrow = ops::prelu(&x.to_dtype(DType::F32)?, &slopes.to_dtype(DType::F32)?)?;
        assert!(difference(&narrow.to_dtype(DType::F64)?, &formula) < 1e-6);
    }
    let zero = Var::zeros(3, DType::F64, &Device::Cpu)?;
    let slope = Tensor::new(&[0.3f64], &Device::Cpu)?;
    let grads = core_tensor::backward(&ops::sum_all(&ops::prelu(&zero, &slope)?)?)?;
    assert_eq!(grads.get(&zero).unwrap().to_vec1::<f64>()?, [0.3; 3]);
    assert_eq!(
        ops::prelu(&Tensor::zeros((0, 4), DType::F32, &Device::Cpu)?, &Tensor::zeros(4, DType::F32, &Device::Cpu)?)?
            .dims(),
        [0, 4]
    );
    for slopes in [
        Tensor::zeros(2, DType::F64, &Device::Cpu)?,
        Tensor::zeros((1, 3), DType::F64, &Device::Cpu)?,
        Tensor::zeros(3, DType::F32, &Device::Cpu)?,
    ] {
        assert!(ops::prelu(&normal(1, (4, 3)), &slopes).is_err());
    }
    Ok(())
}

#[test]
fn many_rows_share_one_slope_gradient() -> Result<()> {
    // more rows than one task sums
    let (x, slope) = (normal(3, (1000, 5)), Var::from_tensor(&Tensor::new(&[0.25f64], &Device::Cpu)?)?);
    let weights = normal(4, (1000, 5));
    let grads = core_tensor::backward(&ops::sum_all(&ops::mul(&ops::prelu(&x, &slope)?, &weights)?)?)?;
    let expected = (x.minimum(0.)? * &weights)?.sum_all()?.to_scalar::<f64>()?;
    assert!((grads.get(&slope).unwrap().to_vec1::<f64>()?[0] - expected).abs() < 1e-10);
    Ok(())
}

#[test]
fn replaced_rows_have_right_gradients() -> Result<()> {
    for (shape, rows) in
        [(vec![4, 3], vec![2, 0]), (vec![5], vec![4]), (vec![3, 2, 2], vec![0, 1, 2]), (vec![3, 2], vec![])]
    {
        let x = normal(1, shape.clone());
        let mut of_values = shape.clone();
        of_values[0] = rows.len();
        let values = normal(2, of_values);
        let inputs = if rows.is_empty() { vec![x.clone()] } else { vec![x.clone(), values.clone()] };
        gradcheck(|t| ops::replace_rows(&t[0], &rows, t.get(1).unwrap_or(&values)), &inputs)?;
        let y = ops::replace_rows(&x, &rows, &values)?;
        for i in 0..shape[0] as u32 {
            let expected = match rows.iter().position(|&row| row == i) {
                Some(at) => values.get(at)?,
                None => x.get(i as usize)?,
            };
            assert!(difference(&y.get(i as usize)?, &expected) == 0.);
        }
    }
    let (x, one) = (normal(1, (4, 3)), normal(2, (1, 3)));
    assert!(ops::replace_rows(&x, &[4], &one).is_err());
    assert!(ops::replace_rows(&x, &[1, 1], &normal(2, (2, 3))).is_err());
    assert!(ops::replace_rows(&x, &[1], &normal(2, (1, 2))).is_err());
    assert!(ops::replace_rows(&x, &[1], &one.to_dtype(DType::F32)?).is_err());
    Ok(())
}
