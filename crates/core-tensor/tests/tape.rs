//! The walk over our tape against Candle's pass alone, on random graphs of both kinds of operations.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use candle_core::{DType, Device, Result, Tensor, Var};
use core_tensor::random::Rng;
use core_tensor::{backward, backward_observed, ops, tape};
use std::cell::RefCell;
use std::rc::Rc;

/// Matrices of few shapes, so that operations of two arguments often fit.
const SIZES: [usize; 3] = [2, 3, 6];

struct Graph {
    rng: Rng,
    variables: Vec<Var>,
    tensors: Vec<Tensor>,
}

impl Graph {
    fn new(seed: u64) -> Self {
        let mut graph = Self { rng: Rng::new(seed), variables: Vec::new(), tensors: Vec::new() };
        for _ in 0..3 {
            let (rows, columns) = (graph.size(), graph.size());
            let variable = Var::from_tensor(&graph.constant(rows, columns)).unwrap();
            graph.tensors.push(variable.as_tensor().clone());
            graph.variables.push(variable);
        }
        let (rows, columns) = (graph.size(), graph.size());
        let constant = graph.constant(rows, columns);
        graph.tensors.push(constant);
        graph
    }

    fn size(&mut self) -> usize {
        SIZES[self.rng.below(SIZES.len())]
    }

    fn constant(&mut self, rows: usize, columns: usize) -> Tensor {
        let values: Vec<f64> = (0..rows * columns).map(|_| self.rng.below(2001) as f64 / 1000. - 1.).collect();
        Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap()
    }

    fn any(&mut self) -> Tensor {
        // the youngest often, so that graphs become deep
        let n = self.tensors.len();
        let at = if self.rng.below(2) == 0 { n - 1 - self.rng.below(n.min(3)) } else { self.rng.below(n) };
        self.tensors[at].clone()
    }

    /// One of the same shape, or a constant.
    fn partner(&mut self, of: &Tensor) -> Tensor {
        let fitting: Vec<Tensor> = self.tensors.iter().filter(|t| t.shape() == of.shape()).cloned().collect();
        match self.rng.below(3) {
            0 => self.constant(of.dims()[0], of.dims()[1]),
            _ => fitting[self.rng.below(fitting.len())].clone(),
        }
    }

