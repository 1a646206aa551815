//! Values and gradients of every operation against PyTorch's, and a state dict of PyTorch in our layers.

#![allow(clippy::unwrap_used)]

mod golden;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{Module, ModuleT};
use core_tensor::ops::{
    self, AttentionConfig, Conv1dConfig, Conv2dConfig, ConvTranspose2dConfig, Epilogue, Pool2dConfig,
};
use core_tensor::params::ParamStore;
use core_tensor::{Result, nn};
use serde_json::Value;

struct Case<'a>(&'a Value);

impl Case<'_> {
    fn number(&self, name: &str) -> f64 {
        self.0["options"][name].as_f64().unwrap_or_else(|| panic!("{name} of {}", self.0["op"]))
    }

    fn size(&self, name: &str) -> usize {
        self.number(name) as usize
    }

    fn pair(&self, name: &str) -> (usize, usize) {
        (self.size(name), self.size(name))
    }

    fn buffer(&self, name: &str) -> Option<Tensor> {
        self.0["buffers"].get(name).map(golden::tensor)
    }

    fn integers(&self, name: &str) -> Tensor {
        golden::tensor(&self.0["integers"][name]).to_dtype(DType::U32).unwrap()
    }

    fn pool(&self) -> Pool2dConfig {
        Pool2dConfig { kernel: self.pair("kernel"), stride: self.pair("stride"), padding: self.pair("padding") }
    }

    fn transpose(&self) -> ConvTranspose2dConfig {
        ConvTranspose2dConfig {
            stride: self.pair("stride"),
            padding: self.pair("padding"),
            output_padding: self.pair("output_padding"),
            dilation: self.pair("dilation"),
            groups: self.size("groups"),
        }
    }

    fn run(&self, x: impl Fn(&str) -> Tensor) -> Result<Tensor> {
        let n = |name: &str| self.number(name);
        match self.0["op"].as_str().unwrap() {
            "conv2d" => {
                let config = Conv2dConfig {
                    stride: (self.size("stride_h"), self.size("stride_w")),
                    padding: (self.size("padding_h"), self.size("padding_w")),
                    dilation: (self.size("dilation_h"), self.size("dilation_w")),
                    groups: self.size("groups"),
                };
                ops::conv2d(&x("x"), &x("weight"), Some(&x("bias")), &config)
            }
            "conv1d" => {
                let (stride, padding) = (self.size("stride"), self.size("padding"));
                let (dilation, groups) = (self.size("dilation"), self.size("groups"));
                let config = Conv1dConfig { stride, padding, dilation, groups, is_causal: false };
                ops::conv1d(&x("x"), &x("weight"), Some(&x("bias")), &config)
            }
            "conv_transpose2d" => ops::conv_transpose2d(&x("x"), &x("weight"), Some(&x("bias")), &self.transpose()),
            "conv_transpose1d" => ops::conv_transpose1d(&x("x"), &x("weight"), Some(&x("bias")), &self.transpose()),
            "max_pool2d" => ops::max_pool2d(&x("x"), self.pool()),
            "avg_pool2d" => ops::avg_pool2d(&x("x"), self.pool()),
            "adaptive_avg_pool2d" => ops::adaptive_avg_pool2d(&x("x"), (self.size("height"), self.size("width"))),
            "layer_norm" => ops::layer_norm(&x("x"), &x("weight"), &x("bias"), n("eps")),
            "rms_norm" => ops::rms_norm(&x("x"), &x("weight"), n("eps")),
            "group_norm" => ops::group_norm(&x("x"), self.size("groups"), &x("weight"), &x("bias"), n("eps")),
            "batch_norm_train" => Ok(ops::batch_norm_train(&x("x"), &x("weight"), &x("bias"), n("eps"))?.0),
            "batch_norm_eval" => {
                let (mean, variance) = (self.buffer("mean").unwrap(), self.buffer("variance").unwrap());
                ops::batch_norm_eval(&x("x"), &mean, &variance, &x("weight"), &x("bias"), n("eps"))
            }
            "batch_norm_relu_train" => {
                let residual = x("residual");
                let epilogue = Epilogue { residual: Some(&residual), has_relu: true };
                Ok(ops::batch_norm_train_with(&x("x"), &x("weight"), &x("bias"), n("eps"), &epilogue)?.0)
            }
            "softmax" => ops::softmax_dim(&x("x"), self.size("dim")),
            "log_softmax" => ops::log_softmax_dim(&x("x"), self.size("dim")),
            "gelu" => ops::gelu(&x("x")),
            "gelu_tanh" => ops::gelu_tanh(&x("x")),
            "silu" => ops::silu(&x("x")),
            "softplus" => ops::softplus(&x("x")),
            "exp" => ops::exp(&x("x")),
            "sigmoid" => ops::sigmoid(&x("x")),
            "tanh" => ops::tanh(&x("x")),
            "elu" => ops::elu(&x("x"), n("alpha")),
            "swiglu" => ops::swiglu(&x("gate"), &x("x")),
            "add_relu" => ops::add_relu(&x("a"), &x("b")),
            "bias_gelu" => ops::bias_gelu(&x("x"), &x("bias")),
            "embedding" => ops::embedding(&x("weight"), &self.integers("ids")),
            "scatter_add" => ops::scatter_add(&x("x"), &self.integers("index"), self.size("size")),
            "attention" => {
                let is_causal = self.0["options"]["is_causal"].as_bool().unwrap();
                let config = AttentionConfig { scale: None, is_causal, mask: self.buffer("mask") };
                ops::attention(&x("q"), &x("k"), &x("v"), &config)
            }
            "lstm" => {
                let bias = (x("bias_ih") + x("bias_hh"))?;
                let gates = ops::linear(&x("x"), &x("weight_ih"), Some(&bias))?;
                let (h, c) = ops::lstm(&gates, &x("weight_hh"), &x("h0"), &x("c0"))?;
                Ok(Tensor::cat(&[h.flatten_all()?, c.flatten_all()?], 0)?)
            }
            "gru" => {
                let gates = ops::linear(&x("x"), &x("weight_ih"), Some(&x("bias_ih")))?;
                ops::gru(&gates, &x("weight_hh"), &x("bias_hh"), &x("h0"))
            }
            "cross_entropy" => {
                let class_weights = self.buffer("weight").map(|w| w.to_vec1::<f64>().unwrap());
                let config = ops::CrossEntropyConfig { label_smoothing: n("label_smoothing"), class_weights };
                ops::cross_entropy_with(&x("logits"), &self.integers("targets"), &config)
            }
            "soft_cross_entropy" => ops::soft_cross_entropy(&x("logits"), &x("targets")),
            "bce_with_logits" => ops::bce_with_logits(&x("logits"), &x("targets")),
            "kl_div" => ops::kl_div(&x("log_probabilities"), &x("probabilities")),
            "huber" => ops::huber(&x("x"), &x("targets"), n("delta")),
            "l1" => ops::l1(&x("x"), &x("targets")),
            other => panic!("the file has an operation that this test does not know: {other}"),
        }
    }
}

