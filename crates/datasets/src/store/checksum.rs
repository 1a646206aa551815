//! Compares files with what the registry pins.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::registry::Checksum;

/// Decompressed content beyond this is not hashed: no registered file comes near it, a compression bomb does.
const MAX_CONTENTS: u64 = 4 << 30;

/// Accepts the file if its bytes have `checksum`, or if it is gzip and its content has `contents_sha256`.
pub(super) fn verify(path: &Path, checksum: Checksum, contents_sha256: Option<&'static str>) -> Result<()> {
    let got = of_file(path, checksum)?;
    let (Checksum::Sha256(expected) | Checksum::GitBlob(expected) | Checksum::Md5(expected)) = checksum;
    if got == expected {
        return Ok(());
    }
    if let Some(expected) = contents_sha256
        && of_contents(path)?.as_deref() == Some(expected)
    {
        return Ok(());
    }
    Err(Error::WrongChecksum { path: path.to_owned(), expected: checksum.to_string(), got })
}

/// Accepts a gzip file if its content has `checksum`: a registered file that the user compressed.
pub(super) fn verify_compressed(path: &Path, checksum: Checksum) -> Result<()> {
    let contents = crate::archive::read(path)?;
    let mut reader = contents.as_slice();
    let got = match checksum {
        Checksum::Sha256(_) => digest(Sha256::new(), &mut reader),
        Checksum::Md5(_) => digest(Md5::new(), &mut reader),
        Checksum::GitBlob(_) => digest(git_blob(contents.len() as u64), &mut reader),
    };
    let got = got.map_err(|source| Error::io("read", path, source))?;
    let (Checksum::Sha256(expected) | Checksum::GitBlob(expected) | Checksum::Md5(expected)) = checksum;
    match got == expected {
        true => Ok(()),
        false => Err(Error::WrongChecksum { path: path.to_owned(), expected: format!("content with {checksum}"), got }),
    }
}

/// The beginning of git's object id of a file.
fn git_blob(length: u64) -> Sha1 {
    Sha1::new_with_prefix(format!("blob {length}\0"))
}

/// The file's checksum by the same algorithm as `like`, in hexadecimal.
fn of_file(path: &Path, like: Checksum) -> Result<String> {
    let reading = |source| Error::io("read", path, source);
    let mut file = File::open(path).map_err(|source| Error::io("open", path, source))?;
    match like {
        Checksum::Sha256(_) => digest(Sha256::new(), &mut file).map_err(reading),
        Checksum::Md5(_) => digest(Md5::new(), &mut file).map_err(reading),
        Checksum::GitBlob(_) => {
            let length = file.metadata().map_err(reading)?.len();
            digest(git_blob(length), &mut file).map_err(reading)
        }
    }
}

/// SHA-256 of the decompressed content, or `None` if the file is not sound gzip of a reasonable size.
fn of_contents(path: &Path) -> Result<Option<String>> {
    let file = File::open(path).map_err(|source| Error::io("open", path, source))?;
    let mut contents = flate2::read::MultiGzDecoder::new(io::BufReader::new(file)).take(MAX_CONTENTS);
    let hex = digest(Sha256::new(), &mut contents).ok();
    Ok(hex.filter(|_| contents.limit() > 0))
}

fn digest<D: Digest>(mut state: D, reader: &mut impl Read) -> io::Result<String> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => state.update(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(state.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(contents: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), contents).unwrap();
        file
    }

    #[test]
    fn each_algorithm_gives_its_known_value_for_known_bytes() {
        let path = file(b"abc");
        let sha256 = Checksum::Sha256("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let md5 = Checksum::Md5("900150983cd24fb0d6963f7d28e17f72");
        // `printf abc | git hash-object --stdin`
        let git = Checksum::GitBlob("f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f");
        for checksum in [sha256, md5, git] {
            verify(path.path(), checksum, None).unwrap();
        }
    }

    #[test]
    fn a_recompressed_file_is_accepted_by_its_content_and_a_damaged_one_is_not() {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(b"abc").unwrap();
        let mut bytes = encoder.finish().unwrap();
        let other = Checksum::Sha256("00");
        let contents = Some("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        verify(file(&bytes).path(), other, contents).unwrap();
        let compressed = tempfile::Builder::new().suffix(".gz").tempfile().unwrap();
        std::fs::write(compressed.path(), &bytes).unwrap();
        verify_compressed(compressed.path(), Checksum::GitBlob("f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f")).unwrap();
        assert!(verify_compressed(compressed.path(), other).is_err());
        let last = bytes.len() - 5;
        bytes[last] ^= 1;
        assert!(matches!(verify(file(&bytes).path(), other, contents), Err(Error::WrongChecksum { .. })));
    }
}
