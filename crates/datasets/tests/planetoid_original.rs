//! The original Planetoid files, written here opcode by opcode as Python 2 wrote them.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use datasets::Error;
use datasets::planetoid::{OriginalFiles, parse_original};

/// `(`, the shape, the element type with its byte order, the order of axes, the bytes, `t`, `b`.
fn array(shape: &[u16], element: &str, is_fortran_order: bool, bytes: &[u8]) -> Vec<u8> {
    let mut pickle = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01".to_vec();
    for extent in shape {
        pickle.push(b'M');
        pickle.extend(extent.to_le_bytes());
    }
    pickle.push(0x84 + shape.len() as u8);
    pickle.extend(b"cnumpy\ndtype\nU\x02");
    pickle.extend(element.as_bytes());
    pickle.extend(b"K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb");
    pickle.push(if is_fortran_order { 0x88 } else { 0x89 });
    pickle.push(b'T');
    pickle.extend((bytes.len() as u32).to_le_bytes());
    pickle.extend(bytes);
    pickle.extend(b"tb");
    pickle
}

fn finish(body: Vec<u8>) -> Vec<u8> {
    [&b"\x80\x02"[..], &body, b"."].concat()
}

fn i32s(values: &[i32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn f64s(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A CSR matrix with `columns` columns; row `r` has the single entry (`entries[r]`) or none.
fn matrix(columns: u16, entries: &[Option<(i32, f64)>]) -> Vec<u8> {
    let (mut indptr, mut indices, mut data) = (vec![0], Vec::new(), Vec::new());
    for entry in entries {
        if let Some((column, value)) = entry {
            indices.push(*column);
            data.push(*value);
        }
        indptr.push(indices.len() as i32);
    }
    let mut pickle = b"cscipy.sparse.csr\ncsr_matrix\n)\x81}(U\x06formatU\x03csrU\x06_shapeM".to_vec();
    pickle.extend((entries.len() as u16).to_le_bytes());
    pickle.push(b'M');
    pickle.extend(columns.to_le_bytes());
    pickle.extend(b"\x86U\x06indptr");
    pickle.extend(array(&[indptr.len() as u16], "i4", false, &i32s(&indptr)));
    pickle.extend(b"U\x07indices");
    pickle.extend(array(&[indices.len() as u16], "i4", false, &i32s(&indices)));
    pickle.extend(b"U\x08maxprintK2U\x04data");
    pickle.extend(array(&[data.len() as u16], "f8", false, &f64s(&data)));
    pickle.extend(b"ub");
    finish(pickle)
}

/// One-hot labels of two classes, in C or Fortran order; `None` is a row of zeros.
fn one_hot(labels: &[Option<usize>], is_fortran_order: bool) -> Vec<u8> {
    let rows = labels.len();
    let mut values = vec![0.0; 2 * rows];
    for (row, label) in labels.iter().enumerate() {
        if let Some(class) = label {
            values[if is_fortran_order { class * rows + row } else { 2 * row + class }] = 1.0;
        }
    }
    finish(array(&[rows as u16, 2], "f8", is_fortran_order, &f64s(&values)))
}

fn graph(neighbours: &[Vec<u16>]) -> Vec<u8> {
    let mut pickle = b"ccollections\ndefaultdict\nq\x01c__builtin__\nlist\nq\x02\x85Rq\x03(".to_vec();
    for (node, neighbours) in neighbours.iter().enumerate() {
        pickle.push(b'M');
        pickle.extend((node as u16).to_le_bytes());
        pickle.extend(b"]r\x04\x00\x00\x00(");
        for neighbour in neighbours {
            pickle.push(b'M');
            pickle.extend(neighbour.to_le_bytes());
        }
        pickle.push(b'e');
    }
    pickle.push(b'u');
    finish(pickle)
}

/// 504 nodes in `allx` (2 of them for training), 3 test nodes 507, 505, 504 in this order, and node 506 in no file but the
/// graph, as in Citeseer.
fn files() -> OriginalFiles {
    let all: Vec<_> = (0..504).map(|node| Some((node % 3, f64::from(node)))).collect();
    let all_labels: Vec<_> = (0..504).map(|node| if node == 503 { None } else { Some(node % 2) }).collect();
    let mut neighbours = vec![Vec::new(); 508];
    neighbours[0] = vec![1, 507, 1, 0];
    neighbours[1] = vec![0];
    OriginalFiles {
        x: matrix(3, &all[..2]),
        y: one_hot(&all_labels[..2], false),
        tx: matrix(3, &[Some((2, 0.5)), None, Some((0, 2.5))]),
        ty: one_hot(&[Some(1), Some(0), Some(1)], true),
        allx: matrix(3, &all),
        ally: one_hot(&all_labels, true),
        graph: graph(&neighbours),
        test_index: b"507\n505\n504\n".to_vec(),
    }
}

#[test]
fn rows_go_to_the_nodes_that_they_describe() {
    let set = parse_original(&files()).unwrap();
    assert_eq!((set.num_nodes, set.num_classes), (508, 2));
    assert_eq!(set.edges, [(0, 1), (0, 507)]);
    assert_eq!((set.train.as_slice(), set.test.as_slice()), (&[0, 1][..], &[504, 505, 507][..]));
    assert_eq!((set.validation.first(), set.validation.last()), (Some(&2), Some(&501)));
    assert_eq!(set.labels[..4], [Some(0), Some(1), Some(0), Some(1)]);
    assert_eq!(set.labels[503..], [None, Some(1), Some(0), None, Some(1)]);
    let features = set.features.unwrap();
    let row = |node: usize| features.row(node).collect::<Vec<_>>();
    assert_eq!((features.num_rows(), features.num_columns), (508, 3));
    assert_eq!((row(4), row(504), row(505)), (vec![(1, 4.0)], vec![(0, 2.5)], vec![]));
    assert_eq!((row(506), row(507), row(508)), (vec![], vec![(2, 0.5)], vec![]));
}

#[test]
fn files_that_do_not_fit_each_other_are_refused() {
    let sound = files();
    let cases = [
        ("columns of tx", OriginalFiles { tx: matrix(4, &[None, None, None]), ..sound.clone() }),
        ("rows of tx", OriginalFiles { tx: matrix(3, &[None]), ..sound.clone() }),
        ("rows of ty", OriginalFiles { ty: one_hot(&[None], false), ..sound.clone() }),
        ("rows of allx", OriginalFiles { ally: one_hot(&[None], false), ..sound.clone() }),
        ("allx", OriginalFiles { allx: matrix(3, &[None]), ally: one_hot(&[None], false), ..sound.clone() }),
        ("test.index", OriginalFiles { test_index: b"507\n505\n503\n".to_vec(), ..sound.clone() }),
        ("test.index", OriginalFiles { test_index: b"507\n505\n505\n".to_vec(), ..sound.clone() }),
        ("features, row 0", OriginalFiles { x: matrix(3, &[Some((3, 1.0)), None]), ..sound.clone() }),
        ("features, row 1", OriginalFiles { x: matrix(3, &[None, Some((0, f64::NAN))]), ..sound.clone() }),
        ("x", OriginalFiles { x: matrix(3, &[Some((-1, 1.0)), None]), ..sound.clone() }),
        ("x", OriginalFiles { x: one_hot(&[None], false), ..sound.clone() }),
        ("y", OriginalFiles { y: matrix(3, &[None]), ..sound.clone() }),
        ("y, row 0", OriginalFiles { y: finish(array(&[1, 2], "f8", false, &f64s(&[1.0, 1.0]))), ..sound.clone() }),
        ("graph", OriginalFiles { graph: one_hot(&[None], false), ..sound }),
    ];
    for (place, files) in cases {
        match parse_original(&files) {
            Err(Error::InvalidData { position, .. }) => assert_eq!(position, place),
            other => panic!("{place} gave {:?}", other.map(|set| set.num_nodes)),
        }
    }
}

#[test]
fn an_array_that_claims_another_size_is_refused() {
    for (shape, bytes) in [(&[2u16, 2][..], 3 * 8), (&[65535, 65535], 8), (&[0, 65535], 8), (&[1], 8)] {
        let y = finish(array(shape, "f8", false, &vec![0; bytes]));
        assert!(matches!(parse_original(&OriginalFiles { y, ..files() }), Err(Error::InvalidData { .. })), "{shape:?}");
    }
    let complex = finish(array(&[1, 2], "c8", false, &[0; 16]));
    assert!(matches!(parse_original(&OriginalFiles { y: complex, ..files() }), Err(Error::InvalidData { .. })));
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let sound = files();
    for length in 0..sound.x.len() {
        let cut = OriginalFiles { x: sound.x[..length].to_vec(), ..sound.clone() };
        assert!(matches!(parse_original(&cut), Err(Error::InvalidData { .. })), "{length}");
    }
}
