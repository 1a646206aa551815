//! Arbitrary and damaged bytes never make a parser panic.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod sound_files;

use datasets::archive::{self, Limits};
use datasets::planetoid::{OriginalFiles, parse_converted, parse_original};
use datasets::table::{TableConfig, parse_numeric, parse_text};
use datasets::{human_labels, idx, images, morse, npy, npz, sound, sparse_graph, tu};
use proptest::prelude::*;
use sound_files::{graph_pickle, sound_files};

/// Bytes that are often close to the formats: a sound beginning, then anything.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let beginnings = prop::sample::select(vec![
        b"".to_vec(),
        b"\x93NUMPY\x01\x00".to_vec(),
        b"\x93NUMPY\x01\x00\x3b\x00{'descr': '<f8', 'fortran_order': False, 'shape': (2, 1), }".to_vec(),
        b"PK\x03\x04".to_vec(),
        b"\x1f\x8b\x08\x00".to_vec(),
        vec![0, 0, 8, 1],
        b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0".to_vec(),
        b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0".to_vec(),
        b"\x80\x02".to_vec(),
        b"\x80\x02ccollections\ndefaultdict\nc__builtin__\nlist\n\x85R(".to_vec(),
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n".to_vec(),
    ]);
    (beginnings, prop::collection::vec(any::<u8>(), 0..300)).prop_map(|(beginning, rest)| [beginning, rest].concat())
}

/// Pickle programs of allowed operations in any order.
fn programs() -> impl Strategy<Value = Vec<u8>> {
    let operations = prop::sample::select(vec![
        &b"("[..],
        b"N",
        b"\x88",
        b"\x89",
        b"K\x01",
        b"M\x01\x02",
        b"J\xff\xff\xff\xff",
        b"U\x02f4",
        b"U\x01<",
        b"U\x06_shape",
        b"T\x02\x00\x00\x00ab",
        b")",
        b"\x85",
        b"\x86",
        b"\x87",
        b"t",
        b"]",
        b"}",
        b"a",
        b"e",
        b"s",
        b"u",
        b"q\x01",
        b"h\x01",
        b"\x81",
        b"R",
        b"b",
        b"cscipy.sparse.csr\ncsr_matrix\n",
        b"cnumpy.core.multiarray\n_reconstruct\n",
        b"cnumpy\nndarray\n",
        b"cnumpy\ndtype\n",
    ]);
    prop::collection::vec(operations, 0..60).prop_map(|parts| [&b"\x80\x02"[..], &parts.concat(), b"."].concat())
}

/// A sound file with a few bytes replaced, or cut.
fn damaged_files() -> impl Strategy<Value = Vec<u8>> {
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    (prop::sample::select(sound_files()), edits, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(mut bytes, edits, length, is_cut)| {
            for (at, byte) in edits {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if is_cut {
                bytes.truncate(length.index(bytes.len()));
            }
            bytes
        },
    )
}

fn read_as_everything(bytes: &[u8]) {
    let _ = npy::parse(bytes);
    if let Ok(archive) = npz::Archive::parse(bytes) {
        for name in archive.names() {
            let _ = archive.array(name);
        }
    }
    let _ = sparse_graph::parse(bytes);
    let _ = idx::parse(bytes);
    let _ = images::parse_cifar_10(bytes);
    let _ = images::parse_cifar_100(bytes);
    let _ = human_labels::parse_work(bytes);
    let _ = images::parse_jpeg(bytes);
    let _ = images::parse_faces(bytes);
    let _ = sound::parse_wav(bytes);
    let _ = parse_converted(bytes);
    let _ = parse_original(&OriginalFiles { graph: bytes.to_vec(), ..Default::default() });
    let _ = archive::members(bytes, &Limits::default());
    let _ = parse_numeric(bytes, &TableConfig::default());
    let _ = parse_text(bytes, &TableConfig { has_header: false, ..Default::default() });
    let _ = datasets::routing_curves::parse(bytes);
    let text = String::from_utf8_lossy(bytes);
    let _ = tu::parse_graphs(&text);
    let _ = tu::parse_folds(&text, 3);
    let _ = morse::parse(&text);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_bytes_never_panic_in_a_parser(bytes in bytes()) {
        read_as_everything(&bytes);
    }

    #[test]
    fn damaged_files_never_panic_in_a_parser(bytes in damaged_files()) {
        read_as_everything(&bytes);
    }

    #[test]
    fn arbitrary_numbers_never_panic_as_graph_text(numbers in prop::collection::vec(-2i64..6, 0..80), wrap in 1usize..5) {
        let text: String = numbers.chunks(wrap).map(|line| {
            line.iter().map(i64::to_string).collect::<Vec<_>>().join(" ") + "\n"
        }).collect();
        if let Ok(set) = tu::parse_graphs(&text) {
            for graph in &set.graphs {
                prop_assert_eq!(graph.node_tags.len(), graph.num_nodes);
                prop_assert!(graph.edges.iter().all(|&(u, v)| u < v && (v as usize) < graph.num_nodes));
            }
        }
    }

    #[test]
    fn arbitrary_pickles_never_panic(graph in programs(), x in programs(), y in programs()) {
        let sound = graph_pickle(&[(0, &[1]), (1, &[])]);
        let _ = parse_original(&OriginalFiles { graph, ..Default::default() });
        let _ = parse_original(&OriginalFiles { graph: sound.clone(), x, ..Default::default() });
        let _ = parse_original(&OriginalFiles { graph: sound, x: y.clone(), y, ..Default::default() });
    }

    #[test]
    fn arbitrary_headers_never_panic_in_npy(header in "[{}()',:L 0-9a-zTF<>|.]{0,80}") {
        let bytes = [&b"\x93NUMPY\x01\x00"[..], &(header.len() as u16).to_le_bytes(), header.as_bytes(), &[0; 8]].concat();
        let _ = npy::parse(&bytes);
    }
}
