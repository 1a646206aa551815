//! Inference with sixteen images side by side: the layout, and convolutions that stay in it, so that nothing is unfolded, gathered or turned between layers.
//!
//! A network that runs layer after layer on `[n, channels, height, width]` brings images to vector registers and back in each of them. Here it happens once: [`Planes::pack`] at its begin, [`Planes::unpack`] at
//! its end, and between them activations lie as `[channel][y][x][16 images]` with a margin of zeros around each plane. A [`Convolution`] reads its padding from that margin, adds bias, a residual and ReLU where it
//! writes, and does the work of its blocks alone: direct products, or Winograd's F(2×2, 3×3) where whole input channels are left.
//!
//! Everything is on slices of f32 or f64 on the CPU, without gradients, and on one thread: a group of sixteen images is a task.
//!
//! ```
//! use core_tensor::inference::{Block, Convolution, Finish, Planes, Scratch};
//! use core_tensor::ops::Conv2dConfig;
//! // one channel of 2 x 2, a kernel of 3 x 3 that adds up, ReLU
//! let input = Planes { channels: 1, height: 2, width: 2, margin: 1 };
//! let output = Planes { margin: 0, ..input };
//! let config = Conv2dConfig { padding: (1, 1), ..Conv2dConfig::default() };
//! let all = [Block::whole(1, 9)];
//! let layer = Convolution::direct([input, output], (3, 3), &config, &all, &[1f32; 9], Finish::plain(1).with_relu())?;
//! let mut packed = vec![0f32; input.len()];
//! input.pack(&[1., 2., 3., 4.], &mut packed);
//! let mut sums = vec![0f32; output.len()];
//! layer.forward(&packed, None, &mut sums, &mut Scratch::default());
//! let mut y = [0f32; 4];
//! output.unpack(&sums, &mut y);
//! assert_eq!(y, [10.; 4]);
//! # Ok::<(), core_tensor::Error>(())
//! ```

mod convolution;
mod depthwise;
mod direct;
mod finish;
mod planes;
mod window;
mod winograd;

pub use convolution::Convolution;
pub use finish::{Finish, Residual};
pub use planes::Planes;
pub use window::Block;

/// Images that lie side by side.
pub const IMAGES: usize = crate::kernel::LANES;

/// Memory that [`Convolution::forward`] uses and leaves for the next.
#[derive(Debug, Clone, Default)]
pub struct Scratch<T> {
    sums: Vec<T>,
    inputs: Vec<T>,
    products: Vec<T>,
}
