//! Convolutions with sixteen images side by side against those of tensors.

use candle_core::{DType, Device, Tensor};
use core_tensor::inference::{Block, Convolution, Finish, IMAGES, Planes, Residual, Scratch};
use core_tensor::ops::{self, Conv2dConfig};
use core_tensor::{Result, random::Rng};

struct Case {
    images: usize,
    channels: (usize, usize),
    plane: (usize, usize),
    kernel: (usize, usize),
    config: Conv2dConfig,
}

impl Case {
    fn new(images: usize, channels: (usize, usize), plane: (usize, usize), kernel: usize, stride: usize) -> Self {
        let padding = (kernel / 2, kernel / 2);
        let config = Conv2dConfig { padding, stride: (stride, stride), ..Conv2dConfig::default() };
        Self { images, channels, plane, kernel: (kernel, kernel), config }
    }

    fn planes(&self, y: &Tensor) -> Result<[Planes; 2]> {
        let (_, channels, height, width) = y.dims4()?;
        let margin = self.config.padding.0.max(self.config.padding.1);
        let (inputs, of_input) = (self.channels.0, self.plane);
        let input = Planes { channels: inputs, height: of_input.0, width: of_input.1, margin };
        Ok([input, Planes { channels, height, width, margin: 2 }])
    }
}

fn values(x: &Tensor) -> Result<Vec<f64>> {
    Ok(x.flatten_all()?.to_vec1()?)
}

/// The convolution of the case by `layer`, with a residual of the output's planes.
fn run(layer: &Convolution<f64>, planes: [Planes; 2], x: &[f64], residual: Option<&[f64]>, images: usize) -> Vec<f64> {
    let mut packed = vec![0.0; planes[0].len()];
    planes[0].pack(x, &mut packed);
    let of_residual = residual.map(|residual| {
        let mut packed = vec![0.0; planes[1].len()];
        planes[1].pack(residual, &mut packed);
        packed
    });
    let mut out = vec![7.0; planes[1].len()];
    layer.forward(&packed, of_residual.as_deref(), &mut out, &mut Scratch::default());
    let mut y = vec![0.0; images * planes[1].channels * planes[1].height * planes[1].width];
    planes[1].unpack(&out, &mut y);
    // margins are left alone
    assert_eq!(out[0], 7.0);
    y
}

fn assert_close(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1.0, |largest: f64, value| largest.max(value.abs()));
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() < 1e-12 * largest, "{what}: {found} at {at}, expected {expected}");
    }
}

#[test]
fn forms_agree_with_the_convolution_of_tensors() -> Result<()> {
    let mut rng = Rng::new(1);
    for case in [
        Case::new(16, (3, 5), (6, 7), 3, 1),
        Case::new(1, (4, 17), (1, 1), 3, 1),
        Case::new(3, (20, 8), (8, 8), 3, 1),
        Case::new(16, (2, 9), (9, 5), 3, 2),
        Case::new(5, (7, 3), (4, 4), 1, 1),
        Case::new(15, (6, 6), (7, 6), 1, 2),
        Case::new(2, (3, 4), (11, 13), 7, 2),
        Case::new(2, (1100, 9), (4, 3), 3, 1),
        Case {
            config: Conv2dConfig { padding: (2, 1), dilation: (2, 1), ..Conv2dConfig::default() },
            ..Case::new(4, (3, 4), (7, 5), 3, 1)
        },
        Case { config: Conv2dConfig::default(), ..Case::new(4, (3, 4), (7, 5), 3, 1) },
    ] {
        let (inputs, outputs) = case.channels;
        let shape = (case.images, inputs, case.plane.0, case.plane.1);
        let x = rng.normal(0.0, 1.0, shape, DType::F64, &Device::Cpu)?;
        let weight = rng.normal(0.0, 1.0, (outputs, inputs, case.kernel.0, case.kernel.1), DType::F64, &Device::Cpu)?;
        // of every third row the first half of the channels alone
        let mut dense = values(&weight)?;
        let depth = inputs * case.kernel.0 * case.kernel.1;
        let half = inputs.div_ceil(2);
        for (row, values) in dense.chunks_exact_mut(depth).enumerate() {
            if row % 3 == 0 {
                values[half * case.kernel.0 * case.kernel.1..].fill(0.0);
            }
        }
        let weight = Tensor::from_vec(dense.clone(), weight.shape(), &Device::Cpu)?;
        let bias = rng.normal(0.0, 1.0, outputs, DType::F64, &Device::Cpu)?;
        let y = ops::conv2d(&x, &weight, Some(&bias), &case.config)?;
        let residual = rng.normal(0.0, 1.0, y.shape(), DType::F64, &Device::Cpu)?;
        let expected = values(&ops::relu(&ops::add(&y, &residual)?)?)?;
        let planes = case.planes(&y)?;
        let rows = |is_third: bool| (0..outputs).filter(|row| (row % 3 == 0) == is_third).collect::<Vec<_>>();
        let blocks = |scale: usize| {
            [
                Block { rows: rows(true), columns: (0..half * scale).collect() },
                Block { rows: rows(false), columns: (0..inputs * scale).rev().collect() },
            ]
        };
        let finish = Finish {
            bias: values(&bias)?,
            residual: Some(Residual { planes: planes[1], channels: (0..outputs).map(Some).collect() }),
            is_relu: true,
            ..Finish::plain(outputs)
        };
        let taps = case.kernel.0 * case.kernel.1;
        let direct = Convolution::direct(planes, case.kernel, &case.config, &blocks(taps), &dense, finish.clone())?;
        let (x, residual) = (values(&x)?, values(&residual)?);
        assert_close(&run(&direct, planes, &x, Some(&residual), case.images), &expected, "direct");
        if case.kernel == (3, 3) && case.config.stride == (1, 1) && case.config.dilation == (1, 1) {
            let winograd = Convolution::winograd(planes, &case.config, &blocks(1), &dense, finish)?;
            assert_close(&run(&winograd, planes, &x, Some(&residual), case.images), &expected, "winograd");
        }
    }
    Ok(())
}

