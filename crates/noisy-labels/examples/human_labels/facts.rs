//! Exact facts on labels of people, which hold whatever is trained.

use crate::cifar;
use datasets::human_labels::{load_cifar_10n, load_cifar_100n};
use datasets::images::{load_cifar_10_jpeg, load_cifar_10_sample};
use experiment::{Context, Measured, Result};
use noisy_labels::annotators::{Annotation, Annotations, DawidSkeneConfig, dawid_skene, majority_vote};

fn percent<T: PartialEq>(a: &[T], b: &[T]) -> f64 {
    100. * a.iter().zip(b).filter(|(a, b)| a != b).count() as f64 / a.len() as f64
}

fn measured(value: f64, data: &str) -> Measured {
    Measured { trials: 1, value, data: data.into(), ..Measured::default() }
}

/// With `compares_models` the annotations are aggregated too.
pub(crate) fn run(context: &mut Context, compares_models: bool) -> Result<()> {
    let store = reproduction::store(context)?;
    let ten = load_cifar_10n(&store)?;
    let [first, second, third] = &ten.annotations;
    let facts = [
        ("cifar-10n-aggregate", &ten.aggregate),
        ("cifar-10n-random", &first.labels),
        ("cifar-10n-second", &second.labels),
        ("cifar-10n-third", &third.labels),
        ("cifar-10n-worst", &ten.worse),
    ];
    for (id, labels) in facts {
        context.claim(id, measured(percent(labels, &ten.clean), "CIFAR-10N"))?;
    }
    let hundred = load_cifar_100n(&store)?;
    let fine = percent(&hundred.annotation.labels, &hundred.clean);
    context.claim("cifar-100n", measured(fine, "CIFAR-100N"))?;

    if cifar::has_jpeg(&store) {
        let images = load_cifar_10_jpeg(&store)?;
        let lossless = load_cifar_10_sample(&store)?;
        let apart = difference(&images.train, &lossless);
        let note = format!("JPEG files against the {} lossless images that were at hand", lossless.len());
        context.claim("jpeg", Measured { note: Some(note), ..measured(apart, cifar::JPEG) })?;
    }
    if compares_models {
        let all = ten.annotations.iter().flat_map(|annotation| {
            let annotators = annotation.work.annotators.iter().zip(&annotation.labels);
            annotators.zip(0u32..).map(|((&annotator, &label), item)| Annotation {
                item,
                annotator,
                label: label.into(),
            })
        });
        let annotations = Annotations::new(ten.clean.len(), ten.num_annotators(), 10, all)?;
        let wrong = |labels: Vec<Option<u32>>| {
            let right =
                labels.iter().zip(&ten.clean).filter(|(label, clean)| **label == Some(u32::from(**clean))).count();
            100. * (1. - right as f64 / ten.clean.len() as f64)
        };
        let vote = wrong(majority_vote(&annotations).labels());
        let model = wrong(dawid_skene(&annotations, &DawidSkeneConfig::default())?.consensus.labels());
        let note =
            format!("wrong: majority vote (ties to the smallest class) {vote:.2} %, Dawid and Skene {model:.2} %");
        context.claim("dawid-skene", Measured { note: Some(note), ..measured(model - vote, "CIFAR-10N") })?;
    }
    Ok(())
}

/// The mean absolute difference of lossless images from the JPEG images with the same numbers.
fn difference(images: &datasets::images::LabelledImages, lossless: &datasets::images::LabelledImages) -> f64 {
    let (mut sum, mut count) = (0f64, 0f64);
    for at in 0..lossless.len() {
        let (Some(a), Some(b)) = (lossless.image(at), images.image(at)) else { continue };
        sum += a.iter().zip(b).map(|(&a, &b)| f64::from(a.abs_diff(b))).sum::<f64>();
        count += a.len() as f64;
    }
    sum / count
}
