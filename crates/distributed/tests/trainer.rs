//! Data-parallel training: the right gradients, the same bits on every rank, and continuing after an interruption.

#![cfg(feature = "trainer")]
#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::Module;
use core_tensor::checkpoint::Checkpoint;
use core_tensor::optim::{Optimizer, Sgd, SgdConfig};
use core_tensor::{nn, ops, params::ParamStore, random::Rng};
use distributed::compress::{DgcConfig, SidCoConfig};
use distributed::dragonn::DragonnConfig;
use distributed::hook::{Hook, PowerSgd};
use distributed::memory::MemoryConfig;
use distributed::selection::TensorSelection;
use distributed::trainer::DataParallelState;
use distributed::wire::WireFormat;
use distributed::{Communicator, Compression, DataParallel, DataParallelConfig, Error, Launch, launch};
use std::sync::Arc;

struct Model {
    store: ParamStore,
    first: nn::Linear,
    second: nn::Linear,
}

const CLASSES: usize = 4;
const WIDTH: usize = 20;

impl Model {
    fn new(seed: u64) -> Self {
        let store = ParamStore::new(seed, DType::F32, &Device::Cpu);
        let first = nn::linear(WIDTH, 64, store.var_builder().pp("first")).unwrap();
        let second = nn::linear(64, CLASSES, store.var_builder().pp("second")).unwrap();
        Self { store, first, second }
    }

    fn loss(&self, (x, labels): &(Tensor, Tensor)) -> Tensor {
        let hidden = ops::relu(&self.first.forward(x).unwrap()).unwrap();
        ops::cross_entropy(&self.second.forward(&hidden).unwrap(), labels).unwrap()
    }

    fn bits(&self) -> Vec<u32> {
        let values = self.store.trainable().into_iter();
        values.flat_map(|(_, var)| var.flatten_all().unwrap().to_vec1::<f32>().unwrap()).map(f32::to_bits).collect()
    }
}

fn batch(rank: usize, step: u64, size: usize) -> (Tensor, Tensor) {
    let mut rng = Rng::new(7).fork(&format!("{rank} {step}"));
    let labels: Vec<u32> = (0..size).map(|_| rng.below(CLASSES) as u32).collect();
    let shift = Tensor::from_vec(labels.iter().map(|&l| l as f32).collect(), (size, 1), &Device::Cpu).unwrap();
    let x = rng.normal(0., 1., (size, WIDTH), DType::F32, &Device::Cpu).unwrap().broadcast_add(&shift).unwrap();
    (x, Tensor::new(labels, &Device::Cpu).unwrap())
}

/// Everything compressed from the first step on.
fn compressed(compression: Compression) -> DataParallelConfig {
    let selection = TensorSelection::MinElements(100);
    DataParallelConfig { compression, selection, dense_steps: 0, ..DataParallelConfig::default() }
}

fn train(
    ranks: &Arc<dyn Communicator>,
    config: &DataParallelConfig,
    steps: u64,
) -> distributed::Result<(f64, Vec<u32>)> {
    let model = Model::new(0);
    let mut optimizer = Sgd::new(model.store.trainable(), SgdConfig { learning_rate: 0.2, ..SgdConfig::default() })?;
    let mut trainer = DataParallel::new(model.store.trainable(), ranks.clone(), config.clone())?;
    let mut last = 0.;
    for step in 0..steps {
        let loss = model.loss(&batch(ranks.rank(), step, 16));
        optimizer.step(&trainer.backward(&loss)?)?;
        last = trainer.sum(f64::from(loss.to_scalar::<f32>()?))? / ranks.world_size() as f64;
    }
    Ok((last, model.bits()))
}

fn run(ranks: usize, config: &DataParallelConfig, steps: u64) -> Vec<(f64, Vec<u32>)> {
    launch(Launch::threads(ranks), |comm| train(&comm, config, steps)).unwrap()
}

