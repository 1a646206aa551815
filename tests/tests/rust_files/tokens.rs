//! The words of a Rust file: what it declares, imports and names. Read as text, without macros or types.

use std::collections::BTreeSet;

/// A name that a `use` brings into a file.
pub(crate) struct Import {
    /// The words between `::`; the last may be `*`.
    pub(crate) path: Vec<String>,
    /// What it is called in the file.
    pub(crate) name: String,
    /// Whether it is a re-export: `pub use`, `pub(crate) use`.
    pub(crate) is_public: bool,
}

impl Import {
    pub(crate) fn is_glob(&self) -> bool {
        self.name == "*"
    }
}

/// What a file says, without its code for tests.
#[derive(Default)]
pub(crate) struct Parsed {
    /// Modules with files of their own: `mod name;`.
    pub(crate) children: Vec<String>,
    /// Items defined in the file.
    pub(crate) definitions: BTreeSet<String>,
    pub(crate) imports: Vec<Import>,
    /// Paths of one or more words outside of `use`.
    pub(crate) paths: BTreeSet<Vec<String>>,
}

impl Parsed {
    pub(crate) fn of(text: &str) -> Self {
        let mut reader = Reader { tokens: tokens(text), at: 0, parsed: Self::default() };
        reader.read();
        reader.parsed
    }
}

struct Reader {
    tokens: Vec<String>,
    at: usize,
    parsed: Parsed,
}

impl Reader {
    fn peek(&self, ahead: usize) -> &str {
        self.tokens.get(self.at + ahead).map_or("", String::as_str)
    }

    fn read(&mut self) {
        while self.at < self.tokens.len() {
            match self.peek(0) {
                "#" if self.is_test_attribute() => self.skip_item(),
                // Other attributes name no items of the crate.
                "#" => self.skip_attribute(),
                "use" => {
                    let is_public =
                        matches!(self.tokens.get(self.at.wrapping_sub(1)).map(String::as_str), Some("pub" | ")"));
                    self.at += 1;
                    self.import(Vec::new(), is_public);
                }
                "mod" if self.peek(2) == ";" => {
                    self.parsed.children.push(self.peek(1).to_owned());
                    self.at += 3;
                }
                "struct" | "enum" | "trait" | "type" | "const" | "static" | "union" | "mod" | "macro_rules" | "fn" => {
                    let ahead = if matches!(self.peek(1), "mut" | "!") { 2 } else { 1 };
                    if is_word(self.peek(ahead)) {
                        self.parsed.definitions.insert(self.peek(ahead).to_owned());
                        self.at += ahead;
                    }
                    self.at += 1;
                }
                // The name of a field or method.
                "." => self.at += 2,
                word if is_word(word) => self.path(),
                _ => self.at += 1,
            }
        }
    }

    fn is_test_attribute(&self) -> bool {
        let is = |words: &[&str]| words.iter().enumerate().all(|(ahead, word)| self.peek(ahead) == *word);
        is(&["#", "[", "cfg", "(", "test", ")"]) || is(&["#", "[", "test", "]"])
    }

    fn skip_attribute(&mut self) {
        let mut depth = 0;
        while self.at < self.tokens.len() {
            match self.peek(0) {
                "[" => depth += 1,
                "]" => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 && self.tokens[self.at - 1] == "]" {
                return;
            }
        }
    }

    /// Passes over an attribute and the item below it, up to its `;` or its closing brace.
    fn skip_item(&mut self) {
        self.skip_attribute();
        while self.peek(0) == "#" {
            self.skip_attribute();
        }
        let mut depth = 0;
        while self.at < self.tokens.len() {
            let token = self.peek(0).to_owned();
            self.at += 1;
            match token.as_str() {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            if depth == 0 && (token == ";" || token == "}") {
                return;
            }
        }
    }

    /// Reads one branch of a `use`, after the words `before` it, and passes over its `;` or `,`.
    fn import(&mut self, before: Vec<String>, is_public: bool) {
        let mut path = before;
        let mut name = None;
        loop {
            match self.peek(0).to_owned().as_str() {
                "{" => {
                    self.at += 1;
                    while !matches!(self.peek(0), "}" | "") {
                        self.import(path.clone(), is_public);
                        if self.peek(0) == "," {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    return;
                }
                "as" => {
                    name = Some(self.peek(1).to_owned());
                    self.at += 2;
                }
                "::" => self.at += 1,
                word if word == "*" || is_word(word) => {
                    path.push(word.to_owned());
                    self.at += 1;
                }
                _ => break,
            }
        }
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        let name = name.or_else(|| path.last().cloned()).unwrap_or_default();
        self.parsed.imports.push(Import { path, name, is_public });
    }

    fn path(&mut self) {
        let mut path = vec![self.peek(0).to_owned()];
        while self.peek(1) == "::" && is_word(self.peek(2)) {
            path.push(self.peek(2).to_owned());
            self.at += 2;
        }
        self.at += 1;
        // `name:` is a field, a parameter or a binding; what stands behind the colon is read next.
        if path.len() > 1 || self.peek(0) != ":" {
            self.parsed.paths.insert(path);
        }
    }
}

fn is_word(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Words, `::` and single other characters, without comments, texts, characters, numbers and lifetimes.
fn tokens(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    let at = |index: usize| letters.get(index).copied().unwrap_or('\0');
    let is_letter = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut tokens = Vec::new();
    let mut index = 0;
    while index < letters.len() {
        match (at(index), at(index + 1)) {
            ('/', '/') => index = (index..letters.len()).find(|end| at(*end) == '\n').unwrap_or(letters.len()),
            ('/', '*') => {
                let mut depth = 1;
                index += 2;
                while depth > 0 && index < letters.len() {
                    match (at(index), at(index + 1)) {
                        ('/', '*') => depth += 1,
                        ('*', '/') => depth -= 1,
                        _ => {}
                    }
                    index += if matches!((at(index), at(index + 1)), ('/', '*') | ('*', '/')) { 2 } else { 1 };
                }
            }
            ('r', '"' | '#') if !(at(index + 1) == '#' && is_letter(at(index + 2))) => {
                let hashes = (index + 1..).take_while(|place| at(*place) == '#').count();
                index += 2 + hashes;
                let is_end = |end: usize| at(end) == '"' && (1..=hashes).all(|hash| at(end + hash) == '#');
                index = (index..letters.len()).find(|end| is_end(*end)).unwrap_or(letters.len()) + 1 + hashes;
            }
            ('"', _) => {
                index += 1;
                while index < letters.len() && at(index) != '"' {
                    index += if at(index) == '\\' { 2 } else { 1 };
                }
                index += 1;
            }
            ('\'', '\\') => {
                index = (index + 3..letters.len()).find(|end| at(*end) == '\'').unwrap_or(letters.len()) + 1
            }
            ('\'', _) if at(index + 2) == '\'' => index += 3,
            // A lifetime.
            ('\'', _) => index = (index + 1..).find(|end| !is_letter(at(*end))).unwrap_or(letters.len()),
            (letter, _) if letter.is_ascii_digit() => {
                index = (index..).find(|end| !is_letter(at(*end))).unwrap_or(letters.len());
            }
            (letter, _) if is_letter(letter) => {
                let end = (index..).find(|end| !is_letter(at(*end))).unwrap_or(letters.len());
                tokens.push(letters[index..end].iter().collect());
                index = end;
            }
            (':', ':') => {
                tokens.push("::".to_owned());
                index += 2;
            }
            (letter, _) => {
                if !letter.is_whitespace() {
                    tokens.push(letter.to_string());
                }
                index += 1;
            }
        }
    }
    tokens
}
