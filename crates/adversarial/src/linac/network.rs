//! Coordinate networks: from a place in an image to its colour.

use super::key::Key;
use crate::error::check_positive;
use crate::{Error, Result};
use core_tensor::kernel::{Matrix, Real, gemm_strided, multiversion};
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

/// The function between layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Activation {
    /// max(x, 0).
    Relu,
    /// The hyperbolic tangent.
    Tanh,
}

/// The shape of a coordinate network.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NetworkConfig {
    /// The number F of frequencies of the encoding, which has 4 F numbers.
    pub frequencies: usize,
    /// The widths of the hidden layers.
    pub widths: Vec<usize>,
    /// The channels of the image.
    pub channels: usize,
    /// The function behind each hidden layer.
    pub activation: Activation,
}

impl NetworkConfig {
    /// The paper's: 5 frequencies, 5 hidden layers of `units` with ReLU.
    pub fn paper(units: usize, channels: usize) -> Self {
        Self { frequencies: 5, widths: vec![units; 5], channels, activation: Activation::Relu }
    }

    pub(crate) fn check(&self) -> Result<()> {
        const OPERATION: &str = "NetworkConfig";
        let counts =
            [("frequencies", self.frequencies), ("hidden layers", self.widths.len()), ("channels", self.channels)];
        check_positive(OPERATION, &counts)?;
        self.widths.iter().try_for_each(|&width| check_positive(OPERATION, &[("units of a layer", width)]))?;
        let limit = |what, got: usize, most: usize| match got > most {
            true => Err(Error::config(OPERATION, what, format!("is {got}, expected at most {most}"))),
            false => Ok(()),
        };
        // 2^F π must keep digits in f32, and products of widths must be numbers
        limit("frequencies", self.frequencies, 16)?;
        limit("the number of hidden layers", self.widths.len(), 64)?;
        limit("channels", self.channels, 4096)?;
        self.widths.iter().try_for_each(|&width| limit("a width", width, 65_536))
    }

    /// Inputs of each layer, and the outputs of the last.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        let mut sizes = vec![4 * self.frequencies];
        sizes.extend(&self.widths);
        sizes.push(self.channels);
        sizes
    }
}

/// Places of the pixels of an image, row by row, as (x, y): x from −1 to 1 to the right, y from 1 to −1 downwards, both without the ends.
pub fn grid(height: usize, width: usize) -> Vec<[f64; 2]> {
    let at = |place: usize, count: usize| -1. + 2. * (place + 1) as f64 / (count + 1) as f64;
    (0..height).flat_map(|row| (0..width).map(move |column| [at(column, width), -at(row, height)])).collect()
}

/// The encoding of places: sin(2⁰πx), sin(2⁰πy), sin(2¹πx), …, then the cosines in the same order: `[places, 4 F]`. Angles are numbers of the type, as in the authors' program, whose sines are those of f32 angles up to 16π.
pub fn encode<T: Real>(places: &[[f64; 2]], frequencies: usize) -> Vec<T> {
    let mut out = Vec::with_capacity(places.len() * 4 * frequencies);
    for place in places {
        for function in [f64::sin, f64::cos] {
            for power in 0..frequencies {
                for &coordinate in place {
                    let angle = T::of(f64::from(1_u32 << power) * std::f64::consts::PI) * T::of(coordinate);
                    out.push(T::of(function(angle.to_f64())));
                }
            }
        }
    }
    out
}

/// A network from encoded places to colours: hidden layers `activation(o W + b)`, and a last one without activation.
#[derive(Debug, Clone, PartialEq)]
pub struct CoordinateNetwork<T> {
    config: NetworkConfig,
    /// Of each layer the weight `[inputs, outputs]` and the bias.
    layers: Vec<(Vec<T>, Vec<T>)>,
}

impl<T: Real> CoordinateNetwork<T> {
    /// First values from the key: weights normal with deviation 1/√inputs, cut at two deviations, biases 0.
    ///
    /// # Errors
    /// A configuration with an empty or too large part.
    pub fn from_key(config: &NetworkConfig, key: &Key) -> Result<Self> {
        config.check()?;
        let mut stream = key.stream("init");
        let sizes = config.sizes();
        let layers = sizes
            .windows(2)
            .map(|pair| {
                let deviation = 1. / (pair[0] as f64).sqrt();
                let weight = (0..pair[0] * pair[1])
                    .map(|_| {
                        loop {
                            let value: f64 = StandardNormal.sample(&mut stream);
                            if value.abs() <= 2. {
                                break T::of(value * deviation);
                            }
                        }
                    })
                    .collect();
                (weight, vec![T::ZERO; pair[1]])
            })
            .collect();
        Ok(Self { config: config.clone(), layers })
    }

