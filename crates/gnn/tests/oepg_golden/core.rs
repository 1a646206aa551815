//! Clusters, descriptors, propagation and losses.

use super::golden;
use super::tensors::{Golden, assert_close};
use candle_core::{D, DType, Device, Tensor, Var};
use candle_nn::{VarBuilder, VarMap};
use core_tensor::ops;
use core_tensor::params::ParamStore;
use gnn::Adjacency;
use gnn::conv::{gcn_conv, gin_conv_with};
use gnn::oepg::{
    ClusterConfig, DescriptorKind, DescriptorOrders, EgoAttention, EgoAttentionConfig, EgoBase, EgoConvConfig,
    EgoDescriptor, HierarchicalClusters, OmniNorm, cluster_loss, ego_attention, ego_conv, ego_loss,
};
use gnn::self_supervised::nt_xent_symmetric;

const PRECISIONS: [(DType, f64); 2] = [(DType::F64, 1e-9), (DType::F32, 1e-3)];

fn files() -> Vec<(String, Golden)> {
    let names = golden().names("core_", ".safetensors");
    names.into_iter().filter_map(|name| Some((name.clone(), Golden::parse(&golden().read(&name)?)))).collect()
}

fn number(golden: &Golden, name: &str) -> f64 {
    golden.metadata(name).parse().expect("a number")
}

fn kind(golden: &Golden) -> DescriptorKind {
    if golden.metadata("kind") == "raw" { DescriptorKind::Raw } else { DescriptorKind::Fisher }
}

fn clusters(golden: &Golden) -> HierarchicalClusters {
    let sizes: Vec<usize> = serde_json::from_str(golden.metadata("Ks")).expect("sizes");
    let config = ClusterConfig {
        iterations: number(golden, "lloyd_iters") as usize,
        variance_floor: number(golden, "eps_var"),
        sizes: sizes.clone(),
    };
    let first: Vec<Vec<u32>> =
        (0..sizes.len()).map(|level| golden.indices(&format!("hier.init_index.{level}"))).collect();
    HierarchicalClusters::fit_from(golden.get("hier.Z"), &config, &first).expect("clusters")
}

fn flat(values: &[f64]) -> Tensor {
    Tensor::from_slice(values, values.len(), &Device::Cpu).expect("a tensor")
}

#[test]
fn clusters_and_their_momentum_are_the_reference_ones() {
    for (name, golden) in files() {
        println!("{name}");
        let found = clusters(&golden);
        for (level, at) in found.levels().iter().zip(0..) {
            let expected = |what: &str| golden.get(&format!("hier.{what}.{at}"));
            assert_close("mu", &flat(&level.centroids), expected("mu"), 1e-9);
            assert_close("var", &flat(&level.variances), expected("var"), 1e-9);
            assert_close("mass", &flat(&level.masses), expected("mass"), 1e-9);
            assert_eq!(level.parent_of, golden.indices(&format!("hier.parent_of.{at}")));
            let assignments = found.assignments(at).expect("assignments");
            assert_eq!(assignments, golden.indices(&format!("hier.instance_cluster.{at}")));
        }
        let again = found.assign(golden.get("hier.Z")).expect("assignments");
        assert_eq!(again[0], found.assignments(0).expect("assignments"));
        let next = golden.get("mom.Z_next");
        let new = found.warm_update(next, number(&golden, "warm_iters") as usize).expect("clusters");
        let mixed = found.mix(&new, number(&golden, "momentum")).expect("clusters");
        for (at, (new, mixed)) in new.levels().iter().zip(mixed.levels()).enumerate() {
            assert_close("recluster", &flat(&new.centroids), golden.get(&format!("mom.mu_recluster.{at}")), 1e-9);
            assert_close("mu mixed", &flat(&mixed.centroids), golden.get(&format!("mom.mu_mixed.{at}")), 1e-9);
            assert_close("var mixed", &flat(&mixed.variances), golden.get(&format!("mom.var_mixed.{at}")), 1e-9);
        }
    }
}

