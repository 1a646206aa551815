//! SEP-G, SEP-N and SEP-U: outputs, losses, gradients and running statistics of the official modules.

use super::files;
use super::tensors::{Golden, TOLERANCE_F32, TOLERANCE_F64, assert_close};
use candle_core::{DType, Device, Tensor};
use core_tensor::ops;
use core_tensor::params::ParamStore;
use core_tensor::random::Rng;
use core_tensor::sparse::Segments;
use gnn::classifier::{GraphClassifierConfig, graph_classifier};
use gnn::encoder::{GraphEncoderConfig, Readout};
use gnn::pool::PoolKind;
use gnn::sep::{SepNConfig, sep_n, sep_u};
use gnn::{Adjacency, Batch, Coarsening, Features, Mode};

const PRECISIONS: [(DType, f64); 2] = [(DType::F64, TOLERANCE_F64), (DType::F32, TOLERANCE_F32)];

fn level(golden: &Golden, edges: &str, graph_of_node: &[u32], num_graphs: usize, dtype: DType) -> Batch {
    let (sources, targets) = golden.edges(edges);
    let adjacency = Adjacency::from_edge_index(graph_of_node.len(), &sources, &targets, dtype, &Device::Cpu);
    Batch::new(adjacency.expect("edges"), graph_of_node, num_graphs).expect("a batch")
}

fn stack(levels: Vec<Batch>, parents: &[Vec<u32>]) -> Batch {
    let mut levels = levels.into_iter().rev();
    let mut batch = levels.next().expect("a level");
    for (finer, parents) in levels.zip(parents.iter().rev()) {
        let clusters = Segments::new(parents, batch.num_nodes()).expect("clusters");
        batch = finer.with_coarser(Coarsening { clusters, batch }).expect("levels that fit");
    }
    batch
}

fn labels(golden: &Golden, name: &str) -> Tensor {
    let labels = golden.indices(name);
    Tensor::new(labels, &Device::Cpu).expect("labels")
}

#[test]
fn sep_g_computes_the_reference_log_probabilities_losses_and_gradients() {
    let Some(golden) = files::tensors("sepg_forward.safetensors") else { return };
    for (dtype, tolerance) in PRECISIONS {
        let y = labels(&golden, "y");
        let x = golden.float("x", dtype);
        let num_graphs = y.elem_count();
        let num_levels = golden.count("batch_", "");
        let levels = (0..num_levels)
            .map(|d| {
                let graphs = golden.indices(&format!("batch_{d}"));
                level(&golden, &format!("edge_index_{d}"), &graphs, num_graphs, dtype)
            })
            .collect();
        let parents: Vec<_> = (1..num_levels).map(|d| golden.indices(&format!("parent_{}", d - 1))).collect();
        let batch = stack(levels, &parents);
        for (prefix, has_input_readout) in [("nolink", false), ("link", true)] {
            for (kind, readout) in [("sum", Readout::Sum), ("average", Readout::Mean)] {
                let store = ParamStore::new(0, dtype, &Device::Cpu);
                let classes = golden.last_width(&format!("{prefix}.w.classifier."));
                let hidden = golden.get(&format!("{prefix}.w.convs.0.bias")).elem_count();
                let inputs = x.dims()[1];
                let official = GraphClassifierConfig::sep_g(inputs, classes).encoder;
                let encoder = GraphEncoderConfig {
                    hidden,
                    readout,
                    has_input_readout,
                    num_convolutions: golden.count(&format!("{prefix}.w.convs."), ".bias"),
                    pools: official.pools.iter().cycle().take(num_levels - 1).cloned().collect(),
                    ..official
                };
                let config = GraphClassifierConfig { encoder, classes, dropout: 0.0 };
                let model = graph_classifier(config, store.var_builder()).expect("a model");
                golden.fill(&store, &format!("{prefix}.w."), &[]);
                let mut rng = Rng::new(0);
                let out = model.forward(&x, &batch, &mut Mode::train(&mut rng)).expect("logits");
                let log_probabilities = ops::log_softmax(&out.logits).expect("log-softmax");
                let name = format!("{prefix}.{kind}");
                assert_close(&name, &log_probabilities, golden.get(&format!("{name}.logprob")), tolerance);
                let loss = ops::cross_entropy(&out.logits, &y).expect("a loss");
                assert_close(&name, &loss, golden.get(&format!("{name}.loss")), tolerance);
                if readout == Readout::Sum {
                    golden.check_gradients(&loss, &store, &format!("{prefix}.grad."), tolerance);
                }
            }
        }
    }
}

