//! Reading compressed files and unpacking archives without trusting them.
//!
//! An archive from outside may name paths that lead out of the target folder, hold links, devices or a thousand times its
//! own size. Here every member must be a regular file (or a folder) with a plain relative path, and the number of members
//! and of bytes is bounded while they are read, whatever the archive claims.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Cursor, Read};
use std::path::{Component, Path};

use flate2::read::MultiGzDecoder;

use crate::error::{Error, Result};

/// The most bytes that one file may decompress to: 2 GiB.
const MAX_BYTES: u64 = 2 << 30;

/// What an archive may hold at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Members, folders included. Default: 200,000.
    pub num_members: usize,
    /// Decompressed bytes in all. Default: 2 GiB.
    pub num_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { num_members: 200_000, num_bytes: MAX_BYTES }
    }
}

/// Reads a file, decompressing it if its name ends in `.gz`.
///
/// # Errors
/// [`Error::Io`]; [`Error::InvalidData`] for damaged gzip or for more than 2 GiB of content.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(|source| Error::io("open", path, source))?;
    let mut bytes = Vec::new();
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut decoder = MultiGzDecoder::new(BufReader::new(file)).take(MAX_BYTES + 1);
        let outcome = decoder.read_to_end(&mut bytes);
        outcome.map_err(|error| Error::invalid_data("gzip", path.display().to_string(), error.to_string()))?;
    } else {
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|source| Error::io("read", path, source))?;
    }
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Error::invalid_data("file", path.display().to_string(), format!("more than {MAX_BYTES} bytes")));
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
/// [`Error::UnsafeArchive`]: a path that is not plain and relative, a link or device, two members of one path, more than the
/// limits allow. [`Error::InvalidData`]: damaged, or none of the three formats.
pub fn members(archive: &[u8], limits: &Limits) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut members = BTreeMap::new();
    visit(archive, limits, &mut |name, contents| {
        let mut bytes = Vec::new();
        if let Some(contents) = contents {
            contents.read_to_end(&mut bytes).map_err(|error| damaged(name, &error))?;
            if members.insert(name.to_owned(), bytes).is_some() {
                return Err(unsafe_member(name, "a second member of this path"));
            }
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
    found.ok_or_else(|| Error::invalid_data("archive", format!("member `{path}`"), "absent"))
}

/// Unpacks an archive (zip, tar or tar.gz) into the folder `destination`, which must not exist. It appears whole or not at
/// all: the files are written to a temporary folder beside it, which is renamed at the end.
///
/// # Errors
/// As [`members`]; [`Error::DiskFull`] and [`Error::Io`] for the writing.
pub fn unpack(archive: &Path, destination: &Path, limits: &Limits) -> Result<()> {
    let bytes = fs::read(archive).map_err(|source| Error::io("read", archive, source))?;
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
                return Err(unsafe_member(name, "a second member of this path"));
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

/// What is done with a member: its checked path, and its contents unless it is a folder.
type Visitor<'a> = dyn FnMut(&str, Option<&mut dyn Read>) -> Result<()> + 'a;

fn visit(archive: &[u8], limits: &Limits, visitor: &mut Visitor<'_>) -> Result<()> {
    match archive {
        [b'P', b'K', ..] => visit_zip(archive, limits, visitor),
        [0x1f, 0x8b, ..] => visit_tar(MultiGzDecoder::new(archive), limits, visitor),
        _ if archive.get(257..262) == Some(b"ustar") => visit_tar(archive, limits, visitor),
        _ => Err(Error::invalid_data("archive", "byte 0", "neither zip nor gzip nor tar")),
    }
}

fn visit_zip(archive: &[u8], limits: &Limits, visitor: &mut Visitor<'_>) -> Result<()> {
    let format = |at: String, error: zip::result::ZipError| Error::invalid_data("zip", at, error.to_string());
    let mut zip = zip::ZipArchive::new(Cursor::new(archive)).map_err(|error| format("the directory".into(), error))?;
    check_count(zip.len(), limits)?;
    let mut remaining = limits.num_bytes;
    for index in 0..zip.len() {
        let mut member = zip.by_index(index).map_err(|error| format(format!("member {index}"), error))?;
        let name = member.name().map_err(|error| format(format!("member {index}"), error))?.into_owned();
        let name = check_path(&name)?;
        // The kind of file in the upper bits of the mode; 0 where the archive was not made on Unix.
        let kind = member.unix_mode().unwrap_or(0) & 0o170_000;
        if member.is_symlink() || !matches!(kind, 0 | 0o100_000 | 0o040_000) {
            return Err(unsafe_member(name, "neither a regular file nor a folder"));
        }
        if member.is_dir() {
            visitor(name, None)?;
            continue;
        }
        bounded(name, &mut member, &mut remaining, visitor)?;
    }
    Ok(())
}

fn visit_tar(stream: impl Read, limits: &Limits, visitor: &mut Visitor<'_>) -> Result<()> {
    let damaged = |at: String, error: io::Error| Error::invalid_data("tar", at, error.to_string());
    // Headers and padding: two blocks of 512 bytes per member and some for long names.
    let with_headers = limits.num_bytes.saturating_add((limits.num_members as u64).saturating_mul(4096));
    let mut tar = tar::Archive::new(stream.take(with_headers));
    let mut remaining = limits.num_bytes;
    for (index, member) in tar.entries().map_err(|error| damaged("the start".into(), error))?.enumerate() {
        check_count(index + 1, limits)?;
        let mut member = member.map_err(|error| damaged(format!("member {index}"), error))?;
        let path = member.path_bytes().into_owned();
        let shown = String::from_utf8_lossy(&path).into_owned();
        let kind = member.header().entry_type();
        // A remark for the whole archive, such as git's commit id, not a file.
        if kind.is_pax_global_extensions() {
            continue;
        }
        let Ok(name) = std::str::from_utf8(&path) else {
            return Err(unsafe_member(&shown, "a path that is not UTF-8"));
        };
        let name = check_path(name)?;
        if kind.is_dir() {
            visitor(name, None)?;
        } else if kind.is_file() || kind.is_contiguous() {
            bounded(name, &mut member, &mut remaining, visitor)?;
        } else {
            return Err(unsafe_member(name, "neither a regular file nor a folder"));
        }
    }
    // To the end of the stream, where gzip has its checksum.
    let rest = io::copy(&mut tar.into_inner(), &mut io::sink());
    rest.map(|_| ()).map_err(|error| damaged("the end".into(), error))
}

/// Visits a file's contents, taking what was read from `remaining`.
fn bounded(name: &str, contents: &mut dyn Read, remaining: &mut u64, visitor: &mut Visitor<'_>) -> Result<()> {
    // One byte more than allowed shows that the limit was passed.
    let mut contents = contents.take(remaining.saturating_add(1));
    visitor(name, Some(&mut contents))?;
    let left = contents.limit();
    if left == 0 {
        return Err(unsafe_member(name, "the archive holds more bytes than the limit allows"));
    }
    *remaining = left - 1;
    Ok(())
}

fn check_count(count: usize, limits: &Limits) -> Result<()> {
    match count <= limits.num_members {
        true => Ok(()),
        false => Err(unsafe_member("", &format!("more than {} members", limits.num_members))),
    }
}

/// Accepts plain relative paths, and gives them without a closing slash.
fn check_path(path: &str) -> Result<&str> {
    let trimmed = path.strip_prefix("./").unwrap_or(path).trim_end_matches('/');
    let is_plain = Path::new(trimmed).components().all(|component| matches!(component, Component::Normal(_)));
    // A backslash or a colon would mean more on other systems than it does here.
    let is_portable = !path.contains(['\\', ':', '\0']) && !path.starts_with('/') && path.len() < 1024;
    if is_plain && is_portable && (!trimmed.is_empty() || path == "./") {
        Ok(trimmed)
    } else {
        Err(unsafe_member(path, "not a plain relative path"))
    }
}

fn unsafe_member(member: &str, reason: &str) -> Error {
    Error::UnsafeArchive { member: member.to_owned(), reason: reason.to_owned() }
}

fn damaged(name: &str, error: &io::Error) -> Error {
    Error::invalid_data("archive", format!("member `{name}`"), error.to_string())
}
