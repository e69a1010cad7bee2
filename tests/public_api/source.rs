//! The library's modules as syntax, and where the names in them lead.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use syn::{Attribute, Item, Type, UseTree};

/// Names of modules, from the root down.
pub(super) type Place = Vec<String>;

/// The items of every module, functions' bodies and tests aside.
pub(super) struct Library {
    modules: BTreeMap<Place, Vec<Item>>,
}

pub(super) fn is_hidden(attrs: &[Attribute]) -> bool {
    attrs.iter().any(|attr| {
        let said = |word: &str| match &attr.meta {
            syn::Meta::List(list) => list.tokens.to_string() == word,
            _ => false,
        };
        let path = attr.path();
        (path.is_ident("doc") && said("hidden"))
            || (path.is_ident("cfg") && (said("test") || said("fuzzing") || said("doctest")))
    })
}

impl Library {
    /// Reads the crate whose root is `src/lib.rs` in this folder of the workspace.
    pub(super) fn read(package: &str) -> Library {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(package).join("src");
        let mut library = Library { modules: BTreeMap::new() };
        library.read_file(&src.join("lib.rs"), &src, Vec::new());
        library
    }

    /// `folder` is where the files of its modules lie.
    fn read_file(&mut self, file: &Path, folder: &Path, place: Place) {
        let text = fs::read_to_string(file);
        let text = text.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parsed = syn::parse_file(&text);
        let parsed = parsed.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for item in &parsed.items {
            let Item::Mod(module) = item else { continue };
            if module.content.is_some() || is_hidden(&module.attrs) {
                continue;
            }
            let name = module.ident.to_string();
            let inner = folder.join(&name);
            let flat = folder.join(format!("{name}.rs"));
            let file: PathBuf = if flat.exists() { flat } else { inner.join("mod.rs") };
            // A module of another platform need not be there.
            if file.exists() {
                let mut below = place.clone();
                below.push(name);
                self.read_file(&file, &inner, below);
            }
        }
        let items = parsed.items.into_iter();
        let shown = items.filter(|item| !is_hidden(attributes(item))).collect();
        self.modules.insert(place, shown);
    }

    pub(super) fn modules(&self) -> impl Iterator<Item = (&Place, &[Item])> {
        self.modules.iter().map(|(place, items)| (place, items.as_slice()))
    }

    pub(super) fn items(&self, place: &Place) -> &[Item] {
        self.modules.get(place).map(Vec::as_slice).unwrap_or_default()
    }

    /// The item that a name means in a module: where it is defined, and what it is called there.
    pub(super) fn resolve(&self, place: &Place, name: &str) -> Option<(Place, &Item)> {
        let items = self.modules.get(place)?;
        let defined =
            items.iter().find(|item| defined_name(item).is_some_and(|ident| ident == name));
        if let Some(item) = defined {
            return Some((place.clone(), item));
        }
        for item in items {
            let Item::Use(import) = item else { continue };
            for (path, alias) in leaves(&import.tree) {
                if alias == name {
                    let found = self.follow(place, &path);
                    if found.is_some() {
                        return found;
                    }
                }
            }
        }
        None
    }

    /// The item at the end of a path that stands in a module.
    pub(super) fn follow(&self, place: &Place, path: &[String]) -> Option<(Place, &Item)> {
        let (name, folders) = path.split_last()?;
        let mut at = place.clone();
        for folder in folders {
            match folder.as_str() {
                "crate" => at.clear(),
                "self" => {}
                "super" => drop(at.pop()),
                module => {
                    at.push(module.to_owned());
                    // A crate from outside, or a type before its variant.
                    if !self.modules.contains_key(&at) {
                        return None;
                    }
                }
            }
        }
        // `use name;` is a crate from outside, and would go round for ever.
        if folders.is_empty() { None } else { self.resolve(&at, name) }
    }

    /// The item that a type names, references aside.
    pub(super) fn type_item(&self, place: &Place, of: &Type) -> Option<(Place, &Item)> {
        match of {
            Type::Reference(to) => self.type_item(place, &to.elem),
            Type::Path(path) => {
                let names: Vec<_> =
                    path.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
                match names.as_slice() {
                    [name] => self.resolve(place, name),
                    names => self.follow(place, names),
                }
            }
            _ => None,
        }
    }
}

pub(super) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

pub(super) fn defined_name(item: &Item) -> Option<&syn::Ident> {
    match item {
        Item::Const(item) => Some(&item.ident),
        Item::Enum(item) => Some(&item.ident),
        Item::Fn(item) => Some(&item.sig.ident),
        Item::Static(item) => Some(&item.ident),
        Item::Struct(item) => Some(&item.ident),
        Item::Trait(item) => Some(&item.ident),
        Item::Type(item) => Some(&item.ident),
        _ => None,
    }
}

/// Every name that a `use` brings in: its path, and what it is called here.
pub(super) fn leaves(tree: &UseTree) -> Vec<(Vec<String>, String)> {
    match tree {
        UseTree::Path(path) => {
            let first = path.ident.to_string();
            let below = leaves(&path.tree).into_iter().map(|(rest, alias)| {
                // `a::{self}` is `a`.
                let rest = if rest == ["self"] { Vec::new() } else { rest };
                let alias = if alias == "self" { first.clone() } else { alias };
                ([vec![first.clone()], rest].concat(), alias)
            });
            below.collect()
        }
        UseTree::Name(name) => vec![(vec![name.ident.to_string()], name.ident.to_string())],
        UseTree::Rename(name) => vec![(vec![name.ident.to_string()], name.rename.to_string())],
        UseTree::Group(group) => group.items.iter().flat_map(leaves).collect(),
        UseTree::Glob(_) => Vec::new(),
    }
}
