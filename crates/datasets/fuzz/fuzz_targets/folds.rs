//! Folds, in both forms.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = datasets::tu::parse_folds(text, 10);
    let _ = datasets::tu::parse_fold_lists(&[text.to_owned(), "0".to_owned()], 10);
});
