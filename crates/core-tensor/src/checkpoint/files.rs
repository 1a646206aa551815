//! Writing and reading of single files.

use crate::{Error, Result};
use candle_core::{Device, Tensor};
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;

/// Writes `bytes` to `path` so that the file has, at every moment and after a crash, either its old or its new content: to a
/// temporary file beside it, flushed to the disk, then renamed.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|e| Error::io(path, e))?;
    file.write_all(bytes).map_err(|e| Error::io(path, e))?;
    file.as_file().sync_all().map_err(|e| Error::io(path, e))?;
    file.persist(path).map_err(|e| Error::io(path, e.error))?;
    // The rename itself survives a power failure only once the folder is flushed; not every system can open a folder.
    if let Ok(folder) = std::fs::File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// The bytes of a safetensors file with these tensors.
pub(super) fn tensor_bytes(tensors: &BTreeMap<String, Tensor>, path: &Path) -> Result<Vec<u8>> {
    safetensors::serialize(tensors, None)
        .map_err(|e| Error::Checkpoint { path: path.display().to_string(), reason: e.to_string() })
}

/// Writes a safetensors file: first beside it, then renamed, so that `path` never holds half a file.
///
/// # Errors
///
/// When the file cannot be written.
pub fn write_tensors(path: impl AsRef<Path>, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    let path = path.as_ref();
    write_whole(path, &tensor_bytes(tensors, path)?)
}

/// Reads a safetensors file, such as a state dict that PyTorch saved, to the CPU.
///
/// # Errors
///
/// When the file cannot be read or is damaged.
pub fn read_tensors(path: impl AsRef<Path>) -> Result<BTreeMap<String, Tensor>> {
    let path = path.as_ref();
    parse_tensors(&read_file(path)?, path)
}

/// The bytes of a file. A pipe or device in its place, whose reading may never end, is an error.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>> {
    let read = || -> std::io::Result<Vec<u8>> {
        // Opening a pipe waits for its writer.
        if !std::fs::metadata(path)?.is_file() {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a plain file"));
        }
        std::fs::read(path)
    };
    read().map_err(|e| Error::io(path, e))
}

/// Reads tensors from the bytes of a safetensors file.
pub(super) fn parse_tensors(bytes: &[u8], path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let tensors: HashMap<String, Tensor> = candle_core::safetensors::load_buffer(bytes, &Device::Cpu)
        .map_err(|e| Error::Checkpoint { path: path.display().to_string(), reason: e.to_string() })?;
    Ok(tensors.into_iter().collect())
}
