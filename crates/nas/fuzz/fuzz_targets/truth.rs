//! Bytes of a truth table: any text gives an error or a table of finite values that is read again as it was.
#![no_main]

use nas::{Direction, TruthTable};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(table) = TruthTable::parse(text, Direction::LowerIsBetter) else { return };
    for (architecture, values) in table.iter() {
        assert!(!values.is_empty() && values.values().all(|value| value.is_finite()));
        assert!(table.mean(architecture).is_some());
    }
    assert_eq!(TruthTable::parse(&table.to_csv(), Direction::HigherIsBetter).unwrap(), table);
});
