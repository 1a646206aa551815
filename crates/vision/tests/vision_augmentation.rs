//! Crops, mirror images and normalisation.

#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor};
use core_tensor::random::Rng;
use proptest::prelude::*;
use vision::{Augmentation, Crop, Error, ImageShape, Normalization};

fn pixels(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at % 255) as u8 + 1).collect()
}

fn shapes() -> impl Strategy<Value = (usize, ImageShape)> {
    (0..4usize, 1..4usize, 1..6usize, 1..6usize)
        .prop_map(|(n, channels, height, width)| (n, ImageShape { channels, height, width }))
}

fn length(shape: ImageShape) -> usize {
    shape.channels * shape.height * shape.width
}

proptest! {
    #[test]
    fn a_seed_gives_the_same_images_as_slices_and_as_tensors(
        (n, shape) in shapes(), padding in 0..4usize, flips: bool, seed: u64,
    ) {
        let augmentation = Augmentation { padding, flips };
        let images = pixels(n * length(shape));
        let augmented = augmentation.apply_to(&images, shape, &mut Rng::new(seed)).unwrap();
        prop_assert_eq!(&augmented, &augmentation.apply_to(&images, shape, &mut Rng::new(seed)).unwrap());
        let dims = (n, shape.channels, shape.height, shape.width);
        let tensor = Tensor::from_vec(images, dims, &Device::Cpu).unwrap();
        for dtype in [DType::U8, DType::F32, DType::F64] {
            let found = augmentation.apply(&tensor.to_dtype(dtype).unwrap(), &mut Rng::new(seed)).unwrap();
            prop_assert_eq!(found.dtype(), dtype);
            let found: Vec<u8> = found.to_dtype(DType::U8).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            prop_assert_eq!(&augmented, &found);
        }
    }

    #[test]
    fn every_value_is_one_of_the_same_channel_or_zero((_, shape) in shapes(), padding in 0..9usize, seed: u64) {
        let image = pixels(length(shape));
        let augmentation = Augmentation { padding, flips: true };
        let augmented = augmentation.apply_to(&image, shape, &mut Rng::new(seed)).unwrap();
        let plane = shape.height * shape.width;
        for (before, after) in image.chunks(plane).zip(augmented.chunks(plane)) {
            prop_assert!(after.iter().all(|value| *value == 0 || before.contains(value)));
            // no pixel is shown twice
            let mut shown: Vec<u8> = after.iter().copied().filter(|&value| value != 0).collect();
            shown.sort_unstable();
            shown.dedup();
            prop_assert_eq!(shown.len(), after.iter().filter(|&&value| value != 0).count());
        }
    }

    #[test]
    fn the_mirror_image_of_a_mirror_image_is_the_image((_, shape) in shapes()) {
        let image = pixels(length(shape));
        let mirror = Crop { is_mirrored: true, ..Crop::default() };
        let (mut once, mut twice) = (Vec::new(), Vec::new());
        mirror.append(&image, shape, &mut once).unwrap();
        mirror.append(&once, shape, &mut twice).unwrap();
        prop_assert_eq!(twice, image);
    }

    #[test]
    fn without_padding_and_flips_nothing_changes((n, shape) in shapes(), seed: u64) {
        let images = pixels(n * length(shape));
        let augmentation = Augmentation { padding: 0, flips: false };
        prop_assert_eq!(augmentation.apply_to(&images, shape, &mut Rng::new(seed)).unwrap(), images);
    }
}

#[test]
fn a_crop_moves_its_window() {
    let shape = ImageShape { channels: 1, height: 2, width: 3 };
    let crop = |down, right, is_mirrored| {
        let mut shown = Vec::new();
        Crop { down, right, is_mirrored }.append(&[1, 2, 3, 4, 5, 6], shape, &mut shown).unwrap();
        shown
    };
    assert_eq!(crop(1, 0, false), [4, 5, 6, 0, 0, 0]);
    assert_eq!(crop(-1, 1, false), [0, 0, 0, 2, 3, 0]);
    assert_eq!(crop(0, 1, true), [0, 3, 2, 0, 6, 5]);
    assert_eq!(crop(isize::MAX, isize::MIN, true), [0; 6]);
}

#[test]
fn every_crop_and_both_sides_are_drawn() {
    let augmentation = Augmentation { padding: 1, flips: true };
    let mut rng = Rng::new(2);
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..1800 {
        let Crop { down, right, is_mirrored } = augmentation.draw(&mut rng);
        *counts.entry((down, right, is_mirrored)).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 18);
    // 100 of each are expected, with a deviation of 9.7; five of them are allowed
    assert!(counts.values().all(|count| (52..=148).contains(count)), "{counts:?}");
}

