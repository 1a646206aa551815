//! Dense kernels of core-tensor.
//!
//! Where inner dimensions are at most 2, the `gemm` crate takes a short way; on its general one it clears some thousand flags for each product, whatever its
//! size, which takes Miri a second.

#![forbid(unsafe_code)]

use candle_core::{DType, Device, Tensor};
use core_tensor::ops::{self, AttentionConfig, Conv1dConfig, Conv2dConfig, ConvTranspose2dConfig, Pool2dConfig};
use core_tensor::random::{Rng, dropout};
use miri_tests::{check, results, tensor};

#[test]
fn element_wise_functions() {
    type Function = fn(&Tensor) -> core_tensor::Result<Tensor>;
    let functions: [(&str, Function); 9] = [
        ("relu", ops::relu),
        ("sigmoid", ops::sigmoid),
        ("tanh", ops::tanh),
        ("gelu", ops::gelu),
        ("gelu_tanh", ops::gelu_tanh),
        ("silu", ops::silu),
        ("softplus", ops::softplus),
        ("exp", ops::exp),
        ("elu", |x| ops::elu(x, 0.5)),
    ];
    for (name, function) in functions {
        check(name, &[tensor(&[3, 7], 1)], |x| function(&x[0]));
    }
    check("leaky_relu", &[tensor(&[19], 1)], |x| ops::leaky_relu(&x[0], 0.1));
    check("add_relu", &[tensor(&[3, 7], 1), tensor(&[3, 7], 2)], |x| ops::add_relu(&x[0], &x[1]));
    check("swiglu", &[tensor(&[3, 7], 1), tensor(&[3, 7], 2)], |x| ops::swiglu(&x[0], &x[1]));
}

#[test]
fn biases() {
    for (name, function) in [
        ("bias_add", ops::bias_add as fn(&Tensor, &Tensor) -> core_tensor::Result<Tensor>),
        ("bias_relu", ops::bias_relu),
        ("bias_gelu", ops::bias_gelu),
        ("bias_silu", ops::bias_silu),
        ("bias_tanh", ops::bias_tanh),
    ] {
        check(name, &[tensor(&[3, 5], 1), tensor(&[5], 2)], |x| function(&x[0], &x[1]));
    }
}

#[test]
fn sums_and_means() {
    check("sum_dim0", &[tensor(&[5, 3], 1)], |x| ops::sum_dim0(&x[0]));
    check("sum_all", &[tensor(&[5, 7], 1)], |x| ops::sum_all(&x[0]));
    check("mean_all", &[tensor(&[5, 7], 1)], |x| ops::mean_all(&x[0]));
}

#[test]
fn products() {
    check("matmul", &[tensor(&[2, 2, 2], 1), tensor(&[2, 2, 2], 2)], |x| ops::matmul(&x[0], &x[1]));
    check("linear", &[tensor(&[2, 2], 1), tensor(&[2, 2], 2), tensor(&[2], 3)], |x| {
        ops::linear(&x[0], &x[1], Some(&x[2]))
    });
    // the general way, and long enough for the blocks of 8 × 8 of the transposition
    check("linear of 17", &[tensor(&[9, 17], 1), tensor(&[11, 17], 2)], |x| ops::linear(&x[0], &x[1], None));
}

#[test]
fn normalisations() {
    let (x, weight, bias) = (tensor(&[2, 6], 1), tensor(&[6], 2), tensor(&[6], 3));
    check("layer_norm", &[x.clone(), weight.clone(), bias.clone()], |x| ops::layer_norm(&x[0], &x[1], &x[2], 1e-5));
    check("rms_norm", &[x, weight.clone()], |x| ops::rms_norm(&x[0], &x[1], 1e-5));
    let image = tensor(&[2, 6, 3, 2], 4);
    let inputs = [image, weight, bias];
    check("group_norm", &inputs, |x| ops::group_norm(&x[0], 2, &x[1], &x[2], 1e-5));
    check("batch_norm_train", &inputs, |x| Ok(ops::batch_norm_train(&x[0], &x[1], &x[2], 1e-5)?.0));
}

