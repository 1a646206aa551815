//! Morse signals: the alphabet and the adding problem.

use crate::{Error, Result};
use core_tensor::random::Rng;

/// The 43 symbols and their codes; a symbol's position is its class.
pub const ALPHABET: [(&str, &str); 43] = [
    ("A", ".-"),
    ("B", "-..."),
    ("C", "-.-."),
    ("D", "-.."),
    ("E", "."),
    ("F", "..-."),
    ("G", "--."),
    ("H", "...."),
    ("I", ".."),
    ("J", ".---"),
    ("K", "-.-"),
    ("L", ".-.."),
    ("M", "--"),
    ("N", "-."),
    ("O", "---"),
    ("P", ".--."),
    ("Q", "--.-"),
    ("R", ".-."),
    ("S", "..."),
    ("T", "-"),
    ("U", "..-"),
    ("V", "...-"),
    ("W", ".--"),
    ("X", "-..-"),
    ("Y", "-.--"),
    ("Z", "--.."),
    ("1", ".----"),
    ("2", "..---"),
    ("3", "...--"),
    ("4", "....-"),
    ("5", "....."),
    ("6", "-...."),
    ("7", "--..."),
    ("8", "---.."),
    ("9", "----."),
    ("0", "-----"),
    (", ", "--..--"),
    (".", ".-.-.-"),
    ("?", "..--.."),
    ("/", "-..-."),
    ("-", "-....-"),
    ("(", "-.--."),
    (")", "-.--.-"),
];

/// The codes of the digits 0 to 9 in the adding problem: those of the letters J, A, B, … I.
const DIGITS: [&str; 10] = [".---", ".-", "-...", "-.-.", "-..", ".", "..-.", "--.", "....", ".."];

/// The bits of a code: a dot is 1 0, a dash 1 1 1 0, and two more zeros end the symbol.
///
/// # Errors
/// A character that is neither a dot nor a dash, or none at all.
///
/// ```
/// assert_eq!(timeseries::sithcon::morse::bits(".-")?, [1, 0, 1, 1, 1, 0, 0, 0]);
/// # Ok::<(), timeseries::Error>(())
/// ```
pub fn bits(code: &str) -> Result<Vec<u8>> {
    let wrong = || {
        let reason = format!("{code:?} does not consist of dots and dashes");
        Error::InvalidData { operation: "Morse code", what: "the text", reason }
    };
    if code.is_empty() {
        return Err(wrong());
    }
    let mut bits = Vec::new();
    for mark in code.chars() {
        match mark {
            '.' => bits.extend([1, 0]),
            '-' => bits.extend([1, 1, 1, 0]),
            _ => return Err(wrong()),
        }
    }
    bits.extend([0, 0]);
    Ok(bits)
}

/// The largest number of steps of a bit, and of digits of an item.
const LARGEST: usize = 100_000;

fn check_scale(scale: usize) -> Result<()> {
    match (1..=LARGEST).contains(&scale) {
        true => Ok(()),
        false => Err(Error::count("Morse code", "the steps of a bit", scale, format!("1 to {LARGEST}"))),
    }
}

/// The signals of the whole alphabet, each bit `scale` steps long.
///
/// # Errors
/// A scale of 0 or above 100,000.
pub fn alphabet(scale: usize) -> Result<Vec<Vec<f32>>> {
    check_scale(scale)?;
    Ok(ALPHABET.iter().map(|(_, code)| stretched(code, scale)).collect())
}

fn stretched(code: &str, scale: usize) -> Vec<f32> {
    let bits = bits(code).unwrap_or_default();
    bits.iter().flat_map(|&bit| std::iter::repeat_n(f32::from(bit), scale)).collect()
}

/// An item of the adding problem: digits in Morse code, of which two are marked and to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddingItem {
    /// The digits.
    pub digits: Vec<u8>,
    /// The positions of the marked digits.
    pub marked: [usize; 2],
}

impl AddingItem {
    /// `num_digits` digits; one is marked in the first half, one in the second.
    ///
    /// # Errors
    /// An odd number of digits, none, or more than 100,000.
    pub fn random(num_digits: usize, rng: &mut Rng) -> Result<Self> {
        if num_digits == 0 || num_digits % 2 == 1 || num_digits > LARGEST {
            let expected = format!("even, and 2 to {LARGEST}");
            return Err(Error::count("Morse adding", "the number of digits", num_digits, expected));
        }
        let digits = (0..num_digits).map(|_| rng.below(10) as u8).collect();
        let half = num_digits / 2;
        Ok(Self { digits, marked: [rng.below(half), half + rng.below(half)] })
    }

    /// The two channels, each bit `scale` steps long: the signal, and a mark over the last `scale` steps of each marked digit.
    ///
    /// # Errors
    /// A digit above 9, a marked position beyond the digits, or a scale of 0 or above 100,000.
    pub fn channels(&self, scale: usize) -> Result<[Vec<f32>; 2]> {
        check_scale(scale)?;
        if let Some(&position) = self.marked.iter().find(|&&position| position >= self.digits.len()) {
            let expected = format!("below the {} digits", self.digits.len());
            return Err(Error::count("Morse adding", "a marked position", position, expected));
        }
        let (mut signal, mut marks) = (Vec::new(), Vec::new());
        for (position, &digit) in self.digits.iter().enumerate() {
            let Some(code) = DIGITS.get(usize::from(digit)) else {
                return Err(Error::value("Morse adding", "a digit", digit, "0 to 9"));
            };
            signal.extend(stretched(code, scale));
            marks.resize(signal.len(), 0.);
            if self.marked.contains(&position) {
                let start = marks.len() - scale;
                marks[start..].fill(1.);
            }
        }
        Ok([signal, marks])
    }

    /// A tenth of the sum of the marked digits.
    pub fn target(&self) -> f64 {
        0.1 * self
            .marked
            .iter()
            .filter_map(|&position| self.digits.get(position))
            .map(|&digit| f64::from(digit))
            .sum::<f64>()
    }
}
