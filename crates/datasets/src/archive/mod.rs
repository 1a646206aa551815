//! Reading compressed files and unpacking archives without trusting them.
//!
//! An archive from outside may name paths that lead out of the target folder, hold links, devices or a thousand times its
//! own size, or name one path twice. Here every member must be a regular file (or a folder) with a plain relative path of at
//! most 4 KiB that no other member has, and the number of members and of bytes, names included, is bounded while they are
//! read, whatever the archive claims.

mod limits;
mod members;
mod tar_format;
mod zip_format;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::error::{Error, Result};
use crate::text::quoted;
use limits::MAX_BYTES;
use members::{Members, Visitor};

pub use limits::Limits;

/// Reads a file, decompressing it if its name ends in `.gz`.
///
/// # Errors
/// [`Error::Io`]; [`Error::InvalidData`] for damaged gzip or for more than 2 GiB of content.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    read_within(path, MAX_BYTES)
}

/// As [`read`], with a limit of your own in place of the 2 GiB.
///
/// # Errors
/// As [`read`].
pub fn read_within(path: &Path, max_bytes: u64) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(|source| Error::io("open", path, source))?;
    let one_more = max_bytes.saturating_add(1);
    let mut bytes = Vec::new();
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut decoder = MultiGzDecoder::new(BufReader::new(file)).take(one_more);
        let outcome = decoder.read_to_end(&mut bytes);
        outcome.map_err(|error| Error::refused("gzip", path.display().to_string(), &error))?;
    } else {
        file.take(one_more).read_to_end(&mut bytes).map_err(|source| Error::io("read", path, source))?;
    }
    if bytes.len() as u64 > max_bytes {
        return Err(Error::invalid_data("file", path.display().to_string(), format!("more than {max_bytes} bytes")));
    }
    Ok(bytes)
}

/// Reads a text file, decompressing it if its name ends in `.gz`.
///
/// # Errors
/// As [`read`]; [`Error::InvalidData`] naming the first byte that is not UTF-8.
pub fn read_text(path: &Path) -> Result<String> {
    String::from_utf8(read(path)?).map_err(|error| {
        let at = format!("{}, byte {}", path.display(), error.utf8_error().valid_up_to());
        Error::invalid_data("text", at, "not UTF-8")
    })
}

/// The regular files of an archive (zip, tar or tar.gz, told apart by the first bytes), by path.
///
/// # Errors
/// [`Error::UnsafeArchive`]: a path that is not plain and relative or has more than 4096 bytes, a link or device, two members of
/// one path, more than the limits allow. [`Error::InvalidData`]: damaged, or none of the three formats.
pub fn members(archive: &[u8], limits: &Limits) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut members = BTreeMap::new();
    visit(archive, limits, &mut |name, contents| {
        let mut bytes = Vec::new();
        if let Some(contents) = contents {
            contents.read_to_end(&mut bytes).map_err(|error| damaged(name, &error))?;
            members.insert(name.to_owned(), bytes);
        }
        Ok(())
    })?;
    Ok(members)
}

/// One file of an archive, by its path.
///
/// # Errors
/// As [`members`]; [`Error::InvalidData`] if there is no such file.
pub fn member(archive: &[u8], path: &str, limits: &Limits) -> Result<Vec<u8>> {
    let mut found = None;
    visit(archive, limits, &mut |name, contents| {
        if let (true, Some(contents)) = (name == path, contents) {
            let mut bytes = Vec::new();
            contents.read_to_end(&mut bytes).map_err(|error| damaged(name, &error))?;
            found = Some(bytes);
        }
        Ok(())
    })?;
    found.ok_or_else(|| Error::invalid_data("archive", format!("member `{}`", quoted(path)), "absent"))
}

/// Unpacks an archive (zip, tar or tar.gz) into the folder `destination`, which must not exist. It appears whole or not at
/// all: the files are written to a temporary folder beside it, which is renamed at the end.
///
/// # Errors
/// As [`members`]; [`Error::DiskFull`] and [`Error::Io`] for the writing.
pub fn unpack(archive: &Path, destination: &Path, limits: &Limits) -> Result<()> {
    let file = File::open(archive).map_err(|source| Error::io("read", archive, source))?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|source| Error::io("read", archive, source))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Error::invalid_data(
            "archive",
            archive.display().to_string(),
            format!("more than {MAX_BYTES} bytes"),
        ));
    }
    let parent = destination.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(|source| Error::io("create", parent, source))?;
    let temporary = tempfile::Builder::new()
        .prefix(".unpacking-")
        .tempdir_in(parent)
        .map_err(|source| Error::io("create a folder in", parent, source))?;
    let root = temporary.path();
    visit(&bytes, limits, &mut |name, contents| {
        let path = root.join(name);
        let Some(contents) = contents else {
            return fs::create_dir_all(&path).map_err(|source| Error::io("create", &path, source));
        };
        let folder = path.parent().unwrap_or(root);
        fs::create_dir_all(folder).map_err(|source| Error::io("create", folder, source))?;
        let mut file = match File::create_new(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::unsafe_member(name, "a second member of this path"));
            }
            outcome => outcome.map_err(|source| Error::io("create", &path, source))?,
        };
        copy(name, contents, &mut file, &path)
    })?;
    if destination.exists() {
        let source = io::Error::from(io::ErrorKind::AlreadyExists);
        return Err(Error::io("unpack to", destination, source));
    }
    fs::rename(root, destination).map_err(|source| Error::io("rename", destination, source))?;
    // Renamed away: there is nothing left to remove.
    let _ = temporary.keep();
    Ok(())
}

/// Copies a member, telling the archive's faults from the disk's.
fn copy(name: &str, contents: &mut dyn Read, file: &mut impl io::Write, path: &Path) -> Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        match contents.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => file.write_all(&buffer[..length]).map_err(|source| Error::io("write", path, source))?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(damaged(name, &error)),
        }
    }
}

fn visit(archive: &[u8], limits: &Limits, visitor: &mut Visitor<'_>) -> Result<()> {
    let mut members = Members::new(limits, visitor);
    match archive {
        [b'P', b'K', ..] => zip_format::visit(archive, &mut members),
        [0x1f, 0x8b, ..] => tar_format::visit(MultiGzDecoder::new(archive), limits, &mut members),
        _ if archive.get(257..262) == Some(b"ustar") => tar_format::visit(archive, limits, &mut members),
        _ => Err(Error::invalid_data("archive", "byte 0", "neither zip nor gzip nor tar")),
    }
}

fn damaged(name: &str, error: &io::Error) -> Error {
    Error::refused("archive", format!("member `{}`", quoted(name)), error)
}
