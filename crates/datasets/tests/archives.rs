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
fn duplicates_are_refused_by_every_function_in_every_spelling() {
    let file = |name| tar_member(name, tar::EntryType::Regular, b"x");
    let folder = |name| tar_member(name, tar::EntryType::Directory, b"");
    let mut twice = zip(&[("dir/one", b"x"), ("dir/two", b"y")]);
    // The zip crate's writer refuses duplicates: the second name is changed afterwards, in both of its places.
    while let Some(at) = twice.windows(7).position(|window| window == b"dir/two") {
        twice[at..at + 7].copy_from_slice(b"dir/one");
    }
    for bytes in [
        twice,
        tar(&[file("a"), file("./a")]),
        tar(&[folder("a"), file("a")]),
        tar(&[file("a"), folder("a/")]),
        tar(&[file("a"), file("a/b")]),
        tar(&[file("a/b"), file("a")]),
        tar(&[file("a//b")]),
        tar(&[file("a/./b")]),
        zip(&[("a/b", b"x"), ("a", b"y")]),
        zip(&[("./a", b"x"), ("a", b"y")]),
    ] {
        assert!(is_unsafe(&bytes), "{:?}", String::from_utf8_lossy(&bytes[..40]));
        for wanted in ["a", "dir/one", "absent"] {
            let one = archive::member(&bytes, wanted, &Limits::default());
            assert!(matches!(one, Err(Error::UnsafeArchive { .. })), "{wanted}: {one:?}");
        }
    }
    // Folders may be repeated: tools that append to an archive do it.
    let repeated = tar(&[folder("a/"), file("a/b"), folder("a"), file("a-b"), file("a.b")]);
    assert_eq!(archive::members(&repeated, &Limits::default()).unwrap().len(), 3);
}

/// A header of `kind` that announces `size` bytes, and whatever contents there really are.
fn tar_extension(kind: tar::EntryType, size: u64, contents: &[u8]) -> Vec<u8> {
    let mut bytes = tar_member("././@LongLink", kind, contents);
    let mut header = tar::Header::from_byte_slice(&bytes[..512]).clone();
    header.set_size(size);
    header.set_cksum();
    bytes[..512].copy_from_slice(header.as_bytes());
    bytes
}

fn pax_record(key: &str, value: &str) -> Vec<u8> {
    let body = format!(" {key}={value}\n");
    let mut length = body.len() + 1;
    while length != body.len() + length.to_string().len() {
        length = body.len() + length.to_string().len();
    }
    format!("{length}{body}").into_bytes()
}

fn with_pax(kind: tar::EntryType, records: &[Vec<u8>]) -> Vec<u8> {
    let records = records.concat();
    tar_extension(kind, records.len() as u64, &records)
}

#[test]
fn long_names_are_read_in_both_forms_and_bounded() {
    let file = || tar_member("short", tar::EntryType::Regular, b"x");
    let long = format!("{}/file", "folder-".repeat(35));
    let gnu = [long.as_bytes(), b"\0"].concat();
    let gnu = tar_extension(tar::EntryType::GNULongName, gnu.len() as u64, &gnu);
    let pax = with_pax(tar::EntryType::XHeader, &[pax_record("mtime", "1.5"), pax_record("path", &long)]);
    for extension in [&gnu, &pax] {
        let members = archive::members(&tar(&[extension.clone(), file()]), &Limits::default()).unwrap();
        assert_eq!(members.into_keys().collect::<Vec<_>>(), [long.as_str()]);
    }
    // The announced length alone is refused: neither memory nor the missing bytes are asked for.
    let x = [b'x'; 2000];
    for kind in [
        tar::EntryType::GNULongName,
        tar::EntryType::GNULongLink,
        tar::EntryType::XHeader,
        tar::EntryType::XGlobalHeader,
    ] {
        let bytes = tar(&[tar_extension(kind, 1_992_294_400, &x), file()]);
        for bytes in [gzip(&bytes), bytes] {
            let error = archive::members(&bytes, &Limits::default()).unwrap_err();
            assert!(matches!(error, Error::UnsafeArchive { .. }), "{kind:?}: {error}");
            assert!(error.to_string().chars().count() < 400 && error.to_string().contains("1992294400"), "{error}");
            assert!(is_unsafe(&bytes));
        }
    }
    let name = "n".repeat(5000);
    let too_long = with_pax(tar::EntryType::XHeader, &[pax_record("path", &name)]);
    let error = archive::members(&tar(&[too_long, file()]), &Limits::default()).unwrap_err().to_string();
    assert!(error.contains("5000 bytes, more than 4096") && error.chars().count() < 400, "{error}");
    assert!(is_unsafe(&zip(&[(&name, b"x")])));
}

#[test]
fn contradictions_of_tar_headers_are_refused() {
    let file = || tar_member("a", tar::EntryType::Regular, b"x");
    let pax = |records: &[Vec<u8>]| with_pax(tar::EntryType::XHeader, records);
    let name = || pax(&[pax_record("path", "b")]);
    assert!(archive::members(&tar(&[pax(&[pax_record("size", "1")]), file()]), &Limits::default()).is_ok());
    let git = with_pax(tar::EntryType::XGlobalHeader, &[pax_record("comment", "a commit")]);
    assert!(archive::members(&tar(&[git, file()]), &Limits::default()).is_ok());
    for members in [
        vec![pax(&[pax_record("size", "2")]), file()],
        vec![name(), name(), file()],
        vec![file(), name()],
        vec![with_pax(tar::EntryType::XGlobalHeader, &[pax_record("path", "b")]), file()],
        vec![pax(&[b"8 path=b\n".to_vec()]), file()],
        vec![pax(&[b"99999999999999999999 path=b\n".to_vec()]), file()],
        vec![pax(&[pax_record("GNU.sparse.major", "1")]), file()],
    ] {
        let outcome = archive::members(&tar(&members), &Limits::default());
        assert!(matches!(outcome, Err(Error::InvalidData { .. } | Error::UnsafeArchive { .. })), "{outcome:?}");
    }
}

#[test]
fn names_count_towards_the_bytes_that_are_held() {
    let names: Vec<String> = (0..20).map(|number| format!("{number:02}{}", "n".repeat(98))).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    let bytes = zip(&files);
    let of = |num_bytes| archive::members(&bytes, &Limits { num_members: 100, num_bytes });
    assert_eq!(of(2000).unwrap().len(), 20);
    assert!(matches!(of(1999), Err(Error::UnsafeArchive { .. })));
}

#[test]
fn what_a_message_quotes_is_short_and_harmless() {
    let evil = format!("../\x1b[2J\u{202e}{}", "e".repeat(3000));
    for bytes in [
        zip(&[(&evil, b"x")]),
        tar(&[
            with_pax(tar::EntryType::XHeader, &[pax_record("path", &evil)]),
            tar_member("a", tar::EntryType::Regular, b""),
        ]),
    ] {
        let error = archive::members(&bytes, &Limits::default()).unwrap_err().to_string();
        assert!(error.chars().count() < 300, "{error}");
        assert!(!error.contains(['\x1b', '\u{202e}']) && error.contains("\\u{1b}[2J\\u{202e}eee"), "{error}");
    }
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
    // The names count, too.
    let exact = zip(&[("a", &zeros[..60_000]), ("b", &zeros[..39_998])]);
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
