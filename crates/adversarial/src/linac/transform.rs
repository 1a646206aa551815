//! Images to codes.

use super::cache::{Cache, rounded};
use super::fit::{FitPlan, Training};
use super::key::Key;
use super::network::{CoordinateNetwork, NetworkConfig};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::sync::Mutex;

/// The settings of an encoding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FitOptions {
    /// The networks that are fitted.
    pub network: NetworkConfig,
    /// How.
    pub training: Training,
    /// Which layer's outputs are the codes, from 0, behind its activation. The number of hidden layers gives the reconstruction instead. The paper's 2 is the third hidden layer.
    pub layer: usize,
}

impl FitOptions {
    /// The paper's settings with `units` in each layer (the paper: 256) for images of `channels`.
    pub fn paper(units: usize, channels: usize) -> Self {
        Self { network: NetworkConfig::paper(units, channels), training: Training::default(), layer: 2 }
    }

    fn check(&self) -> Result<()> {
        self.network.check()?;
        if self.layer > self.network.widths.len() {
            let what = "the layer of the codes";
            return Err(Error::out_of_range("FitOptions", what, self.layer as u64, self.network.widths.len() + 1));
        }
        Ok(())
    }

    /// The channels of the codes.
    pub fn num_codes(&self) -> usize {
        self.network.widths.get(self.layer).copied().unwrap_or(self.network.channels)
    }
}

/// What [`fit_images`] gives.
#[derive(Debug, Clone)]
pub struct FittedNetworks {
    /// The outputs of the chosen layer, `[batch, codes, height, width]`.
    pub codes: Tensor,
    /// The loss of each step for each image.
    pub losses: Vec<Vec<f64>>,
    /// The images as the networks have them, `[batch, channels, height, width]`.
    pub reconstruction: Tensor,
}

/// Fits a network to each of the images `[batch, channels, height, width]` of f32, all from the same first weights and with the same orders of pixels, which follow from the key. Images run in rayon's pool, each on one thread, so the bits
/// depend neither on the number of threads nor on the batch. Normalise images first: the paper's have zero mean and unit deviation.
///
/// # Errors
/// Settings that make no sense; images of another shape or dtype, values that are not finite; a batch that does not divide the number of pixels.
pub fn fit_images(images: &Tensor, options: &FitOptions, key: &Key) -> Result<FittedNetworks> {
    let (batch, plan, rows) = prepare(images, options, key)?;
    let size = [images.dim(2)?, images.dim(3)?];
    let fit = |image: &Vec<f32>| -> Result<Fitted> {
        let (network, losses) = plan.fit(image)?;
        let codes = network.output(&plan.encoded, options.layer)?;
        Ok((codes, losses, network.output(&plan.encoded, options.network.widths.len())?))
    };
    let found: Vec<_> = rows.par_iter().map(fit).collect::<Result<_>>()?;
    let tensor = |channels: usize, part: fn(&Fitted) -> &Vec<f32>| {
        let values = found.iter().flat_map(|one| channels_first(part(one), channels)).collect();
        Ok::<_, Error>(Tensor::from_vec(values, (batch, channels, size[0], size[1]), images.device())?)
    };
    Ok(FittedNetworks {
        codes: tensor(options.num_codes(), |one| &one.0)?,
        reconstruction: tensor(options.network.channels, |one| &one.2)?,
        losses: found.into_iter().map(|one| one.1).collect(),
    })
}

/// Checks the images; their number, the plan, and the images as `[pixels, channels]`.
fn prepare(images: &Tensor, options: &FitOptions, key: &Key) -> Result<(usize, FitPlan<f32>, Vec<Vec<f32>>)> {
    options.check()?;
    let (batch, size) = check_images(images, options)?;
    let start = CoordinateNetwork::from_key(&options.network, key)?;
    let plan = FitPlan::from_key(start, options.training, size, key)?;
    Ok((batch, plan, pixels_first(images, options.network.channels)?))
}

fn check_images(images: &Tensor, options: &FitOptions) -> Result<(usize, [usize; 2])> {
    match *images.dims() {
        [batch, channels, height, width] if channels == options.network.channels && batch * height * width > 0 => {
            if images.dtype() != DType::F32 {
                return Err(Error::config("linac", "the images", format!("are {:?}, expected f32", images.dtype())));
            }
            Ok((batch, [height, width]))
        }
        ref other => {
            let channels = options.network.channels;
            Err(Error::config(
                "linac",
                "the images",
                format!("have shape {other:?}, expected [batch, {channels}, height, width]"),
            ))
        }
    }
}

/// Each image as `[pixels, channels]`.
fn pixels_first(images: &Tensor, channels: usize) -> Result<Vec<Vec<f32>>> {
    let values = images.flatten_all()?.to_vec1::<f32>()?;
    let len = values.len() / images.dim(0)?;
    if let Some(at) = values.iter().position(|value| !value.is_finite()) {
        let what = format!("element {} of image {}", at % len, at / len);
        return Err(Error::value("linac", what, f64::from(values[at]), "a finite number"));
    }
    let plane = len / channels;
    let turn = |image: &[f32]| {
        (0..plane)
            .flat_map(|pixel| (0..channels).map(move |channel| channel * plane + pixel))
            .map(|at| image[at])
            .collect()
    };
    Ok(values.chunks(len).map(turn).collect())
}

