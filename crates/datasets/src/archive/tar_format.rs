//! Tar, whose long names come as members of their own before the member that they are of.
//!
//! The tar crate would read these members whole, whatever their length. Here they are read bounded, from the raw list.

use std::io::{self, Read};

use super::limits::Limits;
use super::members::{MAX_NAME, Members};
use crate::error::{Error, Result};
use crate::text::quoted_bytes;

/// The longest pax header, in bytes: a name, a link's target, and some times and owners.
const MAX_PAX: u64 = 64 << 10;

/// Bytes beside a member's contents: its header, those of its extensions, and padding.
const MAX_HEADERS: u64 = 2 * MAX_PAX;

/// What members of their own say about the next member.
#[derive(Default)]
struct Extension {
    gnu_name: Option<Vec<u8>>,
    pax: Option<Pax>,
}

/// What counts of a pax header.
#[derive(Default)]
struct Pax {
    path: Option<Vec<u8>>,
    size: Option<u64>,
    is_sparse: bool,
}

pub(super) fn visit(stream: impl Read, limits: &Limits, members: &mut Members<'_, '_>) -> Result<()> {
    let headers = (limits.num_members as u64).saturating_mul(MAX_HEADERS);
    let mut archive = tar::Archive::new(stream.take(limits.num_bytes.saturating_add(headers)));
    let mut extension = Extension::default();
    let entries = archive.entries().map_err(|error| damaged("the start", &error))?.raw(true);
    for (index, entry) in entries.enumerate() {
        let mut entry = entry.map_err(|error| damaged(&format!("entry {index}"), &error))?;
        let (kind, size) = (entry.header().entry_type(), entry.size());
        let mut contents = |limit: u64| read(&mut entry, index, size, limit);
        if kind.is_gnu_longname() {
            let mut name = contents(MAX_NAME as u64 + 1)?;
            if name.last() == Some(&0) {
                name.pop();
            }
            if extension.gnu_name.replace(name).is_some() {
                return Err(contradiction(index, "two long names for one member"));
            }
        } else if kind.is_gnu_longlink() {
            // Links are refused when they come; their targets do not matter.
            contents(MAX_NAME as u64 + 1)?;
        } else if kind.is_pax_local_extensions() {
            let pax = Pax::parse(&contents(MAX_PAX)?).ok_or_else(|| contradiction(index, "a damaged pax header"))?;
            if extension.pax.replace(pax).is_some() {
                return Err(contradiction(index, "two pax headers for one member"));
            }
        } else if kind.is_pax_global_extensions() {
            // A remark for the whole archive, such as git's commit id. A path or a size for all members makes no sense.
            let pax = Pax::parse(&contents(MAX_PAX)?).ok_or_else(|| contradiction(index, "a damaged pax header"))?;
            if pax.path.is_some() || pax.size.is_some() || pax.is_sparse {
                return Err(contradiction(index, "a path or size for all members"));
            }
        } else {
            members.count()?;
            let Extension { gnu_name, pax } = std::mem::take(&mut extension);
            let Pax { path, size: pax_size, is_sparse } = pax.unwrap_or_default();
            let path = path.or(gnu_name).unwrap_or_else(|| entry.header().path_bytes().into_owned());
            let Ok(path) = std::str::from_utf8(&path) else {
                return Err(Error::unsafe_member(&quoted_bytes(&path), "a path that is not UTF-8"));
            };
            if pax_size.is_some_and(|stated| stated != size) {
                return Err(Error::unsafe_member(path, "two different sizes in its headers"));
            }
            if kind.is_dir() {
                members.folder(path)?;
            } else if (kind.is_file() || kind.is_contiguous()) && !is_sparse {
                members.file(path, &mut entry)?;
            } else {
                return Err(Error::unsafe_member(path, "neither a regular file nor a folder"));
            }
        }
    }
    if extension.gnu_name.is_some() || extension.pax.is_some() {
        return Err(Error::invalid_data("tar", "the end", "a name without its member"));
    }
    // To the end of the stream, where gzip has its checksum.
    let rest = io::copy(&mut archive.into_inner(), &mut io::sink());
    rest.map(|_| ()).map_err(|error| damaged("the end", &error))
}

/// The contents of an extension, which are held in memory, if they are no longer than `limit`.
fn read(entry: &mut impl Read, index: usize, size: u64, limit: u64) -> Result<Vec<u8>> {
    if size > limit {
        let mut start = Vec::new();
        // Only for the message: an error here is that of a damaged archive, too.
        let _ = entry.take(MAX_NAME as u64).read_to_end(&mut start);
        let reason = format!("a name or header of {size} bytes, more than {limit}");
        return Err(Error::unsafe_member(&quoted_bytes(&start), reason));
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).map_err(|error| damaged(&format!("entry {index}"), &error))?;
    match bytes.len() as u64 == size {
        true => Ok(bytes),
        false => Err(contradiction(index, "the file ends within a header")),
    }
}

impl Pax {
    /// Reads records `LENGTH KEY=VALUE\n`, where the length counts the whole record.
    fn parse(mut bytes: &[u8]) -> Option<Self> {
        let mut pax = Self::default();
        while !bytes.is_empty() {
            let space = bytes.iter().take(8).position(|&byte| byte == b' ')?;
            let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
            let (record, rest) = bytes.split_at_checked(length)?;
            let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
            let equals = record.iter().position(|&byte| byte == b'=')?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => pax.path = Some(value.to_vec()),
                b"size" => pax.size = Some(std::str::from_utf8(value).ok()?.parse().ok()?),
                _ if key.starts_with(b"GNU.sparse.") => pax.is_sparse = true,
                _ => {}
            }
            bytes = rest;
        }
        Some(pax)
    }
}

fn contradiction(index: usize, reason: &str) -> Error {
    Error::invalid_data("tar", format!("entry {index}"), reason)
}

fn damaged(at: &str, error: &io::Error) -> Error {
    Error::refused("tar", at, error)
}
