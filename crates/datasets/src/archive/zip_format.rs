//! Zip.

use std::io::Cursor;

use super::members::Members;
use crate::error::{Error, Result};

pub(super) fn visit(archive: &[u8], members: &mut Members<'_, '_>) -> Result<()> {
    let format = |at: &str, error: zip::result::ZipError| Error::refused("zip", at, &error);
    let mut zip = zip::ZipArchive::new(Cursor::new(archive)).map_err(|error| format("the directory", error))?;
    // The zip crate would keep the last of them.
    if zip.has_duplicate_names() {
        return Err(Error::unsafe_member("", "a second member of one path in the directory"));
    }
    for index in 0..zip.len() {
        members.count()?;
        let at = || format!("member {index}");
        let mut member = zip.by_index(index).map_err(|error| format(&at(), error))?;
        let name = member.name().map_err(|error| format(&at(), error))?.into_owned();
        // The kind of file in the upper bits of the mode; 0 where the archive was not made on Unix.
        let kind = member.unix_mode().unwrap_or(0) & 0o170_000;
        if member.is_symlink() || !matches!(kind, 0 | 0o100_000 | 0o040_000) {
            return Err(Error::unsafe_member(&name, "neither a regular file nor a folder"));
        }
        match member.is_dir() {
            true => members.folder(&name)?,
            false => members.file(&name, &mut member)?,
        }
    }
    Ok(())
}
