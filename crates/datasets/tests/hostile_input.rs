//! Whatever a file holds, a parser returns a typed error or a sound value; it never panics, and never allocates by a count
//! that the file merely claims.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod sound_files;

use datasets::planetoid::{OriginalFiles, SparseFeatures, parse_converted, parse_original, parse_original_within};
use datasets::{Error, human_labels, idx, images, morse, sparse_graph, tu};
use sound_files::{graph_pickle, npz_graph, npz_graph_of, tensors};

fn is_format_error<T>(outcome: Result<T, Error>) -> bool {
    matches!(outcome, Err(Error::InvalidData { .. }))
}

#[test]
fn graph_text_that_is_not_sound_is_refused_with_its_line() {
    let cases = [
        ("", "end of the file"),
        ("1\n", "end of the file"),
        ("x\n", "line 1"),
        ("1 2\n1 0\n0 0\n", "line 1"),
        ("1\n2\n0 0\n0 0\n", "line 2"),
        ("1\n2 0\n0 1 1\n", "end of the file"),
        ("1\n2 0\n0 1 2\n0 0\n", "line 3"),
        ("1\n2 0\n0 2 1\n0 0\n", "line 3"),
        ("1\n2 0\n0 1 1 0.5\n0 0\n", "line 3"),
        ("1\n-2 0\n", "line 2"),
        ("1\n2 nan\n0 0\n0 0\n", "line 2"),
        ("1\n1 0\n0 0\nmore\n", "line 4"),
        ("99999999999999999999\n", "line 1"),
        ("18446744073709551615\n4294967295 0\n0 18446744073709551615 0\n", "line 3"),
    ];
    for (text, place) in cases {
        match tu::parse_graphs(text) {
            Err(Error::InvalidData { position, .. }) => assert_eq!(position, place, "{text:?}"),
            other => panic!("{text:?} gave {other:?}"),
        }
    }
}

#[test]
fn graph_text_may_list_an_edge_once_twice_or_with_loops() {
    let set = tu::parse_graphs("1\n3 5\n7 2 1 0\n-1 0\n7 1 0\n").unwrap();
    assert_eq!(set.graphs[0].edges, [(0, 1), (0, 2)]);
    assert_eq!(
        (set.num_self_loops, set.class_values.as_slice(), set.tag_values.as_slice()),
        (1, &[5][..], &[-1, 7][..])
    );
    assert_eq!(set.graphs[0].node_tags, [1, 0, 1]);
    assert_eq!(set.graphs[0].degrees(), [2, 1, 1]);
    assert_eq!(tu::parse_graphs("0\n").unwrap().num_classes, 0);
}

