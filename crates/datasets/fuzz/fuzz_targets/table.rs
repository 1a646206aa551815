//! CSV tables.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for has_header in [false, true] {
        let options = datasets::table::TableConfig { has_header, ..Default::default() };
        let _ = datasets::table::parse_numeric(bytes, &options);
        let _ = datasets::table::parse_text(bytes, &options);
    }
});
