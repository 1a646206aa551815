//! Archives: what is unpacked, and what is refused.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::io::{Cursor, Write};
use std::path::Path;

use datasets::Error;
use datasets::archive::{self, Limits};
use flate2::Compression;
use flate2::write::GzEncoder;
use zip::write::SimpleFileOptions;

/// A zip archive of these files.
fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, contents) in files {
        writer
            .start_file(*name, SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated))
            .unwrap();
        writer.write_all(contents).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A tar archive of one member with exactly this name, which the tar crate's own writer might refuse.
fn tar_member(name: &str, kind: tar::EntryType, contents: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(contents.len() as u64);
    header.set_mode(0o644);
    if matches!(kind, tar::EntryType::Symlink | tar::EntryType::Link) {
        header.set_link_name("/etc/passwd").unwrap();
    }
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(contents);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn tar(members: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = members.concat();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Unpacks into a fresh folder; also says whether anything was left behind in it or beside it.
fn unpack(bytes: &[u8], limits: &Limits) -> (Result<(), Error>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("archive");
    std::fs::write(&archive, bytes).unwrap();
    let outcome = archive::unpack(&archive, &folder.path().join("out/inner"), limits);
    (outcome, folder)
}

fn is_unsafe(bytes: &[u8]) -> bool {
    let (outcome, folder) = unpack(bytes, &Limits::default());
    let is_clean = std::fs::read_dir(folder.path().join("out")).unwrap().next().is_none();
    let in_memory = archive::members(bytes, &Limits::default());
    is_clean
        && matches!(outcome, Err(Error::UnsafeArchive { .. }))
        && matches!(in_memory, Err(Error::UnsafeArchive { .. }))
}

#[test]
fn sound_archives_of_each_kind_are_unpacked() {
    let regular = tar(&[
        tar_member("a/", tar::EntryType::Directory, b""),
        tar_member("./a/b.txt", tar::EntryType::Regular, b"inner"),
        tar_member("c.txt", tar::EntryType::Regular, b"outer"),
    ]);
    for bytes in [zip(&[("a/b.txt", b"inner"), ("c.txt", b"outer")]), regular.clone(), gzip(&regular)] {
        let (outcome, folder) = unpack(&bytes, &Limits::default());
        outcome.unwrap();
        let read = |path: &str| std::fs::read(folder.path().join("out/inner").join(path)).unwrap();
        assert_eq!((read("a/b.txt"), read("c.txt")), (b"inner".to_vec(), b"outer".to_vec()));
        assert_eq!(archive::member(&bytes, "a/b.txt", &Limits::default()).unwrap(), b"inner");
        assert!(matches!(archive::member(&bytes, "absent", &Limits::default()), Err(Error::InvalidData { .. })));
        assert_eq!(std::fs::read_dir(folder.path().join("out")).unwrap().count(), 1, "no temporary folder is left");
    }
}

#[test]
fn a_path_that_leads_out_is_refused() {
    for name in ["../out.txt", "a/../../out.txt", "/etc/cron.d/job", "a\\..\\b", "C:evil", ""] {
        assert!(is_unsafe(&tar(&[tar_member(name, tar::EntryType::Regular, b"x")])), "tar {name:?}");
    }
    for name in ["../out.txt", "a/../../out.txt", "/etc/cron.d/job", "C:\\evil"] {
        assert!(is_unsafe(&zip(&[(name, b"x")])), "zip {name:?}");
    }
}

#[test]
fn links_and_devices_are_refused() {
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Char, tar::EntryType::Fifo] {
        assert!(is_unsafe(&tar(&[tar_member("link", kind, b"")])), "{kind:?}");
    }
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    writer.add_symlink("link", "/etc/passwd", SimpleFileOptions::default()).unwrap();
    assert!(is_unsafe(&writer.finish().unwrap().into_inner()));
}

#[test]
fn two_members_of_one_path_are_refused() {
    let member = tar_member("a", tar::EntryType::Regular, b"x");
    assert!(is_unsafe(&tar(&[member.clone(), member])));
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let limits = Limits { num_members: 10, num_bytes: 100_000 };
    let zeros = vec![0; 50_000_000];
    let bombs = [
        zip(&[("bomb", &zeros)]),
        gzip(&tar(&[tar_member("bomb", tar::EntryType::Regular, &zeros)])),
        zip(&[("a", &zeros[..60_000]), ("b", &zeros[..60_000])]),
    ];
    for bytes in bombs {
        let (outcome, _folder) = unpack(&bytes, &limits);
        assert!(matches!(outcome, Err(Error::UnsafeArchive { .. })), "{outcome:?}");
        assert!(matches!(archive::members(&bytes, &limits), Err(Error::UnsafeArchive { .. })));
    }
    let exact = zip(&[("a", &zeros[..60_000]), ("b", &zeros[..40_000])]);
    assert_eq!(archive::members(&exact, &limits).unwrap().len(), 2);
}

#[test]
fn too_many_members_are_refused() {
    let names: Vec<String> = (0..11).map(|number| number.to_string()).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    let members: Vec<Vec<u8>> = names.iter().map(|name| tar_member(name, tar::EntryType::Regular, b"")).collect();
    let limits = Limits { num_members: 10, num_bytes: 1000 };
    for bytes in [zip(&files), tar(&members)] {
        assert!(matches!(archive::members(&bytes, &limits), Err(Error::UnsafeArchive { .. })));
    }
}

#[test]
fn truncated_and_foreign_archives_are_format_errors() {
    let content: Vec<u8> = (0..20_000u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let archives = [zip(&[("a", &content)]), gzip(&tar(&[tar_member("a", tar::EntryType::Regular, &content)]))];
    for bytes in archives {
        for length in [0, 1, 3, 10, 600, bytes.len() / 2, bytes.len() - 3] {
            let outcome = archive::members(&bytes[..length], &Limits::default());
            assert!(matches!(outcome, Err(Error::InvalidData { .. })), "{length} of {}", bytes.len());
        }
    }
    assert!(matches!(archive::members(b"neither", &Limits::default()), Err(Error::InvalidData { .. })));
}

#[test]
fn nothing_that_exists_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("archive.zip");
    std::fs::write(&archive, zip(&[("a", b"x")])).unwrap();
    std::fs::write(folder.path().join("taken"), b"mine").unwrap();
    assert!(matches!(
        archive::unpack(&archive, &folder.path().join("taken"), &Limits::default()),
        Err(Error::Io { .. })
    ));
    assert_eq!(std::fs::read(folder.path().join("taken")).unwrap(), b"mine");
    assert!(matches!(
        archive::unpack(Path::new("/nonexistent"), folder.path(), &Limits::default()),
        Err(Error::Io { .. })
    ));
}