    /// Given values: of each layer the weight `[inputs, outputs]`, row by row, and the bias.
    ///
    /// # Errors
    /// Lengths that do not fit the configuration.
    pub fn from_values(config: &NetworkConfig, layers: Vec<(Vec<T>, Vec<T>)>) -> Result<Self> {
        config.check()?;
        let sizes = config.sizes();
        if layers.len() + 1 != sizes.len() {
            return Err(Error::length("CoordinateNetwork", "layers", layers.len(), sizes.len() - 1));
        }
        for (number, ((weight, bias), pair)) in layers.iter().zip(sizes.windows(2)).enumerate() {
            for (what, got, expected) in [("weights", weight.len(), pair[0] * pair[1]), ("biases", bias.len(), pair[1])]
            {
                if got != expected {
                    return Err(Error::length("CoordinateNetwork", format!("{what} of layer {number}"), got, expected));
                }
            }
        }
        Ok(Self { config: config.clone(), layers })
    }

    /// Its shape.
    pub fn config(&self) -> &NetworkConfig {
        &self.config
    }

    /// Of each layer the weight `[inputs, outputs]` and the bias.
    pub fn layers(&self) -> &[(Vec<T>, Vec<T>)] {
        &self.layers
    }

    pub(crate) fn layers_mut(&mut self) -> &mut [(Vec<T>, Vec<T>)] {
        &mut self.layers
    }

    /// The output of layer `layer` (from 0, behind its activation; the number of hidden layers gives the colours) at encoded places `[places, 4 F]`.
    ///
    /// # Errors
    /// No such layer; a length that does not fit.
    pub fn output(&self, encoded: &[T], layer: usize) -> Result<Vec<T>> {
        let inputs = 4 * self.config.frequencies;
        if layer >= self.layers.len() {
            return Err(Error::out_of_range("CoordinateNetwork::output", "the layer", layer as u64, self.layers.len()));
        }
        if encoded.is_empty() || !encoded.len().is_multiple_of(inputs) {
            let expected = encoded.len().div_ceil(inputs).max(1) * inputs;
            return Err(Error::length("CoordinateNetwork::output", "encoded numbers", encoded.len(), expected));
        }
        let rows = encoded.len() / inputs;
        let mut x = encoded.to_vec();
        for number in 0..=layer {
            let mut y = Vec::new();
            self.forward_layer(number, &x, rows, &mut y);
            x = y;
        }
        Ok(x)
    }

    /// One layer with its activation, over what `out` held.
    pub(crate) fn forward_layer(&self, number: usize, x: &[T], rows: usize, out: &mut Vec<T>) {
        let (weight, bias) = &self.layers[number];
        let (inputs, outputs) = (weight.len() / bias.len(), bias.len());
        out.clear();
        for _ in 0..rows {
            out.extend_from_slice(bias);
        }
        product(Matrix::new(x, rows, inputs), Matrix::new(weight, inputs, outputs), out, outputs, true);
        if number + 1 < self.layers.len() {
            match self.config.activation {
                Activation::Relu => relu(out),
                Activation::Tanh => tanh(out),
            }
        }
    }
}

/// A product on this thread.
pub(crate) fn product<T: Real>(
    left: Matrix<'_, T>,
    right: Matrix<'_, T>,
    out: &mut [T],
    stride: usize,
    is_added: bool,
) {
    gemm_strided(left, right, out, stride, is_added, false);
}

multiversion! {
    fn relu<T>(x: &mut [T]) {
        for x in x.iter_mut() {
            *x = (*x).larger(T::ZERO);
        }
    }
}

multiversion! {
    fn tanh<T>(x: &mut [T]) {
        for x in x.iter_mut() {
            *x = Real::tanh(*x);
        }
    }
}

multiversion! {
    /// Multiplies a gradient by the derivative of the activation, which `y`, its output, tells.
    pub(crate) fn backwards_through_relu<T>(y: &[T], gradient: &mut [T]) {
        for (gradient, &y) in gradient.iter_mut().zip(y) {
            *gradient = if y > T::ZERO { *gradient } else { T::ZERO };
        }
    }
}

multiversion! {
    /// As [`backwards_through_relu`], for the hyperbolic tangent.
    pub(crate) fn backwards_through_tanh<T>(y: &[T], gradient: &mut [T]) {
        for (gradient, &y) in gradient.iter_mut().zip(y) {
            *gradient *= T::ONE - y * y;
        }
    }
}

impl Activation {
    pub(crate) fn backwards<T: Real>(self, y: &[T], gradient: &mut [T]) {
        match self {
            Self::Relu => backwards_through_relu(y, gradient),
            Self::Tanh => backwards_through_tanh(y, gradient),
        }
    }
}