fn attention(golden: &Golden, store: &ParamStore, norm: OmniNorm) -> EgoAttention {
    let width = golden.get("hier.Z").dims()[1];
    let config = EgoAttentionConfig {
        descriptors: width,
        values: width,
        keys: golden.get("param.Wq").dims()[1],
        levels: golden.get("param.r").dims()[0],
        descriptor: EgoDescriptor { kind: kind(golden), orders: DescriptorOrders::Both },
        norm,
    };
    let layer = ego_attention(config, store.var_builder()).expect("an attention");
    for (ours, theirs) in [("w1", "W1"), ("w2", "W2"), ("wq", "Wq"), ("wk", "Wk"), ("r", "r")] {
        store.set(ours, &golden.float(&format!("param.{theirs}"), store.dtype())).expect("a parameter");
    }
    layer
}

/// The features behind given descriptors of first order: those of view 2 are in the file as descriptors alone.
fn features(golden: &Golden, phi: &str, dtype: DType) -> Tensor {
    let level = clusters(golden).levels()[0].clone();
    let width = golden.get("hier.Z").dims()[1];
    let (mu, v) = (flat(&level.centroids[..width]), flat(&level.variances[..width]));
    let first = golden.get(phi).narrow(1, 0, 1).and_then(|phi| phi.squeeze(1)).expect("descriptors");
    let scaled = match kind(golden) {
        DescriptorKind::Raw => Ok(first),
        DescriptorKind::Fisher => v.sqrt().and_then(|s| first.broadcast_mul(&s)),
    };
    scaled.and_then(|z| z.broadcast_add(&mu)).and_then(|z| z.to_dtype(dtype)).expect("features")
}

/// Weights and sums from the descriptors of the file: the formulas as they stand.
fn explicit(golden: &Golden, phi: &str, x: &Tensor, vars: &dyn Fn(&str) -> Tensor) -> candle_core::Result<[Tensor; 4]> {
    let phi = golden.float(phi, x.dtype());
    let orders = golden.get("prop.order_id").to_dtype(DType::F64)?.to_vec1::<f64>()?;
    let levels = golden.indices("prop.level_id");
    let mut values = Vec::new();
    let first = orders.iter().copied().fold(f64::INFINITY, f64::min);
    for (at, &order) in orders.iter().enumerate() {
        let weight = if order == first { vars("w1") } else { vars("w2") };
        values.push(phi.narrow(1, at, 1)?.squeeze(1)?.contiguous()?.matmul(&weight)?);
    }
    let value = Tensor::stack(&values, 1)?;
    let r = vars("r").index_select(&Tensor::new(levels, &Device::Cpu)?, 0)?;
    let key = value.broadcast_matmul(&vars("wk").unsqueeze(0)?)?.broadcast_add(&r.unsqueeze(0)?)?;
    let q = x.matmul(&vars("wq"))?;
    let score = (key.broadcast_mul(&q.unsqueeze(1)?)?.sum(D::Minus1)? / (q.dims()[1] as f64).sqrt())?;
    let alpha = candle_nn::ops::softmax(&score, 1)?;
    let sum = value.broadcast_mul(&alpha.unsqueeze(2)?)?.sum(1)?;
    Ok([value, score, alpha, sum])
}