#[test]
fn operations_equal_pytorch() {
    let cases = golden::read("layers.json");
    for (number, case) in cases.as_array().unwrap().iter().enumerate() {
        let what = format!("case {number}, {}", case["op"]);
        let inputs: Vec<(&String, Var)> = case["inputs"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name, Var::from_tensor(&golden::tensor(value)).unwrap()))
            .collect();
        let find = |name: &str| inputs.iter().find(|(n, _)| *n == name).map(|(_, var)| var).unwrap();
        let y = Case(case).run(|name| find(name).as_tensor().clone()).unwrap_or_else(|e| panic!("{what}: {e}"));
        golden::assert_equal(&what, &y, &case["output"]);
        let count = y.elem_count();
        let seed: Vec<f64> = (0..count).map(|i| 0.5 + i as f64 / (count.max(2) - 1) as f64).collect();
        let seed = Tensor::from_vec(seed, y.shape(), &Device::Cpu).unwrap();
        let grads = (y * seed).unwrap().sum_all().unwrap().backward().unwrap();
        for (name, var) in &inputs {
            golden::assert_equal(
                &format!("{what}, gradient of {name}"),
                grads.get(var).unwrap(),
                &case["gradients"][*name],
            );
        }
    }
}

#[test]
fn operations_in_single_precision_are_near_pytorch() {
    let cases = golden::read("layers.json");
    for (number, case) in cases.as_array().unwrap().iter().enumerate() {
        let narrow = |value: &Value| golden::tensor(value).to_dtype(DType::F32).unwrap();
        if case["buffers"].is_object() {
            continue;
        }
        let y = Case(case).run(|name| narrow(&case["inputs"][name])).unwrap().to_dtype(DType::F64).unwrap();
        let expected = golden::tensor(&case["output"]);
        let scale = expected.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f64>().unwrap();
        let error = (y - expected).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
        let error = error.to_scalar::<f64>().unwrap();
        assert!(error < 2e-6 * (1. + scale), "case {number}, {}: {error} at scale {scale}", case["op"]);
    }
}

