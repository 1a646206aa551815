//! Convolutions with sixteen images side by side.

#![forbid(unsafe_code)]

use core_tensor::Result;
use core_tensor::inference::{Block, Convolution, Finish, Planes, Residual, Scratch};
use core_tensor::ops::Conv2dConfig;

/// The sums of a convolution of ones over two images of 3 x 2.
fn check(layer: impl Fn([Planes; 2], &Conv2dConfig, Finish<f32>) -> Result<Convolution<f32>>) -> Result<()> {
    let input = Planes { channels: 2, height: 3, width: 2, margin: 1 };
    let output = Planes { margin: 0, ..input };
    let config = Conv2dConfig { padding: (1, 1), ..Conv2dConfig::default() };
    let finish = Finish {
        bias: vec![1.0, 2.0],
        residual: Some(Residual { planes: output, channels: vec![None, Some(0)] }),
        ..Finish::plain(2).with_relu()
    };
    let layer = layer([input, output], &config, finish)?;
    let (mut x, mut y) = (vec![0f32; input.len()], vec![0f32; output.len()]);
    input.pack(&[1f32; 24], &mut x);
    let residual = vec![10f32; output.len()];
    let mut scratch = Scratch::default();
    for _ in 0..2 {
        layer.forward(&x, Some(&residual), &mut y, &mut scratch);
    }
    let mut found = [0f32; 24];
    output.unpack(&y, &mut found);
    // a corner reads four places of both channels, an edge six
    let of = |base: f32| [8., 8., 12., 12., 8., 8.].map(|sum: f32| sum + base);
    let expected: Vec<f32> = [of(1.0), of(12.0), of(1.0), of(12.0)].concat();
    assert!(found.iter().zip(&expected).all(|(found, expected)| (found - expected).abs() < 1e-4), "{found:?}");
    Ok(())
}

#[test]
fn direct_and_winograd() -> Result<()> {
    check(|planes, config, finish| {
        Convolution::direct(planes, (3, 3), config, &[Block::whole(2, 18)], &[1.0; 36], finish)
    })?;
    check(|planes, config, finish| Convolution::winograd(planes, config, &[Block::whole(2, 2)], &[1.0; 36], finish))
}

#[test]
fn depthwise() -> Result<()> {
    let planes = Planes { channels: 2, height: 3, width: 2, margin: 1 };
    let config = Conv2dConfig { padding: (1, 1), ..Conv2dConfig::default() };
    let layer = Convolution::depthwise([planes; 2], (3, 3), &config, (&[1, 0], &[1.0; 18]), Finish::plain(2))?;
    let (mut x, mut y) = (vec![0f32; planes.len()], vec![0f32; planes.len()]);
    planes.pack(&[1f32; 12], &mut x);
    layer.forward(&x, None, &mut y, &mut Scratch::default());
    let mut found = [0f32; 12];
    planes.unpack(&y, &mut found);
    assert_eq!(found[..6], [4., 4., 6., 6., 4., 4.]);
    Ok(())
}
