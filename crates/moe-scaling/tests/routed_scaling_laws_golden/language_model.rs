//! `tiny_lm.safetensors`: a whole model with every router. Sizes are those of its tensors. What it does not hold:
//!
//! | setting | value here |
//! |---|---|
//! | attention heads | the divisor of the attention's width with which the logits of hash routing come closest (2 in the committed file) |
//! | coefficients of losses, Sinkhorn's tolerance | the paper's, which are the defaults |

use crate::tensors::{Tensors, distance};
use approx::assert_relative_eq;
use candle_core::{DType, Device, Tensor};
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use moe_scaling::architecture::Architecture;
use moe_scaling::model::{
    RoutedTransformer, RouterConfig, TransformerConfig, routed_transformer, routed_transformer_with,
};
use moe_scaling::router::{Assignment, HashConfig, Reinforce, ReinforceConfig, Router, SBaseConfig, Tokens, reinforce};
use moe_scaling::{Mode, Result};

/// Four blocks in f64.
const TOLERANCE: f64 = 1e-9;

/// RL-R with the reference's random numbers.
#[derive(Debug)]
struct Replayed {
    router: Reinforce,
    uniforms: Vec<f64>,
}

impl Router for Replayed {
    fn num_experts(&self) -> usize {
        self.router.num_experts()
    }

    fn route(&self, tokens: &Tokens<'_>, _mode: &mut Mode<'_>) -> Result<Assignment> {
        self.router.route_with(tokens, &self.uniforms)
    }
}

struct Case {
    golden: Tensors,
    config: TransformerConfig,
    inputs: Tensor,
    targets: Tensor,
}

/// Experts for each token, as `name` chose them.
fn experts_per_token(golden: &Tensors, name: &str) -> usize {
    let prefix = format!("{name}.block.");
    let key = golden.names().find(|key| key.starts_with(&prefix) && key.ends_with(".selected"));
    golden.get(key.unwrap_or_else(|| panic!("no {prefix}….selected"))).dims()[1]
}

/// The number of heads, which the file does not say: a wrong one gives other logits.
fn heads(golden: &Tensors, width: usize) -> usize {
    let reference = golden.get("hash.logits");
    let error = |heads: &usize| {
        let case = case(golden.clone(), RouterConfig::Hash(HashConfig::Modulo), *heads);
        let build = |store: &ParamStore| routed_transformer(case.config.clone(), store.var_builder()).unwrap();
        let (model, _) = loaded(&case, build);
        distance(&model.forward(&case.inputs, &mut Mode::evaluate()).unwrap().logits, reference)
    };
    let divisors = (1..=width).filter(|heads| width.is_multiple_of(*heads));
    divisors.map(|heads| (error(&heads), heads)).min_by(|a, b| a.0.total_cmp(&b.0)).unwrap().1
}

fn read() -> Option<(Tensors, usize)> {
    let golden = Tensors::read("tiny_lm.safetensors")?;
    let heads = heads(&golden, golden.get("param.block.0.attention.q").dims()[0]);
    Some((golden, heads))
}

fn case(golden: Tensors, router: RouterConfig, heads: usize) -> Case {
    let (vocabulary, d_model) = golden.get("param.embedding").dims2().unwrap();
    let blocks = (0..).take_while(|l| golden.has(&format!("param.block.{l}.attention.q"))).count();
    let routed: Vec<usize> = (0..blocks).filter(|l| golden.has(&format!("param.block.{l}.router"))).collect();
    let experts = golden.get(&format!("param.block.{}.router", routed[0])).dims()[0];
    let width = golden.get("param.block.0.attention.q").dims()[0];
    let ids = golden.get("ids").to_dtype(DType::U32).unwrap();
    let length = ids.dims()[1] - 1;
    let (inputs, targets) = (ids.narrow(1, 0, length).unwrap(), ids.narrow(1, 1, length).unwrap());
    let architecture = Architecture {
        d_model,
        blocks,
        heads,
        head_size: width / heads,
        routing_frequency: routed.len() as f64 / blocks as f64,
    };
    assert_eq!(architecture.routed_blocks().unwrap(), routed);
    let config =
        TransformerConfig { vocabulary, context: length, architecture, experts, router, capacity: Default::default() };
    Case { golden, config, inputs: inputs.contiguous().unwrap(), targets: targets.contiguous().unwrap() }
}