#[test]
fn softmaxes() {
    check("softmax", &[tensor(&[3, 5], 1)], |x| ops::softmax(&x[0]));
    check("log_softmax", &[tensor(&[3, 5], 1)], |x| ops::log_softmax(&x[0]));
    check("softmax_dim", &[tensor(&[2, 3, 4], 1)], |x| ops::softmax_dim(&x[0], 1));
    check("log_softmax_dim", &[tensor(&[2, 3, 4], 1)], |x| ops::log_softmax_dim(&x[0], 1));
}

#[test]
fn losses() {
    let targets = Tensor::new(&[1u32, 0, 4], &Device::Cpu).unwrap();
    check("cross_entropy", &[tensor(&[3, 5], 1)], |x| ops::cross_entropy(&x[0], &targets));
    check("cross_entropy_each", &[tensor(&[3, 5], 1)], |x| ops::cross_entropy_each(&x[0], &targets));
    check("mse", &[tensor(&[3, 5], 1), tensor(&[3, 5], 2)], |x| ops::mse(&x[0], &x[1]));
    check("huber", &[tensor(&[3, 5], 1), tensor(&[3, 5], 2)], |x| ops::huber(&x[0], &x[1], 0.5));
    check("l1", &[tensor(&[3, 5], 1), tensor(&[3, 5], 2)], |x| ops::l1(&x[0], &x[1]));
    let share = tensor(&[3, 5], 2).abs().unwrap();
    check("bce_with_logits", &[tensor(&[3, 5], 1)], |x| ops::bce_with_logits(&x[0], &share.to_dtype(x[0].dtype())?));
}

fn conv(name: &str, x: [usize; 4], weight: [usize; 4], config: Conv2dConfig) {
    check(name, &[tensor(&x, 1), tensor(&weight, 2), tensor(&weight[..1], 3)], |x| {
        ops::conv2d(&x[0], &x[1], Some(&x[2]), &config)
    });
}

#[test]
fn convolutions() {
    let plain = Conv2dConfig::default();
    conv("plain", [1, 2, 5, 4], [3, 2, 3, 3], plain);
    conv("strided", [2, 2, 5, 5], [2, 2, 3, 3], Conv2dConfig { stride: (2, 2), padding: (1, 1), ..plain });
    conv("dilated", [1, 2, 6, 5], [2, 2, 3, 2], Conv2dConfig { dilation: (2, 1), padding: (1, 0), ..plain });
    conv("1 × 1", [2, 3, 2, 2], [2, 3, 1, 1], plain);
}

#[test]
fn grouped_convolutions() {
    let plain = Conv2dConfig::default();
    conv("groups", [1, 4, 4, 4], [4, 2, 3, 3], Conv2dConfig { groups: 2, ..plain });
    conv("narrow groups", [1, 4, 3, 10], [4, 2, 3, 3], Conv2dConfig { groups: 2, ..plain });
    conv("depthwise", [1, 3, 5, 5], [3, 1, 3, 3], Conv2dConfig { groups: 3, padding: (1, 1), ..plain });
}

/// Multiples of 16 channels; a hundred products, so in one dtype alone.
#[test]
fn convolutions_by_winograd() {
    let config = Conv2dConfig { padding: (1, 1), ..Conv2dConfig::default() };
    let inputs = [tensor(&[1, 16, 3, 4], 1), tensor(&[16, 16, 3, 3], 2)];
    let found = results("Winograd", &inputs, DType::F32, |x| ops::conv2d(&x[0], &x[1], None, &config));
    assert!(found.iter().flatten().all(|value| value.is_finite()));
}

#[test]
fn other_convolutions() {
    let causal = Conv1dConfig { is_causal: true, ..Conv1dConfig::default() };
    check("causal", &[tensor(&[2, 2, 6], 1), tensor(&[3, 2, 2], 2)], |x| ops::conv1d(&x[0], &x[1], None, &causal));
    let up = ConvTranspose2dConfig { stride: (2, 2), padding: (1, 1), output_padding: (1, 1), ..Default::default() };
    check("transposed", &[tensor(&[1, 2, 3, 3], 1), tensor(&[2, 3, 3, 3], 2)], |x| {
        ops::conv_transpose2d(&x[0], &x[1], None, &up)
    });
}

