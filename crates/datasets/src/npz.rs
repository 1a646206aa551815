//! NumPy's `.npz` files: a zip archive of `.npy` arrays.

use std::collections::BTreeMap;
use std::path::Path;

use crate::archive::{self, Limits};
use crate::array::Array;
use crate::error::{Error, Result};
use crate::npy;
use crate::text::quoted;

/// The arrays of a `.npz` file. An array is decoded when it is asked for, so that arrays of kinds that cannot be read (text)
/// do no harm until then.
#[derive(Debug, Clone)]
pub struct Archive {
    members: BTreeMap<String, Vec<u8>>,
}

impl Archive {
    /// Reads a file.
    ///
    /// # Errors
    /// As [`Archive::parse`] and [`archive::read`].
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&archive::read(path)?)
    }

    /// Reads the bytes of a `.npz` file.
    ///
    /// # Errors
    /// As [`archive::members`].
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        Self::parse_within(bytes, &Limits::default())
    }

    /// As [`Archive::parse`], with limits of your own: all arrays are held decompressed.
    ///
    /// # Errors
    /// As [`archive::members`].
    pub fn parse_within(bytes: &[u8], limits: &Limits) -> Result<Self> {
        // Tar would be taken by the archive reader, but it is no .npz.
        if !bytes.starts_with(b"PK") {
            return Err(Error::invalid_data("npz", "byte 0", "not a zip archive"));
        }
        Ok(Self { members: archive::members(bytes, limits)? })
    }

    /// Names of the arrays, without `.npy`, ascending.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.keys().filter_map(|name| name.strip_suffix(".npy"))
    }

    /// The array of that name.
    ///
    /// # Errors
    /// [`Error::InvalidData`] if it is absent; as [`npy::parse`].
    pub fn array(&self, name: &str) -> Result<Array> {
        let bytes = self.members.get(&format!("{name}.npy"));
        npy::parse(bytes.ok_or_else(|| Error::invalid_data("npz", format!("array `{}`", quoted(name)), "absent"))?)
    }
}
