//! What a compressor is.

use crate::key::Key;
use crate::ratio::check_ratio;
use crate::{Encoded, Error, Result};

/// Compresses the gradients of one tensor, and decodes what the same compressor of another rank has sent.
///
/// A compressor that fits one of the forms of [`Encoded`] implements [`name`](Self::name) and [`compress`](Self::compress). One with a format of its own returns [`Encoded::Custom`] and
/// implements [`decode`](Self::decode) too:
///
/// ```
/// use distributed::encoded::Custom;
/// use distributed::{Compressor, Encoded, Error, Key, Result};
///
/// /// The gradient rounded to multiples of 1/64, one byte for each element.
/// struct FixedPoint;
///
/// const FORMAT: &str = "fixed-point/1";
///
/// impl Compressor for FixedPoint {
///     fn name(&self) -> &'static str {
///         "fixed-point"
///     }
///
///     fn compress(&mut self, values: &[f32], _: &Key) -> Result<Encoded> {
///         let bytes = values.iter().map(|value| (value * 64.) as i8 as u8).collect();
///         Ok(Encoded::Custom(Custom::new(FORMAT, values.len(), values.len(), bytes)?))
///     }
///
///     fn decode(&self, encoded: &Encoded, scale: f32, out: &mut [f32]) -> Result<()> {
///         let bytes = encoded.custom_bytes(FORMAT)?; // an error if the sender has another compressor
///         if bytes.len() != out.len() {
///             let reason = format!("{} bytes for {} elements", bytes.len(), out.len());
///             return Err(Error::InvalidData { what: FORMAT.to_owned(), reason });
///         }
///         out.iter_mut().zip(bytes).for_each(|(out, &byte)| *out += scale * f32::from(byte as i8) / 64.);
///         Ok(())
///     }
/// }
///
/// let encoded = FixedPoint.compress(&[0.5, -0.25], &Key::default())?;
/// let mut out = [0.; 2];
/// FixedPoint.decode(&encoded, 1., &mut out)?;
/// assert_eq!(out, [0.5, -0.25]);
/// # Ok::<(), distributed::Error>(())
/// ```
pub trait Compressor: Send {
    /// A short name. Ranks whose compressors have different names refuse to train together.
    fn name(&self) -> &'static str;

    /// The compressed form of `values`. As bytes it may take up to 16 for each element and 1 KiB; other ranks refuse longer ones.
    ///
    /// # Errors
    ///
    /// [`Error::NotFinite`] for a gradient with a NaN or an infinity; [`Error::TooLarge`] for more than 2³² - 1 elements.
    fn compress(&mut self, values: &[f32], key: &Key) -> Result<Encoded>;

    /// Adds `scale` times the gradient to `out`, which has the gradient's length. The default decodes the built-in forms ([`Encoded::add_to`]).
    ///
    /// All ranks must find the same bits for the same `encoded`, so it may depend neither on the rank nor on earlier gradients.
    ///
    /// # Errors
    ///
    /// When `encoded` is in another format. Its bytes come from another process: whatever they are, the answer is a gradient or an error.
    fn decode(&self, encoded: &Encoded, scale: f32, out: &mut [f32]) -> Result<()> {
        encoded.add_to(scale, out)
    }

    /// How many elements the last call considered for sending, where that is more than it sent.
    fn candidates(&self) -> Option<usize> {
        None
    }

    /// Changes the fraction of the elements to send. Compressors without such a fraction ignore it.
    ///
    /// # Errors
    ///
    /// When it is not above 0 and at most 1.
    fn set_ratio(&mut self, ratio: f64) -> Result<()> {
        check_ratio("ratio", ratio)
    }

    /// The numbers that adapt from call to call, for a checkpoint.
    fn state(&self) -> Vec<f64> {
        Vec::new()
    }

    /// Restores a state of [`Compressor::state`].
    ///
    /// # Errors
    ///
    /// When it is the state of another compressor.
    fn load_state(&mut self, state: &[f64]) -> Result<()> {
        if state.is_empty() { Ok(()) } else { Err(Error::state(format!("{} has no state", self.name()))) }
    }
}
