//! Bytes of masks: any bytes give an error or masks with counts that fit.
#![no_main]

use pruning::Masks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(masks) = Masks::parse(bytes) else { return };
    assert!(masks.count() <= masks.num_entries());
    for (_, mask) in masks.iter() {
        assert_eq!(mask.shape().iter().product::<usize>(), mask.kept().len());
    }
});
