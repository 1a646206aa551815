//! What identifies the server's file between two attempts: its ETag, else its date, in a file beside the part.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use super::plain_file::{self, Found, Links};
use crate::error::{Error, Result};

/// The longest validator, in bytes; those of real servers have some tens.
const MAX_LENGTH: u64 = 1024;

/// The stored validator. One that could not be sent, because it was damaged or is no file of ours, is removed.
///
/// # Errors
/// [`Error::Io`] when something else than a file lies there.
pub(super) fn read(path: &Path) -> Result<Option<String>> {
    let mut text = String::new();
    let is_read = match plain_file::open_for_reading(path)? {
        Some(file) => file.take(MAX_LENGTH + 1).read_to_string(&mut text).is_ok(),
        None => false,
    };
    if is_read && is_valid(&text) {
        return Ok(Some(text));
    }
    remove(path)?;
    Ok(None)
}

/// Stores a validator, whole or not at all.
///
/// # Errors
/// [`Error::Io`] and [`Error::DiskFull`].
pub(super) fn write(path: &Path, validator: &str) -> Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = Path::new(&new);
    // Left over from a process that was killed.
    remove(new)?;
    let written = plain_file::open(new, Links::Refused).and_then(|mut file| {
        file.write_all(validator.as_bytes()).map_err(|source| Error::io("write", new, source))?;
        fs::rename(new, path).map_err(|source| Error::io("write", path, source))
    });
    if written.is_err() {
        // The first error is the one that matters.
        let _ = fs::remove_file(new);
    }
    written
}

/// Removes the file, if there is one.
///
/// # Errors
/// [`Error::Io`] when something else than a file or link lies there.
pub(super) fn remove(path: &Path) -> Result<()> {
    match plain_file::look(path)? {
        Found::Nothing => Ok(()),
        Found::File(_) | Found::Link => fs::remove_file(path).map_err(|source| Error::io("remove", path, source)),
    }
}

/// The validator of an answer. A weak ETag does not promise equal bytes, so it does not count.
pub(super) fn of(headers: &ureq::http::HeaderMap) -> Option<&str> {
    let text = |name| headers.get(name).and_then(|value: &ureq::http::HeaderValue| value.to_str().ok());
    [text("etag"), text("last-modified")].into_iter().flatten().find(|text| is_valid(text))
}

/// Whether a text is a strong ETag or a date of HTTP, and so may be sent as `If-Range`.
fn is_valid(text: &str) -> bool {
    let is_tag = |inside: &str| inside.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
    let is_date = |text: &str| {
        text.ends_with(" GMT") && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" ,:-".contains(&byte))
    };
    let tag = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    text.len() as u64 <= MAX_LENGTH && (tag.is_some_and(is_tag) || is_date(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_sent_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("validator");
        assert_eq!(read(&path).unwrap(), None);
        for sound in ["\"v1\"", "\"\"", "Sun, 06 Nov 1994 08:49:37 GMT"] {
            write(&path, sound).unwrap();
            assert_eq!(read(&path).unwrap().as_deref(), Some(sound));
        }
        let long = format!("\"{}\"", "x".repeat(2000));
        let damaged = [&b"\"v"[..], b"", b"\"v1\"\n", b"\"a\0b\"", b"W/\"v1\"", b"\xff\xfe", b"v1", long.as_bytes()];
        for damaged in damaged {
            fs::write(&path, damaged).unwrap();
            assert_eq!(read(&path).unwrap(), None, "{damaged:?}");
            assert!(!path.exists(), "{damaged:?}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
