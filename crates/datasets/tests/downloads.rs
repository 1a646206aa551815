//! Downloads from a loopback server that behaves in the ways that servers do.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod loopback;

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use datasets::registry::Checksum;
use datasets::store::download::{DownloadConfig, Request, download};
use datasets::{Error, Progress, ProgressCallback};
use loopback::{Server, head, range_start, serve, serve_cut};
use sha2::{Digest, Sha256};

fn content() -> Vec<u8> {
    (0..300_000u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 11) as u8).collect()
}

fn sha256(bytes: &[u8]) -> &'static str {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Box::leak(hex.into_boxed_str())
}

fn quick() -> DownloadConfig {
    DownloadConfig {
        patience: Duration::from_millis(400),
        max_attempts: 3,
        first_pause: Duration::from_millis(1),
        ..DownloadConfig::default()
    }
}

/// Downloads `content` into a fresh folder.
fn fetch(server: &Server, content: &[u8]) -> (Result<(), Error>, tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let destination = folder.path().join("set/file.bin");
    let url = format!("{}/file.bin", server.address);
    let outcome = download(&request(&url, content), &destination, &quick());
    (outcome, folder, destination)
}

fn request<'a>(url: &'a str, content: &[u8]) -> Request<'a> {
    let checksum = Checksum::Sha256(sha256(content));
    Request { url, checksum, contents_sha256: None, bytes: Some(content.len() as u64) }
}

