//! The fixed test set of the Morse adding problem (Jacques et al., ICML 2022): ten digits as a Morse signal, of which two
//! are marked and shall be added.

use serde::Deserialize;

use crate::archive;
use crate::error::{Error, Result};
use crate::store::Store;

const FORMAT: &str = "Morse items";

/// One item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MorseItem {
    /// The digits in their order.
    pub digits: [u8; 10],
    /// Positions of the two marked digits: one in the first half, one in the second.
    pub marked: [usize; 2],
}

impl MorseItem {
    /// Sum of the marked digits. 0 for positions beyond the digits.
    pub fn sum(&self) -> u32 {
        self.marked.iter().filter_map(|&position| self.digits.get(position)).map(|&digit| u32::from(digit)).sum()
    }
}

/// Loads the 1000 items of `morse-adding`.
///
/// # Errors
/// What [`Store::file`] and [`parse`] report.
pub fn load(store: &Store) -> Result<Vec<MorseItem>> {
    parse(&archive::read_text(&store.file("morse-adding", "test_items.json")?)?)
}

/// Reads `{"items": [["9848466840", [4, 6]], …]}`: ten digits and the marked positions of each item.
///
/// # Errors
/// [`Error::InvalidData`] naming the item: not ten digits, or positions that are not in the two halves.
pub fn parse(json: &str) -> Result<Vec<MorseItem>> {
    #[derive(Deserialize)]
    struct Stored {
        items: Vec<(String, [usize; 2])>,
    }
    let stored: Stored = serde_json::from_str(json).map_err(|error| Error::refused(FORMAT, "the file", &error))?;
    let item = |(index, (digits, marked)): (usize, (String, [usize; 2]))| {
        let digits =
            <[u8; 10]>::try_from(digits.as_bytes()).ok().filter(|digits| digits.iter().all(u8::is_ascii_digit));
        match (digits, marked) {
            (Some(digits), [0..=4, 5..=9]) => Ok(MorseItem { digits: digits.map(|digit| digit - b'0'), marked }),
            _ => {
                let reason = "expected ten digits and a marked position in each half";
                Err(Error::invalid_data(FORMAT, format!("item {index}"), reason))
            }
        }
    };
    stored.items.into_iter().enumerate().map(item).collect()
}
