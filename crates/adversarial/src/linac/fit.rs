//! Fitting a coordinate network to one image, in the caches of one core.

use super::key::{Key, permutation};
use super::network::{CoordinateNetwork, encode, grid, product};
use crate::error::check_positive;
use crate::{Error, Result};
use core_tensor::kernel::{Matrix, Real, multiversion, transpose};
use serde::{Deserialize, Serialize};

/// How a network is fitted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Passes over the pixels.
    pub epochs: usize,
    /// Pixels in a batch; their number must divide that of the image's pixels.
    pub batch: usize,
    /// The learning rate η at the first step. At step t of T it is η((1 − α)(1 + cos(π t/T))/2 + α).
    pub learning_rate: f64,
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the root of the second moment, which is corrected for its start at 0.
    pub epsilon: f64,
    /// The share α of the learning rate that is left at the end.
    pub cosine_alpha: f64,
}

impl Default for Training {
    /// The paper's: 10 epochs, batches of 32, Adam with 1e-3, 0.9, 0.99 and 1e-8, α = 1e-4.
    fn default() -> Self {
        Self { epochs: 10, batch: 32, learning_rate: 1e-3, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, cosine_alpha: 1e-4 }
    }
}

impl Training {
    pub(crate) fn check(&self, pixels: usize) -> Result<()> {
        const OPERATION: &str = "Training";
        check_positive(OPERATION, &[("epochs", self.epochs), ("pixels in a batch", self.batch), ("pixels", pixels)])?;
        if !pixels.is_multiple_of(self.batch) {
            let reason = format!("is {}, which does not divide the image's {pixels} pixels", self.batch);
            return Err(Error::config(OPERATION, "batch", reason));
        }
        for (what, value) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0. ..1.).contains(&value) {
                return Err(Error::value(OPERATION, what, value, "0 to below 1"));
            }
        }
        for (what, value) in [("learning_rate", self.learning_rate), ("epsilon", self.epsilon)] {
            if !(value > 0. && value.is_finite()) {
                return Err(Error::value(OPERATION, what, value, "above 0"));
            }
        }
        if !(0. ..=1.).contains(&self.cosine_alpha) {
            return Err(Error::value(OPERATION, "cosine_alpha", self.cosine_alpha, "0 to 1"));
        }
        if self.epochs.checked_mul(pixels).is_none_or(|count| count > u32::MAX as usize) {
            return Err(Error::config(
                OPERATION,
                "epochs",
                format!("is {}, too many for {pixels} pixels", self.epochs),
            ));
        }
        Ok(())
    }

    pub(crate) fn step_size(&self, step: usize, total: usize) -> f64 {
        let done = (step.min(total) as f64 / total as f64 * std::f64::consts::PI).cos();
        self.learning_rate * ((1. - self.cosine_alpha) * 0.5 * (1. + done) + self.cosine_alpha)
    }

    /// The factor of the mean of gradients, 1/√ of the correction of the second moment, at a step.
    pub(crate) fn factors(&self, step: usize, total: usize) -> (f64, f64) {
        let count = step as i32 + 1;
        let first = self.step_size(step, total) / (1. - self.beta1.powi(count));
        (first, 1. / (1. - self.beta2.powi(count)).sqrt())
    }
}

/// All that fits of images of one size share: encoded places, first weights, and which pixels each step sees.
#[derive(Debug, Clone, PartialEq)]
pub struct FitPlan<T> {
    pub(crate) start: CoordinateNetwork<T>,
    pub(crate) training: Training,
    /// `[pixels, 4 F]`.
    pub(crate) encoded: Vec<T>,
    /// The pixels of all steps, `batch` for each.
    pub(crate) order: Vec<u32>,
}

impl<T: Real> FitPlan<T> {
    /// First weights and orders from the key: a permutation of the pixels, and one of it for each epoch.
    ///
    /// # Errors
    /// Settings that make no sense; a batch that does not divide the number of pixels.
    pub fn from_key(start: CoordinateNetwork<T>, training: Training, size: [usize; 2], key: &Key) -> Result<Self> {
        let pixels = size[0].checked_mul(size[1]).filter(|&pixels| pixels <= 1 << 28);
        let pixels = pixels.ok_or_else(|| Error::config("FitPlan", "the image", "has more than 2^28 pixels"))?;
        training.check(pixels)?;
        let first = permutation(pixels, &mut key.stream("grid"));
        let mut order = Vec::with_capacity(training.epochs * pixels);
        for epoch in 0..training.epochs {
            let of_epoch = permutation(pixels, &mut key.stream(&format!("epoch {epoch}")));
            order.extend(of_epoch.iter().map(|&at| first[at as usize]));
        }
        Self::from_orders(start, training, size, order)
    }

