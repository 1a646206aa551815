//! The gradient through the fit: how codes depend on the pixels, by a reverse pass over its steps.
//!
//! With g = ∇ℓ(θ), m' = β₁m + (1−β₁)g, v' = β₂v + (1−β₂)g², θ' = θ − s m'/(√(v'/c) + ε), the adjoints of θ', m', v' give those of θ, m, v and, through g, a product of the loss's second derivatives with a vector p:
//! Hp is the derivative of ∇ℓ in the direction p, found by a forward and a backward pass that carry derivatives along (Pearlmutter, 1994), and the colours' adjoint is −2 R{o}/M.

use super::fit::{Fit, FitPlan};
use super::network::{Activation, CoordinateNetwork, product};
use crate::{Error, Result};
use core_tensor::kernel::{Matrix, Real};

/// The values of all layers, as weight and bias.
type Layers<T> = Vec<[Vec<T>; 2]>;

/// Network and moments before a step.
#[derive(Clone)]
struct Snapshot<T> {
    network: CoordinateNetwork<T>,
    moments: Vec<[(Vec<T>, Vec<T>); 2]>,
}

impl<T: Real> FitPlan<T> {
    /// The gradient with respect to the image `[pixels, channels]` of a function of layer `layer`'s outputs at all pixels, `[pixels, outputs]`, whose own gradient is `of_codes`. With `last_steps`, only so many of the last steps are gone
    /// through, as if what lies before did not depend on the image. Returns the codes too.
    ///
    /// Memory: a snapshot of network and moments for every √steps, and as many again.
    ///
    /// # Errors
    /// Another length; no such layer; 0 steps.
    pub fn gradient_through_fit(
        &self,
        image: &[T],
        layer: usize,
        of_codes: impl FnOnce(&[T]) -> Result<Vec<T>>,
        last_steps: Option<usize>,
    ) -> Result<(Vec<T>, Vec<T>)> {
        self.check_image(image)?;
        let steps = self.num_steps();
        let back = last_steps.unwrap_or(steps).min(steps);
        crate::error::check_positive("gradient_through_fit", &[("steps", back)])?;
        let spacing = ((back as f64).sqrt().ceil() as usize).max(1);
        let first = steps - back;
        let mut fit = Fit::new(self);
        let mut kept: Vec<(usize, Snapshot<T>)> = Vec::new();
        for step in 0..steps {
            if step >= first && (step - first).is_multiple_of(spacing) {
                kept.push((step, Snapshot { network: fit.network.clone(), moments: fit.moments.clone() }));
            }
            fit.step(image, step);
        }
        let codes = fit.network.output(&self.encoded, layer)?;
        let of_codes = of_codes(&codes)?;
        if of_codes.len() != codes.len() {
            return Err(Error::length(
                "gradient_through_fit",
                "numbers of the codes' gradient",
                of_codes.len(),
                codes.len(),
            ));
        }
        let mut of_image = vec![T::ZERO; image.len()];
        let mut of_network = through_network(&fit.network, &self.encoded, layer, &of_codes);
        let zeros: Layers<T> = of_network.iter().map(|both| both.each_ref().map(|v| vec![T::ZERO; v.len()])).collect();
        let (mut of_first, mut of_second) = (zeros.clone(), zeros);
        let mut end = steps;
        while let Some((start, snapshot)) = kept.pop() {
            // the states before each step of the segment
            let mut fit = Fit::new(self);
            fit.network = snapshot.network;
            fit.moments = snapshot.moments;
            let mut states = Vec::with_capacity(end - start);
            for step in start..end {
                states.push(Snapshot { network: fit.network.clone(), moments: fit.moments.clone() });
                fit.step(image, step);
            }
            for step in (start..end).rev() {
                if let Some(state) = states.pop() {
                    self.step_back(state, image, step, [&mut of_network, &mut of_first, &mut of_second], &mut of_image);
                }
            }
            end = start;
        }
        Ok((codes, of_image))
    }