    fn grow(&mut self) -> Result<()> {
        let x = self.any();
        let (rows, columns) = x.dims2()?;
        let y = match self.rng.below(40) {
            0 => ops::tanh(&x)?,
            1 => ops::relu(&x)?,
            2 => ops::sigmoid(&x)?,
            3 => ops::softmax(&x)?,
            4 => {
                let outputs = self.size();
                let weight = match self.tensors.iter().find(|t| t.dims() == [outputs, columns]) {
                    Some(weight) => weight.clone(),
                    None => self.constant(outputs, columns),
                };
                ops::linear(&x, &weight, None)?
            }
            5 => ops::add_relu(&x, &self.partner(&x))?,
            6 => {
                let sums = ops::sum_dim0(&x)?;
                sums.unsqueeze(0)?.broadcast_as((rows, columns))?
            }
            7 => x.t()?,
            8 => x.t()?.contiguous()?,
            9 if rows * columns == 6 => x.contiguous()?.reshape((6 / 3, 3))?,
            9 => x.clone(),
            10 => {
                let at = self.rng.below(2);
                let size = x.dims()[at];
                let len = [2, 3].into_iter().find(|&len| len < size).unwrap_or(size);
                x.narrow(at, self.rng.below(size - len + 1), len)?
            }
            11 => (&x * self.partner(&x))?,
            12 => (&x + self.partner(&x))?,
            13 => (&x - self.partner(&x))?,
            14 => x.sqr()?,
            15 => (&x * 0.5)?,
            16 => ops::gelu(&x)?,
            17 => {
                let index = Tensor::from_vec(vec![0u32, 1, 1], 3, &Device::Cpu)?;
                x.contiguous()?.index_select(&index, 0)?
            }
            18 if rows == 2 => Tensor::cat(&[&x, &x.narrow(0, 1, 1)?], 0)?,
            18 => x.exp()?,
            19 => x.narrow(0, 0, 1)?.broadcast_as((self.size(), columns))?,
            20 => x.unsqueeze(1)?.squeeze(1)?,
            21 => x.detach(),
            22 => ops::log_softmax(&x)?,
            23 => {
                let partner = self.partner(&x);
                ops::add_relu(&x.t()?, &partner.t()?)?.t()?
            }
            24 => {
                // a variable in the midst that shares storage with what gave it
                let variable = Var::from_tensor(&x)?;
                let y = (variable.as_tensor().t()?.t()? + &x)?;
                self.variables.push(variable);
                y
            }
            25 => ops::add(&x, &self.partner(&x))?,
            26 => ops::sub(&x, &self.partner(&x))?,
            27 => ops::mul(&x, &self.partner(&x))?,
            28 => ops::div(&x, &ops::affine(&ops::sqr(&self.partner(&x))?, 1., 1.)?)?,
            29 => ops::mul(&x, &x.narrow(0, 0, 1)?)?,
            30 => ops::sub(&x.narrow(1, 0, 1)?, &x)?,
            31 => ops::add(&ops::sum_keepdim(&x, &[0])?, &ops::mean_keepdim(&x, &[1])?)?,
            32 => ops::to_contiguous(&x.t()?)?,
            33 => {
                ops::cat(&[&x, &self.partner(&x), &x, &self.partner(&x)], self.rng.below(2))?.narrow(0, 1, rows - 1)?
            }
            34 => {
                let dim = self.rng.below(2);
                ops::index_select(&x, &Tensor::new(&[1u32, 0, 1], &Device::Cpu)?, dim)?
            }
            35 => ops::stack(&[&x, &self.partner(&x)], 1)?.narrow(1, self.rng.below(2), 1)?.squeeze(1)?,
            36 => ops::sqrt(&ops::affine(&ops::sqr(&x)?, 1., 0.5)?)?,
            37 => ops::ln(&ops::affine(&ops::abs(&x)?, 2., 0.5)?)?,
            38 => ops::exp(&ops::affine(&x, -0.3, 0.1)?)?,
            _ => x.permute((1, 0))?.narrow(0, 1, columns - 1)?.broadcast_sub(&x.t()?.narrow(0, 0, 1)?)?.t()?,
        };
        let y = if y.dims()[0] > 12 { y.narrow(0, 3, 2)? } else { y };
        let y = if y.dims()[1] > 12 { y.narrow(1, 4, 3)? } else { y };
        if y.dims().iter().all(|&size| size > 1) {
            // values stay of the order of one
            let largest = y.abs()?.max_all()?.to_scalar::<f64>()?;
            self.tensors.push(if largest > 4. { ops::tanh(&y)? } else { y });
        }
        Ok(())
    }

    fn loss(&mut self) -> Result<Tensor> {
        let mut loss = Tensor::zeros((), DType::F64, &Device::Cpu)?;
        for _ in 0..1 + self.rng.below(3) {
            let x = self.any();
            let weights = self.constant(x.dims()[0], x.dims()[1]);
            let part = match self.rng.below(4) {
                0 => (x * weights)?.sum_all()?,
                1 => ops::sum_all(&x)?,
                2 => ops::mean_all(&x)?,
                _ => ops::mse(&x, &weights)?,
            };
            loss = if self.rng.below(2) == 0 { part } else { (loss + part)? };
        }
        Ok(loss)
    }
}

fn assert_equal(ours: Option<&Tensor>, candles: Option<&Tensor>, what: &str) {
    let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f64>().unwrap();
    match (ours, candles) {
        (Some(ours), Some(candles)) => {
            assert_eq!(ours.shape(), candles.shape(), "{what}");
            let (ours, candles) = (values(ours), values(candles));
            let scale = candles.iter().fold(1f64, |scale, value| scale.max(value.abs()));
            for (a, b) in ours.iter().zip(&candles) {
                assert!((a - b).abs() <= 1e-12 * scale, "{what}: {a} and {b}\n{ours:?}\n{candles:?}");
            }
        }
        // Candle keeps zeros for what an operation did not give, ours nothing
        (None, Some(candles)) => assert!(values(candles).iter().all(|value| *value == 0.), "{what}"),
        (None, None) => {}
        (Some(ours), None) => assert!(values(ours).iter().all(|value| *value == 0.), "{what}"),
    }
}