#[test]
fn a_kernel_for_each_channel() -> Result<()> {
    let mut rng = Rng::new(2);
    for (channels, plane, stride) in [(5, (6, 7), 1), (3, (7, 7), 2)] {
        let case = Case::new(9, (channels, channels), plane, 3, stride);
        let config = Conv2dConfig { groups: channels, ..case.config };
        let x = rng.normal(0.0, 1.0, (9, channels, plane.0, plane.1), DType::F64, &Device::Cpu)?;
        let weight = rng.normal(0.0, 1.0, (channels, 1, 3, 3), DType::F64, &Device::Cpu)?;
        let y = ops::conv2d(&x, &weight, None, &config)?;
        let planes = case.planes(&y)?;
        let layer = Convolution::depthwise(
            planes,
            (3, 3),
            &case.config,
            (&(0..channels).collect::<Vec<_>>(), &values(&weight)?),
            Finish::plain(channels),
        )?;
        assert_close(&run(&layer, planes, &values(&x)?, None, 9), &values(&y)?, "depthwise");
    }
    Ok(())
}

#[test]
fn rows_go_to_their_targets_and_other_channels_get_what_is_added() -> Result<()> {
    let input = Planes { channels: 1, height: 1, width: 2, margin: 0 };
    let output = Planes { channels: 3, ..input };
    let other = Planes { channels: 1, margin: 1, ..input };
    let finish = Finish {
        targets: vec![2],
        bias: vec![1.0, -5.0, 0.0],
        map: Some(vec![0.0, 0.0, 0.0, 0.0, 100.0, 200.0]),
        residual: Some(Residual { planes: other, channels: vec![Some(0), None, Some(0)] }),
        is_relu: true,
    };
    let all = [Block::whole(1, 1)];
    let layer = Convolution::direct([input, output], (1, 1), &Conv2dConfig::default(), &all, &[3.0], finish)?;
    let (mut x, mut residual, mut y) = (vec![0.0; input.len()], vec![0.0; other.len()], vec![0.0; output.len()]);
    input.pack(&[1.0, 2.0], &mut x);
    other.pack(&[10.0, 20.0], &mut residual);
    layer.forward(&x, Some(&residual), &mut y, &mut Scratch::default());
    let mut found = [0.0; 6];
    output.unpack(&y, &mut found);
    assert_eq!(found, [11.0, 21.0, 0.0, 0.0, 113.0, 226.0]);
    Ok(())
}

#[test]
fn what_does_not_fit_is_an_error() {
    let input = Planes { channels: 2, height: 4, width: 4, margin: 1 };
    let config = Conv2dConfig { padding: (1, 1), ..Conv2dConfig::default() };
    let (all, weight) = ([Block::whole(2, 18)], [0f32; 36]);
    let of = |planes: [Planes; 2], config: &Conv2dConfig, blocks: &[Block], weight: &[f32], finish: Finish<f32>| {
        Convolution::direct(planes, (3, 3), config, blocks, weight, finish).map(|_| ()).unwrap_err().to_string()
    };
    let plain = || Finish::plain(2);
    assert!(Convolution::direct([input, input], (3, 3), &config, &all, &weight, plain()).is_ok());
    let no_margin = Planes { margin: 0, ..input };
    assert!(of([no_margin, input], &config, &all, &weight, plain()).contains("margin"));
    assert!(of([input, Planes { width: 5, ..input }], &config, &all, &weight, plain()).contains("planes"));
    assert!(of([input, input], &config, &all, &weight[1..], plain()).contains("35"));
    assert!(of([input, input], &config, &[Block::whole(3, 1)], &weight, plain()).contains("rows[2]"));
    assert!(of([input, input], &config, &[Block::whole(1, 19)], &weight, plain()).contains("columns[18]"));
    assert!(
        of([input, input], &config, &[Block::whole(1, 1), Block::whole(1, 1)], &weight, plain()).contains("one block")
    );
    assert!(of([input, input], &config, &all, &weight, Finish::plain(3)).contains("bias"));
    let zero = Conv2dConfig { stride: (0, 1), ..config };
    assert!(of([input, input], &zero, &all, &weight, plain()).contains("stride"));
    let groups = Conv2dConfig { groups: 2, ..config };
    assert!(of([input, input], &groups, &all, &weight, plain()).contains("groups"));
    let two = Finish { targets: vec![0, 0], ..plain() };
    assert!(of([input, input], &config, &all, &weight, two).contains("targets"));
    let strided = Conv2dConfig { stride: (2, 2), ..config };
    let output = Planes { height: 2, width: 2, ..input };
    assert!(Convolution::winograd([input, output], &strided, &[Block::whole(2, 2)], &weight, plain()).is_err());
    assert_eq!(IMAGES, 16);
}