#[test]
fn gradients_pass_augmentation_and_normalisation() {
    let values: Vec<f64> = (0..24).map(f64::from).collect();
    let x = Tensor::from_vec(values, (2, 3, 2, 2), &Device::Cpu).unwrap();
    let augmentation = Augmentation { padding: 1, flips: true };
    let normalization = Normalization { mean: vec![1., 2., 3.], std: vec![0.5, 2., 4.] };
    core_tensor::gradcheck::gradcheck(
        |x| Ok(normalization.apply(&augmentation.apply(&x[0], &mut Rng::new(4)).unwrap()).unwrap()),
        &[x],
    )
    .unwrap();
}

#[test]
fn measured_statistics_normalise_to_mean_zero_and_deviation_one() {
    let shape = ImageShape { channels: 2, height: 2, width: 3 };
    let images = Rng::new(3).normal(5., 3., 60, DType::F32, &Device::Cpu).unwrap().to_vec1::<f32>().unwrap();
    let normalization = Normalization::measure(images.chunks(12), shape).unwrap();
    let mut normal = images.clone();
    normalization.apply_to(&mut normal, 6).unwrap();
    for channel in 0..2 {
        let values: Vec<f64> =
            normal.chunks(6).skip(channel).step_by(2).flatten().map(|&value| f64::from(value)).collect();
        let mean = values.iter().sum::<f64>() / 30.;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 29.;
        // f32 holds seven digits of numbers up to 3
        assert!(mean.abs() < 1e-6 && (variance - 1.).abs() < 1e-5, "{mean} {variance}");
    }
    let tensor = Tensor::from_vec(images, (5, 2, 2, 3), &Device::Cpu).unwrap();
    let found: Vec<f32> = normalization.apply(&tensor).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    assert_eq!(found, normal);
    let flat = Normalization::measure([[2f32; 12].as_slice()].into_iter(), shape).unwrap();
    assert_eq!((flat.mean, flat.std), (vec![2., 2.], vec![1., 1.]));
}

#[test]
fn wrong_sizes_are_errors() {
    let shape = ImageShape { channels: 1, height: 2, width: 2 };
    let augmentation = Augmentation { padding: 1, flips: true };
    let mut rng = Rng::new(0);
    assert!(matches!(augmentation.apply_to(&[0u8; 5], shape, &mut rng), Err(Error::Length { .. })));
    let zero = ImageShape { channels: 0, ..shape };
    assert!(matches!(augmentation.apply_to(&[0u8; 4], zero, &mut rng), Err(Error::InvalidConfig { .. })));
    let huge = ImageShape { channels: usize::MAX, height: usize::MAX, width: 2 };
    assert!(matches!(augmentation.apply_to(&[0u8; 4], huge, &mut rng), Err(Error::Length { .. })));
    let flat = Tensor::zeros((2, 4), DType::U8, &Device::Cpu).unwrap();
    assert!(matches!(augmentation.apply(&flat, &mut rng), Err(Error::Shape { .. })));
    let empty = Tensor::zeros((2, 0, 2, 2), DType::U8, &Device::Cpu).unwrap();
    assert!(augmentation.apply(&empty, &mut rng).is_err());
    assert!(Crop::default().append(&[1u8; 3], shape, &mut Vec::new()).is_err());
    // a frame that no image reaches into
    let far = Augmentation { padding: usize::MAX, flips: false };
    assert_eq!(far.apply_to(&[1u8; 4], shape, &mut rng).unwrap().len(), 4);

    let normalization = Normalization { mean: vec![0.; 3], std: vec![1.; 2] };
    assert!(matches!(normalization.apply_to(&mut [0.; 12], 4), Err(Error::InvalidConfig { .. })));
    let normalization = Normalization::cifar10();
    assert!(matches!(normalization.apply_to(&mut [0.; 13], 4), Err(Error::Length { .. })));
    assert!(normalization.apply_to(&mut [0.; 12], 0).is_err());
    assert!(normalization.apply_to(&mut [0.; 12], usize::MAX).is_err());
    assert!(matches!(normalization.apply(&flat), Err(Error::Shape { .. })));
    let none = Normalization { mean: vec![], std: vec![] };
    assert!(none.apply_to(&mut [], 4).is_err());
    assert!(Normalization::measure(std::iter::empty(), shape).is_err());
    assert!(Normalization::measure([[0f32; 3].as_slice()].into_iter(), shape).is_err());
}
