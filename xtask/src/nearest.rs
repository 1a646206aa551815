//! "Did you mean" for names given on the command line.

/// How similar two names must be (Jaro-Winkler, 0 to 1) before one is offered for the other. Below this value the
/// offers look random to a reader; a name with one letter wrong scores above 0.9.
const LEAST_LIKENESS: f64 = 0.75;

/// A sentence that names up to three known names that are like `name`, or the whole list when none is.
pub(crate) fn suggestion<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let mut similar: Vec<(f64, &str)> = known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(&name.to_lowercase(), candidate), *candidate))
        .filter(|(likeness, candidate)| *likeness >= LEAST_LIKENESS || candidate.contains(name))
        .collect();
    similar.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    similar.truncate(3);
    if similar.is_empty() {
        return format!("known: {}", known.join(", "));
    }
    let names: Vec<String> = similar.iter().map(|(_, candidate)| format!("`{candidate}`")).collect();
    format!("did you mean {}?", names.join(" or "))
}

#[cfg(test)]
mod tests {
    use super::suggestion;

    #[test]
    fn one_wrong_letter_finds_the_name() {
        assert_eq!(suggestion("sepp", ["sep", "linac"]), "did you mean `sep`?");
    }

    #[test]
    fn a_part_of_a_name_finds_the_name() {
        assert_eq!(suggestion("lottery", ["structured-lottery-tickets"]), "did you mean `structured-lottery-tickets`?");
    }

    #[test]
    fn a_name_like_nothing_lists_everything() {
        assert_eq!(suggestion("zzz", ["sep", "linac"]), "known: sep, linac");
    }
}