#[test]
fn without_compression_the_gradient_is_that_of_the_whole_batch() {
    let ranks = 3;
    let gradients = launch(Launch::threads(ranks), |comm| -> distributed::Result<Vec<Vec<f32>>> {
        let model = Model::new(0);
        let mut trainer = DataParallel::new(model.store.trainable(), comm.clone(), DataParallelConfig::default())?;
        let grads = trainer.backward(&model.loss(&batch(comm.rank(), 0, 16)))?;
        let read = |(_, var): (String, Var)| grads.get(&var).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        Ok(model.store.trainable().into_iter().map(read).collect())
    });
    let gradients = gradients.unwrap();
    assert!(gradients.iter().all(|list| *list == gradients[0]), "the same bits on every rank");
    let model = Model::new(0);
    let parts: Vec<_> = (0..ranks).map(|rank| batch(rank, 0, 16)).collect();
    let x = Tensor::cat(&parts.iter().map(|(x, _)| x).collect::<Vec<_>>(), 0).unwrap();
    let labels = Tensor::cat(&parts.iter().map(|(_, labels)| labels).collect::<Vec<_>>(), 0).unwrap();
    let grads = core_tensor::backward(&model.loss(&(x, labels))).unwrap();
    for ((_, var), found) in model.store.trainable().iter().zip(&gradients[0]) {
        let wanted = grads.get(var).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        // f32 sums of 48 rows in another order
        assert!(found.iter().zip(&wanted).all(|(a, b)| (a - b).abs() <= 1e-6), "{found:?} {wanted:?}");
    }
}

#[test]
fn every_compression_trains_with_the_same_bits_on_every_rank() {
    let dense = run(4, &DataParallelConfig::default(), 60)[0].0;
    assert!(dense < 0.6, "{dense}");
    let sidco = SidCoConfig { ratio: 0.1, ..SidCoConfig::default() };
    let dragonn = DragonnConfig { small_ratio: 0.1, ..DragonnConfig::with_ratio(0.1) };
    for compression in [
        Compression::Dragonn(dragonn),
        Compression::TopK(0.1),
        Compression::RandomK(0.2),
        Compression::Dgc(DgcConfig { small_ratio: 0.1, ..DgcConfig::with_ratio(0.1) }),
        Compression::SidCo(sidco),
        Compression::GaussianK(0.1),
        Compression::RedSync(0.1),
        Compression::Threshold(0.02),
        Compression::Qsgd(64),
        Compression::SignScale,
        Compression::HalfPrecision,
    ] {
        for wire in [WireFormat::default(), WireFormat { half_values: true, index_differences: true }] {
            let results = run(4, &DataParallelConfig { wire, ..compressed(compression) }, 60);
            assert!(results.iter().all(|(_, bits)| *bits == results[0].1), "{compression:?}");
            // with error feedback nothing is far from the dense run after 60 steps; a wrong scale or a lost tensor would be
            assert!(results[0].0 < dense + 0.25, "{compression:?}: {} {dense}", results[0].0);
        }
    }
    for memory in [MemoryConfig::None, MemoryConfig::Momentum { momentum: 0.5 }, MemoryConfig::Dgc { momentum: 0.5 }] {
        let results = run(2, &DataParallelConfig { memory, ..compressed(Compression::TopK(0.3)) }, 60);
        assert!(results[0].0 < dense + 0.35 && results[0].1 == results[1].1, "{memory:?}: {}", results[0].0);
    }
}

#[test]
fn power_sgd_trains_with_the_same_bits_on_every_rank() {
    let results = launch(Launch::threads(3), |comm| -> distributed::Result<(f32, Vec<u32>)> {
        let model = Model::new(0);
        let mut optimizer =
            Sgd::new(model.store.trainable(), SgdConfig { learning_rate: 0.2, ..SgdConfig::default() })?;
        let make = |_: &str, shape: &[usize]| Ok(Box::new(PowerSgd::new(shape, 2)?) as Box<dyn Hook>);
        let mut trainer =
            DataParallel::with_hooks(model.store.trainable(), comm.clone(), compressed(Compression::None), &make)?;
        let mut last = 0.;
        for step in 0..80 {
            let loss = model.loss(&batch(comm.rank(), step, 16));
            optimizer.step(&trainer.backward(&loss)?)?;
            last = loss.to_scalar::<f32>()?;
        }
        let name = |(name, statistics): &(String, distributed::hook::Statistics)| (name.clone(), statistics.sent);
        let sent: Vec<_> = trainer.statistics().iter().map(name).collect();
        assert!(sent.contains(&("first.weight".to_owned(), (64 + WIDTH) * 2)), "{sent:?}");
        Ok((last, model.bits()))
    });
    let results = results.unwrap();
    assert!(results.iter().all(|(_, bits)| *bits == results[0].1));
    let mean = results.iter().map(|(loss, _)| loss / 3.).sum::<f32>();
    assert!(mean < 0.7, "{mean}");
}

