//! The secret that the ranks of a group share.

use crate::{Error, Result};

/// A secret that all ranks of a group know and others do not. It is compared in constant time and never printed, but it travels as it is: it keeps strangers out of the group, not those who can read
/// the network.
#[derive(Clone)]
pub struct Token(Vec<u8>);

/// The longest secret, in bytes.
const LONGEST: usize = 1024;

impl Token {
    /// From this text.
    ///
    /// # Errors
    ///
    /// When it is empty or longer than 1024 bytes.
    pub fn new(text: impl AsRef<[u8]>) -> Result<Self> {
        let bytes = text.as_ref();
        if bytes.is_empty() || bytes.len() > LONGEST {
            let reason = format!("it has {} bytes, expected 1 to {LONGEST}", bytes.len());
            return Err(Error::config("token", reason));
        }
        Ok(Self(bytes.to_vec()))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Whether two secrets are equal, in a time that depends on their lengths alone.
pub(super) fn is_equal(a: &[u8], b: &[u8]) -> bool {
    let byte = |bytes: &[u8], at: usize| bytes.get(at).copied().unwrap_or(0);
    let different = (0..a.len().max(b.len())).fold(a.len() ^ b.len(), |different, at| {
        std::hint::black_box(different | usize::from(byte(a, at) ^ byte(b, at)))
    });
    different == 0
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        is_equal(&self.0, &other.0)
    }
}

impl Eq for Token {}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_compared_and_not_shown() -> Result<()> {
        let token = Token::new("abc")?;
        assert_eq!(token, Token::new("abc")?);
        for other in ["abd", "ab", "abcd", "abc\0", "Abc"] {
            assert_ne!(token, Token::new(other)?);
        }
        assert_eq!(format!("{token:?}"), "Token(…)");
        assert!(Token::new("").is_err() && Token::new([0; 1025]).is_err());
        Ok(())
    }
}
