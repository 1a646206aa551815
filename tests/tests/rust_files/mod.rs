//! Which file of a crate names items of which other file, as far as text tells.

mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tokens::{Import, Parsed};

/// A module's path from the crate's root: empty for the root, `["plot", "sheet"]` for `crate::plot::sheet`.
type ModulePath = Vec<String>;

/// A file of a crate that is a module.
struct Module {
    file: String,
    parsed: Parsed,
}

/// The modules of a crate that have files, without those for tests.
pub(crate) struct Crate {
    modules: BTreeMap<ModulePath, Module>,
}

impl Crate {
    /// Reads the crate whose root is `lib.rs` or `main.rs` in `source`; nothing for a folder without either.
    pub(crate) fn read(source: &Path) -> Self {
        let mut found = Self { modules: BTreeMap::new() };
        for root in ["lib.rs", "main.rs"].into_iter().filter(|root| source.join(root).is_file()) {
            found.add(source, root, Vec::new());
        }
        found
    }

    fn add(&mut self, source: &Path, file: &str, path: ModulePath) {
        let text = std::fs::read_to_string(source.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let parsed = Parsed::of(&text);
        let children = parsed.children.clone();
        self.modules.insert(path.clone(), Module { file: file.to_owned(), parsed });
        for child in children {
            let child_path: ModulePath = path.iter().cloned().chain([child]).collect();
            let stem = child_path.join("/");
            let files = [format!("{stem}.rs"), format!("{stem}/mod.rs")];
            if let Some(file) = files.iter().find(|file| source.join(file).is_file()) {
                self.add(source, file, child_path);
            }
        }
    }

    /// For each file the files that define what it names.
    pub(crate) fn dependencies(&self) -> BTreeMap<String, BTreeSet<String>> {
        let of_module = |(path, module): (&ModulePath, &Module)| (module.file.clone(), self.uses(path, module));
        self.modules.iter().map(of_module).collect()
    }

    fn uses(&self, path: &ModulePath, module: &Module) -> BTreeSet<String> {
        let imports = module.parsed.imports.iter().filter(|import| !import.is_public && !import.is_glob());
        // What the file names includes what it imports by `*` and what it re-exports and uses itself.
        let named = imports.map(|import| &import.path).chain(&module.parsed.paths);
        let definitions = named.filter_map(|words| self.resolve(path, words, 0)).filter(|(_, is_item)| *is_item);
        let files = definitions.filter_map(|(path, _)| self.modules.get(&path)).map(|module| module.file.clone());
        files.filter(|file| *file != module.file).collect()
    }

    /// The module in whose file the last of `words` is defined, when they are read inside the module `at`, and whether
    /// that is an item rather than the module itself. Nothing for a path that leaves the crate.
    fn resolve(&self, at: &ModulePath, words: &[String], depth: usize) -> Option<(ModulePath, bool)> {
        // Re-exports by `*` can lead round in a circle.
        if depth > 12 {
            return None;
        }
        let mut module = at.clone();
        for word in words {
            match word.as_str() {
                "crate" => module.clear(),
                "self" => {}
                "super" => _ = module.pop()?,
                _ => {
                    let parsed = &self.modules.get(&module)?.parsed;
                    let child: ModulePath = module.iter().cloned().chain([word.clone()]).collect();
                    if self.modules.contains_key(&child) {
                        module = child;
                    } else if parsed.definitions.contains(word) {
                        return Some((module, true));
                    } else {
                        let (found, is_item) = self.imported(&module, &parsed.imports, word, depth)?;
                        if is_item {
                            return Some((found, true));
                        }
                        module = found;
                    }
                }
            }
        }
        Some((module, false))
    }

    /// What a module's imports mean by a name.
    fn imported(&self, at: &ModulePath, imports: &[Import], name: &str, depth: usize) -> Option<(ModulePath, bool)> {
        if let Some(import) = imports.iter().find(|import| import.name == name) {
            return self.resolve(at, &import.path, depth + 1);
        }
        imports.iter().filter(|import| import.is_glob()).find_map(|import| {
            let parent = import.path[..import.path.len() - 1].iter().cloned();
            self.resolve(at, &parent.chain([name.to_owned()]).collect::<Vec<_>>(), depth + 1)
        })
    }
}