fn check(name: &str, case: &Case, model: &RoutedTransformer, store: &ParamStore, mode: &mut Mode<'_>) {
    let golden = &case.golden;
    let output = model.forward(&case.inputs, mode).unwrap();
    assert!(distance(&output.logits, golden.get(&format!("{name}.logits"))) < TOLERANCE, "{name}: logits");
    for (layer, block) in case.config.architecture.routed_blocks().unwrap().into_iter().enumerate() {
        assert_eq!(output.experts[layer], golden.u32s(&format!("{name}.block.{block}.selected")));
    }
    let (cross_entropy, total) = output.loss(&case.targets).unwrap();
    let scalar = |t: &Tensor| t.to_scalar::<f64>().unwrap();
    assert_relative_eq!(scalar(&cross_entropy), golden.scalar(&format!("{name}.cross_entropy")), epsilon = TOLERANCE);
    assert_relative_eq!(scalar(&total), golden.scalar(&format!("{name}.total_loss")), epsilon = TOLERANCE);
    let grads = core_tensor::backward(&total).unwrap();
    let mut compared = 0;
    for (parameter, var) in store.trainable() {
        let key = format!("{name}.grad.{parameter}");
        if golden.has(&key) {
            let gradient = grads.get(&var).unwrap_or_else(|| panic!("{name}: no gradient of {parameter}"));
            assert!(distance(gradient, golden.get(&key)) < TOLERANCE, "{key}");
            compared += 1;
        }
    }
    let expected = golden.names().filter(|key| key.starts_with(&format!("{name}.grad."))).count();
    assert_eq!(compared, expected, "{name}: parameters with a reference gradient");
}

fn loaded(case: &Case, build: impl FnOnce(&ParamStore) -> RoutedTransformer) -> (RoutedTransformer, ParamStore) {
    let store = ParamStore::new(0, DType::F64, &Device::Cpu);
    let model = build(&store);
    for (name, _) in store.vars() {
        store.set(&name, case.golden.get(&format!("param.{name}"))).unwrap();
    }
    (model, store)
}

#[test]
fn s_base_and_greedy_evaluation() {
    let Some((golden, heads)) = read() else { return };
    let k = experts_per_token(&golden, "sbase");
    let case = case(golden, RouterConfig::SBase(SBaseConfig { k, ..SBaseConfig::default() }), heads);
    let build = |store: &ParamStore| routed_transformer(case.config.clone(), store.var_builder()).unwrap();
    let (model, store) = loaded(&case, build);
    check("sbase", &case, &model, &store, &mut Mode::train(&mut Rng::new(0)));
    check("greedy", &case, &model, &store, &mut Mode::evaluate());
}

#[test]
fn hash() {
    let Some((golden, heads)) = read() else { return };
    let case = case(golden, RouterConfig::Hash(HashConfig::Modulo), heads);
    let build = |store: &ParamStore| routed_transformer(case.config.clone(), store.var_builder()).unwrap();
    let (model, store) = loaded(&case, build);
    check("hash", &case, &model, &store, &mut Mode::train(&mut Rng::new(0)));
}

#[test]
fn rl_r() {
    let config = ReinforceConfig::default();
    let Some((golden, heads)) = read() else { return };
    let case = case(golden, RouterConfig::Reinforce(config), heads);
    let (d_model, experts) = (case.config.architecture.d_model, case.config.experts);
    let build = |store: &ParamStore| {
        routed_transformer_with(case.config.clone(), store.var_builder(), |block, vb| {
            let router = reinforce(d_model, experts, config, vb)?;
            let uniforms = case.golden.numbers(&format!("rl.block.{block}.uniform"));
            Ok(Box::new(Replayed { router, uniforms }))
        })
        .unwrap()
    };
    let (model, store) = loaded(&case, build);
    check("rl", &case, &model, &store, &mut Mode::train(&mut Rng::new(0)));
}
