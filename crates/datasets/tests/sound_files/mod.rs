//! Small sound files of every format, written by hand.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]
#![allow(dead_code, reason = "each test uses a part")]

/// Safetensors of i64 and f32 tensors.
pub(crate) fn tensors(list: &[(&str, &[i64])], values: Option<&[f32]>) -> Vec<u8> {
    use safetensors::tensor::{Dtype, TensorView, serialize};
    let bytes: Vec<(String, Vec<u8>)> = list
        .iter()
        .map(|(name, numbers)| ((*name).to_owned(), numbers.iter().flat_map(|number| number.to_le_bytes()).collect()))
        .collect();
    let floats: Vec<u8> = values.unwrap_or_default().iter().flat_map(|value| value.to_le_bytes()).collect();
    let mut views: Vec<(String, TensorView<'_>)> = bytes
        .iter()
        .map(|(name, bytes)| (name.clone(), TensorView::new(Dtype::I64, vec![bytes.len() / 8], bytes).unwrap()))
        .collect();
    if values.is_some() {
        views.push(("feat_values".into(), TensorView::new(Dtype::F32, vec![floats.len() / 4], &floats).unwrap()));
    }
    serialize(views, None).unwrap()
}

/// The pickle of a `defaultdict(list)`.
pub(crate) fn graph_pickle(nodes: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = b"\x80\x02ccollections\ndefaultdict\nq\x01c__builtin__\nlist\nq\x02\x85R(".to_vec();
    for (node, neighbours) in nodes {
        bytes.extend([b'K', *node, b']', b'(']);
        bytes.extend(neighbours.iter().flat_map(|neighbour| [b'K', *neighbour]));
        bytes.push(b'e');
    }
    bytes.extend(b"u.");
    bytes
}

/// A `.npy` file of a list of numbers.
fn npy_file(descr: &str, count: usize, data: Vec<u8>) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({count},), }}\n");
    [&b"\x93NUMPY\x01\x00"[..], &(header.len() as u16).to_le_bytes(), header.as_bytes(), &data].concat()
}

fn npy_of_i32(values: &[i32]) -> Vec<u8> {
    npy_file("<i4", values.len(), values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

/// A `.npz` graph: 0 → 1, 1 → 0, 2 → 2, 2 → 1, and a feature each.
pub(crate) fn npz_graph() -> Vec<u8> {
    npz_graph_of(5, 4)
}

/// [`npz_graph`] with features of so many columns, the middle one in this column.
pub(crate) fn npz_graph_of(columns: i64, column: i64) -> Vec<u8> {
    let npy_of_i64 =
        |values: &[i64]| npy_file("<i8", values.len(), values.iter().flat_map(|value| value.to_le_bytes()).collect());
    let ones = |count: usize| npy_file("<f4", count, [1.0f32.to_le_bytes()].repeat(count).concat());
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in [
        ("adj_data", ones(4)),
        ("adj_indices", npy_of_i32(&[1, 0, 2, 1])),
        ("adj_indptr", npy_of_i32(&[0, 1, 2, 4])),
        ("adj_shape", npy_of_i32(&[3, 3])),
        ("attr_data", ones(3)),
        ("attr_indices", npy_of_i64(&[0, column, 2])),
        ("attr_indptr", npy_of_i32(&[0, 1, 2, 3])),
        ("attr_shape", npy_of_i64(&[3, columns])),
        ("labels", npy_of_i32(&[0, 1, 1])),
    ] {
        writer.start_file(format!("{name}.npy"), zip::write::SimpleFileOptions::default()).unwrap();
        std::io::Write::write_all(&mut writer, &bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Sound files of every format, to be damaged.
pub(crate) fn sound_files() -> Vec<Vec<u8>> {
    let converted = tensors(
        &[
            ("train_idx", &[0]),
            ("val_idx", &[1]),
            ("test_idx", &[1]),
            ("edges", &[1, 0]),
            ("labels", &[1, -1]),
            ("feat_indptr", &[0, 2, 2]),
            ("feat_indices", &[3, 0]),
        ],
        Some(&[3.0, 1.0]),
    );
    let wav =
        b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\0\0\0\0\x02\0\x10\0data\x02\0\0\0\x01\0".to_vec();
    vec![
        npz_graph(),
        converted,
        wav,
        npy_of_i32(&[1, 2, 3]),
        vec![0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 1, 7, 8],
        graph_pickle(&[(0, &[1]), (1, &[0])]),
        b"2\n3 0\n0 2 1 2\n0 1 0\n1 1 0\n1 5\n0 0\n".to_vec(),
        br#"{"n_graphs": 5, "test": [[3, 0], [1], [2]]}"#.to_vec(),
        b"a,b\n1,\"2\"\n".to_vec(),
    ]
}