    /// Takes the adjoints of a step's results to those of what it began with.
    fn step_back(
        &self,
        state: Snapshot<T>,
        image: &[T],
        step: usize,
        adjoints: [&mut Layers<T>; 3],
        of_image: &mut [T],
    ) {
        let [of_network, of_first, of_second] = adjoints;
        let training = &self.training;
        let (scale, correction) = training.factors(step, self.num_steps());
        let mut fit = Fit::new(self);
        fit.network = state.network;
        fit.moments = state.moments;
        let (_, gradients) = fit.gradients(image, step);
        let mut of_gradients: Layers<T> = Vec::with_capacity(gradients.len());
        for (number, (weight, bias)) in gradients.iter().enumerate() {
            let parts = [weight, bias];
            let of_gradient = std::array::from_fn(|part| {
                let (first, second) = &fit.moments[number][part];
                let (of_value, of_first, of_second) =
                    (&of_network[number][part], &mut of_first[number][part], &mut of_second[number][part]);
                let mut of_gradient = Vec::with_capacity(of_value.len());
                for at in 0..of_value.len() {
                    let g = parts[part][at].to_f64();
                    let m = training.beta1 * first[at].to_f64() + (1. - training.beta1) * g;
                    let v = training.beta2 * second[at].to_f64() + (1. - training.beta2) * g * g;
                    let root = v.sqrt();
                    let below = root * correction + training.epsilon;
                    let of_value = of_value[at].to_f64();
                    let of_m = of_first[at].to_f64() - scale * of_value / below;
                    let slope = if root > 0. { 0.5 * correction / root } else { 0. };
                    let of_v = of_second[at].to_f64() + scale * of_value * m / (below * below) * slope;
                    of_gradient.push(T::of((1. - training.beta1) * of_m + 2. * (1. - training.beta2) * g * of_v));
                    of_first[at] = T::of(training.beta1 * of_m);
                    of_second[at] = T::of(training.beta2 * of_v);
                }
                of_gradient
            });
            of_gradients.push(of_gradient);
        }
        self.second_derivatives(&fit.network, image, step, &of_gradients, of_network, of_image);
    }

