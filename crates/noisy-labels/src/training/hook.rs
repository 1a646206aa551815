//! Robust early-learning, between the backward pass and the optimiser.

use candle_core::{DType, Tensor};
use core_tensor::train::{GradientHook, Gradients};

/// Lets the weights with the largest `|gradient · weight|` follow their gradients.
pub(super) struct Critical {
    /// The share that does.
    pub(super) share: f64,
}

impl GradientHook for Critical {
    fn apply(&mut self, gradients: &mut Gradients<'_>) -> core_tensor::Result<()> {
        // Matrices and kernels of convolutions; norms and biases follow theirs.
        let mut products = std::collections::BTreeMap::new();
        let mut all: Vec<f32> = Vec::new();
        for (name, var, gradient) in gradients.iter() {
            if !matches!(var.rank(), 2 | 4) {
                continue;
            }
            let product = (gradient * var.as_tensor().detach())?.abs()?;
            all.extend(product.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?);
            products.insert(name.to_owned(), product);
        }
        let kept = (self.share * all.len() as f64).floor() as usize;
        if kept == 0 || kept >= all.len() {
            let share = if kept == 0 { 0. } else { self.share };
            return gradients.update(|name, gradient| {
                if products.contains_key(name) { Ok(Some((gradient * share)?)) } else { Ok(None) }
            });
        }
        let (_, threshold, _) = all.select_nth_unstable_by(kept - 1, |a, b| b.total_cmp(a));
        let threshold = f64::from(*threshold);
        gradients.update(|name, gradient| {
            let Some(product) = products.get(name) else { return Ok(None) };
            let mask: Tensor = product.to_dtype(DType::F32)?.ge(threshold)?.to_dtype(gradient.dtype())?;
            Ok(Some(((gradient * mask)? * self.share)?))
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use super::Critical;
    use candle_core::{DType, Device, Tensor};
    use core_tensor::ops;
    use core_tensor::optim::{Sgd, SgdConfig};
    use core_tensor::params::ParamStore;
    use core_tensor::train::Trainer;

    /// Weights after a step of size 1 down the gradient (1, 2, 3, 4), and a bias whose gradient is 1.
    fn stepped(share: f64) -> (Vec<f64>, f64) {
        let store = ParamStore::new(0, DType::F64, &Device::Cpu);
        let weight = store.get_with("weight", (1, 4), candle_nn::Init::Const(0.)).unwrap();
        let bias = store.get_with("bias", 1, candle_nn::Init::Const(0.)).unwrap();
        // |gradient · weight|: 10, 2, 9, 4
        store.set("weight", &Tensor::new(&[[10f64, 1., 3., 1.]], &Device::Cpu).unwrap()).unwrap();
        let slopes = Tensor::new(&[[1f64, 2., 3., 4.]], &Device::Cpu).unwrap();
        let loss = ops::sum_all(&ops::mul(&weight, &slopes).unwrap()).unwrap();
        let loss = ops::add(&loss, &ops::sum_all(&bias).unwrap()).unwrap();
        let settings = SgdConfig { learning_rate: 1., ..Default::default() };
        let mut trainer = Trainer::new(Sgd::new(&store, settings).unwrap()).hook(Critical { share });
        trainer.step(&loss).unwrap();
        let bias = bias.to_vec1::<f64>().unwrap()[0];
        (weight.flatten_all().unwrap().to_vec1::<f64>().unwrap(), bias)
    }

    #[test]
    fn the_weights_that_matter_follow_a_share_of_their_gradients() {
        assert_eq!(stepped(0.5), (vec![9.5, 1., 1.5, 1.], -1.));
        assert_eq!(stepped(1.), (vec![9., -1., 0., -3.], -1.));
        assert_eq!(stepped(0.), (vec![10., 1., 3., 1.], -1.));
    }
}