#[test]
fn overlap_buckets_and_threads_do_not_change_a_bit() {
    for compression in [Compression::None, Compression::TopK(0.1)] {
        let config = compressed(compression);
        let reference = run(2, &config, 6);
        for (overlap, bucket_bytes) in [(false, 25 << 20), (true, 1), (false, 1), (true, 300)] {
            let config = DataParallelConfig { overlap, bucket_bytes, ..config.clone() };
            assert_eq!(run(2, &config, 6)[0].1, reference[0].1, "{compression:?} {overlap} {bucket_bytes}");
        }
    }
}

#[test]
fn accumulated_parts_give_the_gradient_of_the_whole_batch() {
    let results = launch(Launch::threads(2), |comm| -> distributed::Result<Vec<Vec<f32>>> {
        let mut lists = Vec::new();
        for is_accumulated in [false, true] {
            let model = Model::new(0);
            let mut trainer = DataParallel::new(model.store.trainable(), comm.clone(), DataParallelConfig::default())?;
            // the first step shows which gradients may leave early
            for step in 0..2 {
                let (x, labels) = batch(comm.rank(), step, 16);
                let grads = if is_accumulated {
                    let part = |at| {
                        let part = (x.narrow(0, at, 8).unwrap(), labels.narrow(0, at, 8).unwrap());
                        (model.loss(&part) * 0.5).unwrap()
                    };
                    trainer.accumulate(&part(0))?;
                    trainer.backward(&part(8))?
                } else {
                    trainer.backward(&model.loss(&(x, labels)))?
                };
                let read =
                    |(_, var): (String, Var)| grads.get(&var).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
                lists.push(model.store.trainable().into_iter().flat_map(read).collect());
            }
        }
        Ok(lists)
    });
    let lists = &results.unwrap()[0];
    for (whole, parts) in [(0, 2), (1, 3)] {
        // f32 sums of 16 rows in another order
        assert!(lists[whole].iter().zip(&lists[parts]).all(|(a, b)| (a - b).abs() <= 1e-6));
    }
}

