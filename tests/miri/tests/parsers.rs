//! The parsers of datasets: whole files are read, and cut or damaged ones give errors or values.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use datasets::archive::{Limits, members};
use datasets::planetoid::parse_converted;
use datasets::table::{TableConfig, parse_numeric};
use datasets::{idx, images, morse, npy, npz, sound, tu};
use safetensors::tensor::{Dtype, TensorView, serialize};
use std::io::{Cursor, Write};

/// Parses the whole file, which must succeed, and then pieces and damaged copies, which may fail but must not panic.
fn check<T>(file: &[u8], parse: impl Fn(&[u8]) -> datasets::Result<T>) {
    parse(file).map(drop).unwrap_or_else(|error| panic!("{error}"));
    // about 12 of each, so that Miri's time does not depend on the length
    let step = file.len().div_ceil(12);
    for len in (0..file.len()).step_by(step) {
        let _ = parse(&file[..len]);
    }
    for at in (0..file.len()).step_by(step) {
        let mut damaged = file.to_vec();
        damaged[at] ^= 0xa5;
        let _ = parse(&damaged);
    }
}

fn npy_file() -> Vec<u8> {
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }\n";
    let values = [1f32, -2., 0.5, 4.].map(f32::to_le_bytes).concat();
    [&b"\x93NUMPY\x01\x00"[..], &(header.len() as u16).to_le_bytes(), header.as_bytes(), &values].concat()
}

fn zip_file() -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    // Stored: the deflating writer of zlib-rs 0.6.8 breaks a rule of Tree Borrows when it frees itself, which is not ours to mend.
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for name in ["a.npy", "b.npy"] {
        writer.start_file(name, options).unwrap();
        writer.write_all(&npy_file()).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn arrays() {
    check(&npy_file(), npy::parse);
    check(&[&[0u8, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3][..], &[1, 2, 3, 4, 5, 6]].concat(), idx::parse);
}

#[test]
fn archives() {
    let file = zip_file();
    check(&file, npz::Archive::parse);
    check(&file, |bytes| members(bytes, &Limits::default()));
}

#[test]
fn graphs() {
    check(b"1\n3 5\n7 2 1 0\n-1 0\n7 1 0\n", |bytes| tu::parse_graphs(&String::from_utf8_lossy(bytes)));
    let tensors: [(&str, &[i64]); 7] = [
        ("train_idx", &[0]),
        ("val_idx", &[1]),
        ("test_idx", &[1]),
        ("edges", &[1, 0]),
        ("labels", &[1, -1]),
        ("feat_indptr", &[0, 2, 2]),
        ("feat_indices", &[3, 0]),
    ];
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, numbers)| numbers.iter().flat_map(|number| number.to_le_bytes()).collect()).collect();
    let values = [3f32, 1.].map(f32::to_le_bytes).concat();
    let mut views: Vec<(&str, TensorView<'_>)> = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, numbers), bytes)| (*name, TensorView::new(Dtype::I64, vec![numbers.len()], bytes).unwrap()))
        .collect();
    views.push(("feat_values", TensorView::new(Dtype::F32, vec![2], &values).unwrap()));
    check(&serialize(views, None).unwrap(), parse_converted);
}

#[test]
fn images_and_sounds() {
    let one: Vec<u8> = (0..3073).map(|at| (at % 10) as u8).collect();
    check(&one, images::parse_cifar_10);
    let samples = [0i16, 100, -100, 32_767].map(i16::to_le_bytes).concat();
    let format =
        [&1u16.to_le_bytes()[..], &1u16.to_le_bytes(), &8000u32.to_le_bytes(), &16_000u32.to_le_bytes()].concat();
    let format = [&format[..], &2u16.to_le_bytes(), &16u16.to_le_bytes()].concat();
    let chunk = |name: &[u8], data: &[u8]| [name, &(data.len() as u32).to_le_bytes()[..], data].concat();
    let body = [b"WAVE".to_vec(), chunk(b"fmt ", &format), chunk(b"data", &samples)].concat();
    check(&chunk(b"RIFF", &body), sound::parse_wav);
}

#[test]
fn tables_and_lists() {
    check(b"a,b\n1,2.5\n", |bytes| parse_numeric(bytes, &TableConfig::default()));
    check(br#"{"items": [["9848466840", [4, 6]]]}"#, |bytes| morse::parse(&String::from_utf8_lossy(bytes)));
}
