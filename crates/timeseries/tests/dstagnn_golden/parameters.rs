//! `parameter_counts.json`: names, shapes and number of the parameters for the paper's data sets.

use super::{json, whole};
use candle_core::{DType, Device};
use core_tensor::params::ParamStore;
use serde_json::Value;
use timeseries::dstagnn::{ChebyshevBasis, DstagnnConfig, SensorGraph, dstagnn};

/// The parameters' shapes of the first set that lists them.
fn listed_shapes(sets: &Value) -> Option<&serde_json::Map<String, Value>> {
    sets.as_object().unwrap().values().find_map(|counts| counts.get("parameters")?.as_object())
}

/// The number of Chebyshev terms of the set that lists its parameters, else the paper's.
fn order(sets: &Value) -> usize {
    let count = |shapes: &serde_json::Map<String, Value>| {
        shapes.keys().filter(|name| name.starts_with("BlockList.0.cheb_conv_SAt.Theta.")).count()
    };
    listed_shapes(sets).map_or(3, count)
}

/// A network for `n` sensors whose other sizes are those of the set that lists its parameters, else the paper's.
fn listed(sets: &Value, n: usize) -> DstagnnConfig {
    let config = DstagnnConfig::new(n);
    let Some(shapes) = listed_shapes(sets) else { return config };
    let size = |name: &str, axis: usize| shapes[name][axis].as_u64().unwrap() as usize;
    let heads = order(sets);
    DstagnnConfig {
        input_steps: size("BlockList.0.pre_conv.weight", 1),
        input_channels: size("BlockList.0.cheb_conv_SAt.Theta.0", 0),
        filters: size("BlockList.0.cheb_conv_SAt.Theta.0", 1),
        embedding: size("BlockList.0.EmbedS.pos_embed.weight", 1),
        // one head of spatial attention for each term
        head_width: size("BlockList.0.SAt.W_Q.weight", 0) / heads,
        horizon: size("final_fc.bias", 0),
        ..config
    }
}

#[test]
fn parameters_are_those_of_the_reference() {
    let Some(sets) = json("parameter_counts.json") else { return };
    for (set, counts) in sets.as_object().unwrap() {
        let n = whole(counts, "N");
        let num_blocks = counts["per_block"].as_array().unwrap().len();
        let temporal_heads = whole(counts, "n_heads");
        let config = DstagnnConfig { temporal_heads, num_blocks, ..listed(&sets, n) };
        let edges: Vec<(usize, usize)> = (0..n).map(|i| (i, (i + 1) % n)).collect();
        let graph = SensorGraph::from_edges(n, &edges).unwrap();
        let identity = (0..n * n).map(|at| f64::from(at / n == at % n)).collect();
        let identity = ChebyshevBasis::from_terms(vec![identity; order(&sets)]).unwrap();
        let store = ParamStore::new(0, DType::F32, &Device::Cpu);
        dstagnn(config, &identity, &graph, store.var_builder()).unwrap();
        assert_eq!(store.num_parameters(), whole(counts, "total_parameters"), "{set}");
        if let Some(shapes) = counts.get("parameters").and_then(Value::as_object) {
            assert_eq!(shapes.len(), store.vars().len());
            for (name, var) in store.vars() {
                let expected: Vec<usize> =
                    shapes[&name].as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as usize).collect();
                assert_eq!(var.dims(), expected, "{name}");
            }
        }
    }
}
