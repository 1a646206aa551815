//! What every layer and model checks of its input, so that an error names the layer and not an operation inside it.

use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};

/// Refuses a tensor of another dtype or on another device than the layer's parameters.
pub(crate) fn check_kind(
    operation: &'static str,
    what: &'static str,
    x: &Tensor,
    dtype: DType,
    device: &Device,
) -> Result<()> {
    if x.dtype() != dtype {
        return Err(Error::DType { operation, what, got: x.dtype(), expected: dtype });
    }
    check_device(operation, what, x.device(), device)
}

/// Refuses what is on another device than the layer's parameters.
pub(crate) fn check_device(operation: &'static str, what: &'static str, got: &Device, expected: &Device) -> Result<()> {
    if got.same_device(expected) {
        return Ok(());
    }
    let (got, expected) = (format!("{:?}", got.location()), format!("{:?}", expected.location()));
    Err(Error::Device { operation, what, got, expected })
}

/// Refuses features that are not `[rows, width]` of this dtype on this device.
pub(crate) fn check_features(
    operation: &'static str,
    x: &Tensor,
    (rows, width): (usize, usize),
    dtype: DType,
    device: &Device,
) -> Result<()> {
    if x.dims() != [rows, width] {
        let expected = format!("[{rows} nodes, {width} features]");
        return Err(Error::Shape { operation, what: "x", got: x.dims().to_vec(), expected });
    }
    check_kind(operation, "x", x, dtype, device)
}
