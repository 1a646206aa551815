//! The public items of a crate in rustdoc's JSON, one line each.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::Value;

use super::types::{Names, key, list};

/// All lines of a crate. Methods and implemented traits stand with their type; auto and blanket implementations are left out.
pub(super) fn listed(json: &Value) -> BTreeSet<String> {
    let index = &json["index"];
    let mut found = Found { index, items: Vec::new(), modules: HashSet::new() };
    let root = &index[key(&json["root"])];
    found.module(name(root), root);
    let mut own: HashMap<String, String> = HashMap::new();
    for (path, item) in &found.items {
        let shorter = |known: &String| (known.matches("::").count(), known) <= (path.matches("::").count(), path);
        if !own.get(&key(&item["id"])).is_some_and(shorter) {
            own.insert(key(&item["id"]), path.clone());
        }
    }
    let list = Lines { index, names: Names { own, all: &json["paths"] }, lines: BTreeSet::new() };
    list.of(&found.items)
}

fn name(item: &Value) -> &str {
    item["name"].as_str().unwrap_or("?")
}

/// The kind of an item and what belongs to it.
fn inner(item: &Value) -> Option<(&str, &Value)> {
    item["inner"].as_object()?.iter().next().map(|(kind, value)| (kind.as_str(), value))
}

/// The items that can be named from outside, with their paths.
struct Found<'a> {
    index: &'a Value,
    items: Vec<(String, &'a Value)>,
    modules: HashSet<(String, String)>,
}

impl<'a> Found<'a> {
    fn module(&mut self, path: &str, item: &'a Value) {
        // A module that re-exports what is above it would not end.
        if !self.modules.insert((path.to_owned(), key(&item["id"]))) {
            return;
        }
        self.items.push((path.to_owned(), item));
        self.contents(path, item);
    }

    fn contents(&mut self, path: &str, item: &'a Value) {
        let index = self.index;
        for id in list(&item["inner"]["module"]["items"]) {
            let item = &index[key(id)];
            match inner(item) {
                Some(("module", _)) => self.module(&format!("{path}::{}", name(item)), item),
                Some(("use", used)) => self.used(path, item, used),
                Some(_) => self.items.push((format!("{path}::{}", name(item)), item)),
                None => {}
            }
        }
    }

    fn used(&mut self, path: &str, item: &'a Value, used: &'a Value) {
        let target = &self.index[key(&used["id"])];
        let is_glob = used["is_glob"] == true;
        match inner(target) {
            Some(("module", _)) if is_glob => self.contents(path, target),
            Some(("module", _)) => self.module(&format!("{path}::{}", name(used)), target),
            Some(("use", again)) => self.used(path, target, again),
            Some(_) if !is_glob => self.items.push((format!("{path}::{}", name(used)), target)),
            // of another crate
            _ => self.items.push((format!("{path}::{}", if is_glob { "*" } else { name(used) }), item)),
        }
    }
}

struct Lines<'a> {
    index: &'a Value,
    names: Names<'a>,
    lines: BTreeSet<String>,
}