    /// Adds H·p to `of_network`, and the product of the colours' mixed derivatives with p to `of_image`.
    fn second_derivatives(
        &self,
        network: &CoordinateNetwork<T>,
        image: &[T],
        step: usize,
        p: &Layers<T>,
        of_network: &mut Layers<T>,
        of_image: &mut [T],
    ) {
        let config = network.config();
        let (inputs, channels, activation) = (4 * config.frequencies, config.channels, config.activation);
        let batch = &self.order[step * self.training.batch..(step + 1) * self.training.batch];
        let rows = batch.len();
        let num_layers = network.layers().len();
        let mut x: Vec<Vec<T>> = vec![Vec::new(); num_layers + 1];
        for &pixel in batch {
            x[0].extend_from_slice(&self.encoded[pixel as usize * inputs..(pixel as usize + 1) * inputs]);
        }
        // derivatives of each layer's outputs in the direction p; those of the places are 0
        let mut moved: Vec<Vec<T>> = vec![vec![T::ZERO; x[0].len()]];
        for number in 0..num_layers {
            let (weight, bias) = &network.layers()[number];
            let (width, outputs) = (weight.len() / bias.len(), bias.len());
            let (before, behind) = x.split_at_mut(number + 1);
            network.forward_layer(number, &before[number], rows, &mut behind[0]);
            let mut out: Vec<T> = (0..rows).flat_map(|_| p[number][1].iter().copied()).collect();
            product(
                Matrix::new(&before[number], rows, width),
                Matrix::new(&p[number][0], width, outputs),
                &mut out,
                outputs,
                true,
            );
            if number > 0 {
                product(
                    Matrix::new(&moved[number], rows, width),
                    Matrix::new(weight, width, outputs),
                    &mut out,
                    outputs,
                    true,
                );
            }
            if number + 1 < num_layers {
                activation.backwards(&behind[0], &mut out);
            }
            moved.push(out);
        }
        let scale = T::of(2. / rows as f64);
        let mut gradient: Vec<T> = Vec::with_capacity(rows * channels);
        let mut of_gradient: Vec<T> = Vec::with_capacity(rows * channels);
        for (at, &pixel) in batch.iter().enumerate() {
            for channel in 0..channels {
                let (place, target) = (at * channels + channel, pixel as usize * channels + channel);
                gradient.push(scale * (x[num_layers][place] - image[target]));
                of_gradient.push(scale * moved[num_layers][place]);
                of_image[target] -= scale * moved[num_layers][place];
            }
        }
        for number in (0..num_layers).rev() {
            let (weight, bias) = &network.layers()[number];
            let (width, outputs) = (weight.len() / bias.len(), bias.len());
            let [of_weight, of_bias] = &mut of_network[number];
            let (plain, derived) = (Matrix::new(&gradient, rows, outputs), Matrix::new(&of_gradient, rows, outputs));
            product(Matrix::new(&x[number], rows, width).t(), derived, of_weight, outputs, true);
            if number > 0 {
                product(Matrix::new(&moved[number], rows, width).t(), plain, of_weight, outputs, true);
            }
            for row in of_gradient.chunks(outputs) {
                of_bias.iter_mut().zip(row).for_each(|(sum, &g)| *sum += g);
            }
            if number == 0 {
                break;
            }
            let mut below = vec![T::ZERO; rows * width];
            let mut of_below = vec![T::ZERO; rows * width];
            let back = Matrix::new(weight, width, outputs).t();
            product(plain, back, &mut below, width, false);
            product(derived, back, &mut of_below, width, false);
            product(plain, Matrix::new(&p[number][0], width, outputs).t(), &mut of_below, width, true);
            activation.backwards(&x[number], &mut of_below);
            if activation == Activation::Tanh {
                // (1 − y²)' = −2 y R{y}
                let terms = below.iter().zip(&x[number]).zip(&moved[number]);
                let two = T::of(2.);
                of_below.iter_mut().zip(terms).for_each(|(out, ((&b, &y), &r))| *out -= two * y * r * b);
            }
            activation.backwards(&x[number], &mut below);
            (gradient, of_gradient) = (below, of_below);
        }
    }
}

/// The gradient of the parameters from that of a layer's outputs at all places.
fn through_network<T: Real>(network: &CoordinateNetwork<T>, encoded: &[T], layer: usize, of_codes: &[T]) -> Layers<T> {
    let inputs = 4 * network.config().frequencies;
    let rows = encoded.len() / inputs;
    let activation = network.config().activation;
    let mut x = vec![encoded.to_vec()];
    for number in 0..=layer {
        let mut out = Vec::new();
        network.forward_layer(number, &x[number], rows, &mut out);
        x.push(out);
    }
    let mut all: Layers<T> = network
        .layers()
        .iter()
        .map(|(weight, bias)| [vec![T::ZERO; weight.len()], vec![T::ZERO; bias.len()]])
        .collect();
    let mut gradient = of_codes.to_vec();
    if layer + 1 < network.layers().len() {
        activation.backwards(&x[layer + 1], &mut gradient);
    }
    for number in (0..=layer).rev() {
        let (weight, bias) = &network.layers()[number];
        let (width, outputs) = (weight.len() / bias.len(), bias.len());
        let matrix = Matrix::new(&gradient, rows, outputs);
        product(Matrix::new(&x[number], rows, width).t(), matrix, &mut all[number][0], outputs, false);
        for row in gradient.chunks(outputs) {
            all[number][1].iter_mut().zip(row).for_each(|(sum, &g)| *sum += g);
        }
        if number > 0 {
            let mut below = vec![T::ZERO; rows * width];
            product(matrix, Matrix::new(weight, width, outputs).t(), &mut below, width, false);
            activation.backwards(&x[number], &mut below);
            gradient = below;
        }
    }
    all
}