#[test]
fn folds_that_overlap_or_name_absent_graphs_are_refused() {
    for json in [
        "",
        "{}",
        r#"{"test": []}"#,
        r#"{"test": [[0]]}"#,
        r#"{"test": [[0], [0]]}"#,
        r#"{"test": [[0], [4]]}"#,
        r#"{"test": [[0], [-1]]}"#,
        r#"{"n_graphs": 5, "test": [[0], [1]]}"#,
    ] {
        assert!(is_format_error(tu::parse_folds(json, 4)), "{json}");
    }
    let folds = tu::parse_folds(r#"{"n_graphs": 5, "test": [[3, 0], [1], [2]]}"#, 5).unwrap();
    let split = folds.split(0).unwrap();
    assert_eq!((split.train, split.validation, split.test), (vec![1, 4], vec![2], vec![3, 0]));
    assert_eq!(folds.split(1).unwrap().validation, [3, 0]);
    assert!(matches!(folds.split(3), Err(Error::InvalidConfig { .. })));
    let wrong = tu::Folds { test: vec![vec![0], vec![9]], num_graphs: 2 };
    assert!(matches!(wrong.split(0), Err(Error::InvalidConfig { .. })));
    assert!(is_format_error(tu::parse_fold_lists(&["0\n".into(), "x\n".into()], 4)));
}

#[test]
fn converted_citation_graphs_are_checked() {
    let split: [(&str, &[i64]); 3] = [("train_idx", &[0]), ("val_idx", &[1]), ("test_idx", &[1])];
    let with = |more: &[(&'static str, &'static [i64])], values: Option<&[f32]>| {
        parse_converted(&tensors(&[&split[..], more].concat(), values))
    };
    let sound = with(
        &[("edges", &[1, 0]), ("labels", &[1, -1]), ("feat_indptr", &[0, 2, 2]), ("feat_indices", &[3, 0])],
        Some(&[3.0, 1.0]),
    )
    .unwrap();
    assert_eq!((sound.edges, sound.labels, sound.num_classes), (vec![(0, 1)], vec![Some(1), None], 2));
    let features = sound.features.unwrap();
    assert_eq!((features.indices.as_slice(), features.values.as_slice()), (&[0, 3][..], &[1.0, 3.0][..]));
    assert_eq!(features.to_dense().unwrap(), [1.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0]);

    let labels: (&str, &[i64]) = ("labels", &[0, 0]);
    assert!(is_format_error(with(&[labels], None)), "no edges");
    assert!(is_format_error(with(&[labels, ("edges", &[0, 2])], None)), "neighbour out of range");
    assert!(is_format_error(with(&[labels, ("edges", &[0])], None)), "half an edge");
    assert!(is_format_error(with(&[("labels", &[0, -2]), ("edges", &[])], None)), "negative label");
    assert!(is_format_error(with(&[("labels", &[0, i64::MAX]), ("edges", &[])], None)), "huge label");
    for (indptr, indices, values) in [
        (&[0, 1][..], &[0][..], &[1.0][..]),
        (&[0, 2, 1], &[0, 0], &[1.0, 1.0]),
        (&[1, 1, 1], &[0], &[1.0]),
        (&[0, 1, 2], &[0], &[1.0]),
        (&[0, 1, 1], &[-1], &[1.0]),
        (&[0, 1, 1], &[0], &[f32::NAN]),
        (&[0, 2, 2], &[5, 5], &[1.0, 1.0]),
        (&[0, 1, 1], &[0], &[]),
        (&[0, i64::MAX, 1], &[0], &[1.0]),
    ] {
        let all = [&split[..], &[labels, ("edges", &[]), ("feat_indptr", indptr), ("feat_indices", indices)]].concat();
        assert!(is_format_error(parse_converted(&tensors(&all, Some(values)))), "{indptr:?} {indices:?} {values:?}");
    }
    assert!(is_format_error(parse_converted(b"")));
}

#[test]
fn a_pickle_may_name_nothing_but_what_the_files_need() {
    let with_graph = |graph: &[u8]| parse_original(&OriginalFiles { graph: graph.to_vec(), ..Default::default() });
    let message = |graph: &[u8]| with_graph(graph).unwrap_err().to_string();
    assert!(message(b"\x80\x02cos\nsystem\nU\x02ls\x85R.").contains("os.system, which is not allowed"));
    assert!(message(b"\x80\x02cnumpy\nload\n.").contains("not allowed"));
    assert!(message(b"\x80\x02c__builtin__\neval\nU\x011\x85R.").contains("not allowed"));
    assert!(message(b"\x80\x04N.").contains("protocol"));
    // Unknown operations, among them persistent ids, instances and objects by extension code.
    for code in [b'P', b'Q', b'i', b'o', 0x82, 0x83, 0x84, b'2', b'V', b'X', b'I', b'L', b'G', 0x8c, 0x93, 0x95] {
        assert!(message(&[0x80, 2, code, 0, 0, 0, 0]).contains("which such files never have"), "{code:#x}");
    }
    // Calls of allowed names with arguments that the files do not have.
    assert!(is_format_error(with_graph(b"\x80\x02ccollections\ndefaultdict\nccollections\ndefaultdict\n\x85R.")));
    assert!(is_format_error(with_graph(b"\x80\x02c__builtin__\nlist\n)R.")));
}

#[test]
fn pickles_that_are_truncated_nested_or_self_referring_are_refused() {
    let with_graph = |graph: &[u8]| parse_original(&OriginalFiles { graph: graph.to_vec(), ..Default::default() });
    let whole = graph_pickle(&[(0, &[1]), (1, &[0])]);
    for length in 0..whole.len() {
        assert!(is_format_error(with_graph(&whole[..length])), "{length}");
    }
    let mut deep = vec![0x80, 2, b'N'];
    deep.extend([0x85; 100_000]);
    deep.push(b'.');
    assert!(with_graph(&deep).unwrap_err().to_string().contains("nested"));
    // A tuple that is fetched twice to make the next one would double in size each time.
    let bomb: Vec<u8> = [&b"\x80\x02Nq\x00"[..], &b"h\x00h\x00\x86q\x00".repeat(40), b"."].concat();
    assert!(with_graph(&bomb).unwrap_err().to_string().contains("reference"));
    // Lengths that the file merely claims.
    assert!(is_format_error(with_graph(b"\x80\x02T\xff\xff\xff\x7f.")));
    assert!(is_format_error(with_graph(b"\x80\x02T\xff\xff\xff\xff.")));
    // Marks and operands that are not there.
    for program in
        [&b"\x80\x02t."[..], b"\x80\x02\x86.", b"\x80\x02(N\x86t.", b"\x80\x02q\x00.", b"\x80\x02NN.", b"\x80\x02N.N"]
    {
        assert!(is_format_error(with_graph(program)), "{program:?}");
    }
}

#[test]
fn a_pickle_takes_a_small_multiple_of_its_length() {
    let with_graph = |graph: Vec<u8>| parse_original(&OriginalFiles { graph, ..Default::default() });
    // Operations of one byte that make values, marks, lists and notes of them.
    let notes = |count: u32| (0..count).flat_map(|key| [&b"r"[..], &key.to_le_bytes()].concat()).collect::<Vec<u8>>();
    let start = b"\x80\x02".to_vec();
    for part in [
        b"N".repeat(3_000_000),
        b"(".repeat(3_000_000),
        b"]".repeat(3_000_000),
        b"}".repeat(3_000_000),
        b")".repeat(3_000_000),
        [b"}".to_vec(), b"NNs".repeat(1_000_000)].concat(),
        [b"N".to_vec(), b"q\x00h\x00".repeat(1_000_000)].concat(),
        [b"K\x01".to_vec(), notes(600_000)].concat(),
    ] {
        let outcome = with_graph([start.clone(), part.clone(), b".".to_vec()].concat());
        let is_refused = matches!(outcome, Err(Error::TooLarge { .. } | Error::InvalidData { .. }));
        assert!(is_refused, "{:?}: {outcome:?}", &part[..4]);
    }
    let graph = [start, b"N".repeat(3_000_000), b".".to_vec()].concat();
    let files = OriginalFiles { graph, ..Default::default() };
    assert!(matches!(parse_original(&files), Err(Error::TooLarge { limit: 25_048_600, .. })));
    // The limit is the caller's to raise: then it is the content that is refused.
    let raised = parse_original_within(&files, |_| u64::MAX);
    assert!(matches!(raised, Err(Error::InvalidData { .. })), "{raised:?}");
    // A graph as the files have them stays far below.
    let lists: Vec<(u8, &[u8])> = (0..=255).map(|node| (node, &[0, 1, 2, 3][..])).collect();
    let graph = graph_pickle(&lists);
    let sound = parse_original_within(&OriginalFiles { graph, ..Default::default() }, |length| length * 8);
    assert!(sound.unwrap_err().to_string().contains("pickle, byte 0"), "the next file, which is empty, is refused");
}

#[test]
fn a_matrix_that_claims_many_columns_is_not_made_dense() {
    let claimed = |num_columns: usize, column: u32| SparseFeatures {
        num_columns,
        indptr: vec![0, 1, 1, 1, 1, 1, 1, 1, 1],
        indices: vec![column],
        values: vec![1.0],
    };
    for columns in [1 << 33, 1 << 61, (1 << 63) - 1, usize::MAX, u32::MAX as usize] {
        let outcome = claimed(columns, u32::MAX - 1).to_dense();
        assert!(matches!(outcome, Err(Error::TooLarge { limit: 4_294_967_296, .. })), "{columns}");
        assert!(matches!(claimed(columns, 0).to_dense_within(100), Err(Error::TooLarge { limit: 100, .. })));
    }
    assert_eq!(claimed(2, 1).to_dense_within(64).unwrap()[..3], [0.0, 1.0, 0.0]);
    assert!(claimed(2, 1).to_dense_within(63).is_err());
    // A limit beyond what any machine has is an error of the memory, not an abort.
    assert!(matches!(claimed(1 << 58, 0).to_dense_within(u64::MAX), Err(Error::TooLarge { .. })));
    assert!(claimed(0, 1).to_dense().unwrap().is_empty());
}

#[test]
fn a_npz_graph_may_claim_any_shape_and_column() {
    for (columns, column, is_sound) in [
        (1_i64 << 33, 5, true),
        (1 << 61, 5, true),
        (i64::MAX, 5, true),
        (4_294_967_296, 4_294_967_295, true),
        (4_294_967_295, 4_294_967_295, false),
        (i64::MAX, 4_294_967_296, false),
        (-1, 0, false),
        (i64::MIN, 0, false),
        (0, 0, false),
    ] {
        let parsed = sparse_graph::parse(&npz_graph_of(columns, column));
        assert_eq!(parsed.is_ok(), is_sound, "{columns} {column}");
        match parsed {
            Ok(graph) => assert!(matches!(graph.features.to_dense(), Err(Error::TooLarge { .. }))),
            Err(error) => assert!(matches!(error, Error::InvalidData { .. }), "{error}"),
        }
    }
}

#[test]
fn long_foreign_texts_are_cut_in_every_message() {
    let long = format!("\u{1b}[2J{}", "x".repeat(100_000));
    let table = datasets::table::TableConfig::default();
    let mut errors = vec![
        tu::parse_graphs(&long).unwrap_err(),
        tu::parse_graphs(&format!("1\n1 0\n0 0 {long}\n")).unwrap_err(),
        tu::parse_folds(&format!("{{\"test\": \"{}\"}}", "x".repeat(100_000)), 4).unwrap_err(),
        tu::parse_fold_lists(std::slice::from_ref(&long), 4).unwrap_err(),
        morse::parse(&format!("{{\"items\": \"{}\"}}", "x".repeat(100_000))).unwrap_err(),
        datasets::table::parse_numeric(format!("a\n{long}\n").as_bytes(), &table).unwrap_err(),
        idx::parse(&[&[0, 0, 8, 255][..], &[255; 4 * 255]].concat()).unwrap_err(),
        parse_original(&OriginalFiles {
            graph: [b"\x80\x02c".to_vec(), long.clone().into_bytes(), b"\nx\n.".to_vec()].concat(),
            ..Default::default()
        })
        .unwrap_err(),
        datasets::npy::parse(&{
            let header = format!("{{'{long}");
            [&b"\x93NUMPY\x02\x00"[..], &(header.len() as u32).to_le_bytes(), header.as_bytes()].concat()
        })
        .unwrap_err(),
    ];
    let npz = datasets::npz::Archive::parse(&npz_graph()).unwrap();
    errors.push(npz.array(&long).unwrap_err());
    for error in errors {
        let text = error.to_string();
        assert!(text.chars().count() < 500 && !text.contains('\u{1b}'), "{} characters: {text:.300}", text.len());
    }
}

#[test]
fn the_graph_of_the_original_files_is_checked() {
    let message = |graph: &[(u8, &[u8])]| {
        parse_original(&OriginalFiles { graph: graph_pickle(graph), ..Default::default() }).unwrap_err().to_string()
    };
    assert!(message(&[(0, &[2]), (1, &[])]).contains("neighbour 2 of node 0"));
    assert!(message(&[(0, &[]), (2, &[])]).contains("node 2"));
    assert!(message(&[(0, &[]), (0, &[])]).contains("node 0 is a duplicate"));
    let with_index = |index: &[u8]| {
        let graph = graph_pickle(&[(0, &[1]), (1, &[])]);
        parse_original(&OriginalFiles { graph, test_index: index.to_vec(), ..Default::default() })
    };
    for index in [&b"2\n"[..], b"-1\n", b"x\n", b"4000000000\n", b"\xff\n"] {
        let error = with_index(index).unwrap_err().to_string();
        assert!(error.contains("test.index"), "{error}");
    }
}

#[test]
fn a_npz_graph_with_absent_arrays_is_refused() {
    assert!(is_format_error(sparse_graph::parse(b"")));
    assert!(is_format_error(sparse_graph::parse(b"PK\x03\x04")));
    // An empty but sound zip archive.
    let empty = [&b"PK\x05\x06"[..], &[0; 18]].concat();
    assert!(sparse_graph::parse(&empty).unwrap_err().to_string().contains("labels"));
}

#[test]
fn a_npz_graph_is_made_undirected_and_simple() {
    let graph = sparse_graph::parse(&npz_graph()).unwrap();
    assert_eq!((graph.edges, graph.num_stored_edges), (vec![(0, 1), (1, 2)], 4));
    assert_eq!((graph.labels, graph.num_classes), (vec![0, 1, 1], 2));
    assert_eq!((graph.features.num_columns, graph.features.indices), (5, vec![0, 4, 2]));
}

#[test]
fn images_whose_labels_do_not_fit_are_refused() {
    let idx = |bytes: &[u8]| idx::parse(bytes).unwrap();
    let two = idx(&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 5, 6]);
    let (one_label, two_labels) = (idx(&[0, 0, 8, 1, 0, 0, 0, 1, 3]), idx(&[0, 0, 8, 1, 0, 0, 0, 2, 3, 4]));
    assert!(is_format_error(images::from_idx(two.clone(), one_label)));
    let images = images::from_idx(two, two_labels).unwrap();
    assert_eq!(
        (images.len(), images.image(1), images.image(2), images.image(usize::MAX)),
        (2, Some(&[6][..]), None, None)
    );
    assert!(is_format_error(images::parse_cifar_10(&[0; 3072])));
    assert!(is_format_error(images::parse_cifar_10(&[10; 3073])));
    assert_eq!(images::parse_cifar_10(&[9; 3073]).unwrap().labels, [9]);
    assert!(is_format_error(images::parse_cifar_100(&[0; 3073])));
    assert!(is_format_error(images::parse_cifar_100(&[100; 3074])));
    // the coarse label is the first byte
    let mut record = [7; 3074];
    (record[0], record[1]) = (255, 99);
    let found = images::parse_cifar_100(&record).unwrap();
    assert_eq!((found.labels, found.pixels), (vec![99], vec![7; 3072]));
    assert!(is_format_error(images::parse_faces(b"")));
}