#[test]
fn descriptors_are_weighed_as_by_the_reference_in_both_forms() {
    for (name, golden) in files() {
        for (dtype, tolerance) in PRECISIONS {
            println!("{name} {dtype:?}");
            let clusters = clusters(&golden);
            let store = ParamStore::new(0, dtype, &Device::Cpu);
            let layer = attention(&golden, &store, OmniNorm::Joint);
            let map: std::collections::BTreeMap<_, _> = store.vars().into_iter().collect();
            let vars = |name: &str| map[name].as_tensor().clone();
            for (h, phi, alpha, ego) in
                [("prop.h", "prop.phi", "prop.alpha", "prop.ego"), ("prop.h2", "prop.phi2", "prop.alpha2", "prop.ego2")]
            {
                let x = golden.float(h, dtype);
                let found = explicit(&golden, phi, &x, &vars).expect("the explicit form");
                if phi == "prop.phi" {
                    assert_close("value", &found[0], golden.get("prop.value"), tolerance);
                    assert_close("score", &found[1], golden.get("prop.score"), tolerance);
                }
                assert_close("alpha, explicit", &found[2], golden.get(alpha), tolerance);
                assert_close("ego, explicit", &found[3], golden.get(ego), tolerance);
                let z = features(&golden, phi, dtype);
                let weights = layer.weights(&z, &x, &clusters).expect("weights");
                assert_close("alpha, matrix", &weights, golden.get(alpha), tolerance);
                assert_close(
                    "ego, matrix",
                    &layer.forward(&z, &x, &clusters).expect("a sum"),
                    golden.get(ego),
                    tolerance,
                );
            }
            let (z, x) = (golden.float("prop.z", dtype), golden.float("prop.h", dtype));
            for (norm, name) in [(OmniNorm::PerLevel, "per_level"), (OmniNorm::Uniform, "uniform")] {
                let layer = attention(&golden, &ParamStore::new(0, dtype, &Device::Cpu), norm);
                let weights = layer.weights(&z, &x, &clusters).expect("weights");
                assert_close(name, &weights, golden.get(&format!("ablate.alpha_{name}")), tolerance);
            }
            let width = x.dims()[1];
            let config = EgoConvConfig { attention: *layer.config(), lambda: 1.0, ego_norm: true, query_norm: false };
            let base = gcn_conv(width, width, store.var_builder().pp("base")).expect("a layer");
            let conv = ego_conv(base, config, renamed(&store)).expect("a layer");
            let normed = conv.ego(&x, &z, &clusters).expect("a sum");
            assert_close("ego normed", &normed, golden.get("prop.ego_normed"), tolerance);
        }
    }
}

/// The attention's parameters under `ego`.
fn renamed(store: &ParamStore) -> VarBuilder<'static> {
    let map = VarMap::new();
    {
        let mut data = map.data().lock().expect("a lock");
        for (name, var) in store.vars() {
            data.insert(format!("ego.{name}"), var);
        }
    }
    VarBuilder::from_varmap(&map, store.dtype(), store.device())
}

fn adjacency(golden: &Golden, name: &str, dtype: DType) -> Adjacency {
    let rows: Vec<Vec<f64>> = golden.get(name).to_dtype(DType::F64).and_then(|a| a.to_vec2()).expect("a matrix");
    let (mut sources, mut targets) = (Vec::new(), Vec::new());
    for (target, row) in rows.iter().enumerate() {
        for source in (0..row.len()).filter(|&source| row[source] != 0.0) {
            sources.push(source as u32);
            targets.push(target as u32);
        }
    }
    Adjacency::from_edge_index(rows.len(), &sources, &targets, dtype, &Device::Cpu).expect("an adjacency")
}

