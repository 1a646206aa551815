//! Second derivatives by a tape that keeps its gradients: right where they exist, an error where they do not.

#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor, Var};
use core_tensor::kernel::{self, Gradients, Kernel, Real};
use core_tensor::ops::{self, AttentionConfig, Conv2dConfig, Pool2dConfig};
use core_tensor::random::Rng;
use core_tensor::sparse::SparsePattern;
use core_tensor::{Result, nn, params::ParamStore};

type Function = Box<dyn Fn(&Tensor) -> Result<Tensor>>;

fn normal(seed: u64, shape: impl Into<candle_core::Shape>) -> Tensor {
    Rng::new(seed).normal(0., 1., shape, DType::F64, &Device::Cpu).unwrap()
}

/// The gradient of `Σ f(x) · weights`, still on the tape.
fn gradient(f: &Function, x: &Var) -> Result<Tensor> {
    let y = f(x)?;
    let weights = normal(77, y.shape());
    let grads = (y * weights)?.sum_all()?.backward()?;
    Ok(grads.get(x).unwrap().clone())
}

/// A kernel written outside of the crate: `y = x`, whose gradient is the incoming one.
struct Identity;

impl Kernel for Identity {
    const NAME: &'static str = "identity";

    fn forward<T: Real>(&self, x: &[&[T]]) -> candle_core::Result<Vec<T>> {
        Ok(x[0].to_vec())
    }

    fn backward<T: Real>(
        &self,
        _x: &[&[T]],
        _y: &[T],
        grad: &[T],
        _needs: [bool; 3],
    ) -> candle_core::Result<Gradients<T>> {
        Ok([Some(grad.to_vec()), None, None])
    }
}

// The only test of this program: the variable must be set before any thread of Candle's reads it.
#[test]
fn second_derivatives_are_right_or_refused() -> Result<()> {
    // SAFETY: nothing else of this program reads or writes the environment meanwhile.
    unsafe { std::env::set_var("CANDLE_GRAD_DO_NOT_DETACH", "1") };
    let targets = Tensor::new(&[0u32, 2, 1], &Device::Cpu)?;
    let (w, b, other) = (normal(2, (5, 4)), normal(3, 4), normal(4, (3, 4)));
    let bias = normal(5, 5);
    let pattern = SparsePattern::from_edges(3, 3, &[0, 0, 1, 2], &[1, 2, 0, 2])?;
    let exist: Vec<(&str, Function)> = vec![
        ("linear", Box::new(move |x| ops::tanh(&ops::linear(x, &w, Some(&bias))?))),
        ("bias_add", Box::new(move |x| ops::sigmoid(&ops::bias_add(x, &b)?))),
        ("tanh", Box::new(ops::tanh)),
        ("sigmoid", Box::new(ops::sigmoid)),
        ("elu", Box::new(|x| ops::elu(x, 1.3))),
        ("gelu", Box::new(ops::gelu)),
        ("gelu_tanh", Box::new(ops::gelu_tanh)),
        ("silu", Box::new(ops::silu)),
        ("softplus", Box::new(ops::softplus)),
        ("sin", Box::new(ops::sin)),
        ("cos", Box::new(ops::cos)),
        ("lgamma", Box::new(|x| ops::lgamma(&ops::sqr(x)?))),
        ("exp", Box::new(ops::exp)),
        ("softmax", Box::new(ops::softmax)),
        ("log_softmax", Box::new(ops::log_softmax)),
        ("cross_entropy", Box::new(move |x| ops::cross_entropy(x, &targets))),
        ("mse", Box::new(move |x| ops::mse(&ops::tanh(x)?, &other))),
        ("sum_dim0", Box::new(|x| ops::sum_dim0(&ops::exp(x)?))),
        ("spmm", Box::new(move |x| ops::tanh(&pattern.matmul(x)?))),
    ];
    let direction = normal(9, (3, 4));
    for (name, f) in &exist {
        let start = normal(1, (3, 4));
        let x = Var::from_tensor(&start)?;
        let along = (gradient(f, &x)? * &direction)?.sum_all()?;
        let second = along.backward()?.get(&x).unwrap().flatten_all()?.to_vec1::<f64>()?;
        let step = 1e-5;
        for at in 0..12 {
            let moved = |by: f64| -> Result<f64> {
                let mut values = start.flatten_all()?.to_vec1::<f64>()?;
                values[at] += by;
                let x = Var::from_tensor(&Tensor::from_vec(values, (3, 4), &Device::Cpu)?)?;
                Ok((gradient(f, &x)? * &direction)?.sum_all()?.to_scalar()?)
            };
            let numeric = (moved(step)? - moved(-step)?) / (2. * step);
            assert!((numeric - second[at]).abs() < 1e-6 * (1. + numeric.abs()), "{name}: {numeric} {}", second[at]);
        }
    }

    let store = ParamStore::new(0, DType::F64, &Device::Cpu);
    let norm = nn::batch_norm2d(2, Default::default(), store.var_builder())?;
    let kernel = normal(6, (2, 2, 3, 3));
    let ones = Tensor::ones(4, DType::F64, &Device::Cpu)?;
    let refused: Vec<(&str, Function)> = vec![
        ("conv2d", Box::new(move |x| ops::conv2d(x, &kernel, None, &Conv2dConfig::default()))),
        ("batch_norm", Box::new(move |x| norm.forward(x, &core_tensor::Mode::recalibrate()))),
        ("max_pool2d", Box::new(|x| ops::max_pool2d(x, Pool2dConfig::square(2)))),
        ("layer_norm", Box::new(move |x| ops::layer_norm(x, &ones, &ones, 1e-5))),
        ("attention", Box::new(|x| ops::attention(x, x, x, &AttentionConfig::default()))),
        ("matmul", Box::new(|x| ops::matmul(x, x))),
        ("a kernel from outside", Box::new(|x| kernel::apply(Identity, &[x], x.shape()))),
    ];
    for (name, f) in &refused {
        let x = Var::from_tensor(&normal(1, (1, 2, 4, 4)))?;
        // The gradient that reaches the operation is on the tape, because the square is.
        let result = f(&x).and_then(|y| Ok(y.sqr()?.sum_all()?.backward()?));
        assert!(result.is_err(), "{name} gives a second derivative that this test does not check");
        // One that is not, but whose gradient would have to be.
        let result = f(&x).and_then(|y| Ok(y.sum_all()?.backward()?));
        assert!(result.is_err(), "{name} cuts the tape");
    }
    Ok(())
}