#[test]
fn morse_items_are_checked() {
    assert_eq!(morse::parse(r#"{"items": [["1234567890", [4, 9]]]}"#).unwrap()[0].sum(), 5);
    for json in [
        "",
        r#"{"items": [["123456789", [0, 5]]]}"#,
        r#"{"items": [["12345x7890", [0, 5]]]}"#,
        r#"{"items": [["1234567890", [5, 5]]]}"#,
        r#"{"items": [["1234567890", [0, 10]]]}"#,
    ] {
        assert!(is_format_error(morse::parse(json)), "{json}");
    }
}

#[test]
fn tables_of_work_that_are_not_sound_are_refused() {
    let cases = [
        "",
        "images,worker\n0--1,3\n",
        "images,worker,time,worker\n0--1,3,4,5\n",
        "images,worker,time\n1--2,3,4\n",
        "images,worker,time\n0--1,3,4\n3--4,3,4\n",
        "images,worker,time\n1--0,3,4\n",
        "images,worker,time\n0-1,3,4\n",
        "images,worker,time\n0--18446744073709551615,3,4\n",
        "images,worker,time\n0--1000,3,4\n",
        "images,worker,time\n0--1,-1,4\n",
        "images,worker,time\n0--1,4294967296,4\n",
        "images,worker,time\n0--1,3,nan\n",
        "images,worker,time\n0--1,3,-1\n",
        "images,worker,time\n0--1,3,\n",
        "images,worker,time\n0--1,3\n",
    ];
    for table in cases {
        assert!(is_format_error(human_labels::parse_work(table.as_bytes())), "{table}");
    }
    let none = human_labels::parse_work(b"images,worker,time\n").unwrap();
    assert_eq!(none, [human_labels::Work::default()]);
}