#[test]
fn sep_n_computes_the_reference_outputs_gradients_and_running_statistics() {
    let Some(golden) = files::tensors("sepn_forward.safetensors") else { return };
    for (dtype, tolerance) in PRECISIONS {
        let x = golden.float("x", dtype);
        let train: Vec<u32> = golden.indices("train_idx");
        let train_index = Tensor::new(train.as_slice(), &Device::Cpu).expect("indices");
        let y = labels(&golden, "y").index_select(&train_index, 0).expect("labels");
        let num_blocks = golden.count("edge_index_", "") - 1;
        let parents: Vec<Vec<u32>> = (0..num_blocks).map(|d| golden.indices(&format!("parent_{d}"))).collect();
        let sizes: Vec<usize> = (0..=num_blocks).map(|d| golden.get(&format!("parent_{d}")).elem_count()).collect();
        let levels = sizes
            .iter()
            .enumerate()
            .map(|(d, &size)| level(&golden, &format!("edge_index_{d}"), &vec![0; size], 1, dtype));
        let batch = stack(levels.collect(), &parents);
        let dense = Features::dense(x.clone()).expect("features");
        let sparse = sparse_features(&x, dtype);
        for (prefix, has_input_link) in [("nolink", false), ("link", true)] {
            for features in [&dense, &sparse] {
                let store = ParamStore::new(0, dtype, &Device::Cpu);
                let config = SepNConfig {
                    hidden: golden.get(&format!("{prefix}.w.convs.0.bias")).elem_count(),
                    convolution_dropout: 0.0,
                    pool_dropout: 0.0,
                    has_input_link,
                    num_blocks,
                    ..SepNConfig::new(x.dims()[1], golden.last_width(&format!("{prefix}.w.convs.")))
                };
                let model = sep_n(config, store.var_builder()).expect("a model");
                golden.fill(&store, &format!("{prefix}.w."), &[]);
                let check = |name: &str, logits: &Tensor| {
                    let name = format!("{prefix}.{name}.logprob");
                    let log_probabilities = ops::log_softmax(logits).expect("log-softmax");
                    assert_close(&name, &log_probabilities, golden.get(&name), tolerance);
                };
                check("eval0", &model.forward(features, &batch, &mut Mode::evaluate()).expect("logits"));
                let mut rng = Rng::new(0);
                let logits = model.forward(features, &batch, &mut Mode::train(&mut rng)).expect("logits");
                check("train", &logits);
                let chosen = logits.index_select(&train_index, 0).expect("rows");
                let loss = ops::cross_entropy(&chosen, &y).expect("a loss");
                assert_close(prefix, &loss, golden.get(&format!("{prefix}.train.loss")), tolerance);
                golden.check_gradients(&loss, &store, &format!("{prefix}.grad."), tolerance);
                let vars = store.snapshot().expect("values");
                for name in golden.names(&format!("{prefix}.after1.")) {
                    assert_close(&name, &vars[&name], golden.get(&format!("{prefix}.after1.{name}")), tolerance);
                }
                check("eval1", &model.forward(features, &batch, &mut Mode::evaluate()).expect("logits"));
            }
        }
    }
}

fn sparse_features(x: &Tensor, dtype: DType) -> Features {
    let rows: Vec<Vec<f32>> = x.to_dtype(DType::F32).and_then(|x| x.to_vec2()).expect("rows");
    let columns = rows[0].len();
    let offsets: Vec<usize> = (0..=rows.len()).map(|row| row * columns).collect();
    let indices: Vec<u32> = rows.iter().flat_map(|_| 0..columns as u32).collect();
    let values: Vec<f32> = rows.into_iter().flatten().collect();
    let sparse = Features::from_csr(columns, &offsets, &indices, &values, dtype, &Device::Cpu);
    sparse.expect("sparse features")
}

#[test]
fn sep_u_computes_the_reference_reconstructions_and_gradients() {
    let Some(golden) = files::tensors("sepu_forward.safetensors") else { return };
    for (dtype, tolerance) in PRECISIONS {
        let mut cases = golden.names("");
        cases.retain(|name| name.ends_with(".x"));
        assert!(!cases.is_empty(), "no case in sepu_forward.safetensors");
        for case in cases.iter().map(|name| name.trim_end_matches(".x")) {
            let x = golden.float(&format!("{case}.x"), dtype);
            let edges: Vec<(u32, u32)> =
                golden.indices(&format!("{case}.edges")).chunks(2).map(|pair| (pair[0], pair[1])).collect();
            let graph = gnn::Graph::from_edges(x.dims()[0], &edges).expect("a graph");
            let parents = golden.indices(&format!("{case}.parent_0"));
            let num_clusters = parents.iter().max().map_or(0, |&parent| parent as usize + 1);
            let coarse = graph.quotient(&parents, num_clusters, false).expect("a quotient");
            let single = |graph| Batch::single(graph, dtype, &Device::Cpu).expect("a batch");
            let batch = stack(vec![single(&graph), single(&coarse)], &[parents]);
            let store = ParamStore::new(0, dtype, &Device::Cpu);
            let hidden = golden.get(&format!("{case}.w.convs.0.bias")).elem_count();
            let model = sep_u(x.dims()[1], hidden, PoolKind::Precomputed, store.var_builder()).expect("a model");
            golden.fill(&store, &format!("{case}.w."), &[]);
            let mut rng = Rng::new(0);
            let out = model.forward(&x, &batch, &mut Mode::train(&mut rng)).expect("a reconstruction");
            assert_close(case, &out.x, golden.get(&format!("{case}.train.out")), tolerance);
            let loss = ops::mse(&out.x, &x).expect("a loss");
            assert_close(case, &loss, golden.get(&format!("{case}.train.loss")), tolerance);
            golden.check_gradients(&loss, &store, &format!("{case}.grad."), tolerance);
            let out = model.forward(&x, &batch, &mut Mode::evaluate()).expect("a reconstruction");
            assert_close(case, &out.x, golden.get(&format!("{case}.eval1.out")), tolerance);
        }
    }
}