    /// A given order of pixels, `epochs · pixels` numbers.
    ///
    /// # Errors
    /// As [`Self::from_key`]; another number of pixels, one that does not exist.
    pub fn from_orders(
        start: CoordinateNetwork<T>,
        training: Training,
        size: [usize; 2],
        order: Vec<u32>,
    ) -> Result<Self> {
        let pixels = size[0] * size[1];
        training.check(pixels)?;
        if order.len() != training.epochs * pixels {
            return Err(Error::length("FitPlan", "pixels in the order", order.len(), training.epochs * pixels));
        }
        if let Some(&wrong) = order.iter().find(|&&pixel| pixel as usize >= pixels) {
            return Err(Error::out_of_range("FitPlan", "a pixel of the order", u64::from(wrong), pixels));
        }
        let encoded = encode(&grid(size[0], size[1]), start.config().frequencies);
        Ok(Self { start, training, encoded, order })
    }

    pub(crate) fn num_pixels(&self) -> usize {
        self.encoded.len() / (4 * self.start.config().frequencies)
    }

    /// The number of steps.
    pub fn num_steps(&self) -> usize {
        self.order.len() / self.training.batch
    }

    pub(crate) fn check_image(&self, image: &[T]) -> Result<()> {
        let expected = self.num_pixels() * self.start.config().channels;
        if image.len() != expected {
            return Err(Error::length("FitPlan::fit", "numbers of an image", image.len(), expected));
        }
        Ok(())
    }

    /// The network fitted to an image `[pixels, channels]`, and the loss of each step: the mean over the pixels of a batch of the sum over channels of squared errors.
    ///
    /// # Errors
    /// Another length.
    pub fn fit(&self, image: &[T]) -> Result<(CoordinateNetwork<T>, Vec<f64>)> {
        let mut losses = Vec::with_capacity(self.num_steps());
        let network = self.fit_observed(image, |_, loss, _| losses.push(loss))?;
        Ok((network, losses))
    }

    /// [`Self::fit`] that shows each step's number, the loss before it and the network behind it.
    ///
    /// # Errors
    /// Another length.
    pub fn fit_observed(
        &self,
        image: &[T],
        mut observe: impl FnMut(usize, f64, &CoordinateNetwork<T>),
    ) -> Result<CoordinateNetwork<T>> {
        self.check_image(image)?;
        let mut fit = Fit::new(self);
        for step in 0..self.num_steps() {
            let loss = fit.step(image, step);
            observe(step, loss, &fit.network);
        }
        Ok(fit.network)
    }
}

/// The network, its moments and all scratch memory of a fit.
#[derive(Debug)]
pub(crate) struct Fit<'a, T> {
    plan: &'a FitPlan<T>,
    pub(crate) network: CoordinateNetwork<T>,
    /// Of each layer the means of gradients and of their squares, of weights and of biases: `[weight, bias]`, each (first, second).
    pub(crate) moments: Vec<[(Vec<T>, Vec<T>); 2]>,
    /// The input and the output of each layer for the batch.
    outputs: Vec<Vec<T>>,
    gradient: Vec<T>,
    of_inputs: Vec<T>,
    turned: Vec<T>,
    of_weights: Vec<T>,
    of_bias: Vec<T>,
}

/// Decays, their complements, the step, the correction of the second moment and epsilon.
pub(crate) type Constants<T> = [T; 7];

impl<'a, T: Real> Fit<'a, T> {
    pub(crate) fn new(plan: &'a FitPlan<T>) -> Self {
        let network = plan.start.clone();
        let zeros = |values: &Vec<T>| (vec![T::ZERO; values.len()], vec![T::ZERO; values.len()]);
        let moments = network.layers().iter().map(|(weight, bias)| [zeros(weight), zeros(bias)]).collect();
        let outputs = vec![Vec::new(); network.layers().len() + 1];
        let (gradient, of_inputs, turned, of_weights, of_bias) = Default::default();
        Self { plan, network, moments, outputs, gradient, of_inputs, turned, of_weights, of_bias }
    }

    fn constants(&self, step: usize) -> Constants<T> {
        let training = &self.plan.training;
        let (first, second) = training.factors(step, self.plan.num_steps());
        [training.beta1, 1. - training.beta1, training.beta2, 1. - training.beta2, first, second, training.epsilon]
            .map(T::of)
    }

    /// The batch's inputs, outputs of all layers, the loss, and the gradient of the last layer's outputs.
    fn forward(&mut self, image: &[T], step: usize) -> f64 {
        let plan = self.plan;
        let (inputs, channels) = (4 * self.network.config().frequencies, self.network.config().channels);
        let batch = &plan.order[step * plan.training.batch..(step + 1) * plan.training.batch];
        self.outputs[0].clear();
        for &pixel in batch {
            self.outputs[0].extend_from_slice(&plan.encoded[pixel as usize * inputs..(pixel as usize + 1) * inputs]);
        }
        for number in 0..self.network.layers().len() {
            let (before, behind) = self.outputs.split_at_mut(number + 1);
            self.network.forward_layer(number, &before[number], batch.len(), &mut behind[0]);
        }
        let scale = T::of(2. / batch.len() as f64);
        self.gradient.clear();
        let mut loss = 0.;
        let colours = self.outputs.last().map_or(&[][..], Vec::as_slice);
        for (&pixel, colours) in batch.iter().zip(colours.chunks(channels)) {
            let target = &image[pixel as usize * channels..(pixel as usize + 1) * channels];
            for (&colour, &target) in colours.iter().zip(target) {
                let error = colour - target;
                loss += Real::mul_add(error, error, T::ZERO).to_f64();
                self.gradient.push(scale * error);
            }
        }
        loss / batch.len() as f64
    }

