//! Public items as text: what another crate can name, in an order that does not depend on where
//! it stands in the sources.

use std::collections::{BTreeMap, BTreeSet};

use syn::{
    Attribute, Field, Fields, FnArg, GenericArgument, ImplItem, Item, ItemImpl, ItemMod, Pat,
    PathArguments, Signature, TraitItem, Type, Visibility, parse_quote,
};

use super::source::{Library, Place, attributes, defined_name, is_hidden, leaves};

/// One item of the public surface.
pub(super) struct Public {
    pub(super) name: String,
    /// Whether it has auto traits.
    pub(super) is_type: bool,
    /// The definition, then what is implemented for it.
    pub(super) texts: Vec<String>,
}

/// What is defined where, under the name that it has at the root.
type Names = BTreeMap<(Place, String), String>;

/// Everything that the crate's root shows, sorted by name.
pub(super) fn public(library: &Library) -> Vec<Public> {
    let (mut names, mut found) = (Names::new(), BTreeMap::new());
    for (place, items) in library.modules() {
        for item in items {
            if place.is_empty() {
                at_root(library, item, &mut names, &mut found);
            }
            if let Item::Macro(item) = item {
                let exported = item.attrs.iter().any(|attr| attr.path().is_ident("macro_export"));
                if let (true, Some(name)) = (exported, &item.ident) {
                    add(&mut found, &format!("{name}!"), false, format!("macro_rules! {name}"));
                }
            }
        }
    }
    for (name, texts) in impls(library, &names) {
        if let Some(public) = found.get_mut(&name) {
            public.texts.extend(texts);
        }
    }
    found.into_values().collect()
}

fn add(found: &mut BTreeMap<String, Public>, name: &str, is_type: bool, text: String) {
    let public = Public { name: name.to_owned(), is_type, texts: vec![text] };
    let before = found.insert(name.to_owned(), public);
    assert!(before.is_none(), "two public items are called {name}");
}

/// An item of `lib.rs`: of its own, or brought in from a module or from the macros' crate.
fn at_root(
    library: &Library,
    item: &Item,
    names: &mut Names,
    found: &mut BTreeMap<String, Public>,
) {
    let root = Place::new();
    match item {
        Item::Use(import) if is_public(&import.vis) => {
            for (path, alias) in leaves(&import.tree) {
                match library.follow(&root, &path) {
                    Some((place, item)) => {
                        let defined = defined_name(item).map(ToString::to_string);
                        names.insert((place, defined.unwrap_or_default()), alias.clone());
                        let is_type = matches!(item, Item::Struct(_) | Item::Enum(_));
                        add(found, &alias, is_type, definition(item));
                    }
                    None => {
                        add(found, &alias, false, format!("pub use {};", path.join("::")));
                    }
                }
            }
        }
        Item::Mod(module) if is_public(&module.vis) => {
            let name = module.ident.to_string();
            let pages = pages(library, root, module);
            add(found, &name, false, pages.join("\n"));
        }
        Item::Fn(function) if is_public(&function.vis) => {
            add(found, &function.sig.ident.to_string(), false, definition(item));
        }
        // What stands there so far are functions and imports.
        Item::Struct(_) | Item::Enum(_) | Item::Trait(_) | Item::Type(_) => {
            panic!("an item in lib.rs: teach this test to read it");
        }
        _ => {}
    }
}