#[test]
fn a_state_dict_of_pytorch_loads_and_gives_its_values() -> Result<()> {
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let vb = store.var_builder();
    let conv = nn::conv2d(3, 4, 3, Conv2dConfig { padding: (1, 1), ..Default::default() }, vb.pp("conv"))?;
    let bn = nn::batch_norm2d(4, Default::default(), vb.pp("bn"))?;
    let ln = nn::layer_norm(4, 1e-5, vb.pp("ln"))?;
    let emb = nn::embedding(6, 4, vb.pp("emb"))?;
    let lin = nn::linear(4, 3, vb.pp("lin"))?;
    let attn = nn::multihead_attention(4, 2, vb.pp("attn"))?;
    let lstm = nn::lstm(4, 3, Default::default(), vb.pp("lstm"))?;
    let gru = nn::gru(4, 3, Default::default(), vb.pp("gru"))?;
    let gn = nn::group_norm(2, 4, 1e-5, vb.pp("gn"))?;
    let twice = ConvTranspose2dConfig { stride: (2, 2), ..Default::default() };
    let ct = nn::conv_transpose2d(4, 2, 2, twice, vb.pp("ct"))?;
    store.load(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/state_dict.safetensors"))?;
    let values = golden::read("state_dict.json");
    let input = |name: &str| golden::tensor(&values[name]["input"]).to_dtype(DType::F32).unwrap();
    let check = |name: &str, y: Tensor| {
        let expected = golden::tensor(&values[name]["output"]);
        assert_eq!(y.dims(), expected.dims(), "{name}");
        let error = (y.to_dtype(DType::F64).unwrap() - expected).unwrap().abs().unwrap();
        let error = error.flatten_all().unwrap().max(0).unwrap().to_scalar::<f64>().unwrap();
        assert!(error < 2e-6, "{name}: {error}");
    };
    check("conv", conv.forward(&input("conv"))?);
    check("bn", bn.forward_t(&input("bn"), false)?);
    check("ln", ln.forward(&input("ln"))?);
    check("emb", emb.forward(&golden::tensor(&values["emb"]["input"]).to_dtype(DType::U32)?)?);
    check("lin", lin.forward(&input("lin"))?);
    check("attn", attn.forward(&input("attn"), &AttentionConfig::default())?);
    check("attn", attn.forward_cross(&input("attn"), &input("attn"), &AttentionConfig::default())?);
    check("lstm", lstm.forward(&input("lstm"), None)?.0);
    check("gru", gru.forward(&input("gru"), None)?.0);
    check("gn", gn.forward(&input("gn"))?);
    check("ct", ct.forward(&input("ct"))?);
    Ok(())
}