fn channels_first(values: &[f32], channels: usize) -> Vec<f32> {
    let plane = values.len() / channels;
    (0..channels)
        .flat_map(|channel| (0..plane).map(move |pixel| pixel * channels + channel))
        .map(|at| values[at])
        .collect()
}

/// A size of images and its plan.
type Planned = ([usize; 2], std::sync::Arc<FitPlan<f32>>);

/// Codes, losses and reconstruction of one image.
type Fitted = (Vec<f32>, Vec<f64>, Vec<f32>);

/// The encoding as a transform of images: lossy, and another one for each key.
///
/// It *hinders* attackers who do not know the key or do not account for the fit. Nothing is certified, and those who know more do better: measure with all attacks of this crate before relying on it.
#[derive(Debug)]
pub struct Linac {
    options: FitOptions,
    key: Key,
    cache: Option<Cache>,
    /// The plan of the last size of images.
    plan: Mutex<Option<Planned>>,
}

impl Linac {
    /// An encoding by these settings and this key.
    ///
    /// # Errors
    /// Settings that make no sense.
    pub fn new(options: FitOptions, key: Key) -> Result<Self> {
        options.check()?;
        Ok(Self { options, key, cache: None, plan: Mutex::new(None) })
    }

    /// The same, with codes kept in a folder. Codes are then rounded to 16 bits, whether they come from the cache or not.
    pub fn cache(self, cache: Cache) -> Self {
        Self { cache: Some(cache), ..self }
    }

    /// The settings.
    pub fn options(&self) -> &FitOptions {
        &self.options
    }

    /// The key's fingerprint.
    pub fn fingerprint(&self) -> String {
        self.key.fingerprint()
    }

    pub(crate) fn plan(&self, size: [usize; 2]) -> Result<std::sync::Arc<FitPlan<f32>>> {
        let mut known = self.plan.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, plan)) = known.as_ref().filter(|(of, _)| *of == size) {
            return Ok(plan.clone());
        }
        let start = CoordinateNetwork::from_key(&self.options.network, &self.key)?;
        let plan = std::sync::Arc::new(FitPlan::from_key(start, self.options.training, size, &self.key)?);
        *known = Some((size, plan.clone()));
        Ok(plan)
    }

    /// Codes `[batch, codes, height, width]` of images `[batch, channels, height, width]` of f32, off the tape.
    ///
    /// # Errors
    /// As [`fit_images`]; a cache that cannot be read or is damaged.
    pub fn apply(&self, images: &Tensor) -> Result<Tensor> {
        let (batch, size) = check_images(images, &self.options)?;
        let plan = self.plan(size)?;
        let rows = pixels_first(images, self.options.network.channels)?;
        let codes = self.options.num_codes();
        let len = codes * size[0] * size[1];
        let settings = format!("{:?} {size:?}", self.options).into_bytes();
        let encode = |image: &Vec<f32>| -> Result<Vec<f32>> {
            let path = self.cache.as_ref().map(|cache| (cache, cache.path(&settings, &self.key, image)));
            if let Some((cache, path)) = &path
                && let Some(codes) = cache.read(path, len)?
            {
                return Ok(codes);
            }
            let (network, _) = plan.fit(image)?;
            let mut out = channels_first(&network.output(&plan.encoded, self.options.layer)?, codes);
            if let Some((cache, path)) = &path {
                rounded(&mut out);
                cache.write(path, &out)?;
            }
            Ok(out)
        };
        let found: Vec<Vec<f32>> = rows.par_iter().map(encode).collect::<Result<_>>()?;
        Ok(Tensor::from_vec(found.concat(), (batch, codes, size[0], size[1]), images.device())?)
    }

    /// [`Self::apply`] with the gradient of a function of the codes with respect to the images, through all steps of the fit or the last `last_steps`: `of_codes` gets the codes and returns its gradient with respect to them, of their shape. What an attacker does who has
    /// key and time.
    ///
    /// # Errors
    /// As [`Self::apply`]; a gradient of another shape.
    pub fn gradient_through_fit(
        &self,
        images: &Tensor,
        of_codes: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
        last_steps: Option<usize>,
    ) -> Result<Tensor> {
        // codes do not depend on what their gradient is, so the function is asked once for all images
        let (batch, size) = check_images(images, &self.options)?;
        let plan = self.plan(size)?;
        let rows = pixels_first(images, self.options.network.channels)?;
        let codes = self.apply(images)?;
        let of_codes = of_codes(&codes)?.to_dtype(DType::F32)?.to_device(&Device::Cpu)?;
        if of_codes.shape() != codes.shape() {
            let reason = format!("has shape {:?}, expected {:?}", of_codes.dims(), codes.dims());
            return Err(Error::config("gradient_through_fit", "the gradient of the codes", reason));
        }
        let gradients = pixels_first(&of_codes, self.options.num_codes())?;
        let channels = self.options.network.channels;
        let back = |(image, gradient): (&Vec<f32>, Vec<f32>)| -> Result<Vec<f32>> {
            let (_, found) = plan.gradient_through_fit(image, self.options.layer, |_| Ok(gradient), last_steps)?;
            Ok(channels_first(&found, channels))
        };
        let found: Vec<Vec<f32>> = rows.par_iter().zip(gradients).map(back).collect::<Result<_>>()?;
        Ok(Tensor::from_vec(found.concat(), (batch, channels, size[0], size[1]), images.device())?)
    }
}