#[test]
fn random_graphs_have_candles_gradients() {
    let (mut pure, mut mixed) = (0, 0);
    for seed in 0..4000 {
        let mut graph = Graph::new(seed);
        let length = 3 + graph.rng.below(25);
        for _ in 0..length {
            graph.grow().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
        let loss = graph.loss().unwrap();
        let candles = loss.backward().unwrap();
        let ours = backward(&loss).unwrap();
        let reports = Rc::new(RefCell::new(Vec::new()));
        let seen = reports.clone();
        let observed =
            backward_observed(&loss, move |variable, grad| seen.borrow_mut().push((variable.id(), grad.clone())))
                .unwrap();
        for (at, variable) in graph.variables.iter().enumerate() {
            let what = format!("seed {seed}, variable {at}");
            assert_equal(ours.get(variable), candles.get(variable), &what);
            assert_equal(observed.get(variable), candles.get(variable), &what);
            let reported: Vec<_> = reports.borrow().iter().filter(|(id, _)| *id == variable.id()).cloned().collect();
            match observed.get(variable) {
                Some(gradient) => {
                    assert_eq!(reported.len(), 1, "{what}");
                    assert_eq!(reported[0].1.id(), gradient.id(), "{what}");
                }
                None => assert!(reported.is_empty(), "{what}"),
            }
        }
        match tape::foreign(&loss).is_empty() {
            true => pure += 1,
            false => mixed += 1,
        }
    }
    println!("{pure} {mixed}");
    assert!(pure > 100 && mixed > 2000, "{pure} {mixed}");
}

fn sum_of(values: &Tensor) -> f64 {
    values.sum_all().unwrap().to_scalar::<f64>().unwrap()
}

#[test]
fn a_view_of_a_variable_is_not_one_of_what_the_variable_was_made_of() -> Result<()> {
    let x = Var::new(&[[1f64, 2.], [3., 4.]], &Device::Cpu)?;
    // recorded, of Candle, and a view: each becomes the storage of a variable
    for made in [ops::tanh(&x)?, x.sqr()?, x.t()?, x.narrow(0, 1, 1)?] {
        let variable = Var::from_tensor(&made)?;
        let (of_variable, of_made) = (variable.as_tensor().t()?, made.t()?);
        let loss = (ops::sum_all(&ops::tanh(&of_variable)?)? + (ops::sum_all(&of_made)? * 3.)?)?;
        let (ours, candles) = (backward(&loss)?, loss.backward()?);
        for variable in [&x, &variable] {
            assert_equal(ours.get(variable), candles.get(variable), "aliases");
            assert!(ours.get(variable).is_some());
        }
        // only the view of the variable is in the graph
        let loss = ops::sum_all(&of_variable)?;
        let ours = backward(&loss)?;
        assert!(ours.get(&x).is_none());
        assert_eq!(sum_of(ours.get(&variable).unwrap()), made.elem_count() as f64);
    }
    Ok(())
}

/// Candle takes the gradient of a tensor that was unfolded for that of a reshaped one, which is in another order, and has none where windows overlap.
#[test]
fn unfolded_tensors_have_right_gradients() -> Result<()> {
    let x = Var::from_tensor(&Graph::new(1).constant(5, 3))?;
    for (size, step) in [(2, 1), (3, 2), (2, 2), (5, 1)] {
        let windows = x.unfold(0, size, step)?;
        let weights = Tensor::arange(0f64, windows.elem_count() as f64, &Device::Cpu)?.reshape(windows.shape())?;
        let loss = ops::sum_all(&ops::mul(&windows, &weights)?)?;
        let found = backward(&loss)?.get(&x).unwrap().to_vec2::<f64>()?;
        let weights = weights.to_vec3::<f64>()?;
        let mut expected = vec![vec![0.; 3]; 5];
        for (window, weights) in weights.iter().enumerate() {
            for (column, weights) in weights.iter().enumerate() {
                for (at, weight) in weights.iter().enumerate() {
                    expected[window * step + at][column] += weight;
                }
            }
        }
        assert_eq!(found, expected, "{size} {step}");
    }
    Ok(())
}

#[test]
fn graphs_that_are_dropped_leave_nothing_behind() -> Result<()> {
    let x = Var::new(&[1f64, 2.], &Device::Cpu)?;
    let y = {
        let early = ops::tanh(&x)?;
        let late = ops::tanh(&early)?;
        drop(early);
        late
    };
    assert!(backward(&ops::sum_all(&y)?)?.get(&x).is_some());
    // a loss may be walked again, and parts of it in the midst of others
    let loss = ops::sum_all(&y)?;
    let (first, second) = (backward(&loss)?, backward(&loss)?);
    assert_equal(first.get(&x), second.get(&x), "again");
    assert_equal(backward(&y)?.get(&x), loss.backward()?.get(&x), "not a scalar");
    // nothing on the tape
    let constant = Tensor::new(&[1f64], &Device::Cpu)?;
    assert!(backward(&ops::sum_all(&constant)?)?.get(&x).is_none());
    assert!(backward(x.as_tensor())?.get(&x).is_some());
    Ok(())
}

#[test]
fn an_observer_may_start_a_pass_of_its_own() -> Result<()> {
    let (x, y) = (Var::new(&[1f64, 2.], &Device::Cpu)?, Var::new(&[3f64, 4.], &Device::Cpu)?);
    let inner = ops::sum_all(&ops::tanh(&y)?)?;
    let found = Rc::new(RefCell::new(None));
    let into = found.clone();
    let id = y.id();
    let grads = backward_observed(&ops::sum_all(&ops::tanh(&x)?)?, move |_, _| {
        let grads = backward(&inner).unwrap();
        *into.borrow_mut() = grads.get_ids().find(|&&known| known == id).copied();
    })?;
    assert!(grads.get(&x).is_some() && grads.get(&y).is_none());
    assert_eq!(*found.borrow(), Some(id));
    Ok(())
}

#[test]
fn threads_walk_their_own_graphs_and_share_variables() -> Result<()> {
    let weight = Var::from_tensor(&Tensor::ones((4, 4), DType::F64, &Device::Cpu)?)?;
    let step = |seed: u64| -> Result<f64> {
        let x = Graph::new(seed).constant(3, 4);
        let mut y = x.clone();
        for _ in 0..20 {
            y = ops::tanh(&ops::linear(&y, &weight, None)?)?;
        }
        Ok(sum_of(backward(&ops::sum_all(&y)?)?.get(&weight).unwrap()))
    };
    let expected: Vec<f64> = (0..8).map(|seed| step(seed).unwrap()).collect();
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|seed| scope.spawn(move || (0..50).map(|_| step(seed).unwrap()).collect::<Vec<_>>())).collect();
        for (thread, expected) in threads.into_iter().zip(&expected) {
            assert!(thread.join().unwrap().iter().all(|value| value == expected));
        }
    });
    // a graph may be walked on another thread than the one that made it
    let loss = ops::sum_all(&ops::tanh(&weight)?)?;
    let here = backward(&loss)?;
    let there = std::thread::scope(|scope| scope.spawn(|| backward(&loss).unwrap()).join().unwrap());
    assert_equal(there.get(&weight), here.get(&weight), "another thread");
    Ok(())
}

