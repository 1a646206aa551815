//! The original Planetoid pickles: the input is split into the eight files.
#![no_main]

libfuzzer_sys::fuzz_target!(|files: [&[u8]; 8]| {
    let [x, y, tx, ty, allx, ally, graph, test_index] = files.map(<[u8]>::to_vec);
    let files = datasets::planetoid::OriginalFiles { x, y, tx, ty, allx, ally, graph, test_index };
    let _ = datasets::planetoid::parse_original(&files);
});
