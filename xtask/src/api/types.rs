//! Types, generics and bounds of rustdoc's JSON, written as in Rust.
//!
//! A form that is not known here is shown as JSON, so that a change of it is seen all the same.

use std::collections::HashMap;

use serde_json::Value;

/// The names of items by their ids: the public path for our own, the crate's name and the last part for others.
pub(super) struct Names<'a> {
    /// Ids of our items and the paths by which they are public
    pub(super) own: HashMap<String, String>,
    /// `paths` of the JSON
    pub(super) all: &'a Value,
}

/// The key of an id in the JSON's maps.
pub(super) fn key(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}

/// The elements of a list; none for anything else.
pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn joined(values: &[Value], between: &str, shown: impl Fn(&Value) -> String) -> String {
    values.iter().map(shown).collect::<Vec<_>>().join(between)
}

impl Names<'_> {
    /// The name of what a path means, without arguments.
    fn name(&self, path: &Value) -> String {
        let id = key(&path["id"]);
        if let Some(name) = self.own.get(&id) {
            return name.clone();
        }
        let parts = list(&self.all[&id]["path"]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match (parts.first().map(text), parts.last().map(text)) {
            (Some(root), Some(last)) if ["std", "core", "alloc"].contains(&root.as_str()) => last,
            (Some(root), Some(last)) => format!("{root}::{last}"),
            _ => {
                let written = path["path"].as_str().or_else(|| path["name"].as_str()).unwrap_or("?");
                written.rsplit("::").next().unwrap_or(written).to_owned()
            }
        }
    }

    /// A path with its arguments.
    pub(super) fn path(&self, path: &Value) -> String {
        format!("{}{}", self.name(path), self.arguments(&path["args"]))
    }

    fn arguments(&self, arguments: &Value) -> String {
        let angle = &arguments["angle_bracketed"];
        if angle.is_object() {
            let constraints = angle.get("constraints").or_else(|| angle.get("bindings")).unwrap_or(&Value::Null);
            let args = list(&angle["args"]).iter().map(|arg| self.argument(arg));
            let all: Vec<String> = args.chain(list(constraints).iter().map(|c| self.constraint(c))).collect();
            return if all.is_empty() { String::new() } else { format!("<{}>", all.join(", ")) };
        }
        let round = &arguments["parenthesized"];
        if round.is_object() {
            return format!(
                "({}){}",
                joined(list(&round["inputs"]), ", ", |t| self.of(t)),
                self.output(&round["output"])
            );
        }
        if arguments.is_null() { String::new() } else { arguments.to_string() }
    }

    fn argument(&self, argument: &Value) -> String {
        match argument.as_object().and_then(|object| object.iter().next()) {
            Some((kind, value)) if kind == "lifetime" => value.as_str().unwrap_or("?").to_owned(),
            Some((kind, value)) if kind == "type" => self.of(value),
            Some((kind, value)) if kind == "const" => value["expr"].as_str().unwrap_or("?").to_owned(),
            _ => "_".to_owned(),
        }
    }

    fn constraint(&self, constraint: &Value) -> String {
        let name = format!("{}{}", constraint["name"].as_str().unwrap_or("?"), self.arguments(&constraint["args"]));
        let equality = &constraint["binding"]["equality"];
        if equality.is_null() {
            return format!("{name}: {}", self.bounds(&constraint["binding"]["constraint"]));
        }
        format!("{name} = {}", self.argument(equality))
    }

    /// ` -> T`, or nothing for the unit.
    fn output(&self, output: &Value) -> String {
        if output.is_null() { String::new() } else { format!(" -> {}", self.of(output)) }
    }

    /// A type.
    pub(super) fn of(&self, of: &Value) -> String {
        let Some((kind, value)) = of.as_object().and_then(|object| object.iter().next()) else {
            return "_".to_owned();
        };
        let word = |value: &Value| value.as_str().unwrap_or("?").to_owned();
        let mutable = |yes: &str, no: &str| if value["is_mutable"] == true { yes.to_owned() } else { no.to_owned() };
        match kind.as_str() {
            "resolved_path" => self.path(value),
            "generic" | "primitive" => word(value),
            "tuple" if list(value).len() == 1 => format!("({},)", self.of(&value[0])),
            "tuple" => format!("({})", joined(list(value), ", ", |t| self.of(t))),
            "slice" => format!("[{}]", self.of(value)),
            "array" => format!("[{}; {}]", self.of(&value["type"]), word(&value["len"])),
            "impl_trait" => format!("impl {}", self.bounds(value)),
            "raw_pointer" => format!("*{} {}", mutable("mut", "const"), self.of(&value["type"])),
            "borrowed_ref" => {
                let lifetime = value["lifetime"].as_str().map(|lifetime| format!("{lifetime} ")).unwrap_or_default();
                format!("&{lifetime}{}{}", mutable("mut ", ""), self.of(&value["type"]))
            }
            "dyn_trait" => {
                let of_trait = |t: &Value| format!("{}{}", higher_ranked(&t["generic_params"]), self.path(&t["trait"]));
                let lifetime = value["lifetime"].as_str().map(|lifetime| format!(" + {lifetime}")).unwrap_or_default();
                format!("dyn {}{lifetime}", joined(list(&value["traits"]), " + ", of_trait))
            }
            "qualified_path" => {
                let (own, name) = (self.of(&value["self_type"]), word(&value["name"]));
                let name = format!("{name}{}", self.arguments(&value["args"]));
                let of_trait = &value["trait"];
                let is_inherent = of_trait.is_null() || of_trait["path"] == "" || of_trait["name"] == "";
                if is_inherent {
                    format!("{own}::{name}")
                } else {
                    format!("<{own} as {}>::{name}", self.path(of_trait))
                }
            }
            "function_pointer" => {
                let sig = &value["sig"];
                let inputs = joined(list(&sig["inputs"]), ", ", |input| self.of(&input[1]));
                let ranked = higher_ranked(&value["generic_params"]);
                format!("{ranked}{}fn({inputs}){}", header(&value["header"]), self.output(&sig["output"]))
            }
            _ => of.to_string(),
        }
    }

    /// `A + B`.
    pub(super) fn bounds(&self, bounds: &Value) -> String {
        joined(list(bounds), " + ", |bound| {
            let of_trait = &bound["trait_bound"];
            if of_trait.is_object() {
                let maybe = if of_trait["modifier"] == "maybe" { "?" } else { "" };
                return format!(
                    "{maybe}{}{}",
                    higher_ranked(&of_trait["generic_params"]),
                    self.path(&of_trait["trait"])
                );
            }
            bound["outlives"].as_str().map_or_else(|| bound.to_string(), str::to_owned)
        })
    }

    /// `<T: A>` and ` where …` of an item, each possibly empty.
    pub(super) fn generics(&self, generics: &Value) -> (String, String) {
        let shown = |param: &Value| -> Option<String> {
            let (name, kind) = (param["name"].as_str().unwrap_or("?"), &param["kind"]);
            if kind["type"]["is_synthetic"] == true {
                return None; // of an `impl Trait` among the arguments
            }
            let bounds = match kind["lifetime"].is_object() {
                true => joined(list(&kind["lifetime"]["outlives"]), " + ", |l| l.as_str().unwrap_or("?").to_owned()),
                false => self.bounds(&kind["type"]["bounds"]),
            };
            if kind["const"].is_object() {
                return Some(format!("const {name}: {}", self.of(&kind["const"]["type"])));
            }
            let default = &kind["type"]["default"];
            let default = if default.is_null() { String::new() } else { format!(" = {}", self.of(default)) };
            let bounds = if bounds.is_empty() { bounds } else { format!(": {bounds}") };
            Some(format!("{name}{bounds}{default}"))
        };
        let params: Vec<String> = list(&generics["params"]).iter().filter_map(shown).collect();
        let params = if params.is_empty() { String::new() } else { format!("<{}>", params.join(", ")) };
        let predicate = |predicate: &Value| {
            let bound = &predicate["bound_predicate"];
            match bound.is_object() {
                true => format!(
                    "{}{}: {}",
                    higher_ranked(&bound["generic_params"]),
                    self.of(&bound["type"]),
                    self.bounds(&bound["bounds"])
                ),
                false => predicate.to_string(),
            }
        };
        let wheres = joined(list(&generics["where_predicates"]), ", ", predicate);
        (params, if wheres.is_empty() { wheres } else { format!(" where {wheres}") })
    }

    /// `const unsafe fn<T>(x: T) -> T where …`.
    pub(super) fn function(&self, function: &Value) -> String {
        let (params, wheres) = self.generics(&function["generics"]);
        let inputs = joined(list(&function["sig"]["inputs"]), ", ", |input| {
            let (name, of) = (input[0].as_str().unwrap_or("_"), self.of(&input[1]));
            match (name, of.as_str()) {
                ("self", "Self") => "self".to_owned(),
                ("self", "&Self") => "&self".to_owned(),
                ("self", "&mut Self") => "&mut self".to_owned(),
                _ => format!("{name}: {of}"),
            }
        });
        let output = self.output(&function["sig"]["output"]);
        format!("{}fn{params}({inputs}){output}{wheres}", header(&function["header"]))
    }
}

/// `for<'a> `, or nothing.
fn higher_ranked(params: &Value) -> String {
    let names = joined(list(params), ", ", |param| param["name"].as_str().unwrap_or("?").to_owned());
    if names.is_empty() { names } else { format!("for<{names}> ") }
}

/// `const `, `async `, `unsafe ` as far as they apply.
fn header(header: &Value) -> String {
    let words = [("is_const", "const "), ("is_async", "async "), ("is_unsafe", "unsafe ")];
    words.into_iter().filter(|(name, _)| header[*name] == true).map(|(_, word)| word).collect()
}
