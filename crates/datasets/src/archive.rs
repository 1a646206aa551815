//! Reading compressed files and unpacking archives without trusting them.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::error::{Error, Result};

/// The most bytes that one file may decompress to: 2 GiB.
const MAX_BYTES: u64 = 2 << 30;

/// Reads a file, decompressing it if its name ends in `.gz`.
///
/// # Errors
/// [`Error::Io`]; [`Error::Format`] for damaged gzip or for more than 2 GiB of content.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(|source| Error::io("open", path, source))?;
    let mut bytes = Vec::new();
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut decoder = MultiGzDecoder::new(BufReader::new(file)).take(MAX_BYTES + 1);
        let outcome = decoder.read_to_end(&mut bytes);
        outcome.map_err(|error| Error::format("gzip", path.display().to_string(), error.to_string()))?;
    } else {
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|source| Error::io("read", path, source))?;
    }
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Error::format("file", path.display().to_string(), format!("more than {MAX_BYTES} bytes")));
    }
    Ok(bytes)
}

/// Reads a text file, decompressing it if its name ends in `.gz`.
///
/// # Errors
/// As [`read`]; [`Error::Format`] naming the first byte that is not UTF-8.
pub fn read_text(path: &Path) -> Result<String> {
    String::from_utf8(read(path)?).map_err(|error| {
        let at = format!("{}, byte {}", path.display(), error.utf8_error().valid_up_to());
        Error::format("text", at, "not UTF-8")
    })
}
