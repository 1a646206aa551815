//! Convolutions against finite differences, Candle's own and each other.

#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor, Var};
use core_tensor::Result;
use core_tensor::gradcheck::gradcheck;
use core_tensor::ops::{self, Conv1dConfig, Conv2dConfig, ConvTranspose2dConfig};
use core_tensor::random::Rng;

fn normal(seed: u64, shape: impl Into<candle_core::Shape>) -> Tensor {
    Rng::new(seed).normal(0., 1., shape, DType::F64, &Device::Cpu).unwrap()
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
fn gradients_are_right_for_strides_paddings_dilations_and_groups() -> Result<()> {
    // (in, out, height, width, kernel, stride, padding, dilation, groups)
    type Case = (usize, usize, (usize, usize), (usize, usize), (usize, usize), (usize, usize), (usize, usize), usize);
    let cases: [Case; 12] = [
        (2, 3, (5, 4), (3, 3), (1, 1), (1, 1), (1, 1), 1),
        (2, 3, (5, 7), (3, 2), (2, 1), (0, 1), (1, 1), 1),
        (4, 6, (4, 5), (3, 3), (1, 2), (1, 2), (1, 1), 2),
        (3, 3, (5, 5), (3, 3), (1, 1), (1, 1), (1, 1), 3),
        (3, 6, (6, 5), (3, 2), (2, 2), (1, 1), (1, 2), 3),
        (2, 2, (7, 7), (3, 3), (1, 1), (2, 2), (2, 2), 1),
        (3, 2, (3, 4), (1, 1), (1, 1), (0, 0), (1, 1), 1),
        (3, 2, (3, 4), (1, 1), (2, 2), (1, 0), (1, 1), 1),
        (1, 1, (1, 1), (1, 1), (1, 1), (0, 0), (1, 1), 1),
        (1, 2, (1, 6), (1, 3), (1, 3), (0, 3), (1, 2), 1),
        (2, 2, (2, 2), (2, 2), (1, 1), (3, 3), (1, 1), 1),
        (4, 4, (5, 3), (5, 3), (3, 3), (4, 4), (1, 1), 4),
    ];
    for (seed, (inputs, outputs, size, kernel, stride, padding, dilation, groups)) in (0..).zip(cases) {
        let x = normal(seed, (2, inputs, size.0, size.1));
        let w = normal(seed + 100, (outputs, inputs / groups, kernel.0, kernel.1));
        let config = Conv2dConfig { stride, padding, dilation, groups };
        gradcheck(|t| ops::conv2d(&t[0], &t[1], Some(&t[2]), &config), &[x, w, normal(seed + 200, outputs)])?;
    }
    Ok(())
}

#[test]
fn gradients_of_the_minimal_filtering_form_are_right() -> Result<()> {
    // 16 channels on both sides select it; odd sizes leave half tiles.
    for (seed, (height, width, padding)) in [(4, 4, 1), (3, 5, 1), (4, 3, 0), (2, 3, 2)].into_iter().enumerate() {
        let config = Conv2dConfig { padding: (padding, padding), ..Default::default() };
        let x = normal(seed as u64, (1, 16, height, width));
        let w = (normal(seed as u64 + 50, (16, 16, 3, 3)) * 0.3)?;
        gradcheck(|t| ops::conv2d(&t[0], &w, None, &config), std::slice::from_ref(&x))?;
        let narrow = w.narrow(1, 0, 16)?;
        let plain = x.clone();
        let bias = normal(9, 16);
        gradcheck(
            |t| {
                // Few of the weights are free, so that the check stays quick.
                let w = Tensor::cat(&[&narrow.narrow(0, 0, 15)?, &t[0]], 0)?;
                ops::conv2d(&plain, &w, Some(&t[1]), &config)
            },
            &[w.narrow(0, 15, 1)?.contiguous()?, bias],
        )?;
    }
    Ok(())
}

#[test]
fn gradients_of_transposes_and_of_one_dimension_are_right() -> Result<()> {
    for (seed, (stride, padding, output_padding, dilation, groups)) in
        (0..).zip([(1, 0, 0, 1, 1), (2, 1, 1, 1, 1), (2, 1, 0, 1, 2), (3, 2, 2, 2, 1), (1, 1, 0, 2, 2)])
    {
        let config = ConvTranspose2dConfig {
            stride: (stride, 1),
            padding: (padding, 0),
            output_padding: (output_padding, 0),
            dilation: (dilation, 1),
            groups,
        };
        let (x, w) = (normal(seed, (2, 4, 3, 2)), normal(seed + 100, (4, 3, 3, 2)));
        let bias = normal(seed + 200, 3 * groups);
        gradcheck(|t| ops::conv_transpose2d(&t[0], &t[1], Some(&t[2]), &config), &[x, w, bias])?;
    }
    for (seed, (stride, padding, dilation, is_causal)) in
        (0..).zip([(1, 0, 1, false), (2, 1, 2, false), (1, 0, 2, true), (3, 4, 1, false)])
    {
        let config = Conv1dConfig { stride, padding, dilation, groups: 1, is_causal };
        let (x, w) = (normal(seed, (2, 3, 7)), normal(seed + 100, (2, 3, 3)));
        gradcheck(|t| ops::conv1d(&t[0], &t[1], None, &config), &[x, w])?;
    }
    let config = ConvTranspose2dConfig { stride: (1, 2), padding: (0, 1), ..Default::default() };
    gradcheck(|t| ops::conv_transpose1d(&t[0], &t[1], None, &config), &[normal(1, (2, 3, 4)), normal(2, (3, 2, 4))])
}

#[test]
fn gradients_survive_views() -> Result<()> {
    let config = Conv2dConfig { padding: (1, 1), ..Default::default() };
    gradcheck(
        |t| ops::conv2d(&t[0].permute((0, 3, 1, 2))?, &t[1].transpose(0, 1)?, None, &config),
        &[normal(1, (2, 4, 3, 2)), normal(2, (2, 3, 3, 3))],
    )?;
    gradcheck(
        |t| ops::conv1d(&t[0].transpose(1, 2)?, &t[1].narrow(2, 1, 3)?, None, &Conv1dConfig::default()),
        &[normal(1, (2, 6, 2)), normal(2, (3, 2, 5))],
    )
}

#[test]
fn values_equal_candles_on_larger_shapes() -> Result<()> {
    for (images, inputs, outputs, size, kernel, stride, padding, dilation, groups) in [
        (3, 16, 32, 11, 3, 1, 1, 1, 1),
        (70, 16, 16, 4, 3, 1, 1, 1, 1),
        (2, 32, 16, 33, 3, 1, 0, 1, 1),
        (5, 8, 12, 13, 5, 2, 2, 1, 4),
        (1, 3, 64, 40, 3, 1, 1, 1, 1),
        (2, 6, 6, 30, 3, 1, 2, 2, 6),
        (2, 5, 7, 9, 1, 1, 0, 1, 1),
    ] {
        let (x, w) = (normal(1, (images, inputs, size, size)), normal(2, (outputs, inputs / groups, kernel, kernel)));
        let (x, w) = (Var::from_tensor(&x)?, Var::from_tensor(&w)?);
        let pair = |n: usize| (n, n);
        let config = Conv2dConfig { stride: pair(stride), padding: pair(padding), dilation: pair(dilation), groups };
        let ours = ops::conv2d(&x, &w, None, &config)?;
        let theirs = x.conv2d(&w, padding, stride, dilation, groups)?;
        assert!(difference(&ours, &theirs) < 1e-10);
        let seed = normal(3, ours.shape());
        let ours = (ours * &seed)?.sum_all()?.backward()?;
        let theirs = (theirs * &seed)?.sum_all()?.backward()?;
        for var in [&x, &w] {
            assert!(difference(ours.get(var).unwrap(), theirs.get(var).unwrap()) < 1e-9);
        }
    }
    Ok(())
}

#[test]
fn single_precision_is_near_double() -> Result<()> {
    let config = Conv2dConfig { padding: (1, 1), ..Default::default() };
    let (x, w) = (normal(1, (2, 64, 9, 9)), normal(2, (64, 64, 3, 3)));
    let wide = ops::conv2d(&x, &w, None, &config)?;
    let narrow = ops::conv2d(&x.to_dtype(DType::F32)?, &w.to_dtype(DType::F32)?, None, &config)?;
    // Sums of 576 products of standard normals: values of about 24, errors of a few roundings of that.
    assert!(difference(&wide, &narrow.to_dtype(DType::F64)?) < 1e-4);
    Ok(())
}

#[test]
fn every_number_of_threads_gives_the_same_bits() {
    let run = || -> Vec<f32> {
        let mut rng = Rng::new(0);
        let mut leaf = |shape: (usize, usize, usize, usize)| {
            Var::from_tensor(&rng.normal(0., 1., shape, DType::F32, &Device::Cpu).unwrap()).unwrap()
        };
        let mut bits = Vec::new();
        for (x, w, groups, stride) in [
            (leaf((9, 16, 12, 12)), leaf((32, 16, 3, 3)), 1, 1),
            (leaf((9, 16, 12, 12)), leaf((32, 16, 3, 3)), 1, 2),
            (leaf((9, 16, 12, 12)), leaf((16, 1, 3, 3)), 16, 1),
            (leaf((1, 16, 40, 40)), leaf((8, 8, 3, 3)), 2, 1),
            (leaf((1, 16, 40, 40)), leaf((16, 16, 3, 3)), 1, 1),
        ] {
            let config = Conv2dConfig { padding: (1, 1), stride: (stride, stride), groups, ..Default::default() };
            let y = ops::conv2d(&x, &w, None, &config).unwrap();
            let grads = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            for tensor in [y.detach(), grads.get(&x).unwrap().clone(), grads.get(&w).unwrap().clone()] {
                bits.extend(tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap());
            }
        }
        bits
    };
    let with_threads = |n: usize| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap().install(run);
    let one = with_threads(1);
    assert!(one == with_threads(2));
    assert!(one == with_threads(3));
}

#[test]
fn empty_batches_are_handled_and_misfits_refused() {
    let config = Conv2dConfig { padding: (1, 1), ..Default::default() };
    let w = normal(0, (3, 2, 3, 3));
    assert_eq!(ops::conv2d(&normal(0, (0, 2, 4, 4)), &w, None, &config).unwrap().dims(), [0, 3, 4, 4]);
    let empty = Var::from_tensor(&normal(0, (0, 2, 4, 4))).unwrap();
    let w_var = Var::from_tensor(&w).unwrap();
    let grads = ops::conv2d(&empty, &w_var, None, &config).unwrap().sum_all().unwrap().backward().unwrap();
    assert_eq!(grads.get(&w_var).unwrap().sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap(), 0.);
    let x = normal(0, (1, 2, 4, 4));
    for bad in [
        Conv2dConfig { stride: (0, 1), ..config },
        Conv2dConfig { dilation: (1, 0), ..config },
        Conv2dConfig { groups: 0, ..config },
        Conv2dConfig { groups: 2, ..config },
        Conv2dConfig { dilation: (4, 4), ..config },
        Conv2dConfig { groups: usize::MAX, ..config },
        Conv2dConfig { padding: (usize::MAX, 1), ..config },
        Conv2dConfig { stride: (1, usize::MAX), dilation: (usize::MAX, 1), ..config },
    ] {
        assert!(ops::conv2d(&x, &w, None, &bad).is_err(), "{bad:?}");
    }
    assert!(ops::conv2d(&x, &normal(0, (3, 1, 3, 3)), None, &config).is_err());
    assert!(ops::conv2d(&x, &w, Some(&normal(0, 2)), &config).is_err());
    assert!(ops::conv2d(&x.to_dtype(DType::F32).unwrap(), &w, None, &config).is_err());
    assert!(ops::conv2d(&x.get(0).unwrap(), &w, None, &config).is_err());
    assert!(ops::conv2d(&x, &normal(0, (3, 2, 0, 3)), None, &config).is_err());
    let causal = Conv1dConfig { is_causal: true, padding: 1, ..Default::default() };
    assert!(ops::conv1d(&normal(0, (1, 2, 5)), &normal(0, (3, 2, 3)), None, &causal).is_err());
    let far = Conv1dConfig { is_causal: true, dilation: usize::MAX, ..Default::default() };
    assert!(ops::conv1d(&normal(0, (1, 2, 5)), &normal(0, (3, 2, 3)), None, &far).is_err());
    let transpose = ConvTranspose2dConfig { stride: (usize::MAX, 1), ..Default::default() };
    assert!(ops::conv_transpose2d(&x, &normal(0, (2, 3, 3, 3)), None, &transpose).is_err());
    let transpose = ConvTranspose2dConfig { output_padding: (1, 0), ..Default::default() };
    assert!(ops::conv_transpose2d(&x, &normal(0, (2, 3, 3, 3)), None, &transpose).is_err());
    assert!(ops::conv_transpose2d(&x, &normal(0, (3, 3, 3, 3)), None, &Default::default()).is_err());
}

#[test]
fn nan_and_infinity_reach_what_they_touch() {
    let mut values = vec![0f32; 16 * 36];
    values[7] = f32::NAN;
    let x = Tensor::from_vec(values, (1, 16, 6, 6), &Device::Cpu).unwrap();
    let w = Tensor::ones((16, 16, 3, 3), DType::F32, &Device::Cpu).unwrap();
    let config = Conv2dConfig { padding: (1, 1), ..Default::default() };
    let y = ops::conv2d(&x, &w, None, &config).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    // Position (1, 1) touches rows and columns 0 to 2; the tiles of 2×2 outputs may carry it one further.
    assert!(y[0].is_nan() && y[14].is_nan());
    assert_eq!(y[35], 0.);
}

#[test]
fn no_input_channels_give_the_bias() -> Result<()> {
    for (stride, kernel) in [(1, 3), (2, 1), (1, 1)] {
        let x = Var::zeros((2, 0, 5, 4), DType::F32, &Device::Cpu)?;
        let weight = Var::zeros((3, 0, kernel, kernel), DType::F32, &Device::Cpu)?;
        let bias = Var::new(&[1f32, 2., 3.], &Device::Cpu)?;
        let config =
            Conv2dConfig { stride: (stride, stride), padding: (kernel / 2, kernel / 2), ..Conv2dConfig::default() };
        let y = ops::conv2d(&x, &weight, Some(&bias), &config)?;
        let positions = y.dims()[2] * y.dims()[3];
        assert_eq!(y.sum((2, 3))?.to_vec2::<f32>()?, [[1f32, 2., 3.].map(|b| b * positions as f32); 2]);
        let gradients = core_tensor::backward(&ops::sum_all(&y)?)?;
        assert_eq!(gradients.get(&bias).expect("a gradient").to_vec1::<f32>()?, [2. * positions as f32; 3]);
        assert_eq!(ops::conv2d(&x, &weight, None, &config)?.abs()?.max_all()?.to_scalar::<f32>()?, 0.);
    }
    Ok(())
}