#[test]
fn propagation_losses_and_gradients_are_the_reference_ones() {
    for (name, golden) in files() {
        for (dtype, tolerance) in PRECISIONS {
            println!("{name} {dtype:?}");
            let clusters = clusters(&golden);
            let lambda = number(&golden, "lambda");
            let store = ParamStore::new(0, dtype, &Device::Cpu);
            let layer = attention(&golden, &store, OmniNorm::Joint);
            let width = golden.get("prop.h").dims()[1];
            let base = gcn_conv(width, width, store.var_builder().pp("base")).expect("a layer");
            // row vectors there, columns of outputs here
            let transposed = golden.float("param.Wg", dtype).t().and_then(|w| w.contiguous()).expect("a matrix");
            store.set("base.lin.weight", &transposed).expect("a parameter");
            store.set("base.bias", &golden.float("param.bg", dtype)).expect("a parameter");
            let predictor = Var::from_tensor(&golden.float("param.Wp", dtype)).expect("a variable");
            let inputs = ["prop.h", "prop.h2"].map(|h| Var::from_tensor(&golden.float(h, dtype)).expect("a variable"));
            let (mut y, mut ego) = (Vec::new(), Vec::new());
            for (at, (a, out)) in [("prop.A", "prop.gcn_out"), ("prop.A2", "prop.gcn_out2")].into_iter().enumerate() {
                let z = features(&golden, ["prop.phi", "prop.phi2"][at], dtype);
                let sum = layer.forward(&z, &inputs[at], &clusters).expect("a sum");
                let graph = adjacency(&golden, a, dtype);
                let of_layer = base.forward_ego(&inputs[at], &sum, lambda, &graph).expect("features");
                let of_layer = ops::leaky_relu(&of_layer, number(&golden, "slope")).expect("features");
                assert_close(out, &of_layer, golden.get(out), tolerance);
                y.push(of_layer);
                ego.push(sum);
            }
            let of_instances: Vec<Vec<u32>> = (0..clusters.levels().len())
                .map(|level| clusters.assignments(level).expect("assignments")[..y[0].dims()[0]].to_vec())
                .collect();
            let temperature = number(&golden, "tau_cluster");
            let local = nt_xent_symmetric(&y[0], &y[1], number(&golden, "tau_local")).expect("a loss");
            let of_view = |y: &Tensor| cluster_loss(y, &clusters, &of_instances, temperature).expect("a loss");
            let cluster = ((of_view(&y[0]) + of_view(&y[1])).expect("a sum") * 0.5).expect("a mean");
            let of_ego = ego_loss([&y[0], &y[1]], [&ego[0], &ego[1]], &predictor).expect("a loss");
            assert_close("local", &local, golden.get("loss.local"), tolerance);
            assert_close("cluster", &cluster, golden.get("loss.cluster"), tolerance);
            assert_close("ego", &of_ego, golden.get("loss.ego"), tolerance);
            let weighted = |loss: &Tensor, weight: &str| (loss * number(&golden, weight)).expect("a product");
            let total = (&local + weighted(&cluster, "beta")).and_then(|sum| sum + weighted(&of_ego, "gamma"));
            let total = total.expect("a sum");
            assert_close("total", &total, golden.get("loss.total"), tolerance);

            let gradients = core_tensor::gradcheck::backward_both(&total).expect("gradients");
            let map: std::collections::BTreeMap<_, _> = store.vars().into_iter().collect();
            let mut count = 0;
            for name in golden.names("grad.") {
                let (var, is_transposed) = match name.as_str() {
                    "h" => (&inputs[0], false),
                    "h2" => (&inputs[1], false),
                    "Wp" => (&predictor, false),
                    "Wg" => (&map["base.lin.weight"], true),
                    "bg" => (&map["base.bias"], false),
                    "r" => (&map["r"], false),
                    other => (&map[&other.to_lowercase()], false),
                };
                let gradient = gradients.get(var).unwrap_or_else(|| panic!("{name} has no gradient")).clone();
                let gradient = if is_transposed { gradient.t().expect("a matrix") } else { gradient };
                assert_close(&format!("grad.{name}"), &gradient, golden.get(&format!("grad.{name}")), tolerance);
                count += 1;
            }
            assert!(count > 0, "no gradients");

            let gin = ParamStore::new(0, dtype, &Device::Cpu);
            let hidden = golden.get("gin.W1").dims()[1];
            let layer = gin_conv_with(width, hidden, width, gin.var_builder()).expect("a layer");
            for (ours, theirs) in [("nn.0", "1"), ("nn.2", "2")] {
                let weight = golden.float(&format!("gin.W{theirs}"), dtype).t().and_then(|w| w.contiguous());
                gin.set(&format!("{ours}.weight"), &weight.expect("a matrix")).expect("a parameter");
                gin.set(&format!("{ours}.bias"), &golden.float(&format!("gin.b{theirs}"), dtype)).expect("a parameter");
            }
            let graph = adjacency(&golden, "prop.A", dtype);
            let out = layer.forward_ego(&inputs[0], &golden.float("prop.ego", dtype), 1.0, &graph).expect("features");
            assert_close("gin", &out, golden.get("gin.out_lam1_eps0"), tolerance);
        }
    }
}
