//! Which tensors are compressed.

#![allow(clippy::unwrap_used)]

use distributed::selection::{CostModel, TensorSelection};

const MODEL: CostModel = CostModel {
    latency: 50e-6,
    bandwidth: 1.25e9,
    encode_per_element: 0.5e-9,
    decode_per_entry: 5e-9,
    write_per_element: 0.1e-9,
};

#[test]
fn the_cost_model_compresses_where_it_pays() {
    let model = MODEL;
    let selection = TensorSelection::CostModel(model);
    assert!(selection.is_compressed(1 << 24, (1 << 24) as f64 * 1e-3, 4));
    // a fast network, or so much to send that nothing is saved
    let fast = CostModel { bandwidth: 1e13, latency: 0., ..model };
    assert!(!TensorSelection::CostModel(fast).is_compressed(1 << 24, (1 << 24) as f64 * 1e-3, 4));
    assert!(!selection.is_compressed(1 << 24, (1 << 24) as f64, 4));
    // 6 messages of a quarter each: 6 (α + 4 n / 4 β)
    assert!((model.dense_seconds(1_000_000, 4) - 6. * (50e-6 + 1e6 / 1.25e9)).abs() < 1e-12);
    assert!(CostModel { bandwidth: 0., ..model }.check().is_err());
}

#[cfg(feature = "trainer")]
#[test]
fn a_cost_model_without_sense_ends_the_start_of_a_trainer() {
    use candle_core::{DType, Device, Var};
    use distributed::{DataParallel, DataParallelConfig, Error, Launch, launch};
    let config = DataParallelConfig {
        selection: TensorSelection::CostModel(CostModel { latency: f64::NAN, ..MODEL }),
        ..DataParallelConfig::default()
    };
    let error = launch(Launch::threads(1), |comm| {
        let var = Var::zeros(5, DType::F32, &Device::Cpu)?;
        DataParallel::new(vec![("w".to_owned(), var)], comm, config.clone()).map(drop)
    });
    assert!(matches!(error, Err(Error::InvalidConfig { .. })));
}
