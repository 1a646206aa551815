//! Where the store looks, and what it says when a file is nowhere.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod loopback;

use std::path::{Path, PathBuf};

use datasets::{Error, Store, StoreConfig};
use loopback::Server;

fn store(data_dir: Option<&Path>, cache: &Path, is_offline: bool) -> Store {
    let config = StoreConfig {
        data_dir: data_dir.map(Path::to_owned),
        uses_environment: false,
        cache_dir: Some(cache.to_owned()),
        is_offline,
        ..Default::default()
    };
    Store::new(config).unwrap()
}

fn put(folder: &Path, set: &str, file: &str, contents: &[u8]) {
    std::fs::create_dir_all(folder.join(set)).unwrap();
    std::fs::write(folder.join(set).join(file), contents).unwrap();
}

#[test]
fn an_absent_file_says_which_command_and_flags_help() {
    let cache = tempfile::tempdir().unwrap();
    let error = store(None, cache.path(), true).file("tu-mutag", "MUTAG.txt").unwrap_err();
    assert!(matches!(error, Error::Offline { .. }));
    let message = error.to_string();
    for part in
        ["cargo xtask download tu-mutag", "--data-dir", "DATA_DIR", "--synthetic", &cache.path().display().to_string()]
    {
        assert!(message.contains(part), "{part} is not in {message}");
    }
}

#[test]
fn a_file_without_an_address_says_how_to_make_it() {
    let cache = tempfile::tempdir().unwrap();
    let error = store(None, cache.path(), false).file("yale-b", "names.txt.gz").unwrap_err();
    assert!(matches!(error, Error::NotDownloadable { .. }));
    let message = error.to_string();
    for part in ["Lanczos", "--data-dir", "DATA_DIR", "--synthetic"] {
        assert!(message.contains(part), "{part} is not in {message}");
    }
    let error = store(None, cache.path(), false).file("tu-nci1", "NCI1.txt.gz").unwrap_err();
    assert!(error.to_string().contains("accepted as NCI1.txt"), "{error}");
}

#[test]
fn unknown_names_suggest_the_nearest() {
    let cache = tempfile::tempdir().unwrap();
    let store = store(None, cache.path(), true);
    assert!(store.file("tu-mutagg", "x").unwrap_err().to_string().contains("did you mean `tu-mutag`?"));
    assert!(store.file("tu-mutag", "x").unwrap_err().to_string().contains("it has MUTAG.txt"));
    assert!(matches!(store.download_set("nothing-like-it"), Err(Error::UnknownDataSet { nearest: None, .. })));
}

#[test]
fn names_that_lead_out_of_the_folder_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "set", "file", b"x");
    let store = store(Some(&folder.path().join("set")), folder.path(), true);
    for (set, file) in
        [("..", "set"), ("set", "../set/file"), ("set", ""), ("/etc", "passwd"), ("set", "/etc/passwd"), (".", "file")]
    {
        assert!(matches!(store.file(set, file), Err(Error::InvalidName { .. })), "{set} {file}");
        assert_eq!(store.locate(set, file), None);
    }
}

#[test]
fn your_own_set_is_handed_out_as_it_is_and_the_first_folder_wins() {
    let (mine, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    put(mine.path(), "my-set", "a.csv", b"mine");
    put(cache.path(), "my-set", "a.csv", b"cached");
    put(cache.path(), "my-set", "b.csv", b"cached");
    let store = store(Some(mine.path()), cache.path(), true);
    assert_eq!(store.file("my-set", "a.csv").unwrap(), mine.path().join("my-set/a.csv"));
    assert_eq!(store.locate("my-set", "b.csv"), Some(cache.path().join("my-set/b.csv")));
    assert_eq!(store.search_path(), [mine.path(), cache.path()]);
    assert!(matches!(store.file("my-set", "c.csv"), Err(Error::UnknownDataSet { .. })));
}

#[test]
fn a_damaged_file_in_a_users_folder_is_an_error_not_a_download() {
    let (mine, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    put(mine.path(), "tu-mutag", "MUTAG.txt", b"damaged");
    let error = store(Some(mine.path()), cache.path(), false).file("tu-mutag", "MUTAG.txt").unwrap_err();
    assert!(matches!(&error, Error::WrongChecksum { path, .. } if path.starts_with(mine.path())), "{error}");
}

/// Serves the files of a folder.
fn serve_folder(folder: PathBuf) -> Server {
    Server::start(move |_, request, stream| {
        let path = request.split(' ').nth(1).unwrap().trim_start_matches('/');
        match std::fs::read(folder.join(path)) {
            Ok(bytes) => loopback::serve(stream, request, &bytes),
            Err(_) => loopback::head(stream, "404 Not Found", 0, ""),
        }
    })
}

#[test]
fn a_failed_download_says_where_a_copy_may_be_put() {
    let (origin, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = StoreConfig {
        uses_environment: false,
        cache_dir: Some(cache.path().to_owned()),
        base_url: Some(serve_folder(origin.path().to_owned()).address),
        ..Default::default()
    };
    let error = Store::new(config).unwrap().file("mnist", "t10k-labels-idx1-ubyte.gz").unwrap_err();
    assert!(matches!(&error, Error::DownloadFailed { .. }), "{error}");
    let message = error.to_string();
    for part in ["404", "the four original .gz files", "DATA_DIR", "mnist/t10k-labels-idx1-ubyte.gz", "--synthetic"] {
        assert!(message.contains(part), "{part} is not in {message}");
    }
}

#[test]
fn a_whole_set_is_downloaded_and_a_damaged_cache_mended() {
    let Some(folder) = std::env::var_os("DATA_DIR").map(PathBuf::from).filter(|dir| dir.join("los-loop").is_dir())
    else {
        eprintln!("skipped: DATA_DIR is unset or has no los-loop");
        return;
    };
    let cache = tempfile::tempdir().unwrap();
    let config = StoreConfig {
        uses_environment: false,
        cache_dir: Some(cache.path().to_owned()),
        base_url: Some(serve_folder(folder).address),
        ..Default::default()
    };
    let store = Store::new(config).unwrap();
    let paths = store.download_set("los-loop").unwrap();
    assert!(paths.len() == 2 && paths.iter().all(|path| path.starts_with(cache.path()) && path.is_file()));
    std::fs::write(&paths[0], b"damaged").unwrap();
    assert_eq!(store.download_set("los-loop").unwrap(), paths);
    assert_ne!(std::fs::read(&paths[0]).unwrap(), b"damaged");
}