/// Names of the files in the destination's folder.
fn left_behind(destination: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(destination.parent().unwrap()).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_is_downloaded_verified_and_placed() {
    let server = Server::start(|_, request, stream| serve(stream, request, &content()));
    let (outcome, _folder, destination) = fetch(&server, &content());
    outcome.unwrap();
    assert_eq!(std::fs::read(&destination).unwrap(), content());
    assert_eq!(left_behind(&destination), ["file.bin", "file.bin.lock"]);
    assert!(server.requests()[0].contains("accept-encoding: identity"));
    // What is there already is not fetched again.
    download(&request(&server.address, &content()), &destination, &quick()).unwrap();
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_cut_download_continues_where_it_stopped() {
    let server = Server::start(|number, request, stream| match number {
        0 => serve_cut(stream, &content(), 100_000),
        _ => serve(stream, request, &content()),
    });
    let (outcome, _folder, destination) = fetch(&server, &content());
    outcome.unwrap();
    assert_eq!(std::fs::read(destination).unwrap(), content());
    assert!(server.requests()[1].contains("range: bytes=100000-"));
    assert!(server.requests()[1].contains("if-range: \"v1\""));
}

#[test]
fn a_server_without_ranges_is_read_from_the_start_again() {
    let server = Server::start(|number, _, stream| match number {
        0 => serve_cut(stream, &content(), 100_000),
        _ => serve_cut(stream, &content(), 300_000),
    });
    let (outcome, _folder, destination) = fetch(&server, &content());
    outcome.unwrap();
    assert_eq!(std::fs::read(destination).unwrap(), content());
}

#[test]
fn a_server_that_names_no_version_is_not_asked_to_continue() {
    let server = Server::start(|number, _, stream| {
        head(stream, "200 OK", 300_000, if number == 0 { "ETag: W/\"weak\"\r\n" } else { "" })?;
        stream.write_all(&content()[..if number == 0 { 100_000 } else { 300_000 }])
    });
    let (outcome, _folder, _) = fetch(&server, &content());
    outcome.unwrap();
    assert!(!server.requests()[1].contains("range:"));
}

#[test]
fn an_answer_that_continues_elsewhere_is_thrown_away() {
    let server = Server::start(|number, request, stream| match number {
        0 => serve_cut(stream, &content(), 100_000),
        1 => {
            head(
                stream,
                "206 Partial Content",
                299_000,
                "ETag: \"v1\"\r\nContent-Range: bytes 1000-299999/300000\r\n",
            )?;
            stream.write_all(&content()[1000..])
        }
        _ => serve(stream, request, &content()),
    });
    let (outcome, _folder, destination) = fetch(&server, &content());
    outcome.unwrap();
    assert_eq!(std::fs::read(destination).unwrap(), content());
    assert!(!server.requests()[2].contains("range:"));
}

#[test]
fn a_range_that_the_server_cannot_serve_starts_again() {
    let server = Server::start(|number, request, stream| match number {
        0 => serve_cut(stream, &content(), 100_000),
        1 => head(stream, "416 Range Not Satisfiable", 0, ""),
        _ => serve(stream, request, &content()),
    });
    fetch(&server, &content()).0.unwrap();
}

#[test]
fn a_stale_beginning_is_found_out_and_fetched_again() {
    let server = Server::start(|_, request, stream| serve(stream, request, &content()));
    let folder = tempfile::tempdir().unwrap();
    let destination = folder.path().join("file.bin");
    std::fs::write(folder.path().join("file.bin.part"), vec![7; 1000]).unwrap();
    std::fs::write(folder.path().join("file.bin.part.validator"), "\"v1\"").unwrap();
    let url = format!("{}/file.bin", server.address);
    download(&request(&url, &content()), &destination, &quick()).unwrap();
    assert_eq!(std::fs::read(&destination).unwrap(), content());
    assert_eq!((range_start(&server.requests()[0]), range_start(&server.requests()[1])), (Some(1000), None));
}

#[test]
fn a_wrong_checksum_is_an_error_and_leaves_no_file() {
    let server = Server::start(|_, request, stream| serve(stream, request, &content()));
    let other: Vec<u8> = content().iter().rev().copied().collect();
    let (outcome, _folder, destination) = fetch(&server, &other);
    match outcome {
        Err(Error::WrongChecksum { path, got, .. }) => {
            assert_eq!((path, got.as_str()), (destination.clone(), sha256(&content())));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(left_behind(&destination), ["file.bin.lock"]);
    assert_eq!(server.requests().len(), 1, "the same bytes would come again");
}

#[test]
fn an_absent_file_is_not_asked_for_again() {
    let server = Server::start(|_, _, stream| head(stream, "404 Not Found", 0, ""));
    let (outcome, _folder, _) = fetch(&server, &content());
    assert!(matches!(outcome, Err(Error::Status { status: 404, .. })), "{outcome:?}");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_busy_server_is_asked_again_and_given_up_in_the_end() {
    let server = Server::start(|number, request, stream| match number {
        0 => head(stream, "503 Service Unavailable", 0, ""),
        1 => head(stream, "429 Too Many Requests", 0, ""),
        _ => serve(stream, request, &content()),
    });
    fetch(&server, &content()).0.unwrap();
    let server = Server::start(|_, _, stream| head(stream, "503 Service Unavailable", 0, ""));
    let (outcome, _folder, _) = fetch(&server, &content());
    assert!(matches!(outcome, Err(Error::Network { attempts: 3, .. })), "{outcome:?}");
}

#[test]
fn redirections_are_followed_but_not_in_circles() {
    let target = Server::start(|_, request, stream| serve(stream, request, &content()));
    let location = format!("Location: {}/elsewhere\r\n", target.address);
    let server = Server::start(move |_, _, stream| head(stream, "302 Found", 0, &location));
    fetch(&server, &content()).0.unwrap();
    assert!(target.requests()[0].starts_with("get /elsewhere "));
    let circle = Server::start(|_, _, stream| head(stream, "302 Found", 0, "Location: /file.bin\r\n"));
    let (outcome, _folder, _) = fetch(&circle, &content());
    assert!(matches!(outcome, Err(Error::Network { attempts: 1, .. })), "{outcome:?}");
}

#[test]
fn a_server_that_falls_silent_is_left_and_asked_again() {
    let stall = |stream: &mut TcpStream| {
        serve_cut(stream, &content(), 50_000)?;
        stream.flush()?;
        std::thread::sleep(Duration::from_secs(20));
        Ok(())
    };
    let server = Server::start(move |number, request, stream| match number {
        0 => stall(stream),
        _ => serve(stream, request, &content()),
    });
    let start = Instant::now();
    fetch(&server, &content()).0.unwrap();
    assert_eq!(range_start(&server.requests()[1]), Some(50_000));
    let mute = Server::start(|_, _, _| {
        std::thread::sleep(Duration::from_secs(20));
        Ok(())
    });
    let (outcome, _folder, _) = fetch(&mute, &content());
    assert!(matches!(outcome, Err(Error::Network { attempts: 3, .. })), "{outcome:?}");
    // Four waits of 0.4 s; far below one of the server's sleeps even on a busy machine.
    assert!(start.elapsed() < Duration::from_secs(15));
}

/// Sends a byte and a pause, for as long as the client listens.
fn drip(stream: &mut TcpStream, pause: Duration) -> std::io::Result<()> {
    head(stream, "200 OK", 300_000, "ETag: \"v1\"\r\n")?;
    for byte in content() {
        stream.write_all(&[byte])?;
        stream.flush()?;
        std::thread::sleep(pause);
    }
    Ok(())
}

#[test]
fn a_server_that_drips_is_left_after_the_attempts() {
    let server = Server::start(|_, _, stream| drip(stream, Duration::from_millis(300)));
    let folder = tempfile::tempdir().unwrap();
    let config = DownloadConfig { patience: Duration::from_millis(500), ..quick() };
    let start = Instant::now();
    let outcome = download(&request(&server.address, &content()), &folder.path().join("file.bin"), &config);
    match outcome {
        Err(Error::Network { attempts: 3, reason, .. }) => assert!(reason.contains("bytes per second"), "{reason}"),
        other => panic!("{other:?}"),
    }
    // Three windows of at most 0.8 s.
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
}

#[test]
fn a_download_ends_at_its_deadline_whatever_the_server_does() {
    let folder = tempfile::tempdir().unwrap();
    let destination = folder.path().join("file.bin");
    let drips = Server::start(|_, _, stream| drip(stream, Duration::from_millis(20)));
    let silent = Server::start(|_, _, _| {
        std::thread::sleep(Duration::from_secs(20));
        Ok(())
    });
    let busy = Server::start(|_, _, stream| head(stream, "503 Service Unavailable", 0, ""));
    for server in [&drips, &silent, &busy] {
        let config = DownloadConfig {
            patience: Duration::MAX,
            max_attempts: u32::MAX,
            first_pause: Duration::from_millis(20),
            least_rate: 0,
            deadline: Duration::from_millis(700),
            progress: None,
        };
        let start = Instant::now();
        let outcome = download(&request(&server.address, &content()), &destination, &config);
        match outcome {
            Err(Error::Network { reason, .. }) => assert!(reason.contains("not done within 0.7 s"), "{reason}"),
            other => panic!("{other:?}"),
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    }
    // The lock of a process that does not go on.
    let lock = std::fs::File::options().write(true).open(folder.path().join("file.bin.lock")).unwrap();
    lock.lock().unwrap();
    let config = DownloadConfig { deadline: Duration::from_millis(200), ..quick() };
    let outcome = download(&request(&busy.address, &content()), &destination, &config);
    assert!(outcome.unwrap_err().to_string().contains("another process"));
    // No limits at all are none.
    drop(lock);
    let endless = DownloadConfig { patience: Duration::MAX, deadline: Duration::MAX, ..quick() };
    let good = Server::start(|_, request, stream| serve(stream, request, &content()));
    download(&request(&good.address, &content()), &destination, &endless).unwrap();
}

#[test]
fn a_damaged_validator_is_dropped() {
    let server = Server::start(|_, request, stream| {
        if request.contains("if-range") && !request.contains("if-range: \"v1\"") {
            return head(stream, "400 Bad Request", 0, "");
        }
        serve(stream, request, &content())
    });
    let long = format!("\"{}\"", "v".repeat(1 << 20));
    for damaged in [&b"\"v1\"\r\nHost: elsewhere"[..], b"\xff\xfe\0", b"\"v", b"", long.as_bytes(), b"\"other\""] {
        let folder = tempfile::tempdir().unwrap();
        let destination = folder.path().join("file.bin");
        std::fs::write(folder.path().join("file.bin.part"), &content()[..1000]).unwrap();
        std::fs::write(folder.path().join("file.bin.part.validator"), damaged).unwrap();
        let url = format!("{}/file.bin", server.address);
        download(&request(&url, &content()), &destination, &quick()).unwrap();
        assert_eq!(left_behind(&destination), ["file.bin", "file.bin.lock"]);
    }
}

#[cfg(unix)]
#[test]
fn links_beside_the_destination_are_not_followed() {
    let server = Server::start(|_, request, stream| serve(stream, request, &content()));
    for suffix in ["part", "part.validator", "part.validator.new"] {
        for is_hard in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let (destination, victim) = (folder.path().join("file.bin"), folder.path().join("victim"));
            std::fs::write(&victim, "mine").unwrap();
            let link = folder.path().join(format!("file.bin.{suffix}"));
            match is_hard {
                true => std::fs::hard_link(&victim, link).unwrap(),
                false => std::os::unix::fs::symlink(&victim, link).unwrap(),
            }
            let url = format!("{}/file.bin", server.address);
            download(&request(&url, &content()), &destination, &quick()).unwrap();
            assert_eq!(std::fs::read(&victim).unwrap(), b"mine", "{suffix}");
            assert!(std::fs::symlink_metadata(&destination).unwrap().is_file());
            assert_eq!(left_behind(&destination), ["file.bin", "file.bin.lock", "victim"]);
        }
    }
}

#[cfg(unix)]
#[test]
fn pipes_and_folders_in_the_place_of_files_are_errors() {
    let server = Server::start(|_, request, stream| serve(stream, request, &content()));
    for suffix in ["lock", "part", "part.validator"] {
        for is_pipe in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(format!("file.bin.{suffix}"));
            match is_pipe {
                true => assert!(Command::new("mkfifo").arg(&path).status().unwrap().success()),
                false => std::fs::create_dir(&path).unwrap(),
            }
            let url = format!("{}/file.bin", server.address);
            let outcome = download(&request(&url, &content()), &folder.path().join("file.bin"), &quick());
            assert!(matches!(&outcome, Err(Error::Io { path: named, .. }) if *named == path), "{outcome:?}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(folder.path().join("elsewhere"), folder.path().join("file.bin.lock")).unwrap();
    let outcome = download(&request(&server.address, &content()), &folder.path().join("file.bin"), &quick());
    assert!(matches!(outcome, Err(Error::Io { .. })), "{outcome:?}");
    assert!(!folder.path().join("elsewhere").exists());
}

#[test]
fn no_server_at_all_is_a_network_error() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let server = Server { address, requests: Arc::default() };
    let (outcome, _folder, _) = fetch(&server, &content());
    assert!(matches!(outcome, Err(Error::Network { attempts: 3, .. })), "{outcome:?}");
}

#[test]
fn more_bytes_than_expected_are_not_stored() {
    let server = Server::start(|_, _, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
        loop {
            stream.write_all(&[0; 4096])?;
        }
    });
    let (outcome, _folder, destination) = fetch(&server, &content());
    assert!(matches!(outcome, Err(Error::TooLong { limit: 300_000, .. })), "{outcome:?}");
    assert_eq!(left_behind(&destination), ["file.bin.lock"]);
}

#[test]
fn a_body_without_a_length_that_ends_early_is_asked_for_again() {
    let server = Server::start(|number, _, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
        stream.write_all(&content()[..if number == 0 { 1000 } else { 300_000 }])
    });
    fetch(&server, &content()).0.unwrap();
}

#[test]
fn progress_grows_and_ends_with_the_whole_file() {
    let server = Server::start(|number, request, stream| match number {
        0 => serve_cut(stream, &content(), 100_000),
        _ => serve(stream, request, &content()),
    });
    let (received, finished) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (seen, ended) = (received.clone(), finished.clone());
    let progress = ProgressCallback::new(move |progress: Progress<'_>| {
        assert!(
            progress.received >= seen.swap(progress.received, Ordering::SeqCst),
            "a resumed download never goes back"
        );
        assert_eq!(progress.total, Some(300_000));
        if progress.is_finished {
            ended.fetch_add(1, Ordering::SeqCst);
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let url = format!("{}/file.bin", server.address);
    let config = DownloadConfig { progress: Some(progress), ..quick() };
    download(&request(&url, &content()), &folder.path().join("file.bin"), &config).unwrap();
    assert_eq!((received.load(Ordering::SeqCst), finished.load(Ordering::SeqCst)), (300_000, 1));
}

#[test]
fn a_recompressed_file_is_accepted_by_its_content() {
    let compress = |level| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
        encoder.write_all(&[5; 10_000]).unwrap();
        encoder.finish().unwrap()
    };
    let (pinned, served) = (compress(flate2::Compression::best()), compress(flate2::Compression::none()));
    let server = Server::start(move |_, request, stream| serve(stream, request, &served));
    let folder = tempfile::tempdir().unwrap();
    let url = format!("{}/file.gz", server.address);
    let request = Request { contents_sha256: Some(sha256(&[5; 10_000])), ..request(&url, &pinned) };
    download(&request, &folder.path().join("file.gz"), &quick()).unwrap();
}

/// The child of the tests below; does nothing when it is run by itself.
#[test]
#[ignore = "started by other tests as a process of its own"]
fn child_process_downloads() {
    let (Some(url), Some(destination)) = (std::env::var_os("CHILD_URL"), std::env::var_os("CHILD_DESTINATION")) else {
        return;
    };
    let url = url.into_string().unwrap();
    download(&request(&url, &content()), Path::new(&destination), &quick()).unwrap();
}

fn child(url: &str, destination: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child_process_downloads", "--ignored"]);
    command.env("CHILD_URL", url).env("CHILD_DESTINATION", destination).stdout(Stdio::null());
    command
}

/// Sends slowly enough that others come in the middle.
fn serve_slowly(stream: &mut TcpStream, request: &str) -> std::io::Result<()> {
    let start = range_start(request).unwrap_or(0);
    let range = format!("ETag: \"v1\"\r\nContent-Range: bytes {start}-299999/300000\r\n");
    head(stream, if start > 0 { "206 Partial Content" } else { "200 OK" }, 300_000 - start, &range)?;
    for chunk in content()[start..].chunks(10_000) {
        stream.write_all(chunk)?;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[test]
fn two_processes_that_want_one_file_download_it_once() {
    let server = Server::start(|_, request, stream| serve_slowly(stream, request));
    let folder = tempfile::tempdir().unwrap();
    let destination = folder.path().join("file.bin");
    let mut children: Vec<_> = (0..2).map(|_| child(&server.address, &destination).spawn().unwrap()).collect();
    assert!(children.iter_mut().all(|child| child.wait().unwrap().success()));
    assert_eq!(std::fs::read(&destination).unwrap(), content());
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_killed_process_leaves_a_part_that_the_next_one_continues() {
    let server = Server::start(|_, request, stream| serve_slowly(stream, request));
    let folder = tempfile::tempdir().unwrap();
    let destination = folder.path().join("file.bin");
    let mut first = child(&server.address, &destination).spawn().unwrap();
    let part = folder.path().join("file.bin.part");
    while std::fs::metadata(&part).map_or(0, |metadata| metadata.len()) < 30_000 {
        std::thread::sleep(Duration::from_millis(2));
    }
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(!destination.exists());
    download(&request(&server.address, &content()), &destination, &quick()).unwrap();
    assert_eq!(std::fs::read(&destination).unwrap(), content());
    assert!(range_start(&server.requests()[1]).unwrap() >= 30_000);
}
