//! A small image of a grid: its values, and the brightness that each is drawn with.

use super::png::Bitmap;

/// A grey or RGB image with a caption, to be shown in a grid by [`Plot::images`](super::Plot::images).
#[derive(Debug, Clone, PartialEq)]
pub struct Tile {
    pub(super) caption: String,
    /// `[channels, height, width]`.
    pub(super) shape: [usize; 3],
    pub(super) values: Vec<f64>,
    /// Drawn white, and its negative black; `None` when 0 is black and 1 white.
    largest_magnitude: Option<f64>,
}

impl Tile {
    /// An image of `pixels[channels, height, width]`, row by row, 0 black and 1 full brightness.
    ///
    /// 1 channel is grey; 3 are red, green and blue. Values outside `[0, 1]` are drawn as the nearer end, values that
    /// are not finite half bright. [`Context::plot`](crate::Context::plot) checks that shape and pixels agree and that
    /// sides are 1 to 1024 pixels long.
    pub fn new(caption: impl Into<String>, shape: [usize; 3], pixels: Vec<f64>) -> Self {
        Self { caption: caption.into(), shape, values: pixels, largest_magnitude: None }
    }

    /// A perturbation, drawn `1/2 + v / (2 m)` with `m` the largest magnitude of the finite values: mid-grey is no
    /// change, white is `m`, black is `-m`.
    ///
    /// `±m` is added to the caption. Shape, channels and values that are not finite are as in [`Tile::new`]; if no
    /// finite value differs from 0, all is mid-grey.
    pub fn signed(caption: impl Into<String>, shape: [usize; 3], perturbation: Vec<f64>) -> Self {
        let magnitudes = perturbation.iter().map(|value| value.abs()).filter(|magnitude| magnitude.is_finite());
        let largest = magnitudes.reduce(f64::max).unwrap_or(f64::NAN);
        let caption = format!("{} ±{}", caption.into(), report::short_number(largest)).trim_start().to_owned();
        Self { largest_magnitude: Some(largest), ..Self::new(caption, shape, perturbation) }
    }

    /// The image as it is drawn. Shape and values must agree.
    pub(super) fn bitmap(&self) -> Bitmap {
        let [channels, height, width] = self.shape;
        let plane = height * width;
        let places = (0..plane).flat_map(|pixel| (0..channels).map(move |channel| channel * plane + pixel));
        let values = places.map(|place| self.brightness(self.values[place])).collect();
        Bitmap { width, height, channels, values }
    }

    fn brightness(&self, value: f64) -> u8 {
        let share = self.largest_magnitude.map_or(value, |largest| 0.5 + 0.5 * (value / largest));
        // 0 / 0, where nothing is perturbed, is not finite either.
        let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.5 };
        (share * 255.0).round() as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_interleaved() {
        let pixels = [0, 1, 2, 3, 4, 5].map(|level| f64::from(level) / 255.0).to_vec();
        assert_eq!(Tile::new("", [3, 1, 2], pixels.clone()).bitmap().values, [0, 2, 4, 1, 3, 5]);
        assert_eq!(Tile::new("", [1, 2, 3], pixels).bitmap().values, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn values_outside_are_clamped_and_values_that_are_not_finite_are_half_bright() {
        let pixels = vec![-1.0, -0.0, 2.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        assert_eq!(Tile::new("", [1, 1, 6], pixels).bitmap().values, [0, 0, 255, 128, 128, 128]);
    }

    #[test]
    fn a_perturbation_is_scaled_by_its_largest_magnitude_around_mid_grey() {
        let tile = Tile::signed("δ", [1, 1, 5], vec![0.0, -0.03, 0.015, f64::NAN, f64::INFINITY]);
        assert_eq!(tile.bitmap().values, [128, 0, 191, 128, 128]);
        assert_eq!(tile.caption, "δ ±0.03");
    }

    #[test]
    fn perturbations_without_a_scale_are_mid_grey() {
        for (values, caption) in [([0.0, -0.0], "±0"), ([f64::NAN, f64::INFINITY], "±NaN")] {
            let tile = Tile::signed("", [1, 1, 2], values.to_vec());
            assert_eq!((tile.bitmap().values, tile.caption.as_str()), (vec![128, 128], caption));
        }
        for largest in [f64::MAX, f64::from_bits(1)] {
            let tile = Tile::signed("", [1, 1, 3], vec![-largest, 0.0, largest]);
            assert_eq!(tile.bitmap().values, [0, 128, 255]);
        }
    }
}
