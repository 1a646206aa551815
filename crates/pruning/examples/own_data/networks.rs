//! Networks by name, and what of them may be pruned.

use experiment::Result;
use pruning::{Network, Refill, Regroup, Scope};
use vision::{MobileNetConfig, ResNetConfig, VggConfig};

/// The networks that the programs know, for `--help`.
pub(crate) const NAMES: &str = "resnet18, resnet20, resnet50, vgg16 and mobilenet for small images; resnet18-imagenet, resnet50-imagenet, vgg16-imagenet, mobilenet-imagenet; small-cnn";

pub(crate) fn by_name(name: &str, image: [usize; 3], classes: usize) -> Result<Network> {
    let plane = (image[1], image[2]);
    let resnet = |config: ResNetConfig| Network::resnet(&ResNetConfig { input_channels: image[0], ..config }, plane);
    let vgg = |config: VggConfig| Network::vgg(&VggConfig { input_channels: image[0], ..config }, plane);
    let mobilenet =
        |config: MobileNetConfig| Network::mobilenet(&MobileNetConfig { input_channels: image[0], ..config }, plane);
    Ok(match name {
        "resnet18" => resnet(ResNetConfig::resnet18(classes).cifar())?,
        "resnet20" => resnet(ResNetConfig::resnet20(classes))?,
        "resnet50" => resnet(ResNetConfig::resnet50(classes).cifar())?,
        "vgg16" => vgg(VggConfig::vgg16(classes).cifar())?,
        "mobilenet" => mobilenet(MobileNetConfig::mobilenet(1.0, classes)?.cifar())?,
        "resnet18-imagenet" => resnet(ResNetConfig::resnet18(classes))?,
        "resnet50-imagenet" => resnet(ResNetConfig::resnet50(classes))?,
        "vgg16-imagenet" => vgg(VggConfig::vgg16(classes))?,
        "mobilenet-imagenet" => mobilenet(MobileNetConfig::mobilenet(1.0, classes)?)?,
        "small-cnn" => Network::small_cnn(image, classes)?,
        other => return Err(format!("--arch {other} is unknown: {NAMES}").into()),
    })
}

/// How the weights of a layer are thinned out.
#[allow(dead_code, reason = "not every program has this choice")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Method {
    /// Scattered weights: what no form is faster with
    Magnitude,
    /// Whole channels
    Refill,
    /// Dense blocks
    Regroup,
}

/// Masks that keep `density` of the weights of each layer that may be pruned, by magnitude: every convolution but the first, and of them those with enough rows and columns for blocks.
#[allow(dead_code, reason = "not every program makes them so")]
pub(crate) fn masks(
    store: &core_tensor::params::ParamStore,
    method: Method,
    density: f64,
    seed: u64,
) -> Result<pruning::Masks> {
    let prunable = Scope { exclude: vec!["conv1.weight".into(), "features.0.weight".into()], ..Scope::convolutions() }
        .select(store)?;
    let magnitudes = pruning::scores::magnitude(&prunable)?;
    let mut masks = pruning::Masks::default();
    for (name, var) in &prunable {
        // kernels of one channel each have nothing to share
        if var.dims()[0] < 16 || var.dims()[1..].iter().product::<usize>() < 16 {
            continue;
        }
        let mask = of_layer((var.dims(), &magnitudes[name]), method, density, seed);
        if let Some(mask) = mask.map_err(|error| format!("`{name}`: {error}"))? {
            masks.insert(name.clone(), mask);
        }
    }
    Ok(masks)
}

#[allow(dead_code, reason = "not every program makes them so")]
fn of_layer(
    (shape, scores): (&[usize], &[f64]),
    method: Method,
    density: f64,
    seed: u64,
) -> pruning::Result<Option<pruning::Mask>> {
    Ok(match method {
        Method::Magnitude => {
            let one = [(String::new(), scores.to_vec())].into_iter().collect();
            let full = pruning::Masks::full([("", shape)]);
            pruning::select(&one, &full, density, pruning::Selection::Layer, true)?.get("").cloned()
        }
        Method::Refill => Some(Refill::default().at_density(shape, scores, density)?),
        Method::Regroup => {
            // parts of the same size, since rows are computed eight at a time
            let regroup = Regroup { parts: pruning::Parts::PerRows(32), imbalance: 0.0, seed, ..Regroup::default() };
            let found = regroup.at_density(shape, scores, density)?;
            // scattered zeros gain nothing
            found.has_blocks().then_some(found.mask)
        }
    })
}