mod panicking {
    use core_tensor::kernel::{Gradients, Kernel, Real};

    /// The identity, whose backward pass panics or fails.
    pub(crate) struct Broken {
        pub(crate) panics: bool,
    }

    impl Kernel for Broken {
        const NAME: &'static str = "broken";

        fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
            Ok(x[0].to_vec())
        }

        fn backward<T: Real>(&self, _: &[&[T]], _: &[T], _: &[T], _: [bool; 3]) -> candle_core::Result<Gradients<T>> {
            assert!(!self.panics, "as intended");
            // a gradient that does not fit
            Ok([Some(vec![T::ONE; 3]), None, None])
        }
    }
}

#[test]
fn a_kernel_that_panics_or_fails_poisons_nothing() -> Result<()> {
    let x = Var::new(&[1f64, 2.], &Device::Cpu)?;
    let sound = ops::sum_all(&ops::tanh(&x)?)?;
    for panics in [true, false] {
        let y = core_tensor::kernel::apply(panicking::Broken { panics }, &[x.as_tensor()], 2)?;
        let loss = ops::sum_all(&ops::tanh(&y)?)?;
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| backward(&loss)));
        assert!(if panics { outcome.is_err() } else { matches!(outcome, Ok(Err(_))) });
        assert_equal(backward(&sound)?.get(&x), sound.backward()?.get(&x), "after a panic");
    }
    Ok(())
}