    /// One step of Adam on one batch; the loss before it.
    pub(crate) fn step(&mut self, image: &[T], step: usize) -> f64 {
        let loss = self.forward(image, step);
        let constants = self.constants(step);
        let rows = self.plan.training.batch;
        for number in (0..self.network.layers().len()).rev() {
            self.gradients_of_layer(number, rows);
            let (weight, bias) = &mut self.network.layers_mut()[number];
            let [of_weight, of_bias] = &mut self.moments[number];
            // weights of a layer change while its gradient is in the cache
            adam(weight, &self.of_weights, &mut of_weight.0, &mut of_weight.1, constants);
            adam(bias, &self.of_bias, &mut of_bias.0, &mut of_bias.1, constants);
        }
        loss
    }

    /// The gradients of weights and bias of a layer from that of its outputs (behind the activation's derivative), which becomes that of the layer below.
    fn gradients_of_layer(&mut self, number: usize, rows: usize) {
        let activation = self.network.config().activation;
        let (weight, bias) = &self.network.layers()[number];
        let (inputs, outputs) = (weight.len() / bias.len(), bias.len());
        let x = &self.outputs[number];
        self.of_weights.resize(weight.len(), T::ZERO);
        let gradient = Matrix::new(&self.gradient, rows, outputs);
        product(Matrix::new(x, rows, inputs).t(), gradient, &mut self.of_weights, outputs, false);
        self.of_bias.clear();
        self.of_bias.resize(outputs, T::ZERO);
        for row in self.gradient.chunks(outputs) {
            self.of_bias.iter_mut().zip(row).for_each(|(sum, &g)| *sum += g);
        }
        if number > 0 {
            // W gᵀ, turned afterwards: the batch is what is copied, not the weights
            self.turned.resize(rows * inputs, T::ZERO);
            product(Matrix::new(weight, inputs, outputs), gradient.t(), &mut self.turned, rows, false);
            self.of_inputs.resize(rows * inputs, T::ZERO);
            transpose(&self.turned, inputs, rows, &mut self.of_inputs, false);
            activation.backwards(x, &mut self.of_inputs);
            std::mem::swap(&mut self.gradient, &mut self.of_inputs);
        }
    }

    /// The gradients of all layers for a batch, without a step: loss and gradients in the order of the layers.
    pub(crate) fn gradients(&mut self, image: &[T], step: usize) -> (f64, LayerGradients<T>) {
        let loss = self.forward(image, step);
        let mut all = Vec::new();
        for number in (0..self.network.layers().len()).rev() {
            self.gradients_of_layer(number, self.plan.training.batch);
            all.push((self.of_weights.clone(), self.of_bias.clone()));
        }
        all.reverse();
        (loss, all)
    }
}

/// Of each layer the gradients of weight and bias.
pub type LayerGradients<T> = Vec<(Vec<T>, Vec<T>)>;

impl<T: Real> FitPlan<T> {
    /// The loss of a step's batch at some network of the plan's shape, and its gradients, layer by layer: for checks.
    ///
    /// # Errors
    /// Another length or shape, no such step.
    pub fn gradients_at(
        &self,
        network: &CoordinateNetwork<T>,
        image: &[T],
        step: usize,
    ) -> Result<(f64, LayerGradients<T>)> {
        self.check_image(image)?;
        if network.config() != self.start.config() {
            return Err(Error::config("FitPlan::gradients_at", "the network", "has another shape than the plan's"));
        }
        if step >= self.num_steps() {
            return Err(Error::out_of_range("FitPlan::gradients_at", "the step", step as u64, self.num_steps()));
        }
        let mut fit = Fit::new(self);
        fit.network = network.clone();
        Ok(fit.gradients(image, step))
    }
}

multiversion! {
    /// A step of Adam; `constants` are β₁, 1 − β₁, β₂, 1 − β₂, step / (1 − β₁ᵗ), 1 / √(1 − β₂ᵗ), ε.
    pub(crate) fn adam<T>(values: &mut [T], gradient: &[T], first: &mut [T], second: &mut [T], constants: Constants<T>) {
        let [beta1, rest1, beta2, rest2, step, correction, epsilon] = constants;
        for (((value, &g), first), second) in values.iter_mut().zip(gradient).zip(first).zip(second) {
            *first = Real::or_zero(Real::mul_add(beta1, *first, rest1 * g));
            *second = Real::or_zero(Real::mul_add(beta2, *second, rest2 * g * g));
            *value -= step * *first / Real::mul_add(Real::sqrt(*second), correction, epsilon);
        }
    }
}