#[test]
fn a_model_may_change_with_overlap_too() {
    let run = |overlap| {
        launch(Launch::threads(2), |comm| -> distributed::Result<Vec<Vec<f32>>> {
            let model = Model::new(0);
            let config = DataParallelConfig { overlap, bucket_bytes: 1, ..DataParallelConfig::default() };
            let mut trainer = DataParallel::new(model.store.trainable(), comm.clone(), config)?;
            let inputs = batch(comm.rank(), 0, 16);
            trainer.backward(&model.loss(&inputs))?;
            // the same parameters twice
            let twice = (model.loss(&inputs) + model.loss(&inputs))?;
            let grads = trainer.backward(&twice)?;
            let values =
                |(_, var): (String, Var)| grads.get(&var).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            Ok(model.store.trainable().into_iter().map(values).collect())
        })
        .unwrap()
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn a_parameter_has_a_gradient_where_some_rank_has_one() {
    for compression in [Compression::None, Compression::TopK(0.5), Compression::RandomK(0.5)] {
        let config = |overlap| DataParallelConfig {
            overlap,
            selection: TensorSelection::MinElements(1),
            ..compressed(compression)
        };
        launch(Launch::threads(3), |comm| -> distributed::Result<()> {
            for overlap in [true, false] {
                let model = Model::new(0);
                let unused = Var::ones(5, DType::F32, &Device::Cpu)?;
                let seldom = Var::ones(4, DType::F32, &Device::Cpu)?;
                let mut vars: Vec<_> = model.store.trainable().into_iter().collect();
                vars.push(("unused".to_owned(), unused.clone()));
                vars.push(("seldom".to_owned(), seldom.clone()));
                let sgd = SgdConfig { learning_rate: 0.1, momentum: 0.9, ..SgdConfig::default() };
                let mut optimizer = Sgd::new(vars.clone(), sgd)?;
                let mut trainer = DataParallel::new(vars, comm.clone(), config(overlap))?;
                for step in 0..4 {
                    let mut loss = model.loss(&batch(comm.rank(), step, 16));
                    if step == 1 && comm.rank() == 2 {
                        loss = (loss + (seldom.sum_all()? * 6.)?)?;
                    }
                    let grads = trainer.backward(&loss)?;
                    assert!(grads.get(&unused).is_none(), "no rank's loss reached it");
                    match step {
                        0 => assert!(grads.get(&seldom).is_none()),
                        // a third of 6 on every rank, of which half of the elements are sent now where it is compressed
                        1 => {
                            let mean = grads.get(&seldom).unwrap().to_vec1::<f32>()?;
                            let expected = if compression == Compression::None { 8. } else { 4. };
                            assert_eq!(mean.iter().sum::<f32>(), expected, "{compression:?}");
                        }
                        // and the rest arrives later, without a gradient
                        _ => assert!(compression != Compression::None || grads.get(&seldom).is_none()),
                    }
                    optimizer.step(&grads)?;
                }
                assert_eq!(unused.to_vec1::<f32>()?, [1.; 5], "nothing moves what has no gradient");
                if compression == Compression::None {
                    // one step of 0.1 · 2, after which momentum does not go on
                    assert_eq!(seldom.to_vec1::<f32>()?, [0.8; 4]);
                }
            }
            Ok(())
        })
        .unwrap();
    }
}

#[test]
fn gradients_in_double_precision_are_averaged_in_double_precision() {
    for (dense_steps, selection) in [(0, TensorSelection::default()), (5, TensorSelection::MinElements(0))] {
        let means = launch(Launch::threads(2), |comm| -> distributed::Result<Vec<f64>> {
            let double = Var::zeros(3, DType::F64, &Device::Cpu)?;
            let single = Var::zeros(2, DType::F32, &Device::Cpu)?;
            let vars = vec![
                ("a".to_owned(), single.clone()),
                ("b".to_owned(), double.clone()),
                ("c".to_owned(), Var::zeros(2, DType::F32, &Device::Cpu)?),
            ];
            let config = DataParallelConfig { dense_steps, selection, ..compressed(Compression::TopK(0.5)) };
            let mut trainer = DataParallel::new(vars, comm.clone(), config)?;
            // 1 and 1 + 1e-10, whose mean no f32 has
            let loss =
                ((double.sum_all()? * (1. + 1e-10 * comm.rank() as f64))? + single.to_dtype(DType::F64)?.sum_all()?)?;
            let grads = trainer.backward(&loss)?;
            assert_eq!(grads.get(&single).unwrap().to_vec1::<f32>()?, [1., 1.]);
            Ok(grads.get(&double).unwrap().to_vec1()?)
        })
        .unwrap();
        for mean in means {
            assert_eq!(mean, [1.00000000005; 3]);
        }
    }
}

#[test]
fn momentum_correction_trains_where_momentum_on_sparse_gradients_does_not() {
    // f(w) = ½ Σ h w² with h from 0.1 to 1, a quarter of the elements sent: dense training with this rate and momentum 0.9 converges, but the optimiser's momentum repeats what arrives late
    let run = |compression: Compression, momentum: f64, memory: MemoryConfig| -> f64 {
        let ends = launch(Launch::threads(2), |comm| -> distributed::Result<f64> {
            let w = Var::ones(200, DType::F32, &Device::Cpu)?;
            let h: Vec<f32> = (0..200).map(|i| 0.1 + 0.9 * i as f32 / 199.).collect();
            let h = Tensor::new(h, &Device::Cpu)?;
            let vars = vec![("w".to_owned(), w.clone())];
            let sgd = SgdConfig { learning_rate: 0.4, momentum, ..SgdConfig::default() };
            let mut optimizer = Sgd::new(vars.clone(), sgd)?;
            let mut trainer = DataParallel::new(vars, comm, DataParallelConfig { memory, ..compressed(compression) })?;
            for _ in 0..300 {
                let loss = ((w.sqr()? * &h)?.sum_all()? * 0.5)?;
                optimizer.step(&trainer.backward(&loss)?)?;
            }
            Ok(f64::from((w.sqr()? * &h)?.mean_all()?.to_scalar::<f32>()?))
        });
        ends.unwrap()[0]
    };
    let dense = run(Compression::None, 0.9, MemoryConfig::default());
    let plain = run(Compression::TopK(0.25), 0.9, MemoryConfig::default());
    let corrected = run(Compression::TopK(0.25), 0., MemoryConfig::Dgc { momentum: 0.9 });
    // from 0.55 at the start; in exact arithmetic 140 and 8e-17
    assert!(plain > 10. && dense < 1e-9 && corrected < 1e-9, "dense {dense}, plain {plain}, corrected {corrected}");
}

#[test]
fn a_gradient_that_is_not_finite_ends_all_ranks_without_compression_too() {
    for (dtype, bad) in [(DType::F32, f64::NAN), (DType::F64, f64::INFINITY), (DType::F32, 3e38)] {
        let error = launch(Launch::threads(3), |comm| -> distributed::Result<()> {
            let w = Var::zeros(3, dtype, &Device::Cpu)?;
            let vars = vec![("w".to_owned(), w.clone())];
            let mut trainer = DataParallel::new(vars, comm.clone(), DataParallelConfig::default())?;
            // what is beyond f32 is so in the sum alone
            let factor = if comm.rank() == 1 || bad == 3e38 { bad } else { 1. };
            trainer.backward(&(w.sum_all()? * factor)?).map(drop)
        })
        .unwrap_err();
        assert!(error.to_string().contains("expected a finite number"), "{bad}: {error}");
    }
}

#[test]
fn a_whole_run_is_saved_and_continued_in_one_call_each() {
    let folder = tempfile::tempdir().unwrap();
    let train = |ranks: usize, steps: u64, folder: Option<&std::path::Path>| {
        launch(Launch::threads(ranks), |comm| -> distributed::Result<(u64, Vec<u32>)> {
            let model = Model::new(0);
            let sgd = SgdConfig { learning_rate: 0.1, momentum: 0.5, ..SgdConfig::default() };
            let mut optimizer = Sgd::new(&model.store, sgd)?;
            let mut trainer = DataParallel::new(&model.store, comm.clone(), compressed(Compression::TopK(0.1)))?;
            // each rank has a stream of its own
            let mut rng = Rng::new(5).fork(&format!("rank {}", comm.rank()));
            if let Some(folder) = folder
                && let Some(then) = trainer.load_checkpoint(folder)?
            {
                model.store.restore(&then.parameters)?;
                then.optimizer.iter().try_for_each(|state| optimizer.load_state(state))?;
                rng = then.rng("batches")?;
                assert_eq!(then.extra, "kept");
            }
            let start = trainer.step();
            while trainer.step() < steps {
                let inputs = batch(comm.rank(), rng.below(1000) as u64, 8);
                optimizer.step(&trainer.backward(&model.loss(&inputs))?)?;
                if let Some(folder) = folder
                    && trainer.step() % 4 == 0
                {
                    let mut now = Checkpoint::new(trainer.step());
                    now.parameters = model.store.snapshot()?;
                    now.optimizer = Some(optimizer.state()?);
                    now.rngs.insert("batches".to_owned(), rng.clone());
                    now.extra = "kept".into();
                    trainer.save_checkpoint(folder, now)?;
                }
            }
            Ok((start, model.bits()))
        })
    };
    let whole = train(3, 14, None).unwrap();
    assert_eq!(train(3, 10, Some(folder.path())).unwrap()[0].0, 0);
    let files = |name: &str| std::fs::read_dir(folder.path().join(name)).unwrap().count();
    assert!(files("shared") == 4 && files("rank-2") == 4 && !folder.path().join("rank-3").exists());
    // one rank was killed before it wrote the newest
    std::fs::remove_file(folder.path().join("rank-1/step-8.json")).unwrap();
    let resumed = train(3, 14, Some(folder.path())).unwrap();
    assert!(resumed.iter().all(|(start, bits)| *start == 4 && *bits == whole[0].1));
    assert!(train(2, 14, Some(folder.path())).is_err(), "of another number of ranks");
    let error = launch(Launch::threads(1), |comm| -> distributed::Result<()> {
        DataParallel::new(&Model::new(0).store, comm, DataParallelConfig::default())?
            .save_checkpoint(folder.path(), Checkpoint::new(7))
    });
    assert!(matches!(error, Err(Error::State { .. })), "{error:?}");
}

#[test]
fn all_ranks_start_from_rank_zero_and_must_agree() {
    let bits = launch(Launch::threads(3), |comm| -> distributed::Result<Vec<u32>> {
        let model = Model::new(comm.rank() as u64);
        DataParallel::new(model.store.trainable(), comm.clone(), DataParallelConfig::default())?;
        Ok(model.bits())
    })
    .unwrap();
    assert!(bits.iter().all(|bits| *bits == Model::new(0).bits()));
    let error = launch(Launch::threads(3), |comm| -> distributed::Result<()> {
        let var = Var::zeros(5 + comm.rank() / 2, DType::F32, &Device::Cpu)?;
        DataParallel::new(vec![("w".to_owned(), var)], comm, DataParallelConfig::default()).map(drop)
    });
    let error = error.unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
    assert!(error.to_string().contains("[5]") && error.to_string().contains("[6]"), "{error}");
    let error = launch(Launch::threads(2), |comm| -> distributed::Result<()> {
        let config = DataParallelConfig { seed: comm.rank() as u64, ..DataParallelConfig::default() };
        DataParallel::new(Model::new(0).store.trainable(), comm, config).map(drop)
    });
    assert!(matches!(error, Err(Error::Mismatch { .. })));
}

#[test]
fn a_gradient_that_is_not_finite_ends_all_ranks() {
    let error = launch(Launch::threads(3), |comm| -> distributed::Result<()> {
        let model = Model::new(0);
        let mut trainer = DataParallel::new(model.store.trainable(), comm.clone(), compressed(Compression::TopK(0.1)))?;
        let (x, labels) = batch(comm.rank(), 0, 16);
        let x = if comm.rank() == 1 { (x * f64::NAN)? } else { x };
        trainer.backward(&model.loss(&(x, labels))).map(drop)
    });
    let error = error.unwrap_err();
    assert!(error.to_string().contains("NaN") && error.to_string().contains("expected a finite number"), "{error}");
}

#[test]
fn a_run_continues_with_the_same_bits() {
    let sidco = Compression::SidCo(SidCoConfig { ratio: 0.05, ..SidCoConfig::default() });
    let dragonn = Compression::Dragonn(DragonnConfig::with_ratio(0.05));
    for (compression, memory) in [
        (dragonn, MemoryConfig::default()),
        (sidco, MemoryConfig::default()),
        (Compression::TopK(0.05), MemoryConfig::Dgc { momentum: 0.9 }),
    ] {
        let config = DataParallelConfig { memory, dense_steps: 3, ..compressed(compression) };
        let whole = run(2, &config, 20);
        let folder = tempfile::tempdir().unwrap();
        let start = |comm: &Arc<dyn Communicator>| -> distributed::Result<(Model, Sgd, DataParallel)> {
            let model = Model::new(0);
            let optimizer =
                Sgd::new(model.store.trainable(), SgdConfig { learning_rate: 0.2, ..SgdConfig::default() })?;
            let trainer = DataParallel::new(model.store.trainable(), comm.clone(), config.clone())?;
            Ok((model, optimizer, trainer))
        };
        launch(Launch::threads(2), |comm| -> distributed::Result<()> {
            let (model, mut optimizer, mut trainer) = start(&comm)?;
            assert_eq!(trainer.load(folder.path())?, None);
            for step in 0..13 {
                // an older one beside the newest, which one rank alone has
                if step == 9 || (step == 11 && comm.rank() == 0) {
                    model.store.save(folder.path().join(format!("model-{step}.safetensors")))?;
                }
                if step == 9 {
                    trainer.save(folder.path())?;
                }
                optimizer.step(&trainer.backward(&model.loss(&batch(comm.rank(), step, 16)))?)?;
            }
            Ok(())
        })
        .unwrap();
        let resumed = launch(Launch::threads(2), |comm| -> distributed::Result<Vec<u32>> {
            let (model, mut optimizer, mut trainer) = start(&comm)?;
            let step = trainer.load(folder.path())?.unwrap();
            assert_eq!((step, trainer.step()), (9, 9));
            model.store.load(folder.path().join(format!("model-{step}.safetensors")))?;
            for step in step..20 {
                optimizer.step(&trainer.backward(&model.loss(&batch(comm.rank(), step, 16)))?)?;
            }
            Ok(model.bits())
        });
        assert_eq!(resumed.unwrap()[0], whole[0].1, "{compression:?}");
        // of another number of ranks, or with other tensors
        let error = launch(Launch::threads(1), |comm| start(&comm)?.2.load(folder.path()));
        assert!(matches!(error, Err(Error::State { .. })), "{error:?}");
        let error = launch(Launch::threads(2), |comm| -> distributed::Result<()> {
            let config = DataParallelConfig { selection: TensorSelection::MinElements(1000), ..config.clone() };
            DataParallel::new(Model::new(0).store.trainable(), comm, config)?.load(folder.path()).map(drop)
        });
        assert!(matches!(error, Err(Error::State { .. })), "{error:?}");
    }
}

#[test]
fn a_state_names_residuals_by_their_tensors_and_continues() {
    let config = compressed(Compression::TopK(0.05));
    let whole = run(2, &config, 6);
    let resumed = launch(Launch::threads(2), |comm| -> distributed::Result<Vec<u32>> {
        let model = Model::new(0);
        let vars = model.store.trainable();
        let mut optimizer = Sgd::new(vars.clone(), SgdConfig { learning_rate: 0.2, ..SgdConfig::default() })?;
        let mut trainer = DataParallel::new(vars.clone(), comm.clone(), config.clone())?;
        assert!(trainer.state()?.tensors.is_empty(), "nothing is kept before the first step");
        for step in 0..4 {
            optimizer.step(&trainer.backward(&model.loss(&batch(comm.rank(), step, 16)))?)?;
        }
        let state = trainer.state()?;
        // biases are not compressed
        assert!(state.tensors.keys().eq(&["residual/first.weight", "residual/second.weight"]));
        // as a checkpoint holds it: numbers by serde, tensors beside them
        let text = serde_json::to_string(&state).unwrap();
        let mut read: DataParallelState = serde_json::from_str(&text).unwrap();
        assert!(read.tensors.is_empty());
        read.tensors = state.tensors.clone();
        let mut trainer = DataParallel::new(vars, comm.clone(), config.clone())?;
        trainer.load_state(&read)?;
        for step in trainer.step()..6 {
            optimizer.step(&trainer.backward(&model.loss(&batch(comm.rank(), step, 16)))?)?;
        }
        // a list of another memory, of a shared bucket, of no bucket, and the names of earlier versions
        for name in ["momentum/first.weight", "residual/bucket 0", "residual/third.weight", "first.weight#0"] {
            let mut other = state.clone();
            let tensor = other.tensors.remove("residual/first.weight").unwrap();
            other.tensors.insert(name.to_owned(), tensor);
            let error = trainer.load_state(&other).unwrap_err();
            assert!(matches!(error, Error::State { .. }), "{name}: {error}");
        }
        Ok(model.bits())
    });
    assert_eq!(resumed.unwrap()[0], whole[0].1);
}

#[test]
fn first_steps_are_dense_and_ratios_follow_their_schedule() {
    launch(Launch::threads(2), |comm| -> distributed::Result<()> {
        let model = Model::new(0);
        let config = DataParallelConfig {
            dense_steps: 2,
            ratios: vec![(0, 0.5), (3, 0.25), (4, 0.1)],
            selection: TensorSelection::MinElements(1000),
            ..compressed(Compression::TopK(0.9))
        };
        let mut trainer = DataParallel::new(model.store.trainable(), comm.clone(), config)?;
        let elements = 64 * WIDTH;
        for (step, sent) in [elements, elements, elements / 2, elements / 4, elements / 10].into_iter().enumerate() {
            trainer.backward(&model.loss(&batch(comm.rank(), step as u64, 16)))?;
            let all = trainer.statistics();
            let (_, statistics) = all.iter().find(|(name, _)| name == "first.weight").unwrap();
            assert_eq!((statistics.elements, statistics.sent), (elements, sent), "step {step}");
        }
        Ok(())
    })
    .unwrap();
}
