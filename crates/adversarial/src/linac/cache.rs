//! Codes on disk.

use super::key::{Key, hex};
use crate::{Error, Result};
use half::f16;
use std::path::{Path, PathBuf};

/// A folder of codes, one file for each image, with 16 bits for a number. A file's name is a hash of the settings, the key and the image, so that nothing has to be told apart by hand; damaged files are errors.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
    max_bytes: u64,
}

const MAGIC: &[u8; 8] = b"linac 1\n";

impl Cache {
    /// A folder, made if it is not there, in which all files together take at most `max_bytes`: what is beyond is not stored.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(folder: impl Into<PathBuf>, max_bytes: u64) -> Result<Self> {
        let folder = folder.into();
        std::fs::create_dir_all(&folder).map_err(Error::file("make", &folder))?;
        Ok(Self { folder, max_bytes })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn path(&self, settings: &[u8], key: &Key, image: &[f32]) -> PathBuf {
        let mut data = settings.to_vec();
        data.extend(image.iter().flat_map(|value| value.to_le_bytes()));
        self.folder.join(format!("{}.codes", hex(&key.digest(&data))))
    }

    /// The bytes that are stored at present.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn size(&self) -> Result<u64> {
        let entries = std::fs::read_dir(&self.folder).map_err(Error::file("read", &self.folder))?;
        Ok(entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|data| data.len()).sum())
    }

    pub(crate) fn read(&self, path: &Path, len: usize) -> Result<Option<Vec<f32>>> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::file("read", path)(error)),
        };
        let damaged = |reason: &str| Error::InvalidData {
            operation: "Cache",
            what: "an entry",
            reason: format!("{} {reason}; delete it", path.display()),
        };
        let body = bytes.strip_prefix(MAGIC).ok_or_else(|| damaged("is no file of codes"))?;
        let (sum, body) = body.split_at_checked(4).ok_or_else(|| damaged("ends early"))?;
        if body.len() != 2 * len {
            return Err(damaged("has another length than these codes"));
        }
        if sum != crc(body) {
            return Err(damaged("is damaged: its checksum is another one"));
        }
        Ok(Some(body.as_chunks().0.iter().map(|&bytes| f16::from_le_bytes(bytes).to_f32()).collect()))
    }

    /// Stores codes if there is room; another process that does the same at the same time does no harm.
    pub(crate) fn write(&self, path: &Path, codes: &[f32]) -> Result<()> {
        let body: Vec<u8> = codes.iter().flat_map(|&code| f16::from_f32(code).to_le_bytes()).collect();
        if self.size()? + (body.len() + MAGIC.len() + 4) as u64 > self.max_bytes {
            return Ok(());
        }
        let mut bytes = MAGIC.to_vec();
        bytes.extend(crc(&body));
        bytes.extend(body);
        let temporary = path.with_extension(format!("{}-{:?}", std::process::id(), std::thread::current().id()));
        std::fs::write(&temporary, bytes).map_err(Error::file("write", &temporary))?;
        std::fs::rename(&temporary, path).map_err(Error::file("rename", path))
    }
}

fn crc(body: &[u8]) -> [u8; 4] {
    crc32fast::hash(body).to_le_bytes()
}

/// Codes as the cache gives them back.
pub(crate) fn rounded(codes: &mut [f32]) {
    codes.iter_mut().for_each(|code| *code = f16::from_f32(*code).to_f32());
}
