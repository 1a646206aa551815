//! Devices by name.

use crate::{Error, Result};
use candle_core::Device;

/// Opens the device with the given name: `cpu`, `cuda`, `cuda:1`, `metal`, `metal:0`. Without a number it is the first device of its kind.
///
/// # Errors
///
/// When the name is unknown, this build lacks the feature that the device needs, or the machine has no such device.
///
/// ```
/// let device = core_tensor::device::parse("cpu")?;
/// assert!(device.is_cpu());
/// assert!(core_tensor::device::parse("tpu").is_err());
/// # Ok::<(), core_tensor::Error>(())
/// ```
pub fn parse(spec: &str) -> Result<Device> {
    let error = |reason: String| Error::Device { spec: spec.to_string(), reason };
    let trimmed = spec.trim();
    let (kind, ordinal) = match trimmed.split_once(':') {
        None => (trimmed, 0),
        Some((kind, number)) => {
            let ordinal = number
                .parse::<usize>()
                .map_err(|_| error(format!("`{number}` is not a device number; expected 0, 1, …")))?;
            (kind, ordinal)
        }
    };
    let compiled = |feature: &str, is_compiled: bool| {
        if is_compiled {
            Ok(())
        } else {
            Err(error(format!("this program was built without support for it; build with `--features {feature}`")))
        }
    };
    match kind.to_ascii_lowercase().as_str() {
        "cpu" if ordinal == 0 => Ok(Device::Cpu),
        "cpu" => Err(error("there is only one CPU device, `cpu`".to_string())),
        "cuda" => {
            compiled("cuda", candle_core::utils::cuda_is_available())?;
            Device::new_cuda(ordinal).map_err(|e| error(e.to_string()))
        }
        "metal" => {
            compiled("metal", candle_core::utils::metal_is_available())?;
            Device::new_metal(ordinal).map_err(|e| error(e.to_string()))
        }
        _ => Err(error("unknown device; expected `cpu`, `cuda:N` or `metal:N`".to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_found_by_name() {
        assert!(parse("cpu").unwrap().is_cpu());
        assert!(parse(" CPU ").unwrap().is_cpu());
    }

    #[test]
    fn nonsense_is_an_error_that_names_it() {
        for spec in ["", "gpu", "cuda:x", "cuda:-1", "cpu:1", "metal:"] {
            let message = parse(spec).unwrap_err().to_string();
            assert!(message.contains(&format!("`{spec}`")), "{message}");
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_device_that_is_not_compiled_in_names_its_feature() {
        assert!(parse("cuda:0").unwrap_err().to_string().contains("--features cuda"));
    }
}