#[test]
fn memory_does_not_grow() -> Result<()> {
    let resident = || -> u64 {
        let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0)
    };
    let weight = Var::from_tensor(&Tensor::ones((8, 8), DType::F32, &Device::Cpu)?)?;
    let x = Tensor::ones((4, 8), DType::F32, &Device::Cpu)?;
    let step = || -> Result<()> {
        let y = ops::relu(&ops::linear(&x, weight.as_tensor(), None)?)?;
        let loss = ops::mean_all(&y.t()?.sqr()?)?;
        backward(&loss).map(drop).map_err(Into::into)
    };
    // Other tests of this process take memory meanwhile; what is lost at each step grows in every part.
    let mut pages = Vec::new();
    for _ in 0..5 {
        (0..20_000).try_for_each(|_| step())?;
        pages.push(resident());
    }
    // 50 bytes a step are 244 pages of 4 KiB.
    assert!(pages.windows(2).any(|pair| pair[1] < pair[0] + 244), "{pages:?} pages");
    Ok(())
}

/// Layers put no operation of Candle's own on the tape.
#[test]
fn layers_are_walked_as_a_whole() -> core_tensor::Result<()> {
    use candle_nn::Module;
    use core_tensor::ops::AttentionConfig;
    use core_tensor::params::ParamStore;
    use core_tensor::{Mode, nn};
    let store = ParamStore::new(1, DType::F64, &Device::Cpu);
    let vb = store.var_builder();
    let mut rng = Rng::new(3);
    let x = rng.normal(0., 1., (2, 5, 8), DType::F64, &Device::Cpu)?;
    let planes = rng.normal(0., 1., (2, 3, 6, 6), DType::F64, &Device::Cpu)?;
    let attention = nn::multihead_attention(8, 2, vb.pp("attention"))?;
    let (x1, x2) = (x.narrow(1, 0, 3)?, x.narrow(1, 1, 4)?);
    let lstm = nn::lstm(8, 4, nn::RecurrentConfig::default(), vb.pp("lstm"))?;
    let gru = nn::gru(8, 4, nn::RecurrentConfig::default(), vb.pp("gru"))?;
    let norm = nn::batch_norm2d(3, nn::BatchNormConfig::default(), vb.pp("norm"))?;
    let outputs = [
        ("attention", attention.forward(&x, &AttentionConfig::default())?),
        ("cross", attention.forward_cross(&x1, &x2, &AttentionConfig::default())?),
        ("layer norm", nn::layer_norm(8, 1e-5, vb.pp("ln"))?.forward(&x)?),
        ("group norm", nn::group_norm(1, 3, 1e-5, vb.pp("gn"))?.forward(&planes)?),
        ("lstm", lstm.forward(&x, None)?.0),
        ("gru", gru.forward(&x, None)?.0),
        ("trained norm", norm.forward_relu(&planes, &Mode::recalibrate())?),
        ("norm", norm.forward_relu(&planes, &Mode::evaluate())?),
        ("conv", nn::conv2d(3, 4, 3, Default::default(), vb.pp("conv"))?.forward(&planes)?),
    ];
    for (name, y) in outputs {
        let loss = ops::sum_all(&ops::sqr(&y)?)?;
        assert_eq!(tape::foreign(&loss), [], "{name}");
        core_tensor::gradcheck::backward_both(&loss)?;
    }
    Ok(())
}