/// A public module and those in it. They hold prose and nothing else.
fn pages(library: &Library, mut place: Place, module: &ItemMod) -> Vec<String> {
    place.push(module.ident.to_string());
    let items = match &module.content {
        Some((_, items)) => items.as_slice(),
        None => library.items(&place),
    };
    let mut pages = vec![format!("pub mod {};", place.join("::"))];
    for item in items {
        match item {
            Item::Mod(below) if is_public(&below.vis) => {
                pages.extend(self::pages(library, place.clone(), below));
            }
            _ => panic!("{place:?} is a public module with items: teach this test to read it"),
        }
    }
    pages
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// What a user has to know of an item's attributes.
fn kept(attrs: &[Attribute]) -> Vec<Attribute> {
    let mut kept: Vec<Attribute> = Vec::new();
    for attr in attrs {
        if attr.path().is_ident("must_use") {
            kept.push(parse_quote!(#[must_use]));
        }
        let wanted = ["derive", "non_exhaustive", "deprecated", "default", "proc_macro_attribute"];
        // Platform and feature, but not what rustdoc makes of them.
        if wanted.iter().any(|name| attr.path().is_ident(name)) || attr.path().is_ident("cfg") {
            kept.push(attr.clone());
        }
    }
    kept
}

fn definition(item: &Item) -> String {
    let mut item = item.clone();
    match &mut item {
        Item::Struct(item) => {
            item.attrs = kept(&item.attrs);
            show_fields(&mut item.fields);
        }
        Item::Enum(item) => {
            item.attrs = kept(&item.attrs);
            for variant in &mut item.variants {
                variant.attrs = kept(&variant.attrs);
                for field in &mut variant.fields {
                    field.attrs = kept(&field.attrs);
                }
            }
        }
        Item::Trait(item) => {
            item.attrs = kept(&item.attrs);
            item.items.retain_mut(|item| match item {
                TraitItem::Const(item) => {
                    let hidden = is_hidden(&item.attrs);
                    item.attrs = kept(&item.attrs);
                    !hidden
                }
                TraitItem::Fn(item) => {
                    let hidden = is_hidden(&item.attrs);
                    item.attrs = kept(&item.attrs);
                    plain(&mut item.sig);
                    if item.default.is_some() {
                        item.default = Some(parse_quote!({ "provided" }));
                    }
                    !hidden
                }
                TraitItem::Type(item) => {
                    let hidden = is_hidden(&item.attrs);
                    item.attrs = kept(&item.attrs);
                    !hidden
                }
                _ => true,
            });
        }
        Item::Fn(item) => {
            item.attrs = kept(&item.attrs);
            plain(&mut item.sig);
            item.block = parse_quote!({});
        }
        Item::Type(item) => item.attrs = kept(&item.attrs),
        Item::Const(item) => item.attrs = kept(&item.attrs),
        other => panic!("teach this test to read {:?}", defined_name(other)),
    }
    unparse(vec![item])
}

/// Private fields become one word.
fn show_fields(fields: &mut Fields) {
    let public = |field: &&Field| is_public(&field.vis) && !is_hidden(&field.attrs);
    match fields {
        Fields::Named(named) => {
            let shown: Vec<Field> = named.named.iter().filter(public).cloned().collect();
            let all = shown.len() == named.named.len();
            named.named = shown.into_iter().collect();
            if !all {
                let rest: syn::FieldsNamed = parse_quote!({ __private_fields: () });
                named.named.extend(rest.named);
            }
        }
        Fields::Unnamed(unnamed) => {
            for field in &mut unnamed.unnamed {
                if !is_public(&field.vis) {
                    field.ty = parse_quote!(_);
                    field.vis = Visibility::Inherited;
                }
            }
        }
        Fields::Unit => {}
    }
    for field in fields {
        field.attrs = kept(&field.attrs);
    }
}

/// Without `mut` in front of parameters: it is the function's own affair.
fn plain(signature: &mut Signature) {
    for input in &mut signature.inputs {
        match input {
            FnArg::Receiver(receiver) => receiver.mutability = None,
            FnArg::Typed(typed) => {
                if let Pat::Ident(name) = typed.pat.as_mut() {
                    name.mutability = None;
                }
            }
        }
    }
}

fn unparse(items: Vec<Item>) -> String {
    let file = syn::File { shebang: None, frontmatter: None, attrs: Vec::new(), items };
    prettyplease::unparse(&file)
        .replace("__private_fields: (),", "/* private fields */")
        .replace(" {}\n", ";\n")
        .replace("{\n        \"provided\"\n    }", "{ /* provided */ }")
        .trim_end()
        .to_owned()
}

/// What is implemented for each public item, by its name at the root: methods, then traits.
fn impls(library: &Library, names: &Names) -> BTreeMap<String, Vec<String>> {
    // Blocks with the same head are one.
    let mut methods: BTreeMap<(String, String), (ItemImpl, BTreeMap<String, ImplItem>)> =
        BTreeMap::new();
    let mut traits: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (place, items) in library.modules() {
        for item in items {
            let Item::Impl(block) = item else { continue };
            if is_hidden(attributes(item)) {
                continue;
            }
            let Some(name) = public_name(library, names, place, &block.self_ty)
                .or_else(|| mentioned(library, names, place, block))
            else {
                continue;
            };
            let mut head = ItemImpl { items: Vec::new(), ..block.clone() };
            head.attrs = kept(&head.attrs);
            if block.trait_.is_some() {
                if !is_private_trait(library, names, place, block) {
                    traits.entry(name).or_default().insert(trait_text(head, block));
                }
            } else {
                let key = unparse(vec![Item::Impl(head.clone())]);
                let entry = methods.entry((name, key)).or_insert_with(|| (head, BTreeMap::new()));
                entry.1.extend(block.items.iter().filter_map(public_method));
            }
        }
    }
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for ((name, _), (mut head, items)) in methods {
        if !items.is_empty() {
            head.items = items.into_values().collect();
            texts.entry(name).or_default().push(unparse(vec![Item::Impl(head)]));
        }
    }
    for (name, found) in traits {
        texts.entry(name).or_default().push(Vec::from_iter(found).join("\n"));
    }
    texts
}

/// What a type is called at the root, if it is public.
fn public_name(library: &Library, names: &Names, place: &Place, of: &Type) -> Option<String> {
    let (defined_in, item) = library.type_item(place, of)?;
    let name = defined_name(item)?.to_string();
    names.get(&(defined_in, name)).cloned()
}

/// The public type in `impl From<It> for ForeignType`, a type of another crate.
fn mentioned(library: &Library, names: &Names, place: &Place, block: &ItemImpl) -> Option<String> {
    if library.type_item(place, &block.self_ty).is_some() {
        return None;
    }
    let (path, _) = block.trait_.as_ref()?;
    let PathArguments::AngleBracketed(args) = &path.segments.last()?.arguments else {
        return None;
    };
    args.args.iter().find_map(|arg| match arg {
        GenericArgument::Type(of) => public_name(library, names, place, of),
        _ => None,
    })
}

/// Whether only the library can name this trait.
fn is_private_trait(library: &Library, names: &Names, place: &Place, block: &ItemImpl) -> bool {
    let Some((path, _)) = &block.trait_ else { return false };
    let of = Type::Path(syn::TypePath { attrs: Vec::new(), qself: None, path: path.clone() });
    library.type_item(place, &of).is_some_and(|_| public_name(library, names, place, &of).is_none())
}

/// The head, and the types that belong to it.
fn trait_text(mut head: ItemImpl, block: &ItemImpl) -> String {
    if let Some((path, _)) = &mut head.trait_ {
        // `Debug` or `fmt::Debug`: as the file likes it.
        path.leading_colon = None;
        path.segments = path.segments.last().cloned().into_iter().collect();
    }
    head.items = block.items.iter().filter(|i| matches!(i, ImplItem::Type(_))).cloned().collect();
    unparse(vec![Item::Impl(head)])
}

fn public_method(item: &ImplItem) -> Option<(String, ImplItem)> {
    match item {
        ImplItem::Fn(function) if is_public(&function.vis) && !is_hidden(&function.attrs) => {
            let mut function = function.clone();
            function.attrs = kept(&function.attrs);
            function.block = parse_quote!({});
            plain(&mut function.sig);
            Some((function.sig.ident.to_string(), ImplItem::Fn(function)))
        }
        ImplItem::Const(constant) if is_public(&constant.vis) && !is_hidden(&constant.attrs) => {
            let mut constant = constant.clone();
            constant.attrs = kept(&constant.attrs);
            Some((constant.ident.to_string(), ImplItem::Const(constant)))
        }
        ImplItem::Macro(_) => panic!("a macro makes methods: teach this test to read it"),
        _ => None,
    }
}
