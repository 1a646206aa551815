//! The members of an archive of any format: their paths are checked, counted and remembered, their bytes bounded.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Component, Path};

use super::limits::Limits;
use crate::error::{Error, Result};

/// The longest path of a member, in bytes: what Linux accepts.
pub(super) const MAX_NAME: usize = 4096;

/// What is done with a member: its checked path, and its contents unless it is a folder.
pub(super) type Visitor<'a> = dyn FnMut(&str, Option<&mut dyn Read>) -> Result<()> + 'a;

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
}

/// The members of one archive, as they come.
pub(super) struct Members<'a, 'v> {
    limits: Limits,
    visitor: &'a mut Visitor<'v>,
    count: usize,
    /// Bytes that may still come.
    remaining: u64,
    seen: BTreeMap<String, Kind>,
}

impl<'a, 'v> Members<'a, 'v> {
    pub(super) fn new(limits: &Limits, visitor: &'a mut Visitor<'v>) -> Self {
        Self { limits: *limits, visitor, count: 0, remaining: limits.num_bytes, seen: BTreeMap::new() }
    }

    /// Counts one more member.
    pub(super) fn count(&mut self) -> Result<()> {
        self.count += 1;
        match self.count <= self.limits.num_members {
            true => Ok(()),
            false => Err(Error::unsafe_member("", format!("more than {} members", self.limits.num_members))),
        }
    }

    /// Visits a folder.
    pub(super) fn folder(&mut self, path: &str) -> Result<()> {
        let path = check_path(path)?;
        self.remember(path, Kind::Folder)?;
        (self.visitor)(path, None)
    }

    /// Visits a file, whose contents are read no further than the limit allows.
    pub(super) fn file(&mut self, path: &str, contents: &mut dyn Read) -> Result<()> {
        let path = check_path(path)?;
        self.remember(path, Kind::File)?;
        // One byte more than allowed shows that the limit was passed.
        let mut contents = contents.take(self.remaining.saturating_add(1));
        (self.visitor)(path, Some(&mut contents))?;
        match contents.limit().checked_sub(1) {
            Some(left) => self.remaining = left,
            None => return Err(too_long(path)),
        }
        Ok(())
    }

    /// Refuses a path that is taken: by a second file, or by a file where a folder is meant. Folders may be repeated.
    fn remember(&mut self, path: &str, kind: Kind) -> Result<()> {
        if path.is_empty() {
            return Ok(());
        }
        match self.seen.get(path) {
            Some(Kind::Folder) if kind == Kind::Folder => return Ok(()),
            Some(_) => return Err(Error::unsafe_member(path, "a second member of this path")),
            None => {}
        }
        let is_file = |(at, _): (usize, char)| self.seen.get(&path[..at]) == Some(&Kind::File);
        if path.char_indices().filter(|(_, character)| *character == '/').any(is_file) {
            return Err(Error::unsafe_member(path, "a member within another that is a file"));
        }
        let within = format!("{path}/");
        let is_within = |(name, _): (&String, &Kind)| name.starts_with(&within);
        if kind == Kind::File && self.seen.range(within.clone()..).next().is_some_and(is_within) {
            return Err(Error::unsafe_member(path, "a file of the path of a folder"));
        }
        self.remaining = self.remaining.checked_sub(path.len() as u64).ok_or_else(|| too_long(path))?;
        self.seen.insert(path.to_owned(), kind);
        Ok(())
    }
}

fn too_long(path: &str) -> Error {
    Error::unsafe_member(path, "the archive holds more bytes than the limit allows")
}

/// Accepts plain relative paths, and gives them without a closing slash.
fn check_path(path: &str) -> Result<&str> {
    if path.len() > MAX_NAME {
        return Err(Error::unsafe_member(path, format!("a name of {} bytes, more than {MAX_NAME}", path.len())));
    }
    let trimmed = path.strip_prefix("./").unwrap_or(path).trim_end_matches('/');
    // One spelling for each path, so that none comes twice: `a//b` and `a/./b` are refused.
    let is_plain = Path::new(trimmed).components().all(|component| matches!(component, Component::Normal(_)));
    let is_tidy = trimmed.split('/').all(|part| !part.is_empty() && part != ".") || trimmed.is_empty();
    // A backslash or a colon would mean more on other systems than it does here.
    let is_portable = !path.contains(['\\', ':', '\0']) && !path.starts_with('/');
    if is_plain && is_tidy && is_portable && (!trimmed.is_empty() || path == "./") {
        Ok(trimmed)
    } else {
        Err(Error::unsafe_member(path, "not a plain relative path"))
    }
}
