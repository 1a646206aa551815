//! Names chosen by a pattern.

use crate::{Error, Result};

/// Whether `name` is of the form `pattern`: `*` stands for any characters, dots too, `?` for one; everything else for itself.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // the last `*`, and where in the name what follows it was tried
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == '?' || c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, tried)) => {
                    star = Some((at, tried + 1));
                    (p, n) = (at + 1, tried + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// `count`, the number of names that match, unless it is 0: a misspelled pattern must not pass for a choice of nothing.
pub(crate) fn at_least_one(pattern: &str, count: usize, names: &[String]) -> Result<usize> {
    if count > 0 {
        return Ok(count);
    }
    let known = match names.len() {
        0 => "there are no parameters yet".to_string(),
        len => format!("the first are {}", names[..len.min(8)].join(", ")),
    };
    Err(Error::InvalidConfig { what: "pattern", reason: format!("`{pattern}` matches no parameter; {known}") })
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_stand_for_anything_and_question_marks_for_one_character() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*", "a.b", true),
            ("", "", true),
            ("", "a", false),
            ("a", "", false),
            ("encoder.*", "encoder.0.weight", true),
            ("encoder.*", "encoder", false),
            ("*.bias", "layer.bias", true),
            ("*.bias", "layer.bias.x", false),
            ("*.?.weight", "a.1.weight", true),
            ("*.?.weight", "a.12.weight", false),
            ("a*b*c", "axxbyybzc", true),
            ("a*b*c", "axxbyyb", false),
            ("**a", "ba", true),
            ("größe?", "größe1", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