#[test]
fn pools() {
    let x = [tensor(&[1, 2, 5, 4], 1)];
    let windows = Pool2dConfig { kernel: (3, 2), stride: (2, 1), padding: (1, 1) };
    check("max_pool2d", &x, |x| ops::max_pool2d(&x[0], windows));
    check("avg_pool2d", &x, |x| ops::avg_pool2d(&x[0], windows));
    check("global_avg_pool", &x, |x| ops::global_avg_pool(&x[0]));
    check("adaptive_avg_pool2d", &x, |x| ops::adaptive_avg_pool2d(&x[0], (2, 3)));
}

#[test]
fn attentions() {
    let qkv = [tensor(&[2, 2, 2], 1), tensor(&[2, 2, 2], 2), tensor(&[2, 2, 1], 3)];
    for is_causal in [false, true] {
        let config = AttentionConfig { is_causal, ..AttentionConfig::default() };
        check("attention", &qkv, |x| ops::attention(&x[0], &x[1], &x[2], &config));
    }
    check("relative_attention", &[tensor(&[1, 2, 12], 1), tensor(&[2, 4], 2)], |x| {
        ops::relative_attention(&x[0], &x[1], 2)
    });
}

#[test]
fn recurrences() {
    let (h0, c0) = (tensor(&[2, 2], 3), tensor(&[2, 2], 4));
    check("lstm", &[tensor(&[2, 2, 8], 1), tensor(&[8, 2], 2), h0.clone(), c0], |x| {
        Ok(ops::lstm(&x[0], &x[1], &x[2], &x[3])?.0)
    });
    check("gru", &[tensor(&[2, 2, 6], 1), tensor(&[6, 2], 2), tensor(&[6], 5), h0], |x| {
        ops::gru(&x[0], &x[1], &x[2], &x[3])
    });
}

#[test]
fn experts() {
    // the second expert has no rows, row 3 has two experts, rows 1 and 2 none
    let groups = ops::RowGroups::new(vec![0, 2, 2, 4], vec![3, 0, 3, 4], 5).unwrap();
    for activation in [ops::ExpertActivation::Gelu, ops::ExpertActivation::SwiGlu] {
        let inputs = [tensor(&[5, 2], 1), tensor(&[3, activation.width(2), 2], 2), tensor(&[3, 2, 2], 3)];
        check("grouped_feed_forward", &inputs, |x| ops::grouped_feed_forward(&x[0], &x[1], &x[2], &groups, activation));
    }
    let places = [Some(1), None, Some(0), Some(3)];
    check("weighted_rows", &[tensor(&[4, 3], 1), tensor(&[2, 2], 2)], |x| {
        ops::weighted_rows(&x[0], Some(&x[1]), &places, 2)
    });
}

#[test]
fn table_look_ups() {
    let ids = Tensor::new(&[2u32, 0, 2], &Device::Cpu).unwrap();
    check("embedding", &[tensor(&[4, 3], 1)], |x| ops::embedding(&x[0], &ids));
    check("scatter_add", &[tensor(&[3, 2], 1)], |x| ops::scatter_add(&x[0], &ids, 4));
}

#[test]
fn dropped_elements() {
    let x = tensor(&[5, 5], 1).to_dtype(DType::F32).unwrap();
    let y = dropout(&x, 0.5, &mut Rng::new(0)).unwrap();
    assert_eq!(y.dims(), x.dims());
}

/// More work than one task takes: with two threads in the pool, as CI has it, each writes parts of one vector.
#[test]
fn threads_write_their_own_parts() {
    let x = Tensor::zeros((2, 35_000), DType::F32, &Device::Cpu).unwrap();
    let y = ops::add_relu(&x, &x).unwrap();
    assert_eq!(y.dims(), x.dims());
    // tasks that take their parts through a shared pointer: one for each head
    let q = tensor(&[2, 41, 2], 1).to_dtype(DType::F32).unwrap();
    let y = ops::attention(&q, &q, &q, &AttentionConfig::default()).unwrap();
    assert_eq!(y.dims(), q.dims());
}