impl<'a> Lines<'a> {
    fn of(mut self, items: &[(String, &'a Value)]) -> BTreeSet<String> {
        for (path, item) in items {
            self.item(path, item);
        }
        self.lines
    }

    fn add(&mut self, item: &Value, line: String) {
        let open = if item["attrs"].to_string().contains("non_exhaustive") { " (non-exhaustive)" } else { "" };
        self.lines.insert(format!("{line}{open}"));
    }

    fn item(&mut self, path: &str, item: &'a Value) {
        let Some((kind, inner)) = inner(item) else { return };
        let (params, wheres) = self.names.generics(&inner["generics"]);
        match kind {
            "module" => self.add(item, format!("{path}: mod")),
            "function" => {
                let line = format!("{path}: {}", self.names.function(inner));
                self.add(item, line);
            }
            "struct" | "union" | "enum" => {
                self.add(item, format!("{path}: {kind}{params}{wheres}"));
                self.parts(path, inner);
                self.implementations(path, inner);
            }
            "trait" => {
                let bounds = self.names.bounds(&inner["bounds"]);
                let bounds = if bounds.is_empty() { bounds } else { format!(" : {bounds}") };
                let is_unsafe = if inner["is_unsafe"] == true { "unsafe " } else { "" };
                self.add(item, format!("{path}: {is_unsafe}trait{params}{bounds}{wheres}"));
                for id in list(&inner["items"]) {
                    self.member(path, &self.index[key(id)]);
                }
            }
            "type_alias" => self.add(item, format!("{path}: type{params} = {}{wheres}", self.names.of(&inner["type"]))),
            "constant" | "static" => {
                let value = inner["const"]["expr"].as_str().or_else(|| inner["expr"].as_str()).unwrap_or("_");
                // An expression keeps its source's line breaks, and a listing has one item a line.
                let value: Vec<&str> = value.split_whitespace().collect();
                self.add(item, format!("{path}: {kind} {} = {}", self.names.of(&inner["type"]), value.join(" ")));
            }
            "use" => self.add(item, format!("{path}: use {}", inner["source"].as_str().unwrap_or("?"))),
            other => self.add(item, format!("{path}: {other}")),
        }
    }

    /// Fields and variants.
    fn parts(&mut self, path: &str, inner: &'a Value) {
        let index = self.index;
        let kind = &inner["kind"];
        let fields = list(&kind["plain"]["fields"]).iter().chain(list(&kind["tuple"])).chain(list(&inner["fields"]));
        for field in fields.map(|id| &index[key(id)]).filter(|field| field.is_object()) {
            let of = self.names.of(&field["inner"]["struct_field"]);
            self.add(field, format!("{path}.{}: {of}", name(field)));
        }
        for variant in list(&inner["variants"]).iter().map(|id| &index[key(id)]) {
            let kind = &variant["inner"]["variant"]["kind"];
            let of = |id: &Value| self.names.of(&index[key(id)]["inner"]["struct_field"]);
            let tuple: Vec<String> = list(&kind["tuple"]).iter().map(of).collect();
            let named = list(&kind["struct"]["fields"]).iter();
            let named: Vec<String> = named.map(|id| format!("{}: {}", name(&index[key(id)]), of(id))).collect();
            let fields = match (tuple.is_empty(), named.is_empty()) {
                (false, _) => format!("({})", tuple.join(", ")),
                (_, false) => format!(" {{ {} }}", named.join(", ")),
                _ => String::new(),
            };
            self.add(variant, format!("{path}::{}: variant{fields}", name(variant)));
        }
    }

    fn implementations(&mut self, path: &str, inner: &'a Value) {
        for id in list(&inner["impls"]) {
            let item = &self.index[key(id)];
            let implementation = &item["inner"]["impl"];
            if implementation["is_synthetic"] == true || !implementation["blanket_impl"].is_null() {
                continue;
            }
            if implementation["trait"].is_null() {
                for id in list(&implementation["items"]) {
                    self.member(path, &self.index[key(id)]);
                }
                continue;
            }
            let (params, wheres) = self.names.generics(&implementation["generics"]);
            let (of_trait, own) = (self.names.path(&implementation["trait"]), self.names.of(&implementation["for"]));
            // Derived traits have helpers without a name of their own.
            if !["StructuralPartialEq", "UseCloned"].contains(&of_trait.as_str()) {
                self.add(item, format!("{path}: impl{params} {of_trait} for {own}{wheres}"));
            }
        }
    }

    /// A function, type or constant of a type or trait.
    fn member(&mut self, path: &str, item: &'a Value) {
        let Some((kind, inner)) = inner(item) else { return };
        let path = format!("{path}::{}", name(item));
        match kind {
            "function" => self.item(&path, item),
            "assoc_const" => self.add(item, format!("{path}: const {}", self.names.of(&inner["type"]))),
            "assoc_type" => self.add(item, format!("{path}: type : {}", self.names.bounds(&inner["bounds"]))),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A crate `c` with a private type that is re-exported, a method and a function that takes the type.
    #[test]
    fn items_stand_under_their_public_paths() {
        let reference = |id: u32| serde_json::json!({"resolved_path": {"path": "Inner", "id": id, "args": null}});
        let generics = serde_json::json!({"params": [], "where_predicates": []});
        let function = |inputs: Value, output: Value| serde_json::json!({"function": {"sig": {"inputs": inputs, "output": output}, "generics": generics, "header": {}}});
        let json = serde_json::json!({
            "root": 0,
            "index": {
                "0": {"id": 0, "name": "c", "inner": {"module": {"items": [1, 3, 7]}}},
                "1": {"id": 1, "name": null, "inner": {"use": {"source": "inner::Inner", "name": "Outer", "id": 2, "is_glob": false}}},
                "2": {"id": 2, "name": "Inner", "inner": {"struct": {"kind": {"plain": {"fields": [5]}}, "generics": generics, "impls": [4]}}},
                "3": {"id": 3, "name": "f", "inner": function(serde_json::json!([["x", {"borrowed_ref": {"lifetime": null, "is_mutable": false, "type": reference(2)}}]]), Value::Null)},
                "4": {"id": 4, "name": null, "inner": {"impl": {"trait": null, "items": [6], "blanket_impl": null}}},
                "5": {"id": 5, "name": "size", "inner": {"struct_field": {"primitive": "usize"}}},
                "6": {"id": 6, "name": "size", "inner": function(serde_json::json!([["self", {"borrowed_ref": {"lifetime": null, "is_mutable": false, "type": {"generic": "Self"}}}]]), serde_json::json!({"primitive": "usize"}))},
                "7": {"id": 7, "name": "TEXT", "inner": {"constant": {"type": {"primitive": "str"}, "const": {"expr": "\"a \\\n    b\""}}}},
            },
            "paths": {"2": {"crate_id": 0, "path": ["c", "inner", "Inner"]}},
        });
        let lines: Vec<String> = listed(&json).into_iter().collect();
        let expected = [
            "c: mod",
            "c::Outer.size: usize",
            "c::Outer: struct",
            "c::Outer::size: fn(&self) -> usize",
            "c::TEXT: constant str = \"a \\ b\"",
            "c::f: fn(x: &c::Outer)",
        ];
        assert_eq!(lines, expected);
    }
}
