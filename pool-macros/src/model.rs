//! From an item to a [`JobFn`], a [`WrappedFn`], a [`StateFn`] or a [`HookFn`], with every
//! rejection.
//!
//! Everything that can be said against an item is said at once, each at its narrowest span, with
//! the reason and the way out. A model always results: what was rejected in it is marked, so
//! that the expansion can leave it out and the compiler adds no errors of its own to ours.
//! Bodies are not looked into.

use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use quote::{ToTokens, TokenStreamExt as _, format_ident};
use syn::parse::{Parse, ParseStream};
use syn::{
    Attribute, Error, FnArg, GenericParam, Ident, Pat, PatType, Result, ReturnType, Safety,
    Signature, Type, Visibility,
};

use crate::args::{Errors, HookArgs, JobArgs, RuntimeArgs};
use crate::shape::{
    NO_STATE, Place, is_context, named_lifetime, peel, reject_inside, reject_maker,
    reject_reference, reject_state,
};

/// A function as it was written, with its body unread.
pub(crate) struct Function {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    pub(crate) body: Group,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        let sig = input.parse()?;
        match input.parse::<TokenTree>()? {
            TokenTree::Group(body) if body.delimiter() == Delimiter::Brace => {
                Ok(Function { attrs, vis, sig, body })
            }
            other => Err(Error::new(other.span(), "expected the body of a function")),
        }
    }
}

impl ToTokens for Function {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        tokens.append_all(&self.attrs);
        self.vis.to_tokens(tokens);
        self.sig.to_tokens(tokens);
        self.body.to_tokens(tokens);
    }
}

impl Function {
    /// `item` as a function, or why it is none.
    pub(crate) fn parse_item(attribute: &str, item: TokenStream) -> Result<Self> {
        let start =
            item.clone().into_iter().next().map_or_else(Span::call_site, |tree| tree.span());
        syn::parse2(item).map_err(|_| {
            Error::new(start, format!("`#[{attribute}]` goes on a free function with a body"))
        })
    }

    pub(crate) fn is_async(&self) -> bool {
        self.sig.asyncness.is_some()
    }

    /// The type returned, where one is written.
    pub(crate) fn output(&self) -> Option<&Type> {
        match &self.sig.output {
            ReturnType::Default => None,
            ReturnType::Type(_, ty) => Some(peel(ty)),
        }
    }

    /// The conditions that must also hold for what is emitted beside the function.
    pub(crate) fn conditions(&self) -> impl Iterator<Item = &Attribute> {
        self.attrs.iter().filter(|attr| attr.path().is_ident("cfg"))
    }
}

/// A function under `#[pool_job]`.
pub(crate) struct JobFn {
    pub(crate) function: Function,
    pub(crate) args: JobArgs,
    pub(crate) parameters: Vec<Parameter>,
    /// `None`: rejected.
    pub(crate) output: Option<Type>,
}

/// A parameter of a job function.
pub(crate) enum Parameter {
    Sent(Box<Sent>),
    /// `&JobContext`, injected.
    Context,
    /// `#[state] s: &T`, injected; here `T`.
    State(Box<Type>),
    /// Rejected, by us or soon by the compiler; with its type, as far as it can be written.
    Rejected(Box<Type>),
}

/// A parameter that travels.
pub(crate) struct Sent {
    /// As the user calls it, where it has a plain name.
    pub(crate) name: Ident,
    /// As written.
    pub(crate) ty: Type,
    /// For `&T` this is `T`: it is received in its owned form and lent to the function.
    pub(crate) lent: Option<Type>,
}

impl Sent {
    /// The type that decides how the value travels.
    pub(crate) fn value(&self) -> &Type {
        self.lent.as_ref().unwrap_or(&self.ty)
    }
}

impl JobFn {
    pub(crate) fn new(args: JobArgs, mut function: Function, errors: &mut Errors) -> Self {
        reject_qualifiers(&function.sig, "job", errors);
        reject_generics(&function.sig, errors);
        let mut context = false;
        let mut parameters = Vec::new();
        for (index, input) in function.sig.inputs.iter_mut().enumerate() {
            match input {
                FnArg::Receiver(receiver) => errors.push(Error::new_spanned(
                    receiver,
                    "a job has no `self`: it runs in another process, and a worker finds it by its \
                     path; make it a free function and take the value as a parameter",
                )),
                FnArg::Typed(typed) => {
                    parameters.push(parameter(index, typed, &mut context, errors));
                }
            }
        }
        let output = match &function.sig.output {
            ReturnType::Default => Some(unit()),
            ReturnType::Type(_, ty) if matches!(peel(ty), Type::Never(_)) => Some(unit()),
            ReturnType::Type(_, ty) => {
                reject_inside(ty, Place::Output, errors).then(|| (**ty).clone())
            }
        };
        // With type parameters it may name one of them, which the companion does not have.
        let output = output.filter(|_| function.sig.generics.params.is_empty());
        JobFn { function, args, parameters, output }
    }

    /// The companion's name.
    pub(crate) fn companion(&self) -> &Ident {
        self.args.marker.as_ref().unwrap_or(&self.function.sig.ident)
    }

    pub(crate) fn has_rejected(&self) -> bool {
        self.parameters.iter().any(|parameter| matches!(parameter, Parameter::Rejected(_)))
    }

    /// The parameters that the caller passes.
    pub(crate) fn sent(&self) -> impl Iterator<Item = &Sent> {
        self.parameters.iter().filter_map(|parameter| match parameter {
            Parameter::Sent(sent) => Some(&**sent),
            _ => None,
        })
    }
}

fn unit() -> Type {
    Type::Tuple(syn::TypeTuple {
        attrs: Vec::new(),
        paren_token: Default::default(),
        elems: Default::default(),
    })
}

/// `noun` is what the function is to be.
fn reject_qualifiers(sig: &Signature, noun: &str, errors: &mut Errors) {
    if let Safety::Unsafe(token) = &sig.safety {
        errors.push(Error::new_spanned(
            token,
            format!(
                "a {noun} cannot be `unsafe`: nobody who has it run promises anything; \
                 make it safe and put an `unsafe` block into it"
            ),
        ));
    }
    if let Some(abi) = &sig.abi {
        errors.push(Error::new_spanned(
            abi,
            format!(
                "a {noun} cannot be `extern`: it is called by Rust only; \
                 write one that calls the `extern` function"
            ),
        ));
    }
    if let Some(variadic) = &sig.variadic {
        errors.push(Error::new_spanned(
            variadic,
            format!(
                "a {noun} cannot be variadic: its arguments are typed and counted; take a `Vec`"
            ),
        ));
    }
}

fn reject_generics(sig: &Signature, errors: &mut Errors) {
    for parameter in &sig.generics.params {
        errors.push(match parameter {
            GenericParam::Lifetime(lifetime) => {
                Error::new(lifetime.lifetime.span(), named_lifetime(&lifetime.lifetime))
            }
            GenericParam::Type(syn::TypeParam { ident, .. })
            | GenericParam::Const(syn::ConstParam { ident, .. }) => Error::new(
                ident.span(),
                format!(
                    "a job cannot be generic over `{ident}`: a worker finds it in a table that is \
                     complete before `main` starts; write one job for each type, which calls the \
                     generic function"
                ),
            ),
        });
    }
}

fn parameter(
    index: usize,
    typed: &mut PatType,
    context: &mut bool,
    errors: &mut Errors,
) -> Parameter {
    let mut sound = true;
    let mut state = false;
    typed.attrs.retain(|attr| {
        if is_state(attr) {
            if attr.meta.require_path_only().is_err() {
                errors.push(Error::new_spanned(
                    attr,
                    "`#[state]` takes no arguments: the state is found by its type",
                ));
            }
            state = true;
            return false;
        }
        if attr.path().is_ident("cfg") || attr.path().is_ident("cfg_attr") {
            errors.push(Error::new_spanned(
                attr,
                "a job's parameter cannot depend on `cfg`: what is emitted beside the function \
                 must have the same parameters; put the condition on the whole function",
            ));
            sound = false;
        }
        true
    });
    let name = match &*typed.pat {
        Pat::Ident(pat) if pat.by_ref.is_none() && pat.subpat.is_none() => pat.ident.clone(),
        Pat::Wild(_) => nameless(index),
        other => {
            errors.push(Error::new_spanned(
                other,
                "a job's parameter is a plain name: it names the argument in errors; \
                 take it apart inside the function",
            ));
            nameless(index)
        }
    };
    let ty = &*typed.ty;
    if state {
        // Rejected or not, the caller does not pass it.
        return Parameter::State(Box::new(reject_state(ty, errors)));
    }
    let lent = match peel(ty) {
        Type::Reference(reference) => {
            sound &= reject_reference(reference, errors);
            if is_context(&reference.elem) {
                if std::mem::replace(context, true) {
                    errors.push(Error::new_spanned(
                        ty,
                        "a job has one context; remove this parameter and use the other one",
                    ));
                }
                return Parameter::Context;
            }
            let inside = match peel(&reference.elem) {
                Type::Slice(slice) => &slice.elem,
                elem => elem,
            };
            sound &= reject_inside(inside, Place::Parameter, errors);
            Some((*reference.elem).clone())
        }
        _ => {
            sound &= reject_inside(ty, Place::Parameter, errors);
            None
        }
    };
    match sound {
        true => Parameter::Sent(Box::new(Sent { name, ty: ty.clone(), lent })),
        false => Parameter::Rejected(typed.ty.clone()),
    }
}

/// By the last word: `#[pool::state]` may be written in full here too.
fn is_state(attr: &Attribute) -> bool {
    attr.path().segments.last().is_some_and(|last| last.ident == "state")
}

/// Hygienic: the user may have a parameter of that very name.
fn nameless(index: usize) -> Ident {
    format_ident!("_{index}", span = Span::mixed_site())
}

/// A function under `#[pool::main]` or `#[pool::test]`.
pub(crate) struct WrappedFn {
    pub(crate) function: Function,
    pub(crate) args: RuntimeArgs,
}

impl WrappedFn {
    pub(crate) fn main(args: RuntimeArgs, function: Function, errors: &mut Errors) -> Self {
        WrappedFn::new("main", args, function, errors)
    }

    pub(crate) fn test(args: RuntimeArgs, function: Function, errors: &mut Errors) -> Self {
        WrappedFn::new("test", args, function, errors)
    }

    fn new(kind: &str, args: RuntimeArgs, mut function: Function, errors: &mut Errors) -> Self {
        reject_attributes(kind, &mut function.attrs, errors);
        for input in &function.sig.inputs {
            errors.push(Error::new_spanned(
                input,
                format!(
                    "`#[pool::{kind}]` goes on a function without parameters: nobody passes any; \
                     read the command line, the environment or a file in it"
                ),
            ));
        }
        if let Some(Type::ImplTrait(ty)) = function.output() {
            errors.push(Error::new_spanned(
                ty,
                format!("`#[pool::{kind}]` needs the return type's name; write it out"),
            ));
        }
        match (&args.runtime_option, &args.worker_threads, &args.flavor) {
            (Some(option), ..) if !function.is_async() => errors.push(Error::new(
                option.span(),
                format!(
                    "`{option}` is about the runtime of an `async fn`; add `async` or remove it"
                ),
            )),
            (_, Some((option, _)), Some(flavor)) if flavor == "CurrentThread" => {
                errors.push(Error::new(
                    option.span(),
                    "`worker_threads` goes with `flavor = \"multi_thread\"`",
                ));
            }
            _ => {}
        }
        WrappedFn { function, args }
    }
}

/// The crates whose `main` and `test` make a runtime out of an `async fn`.
const RUNTIMES: [&str; 5] = ["actix_rt", "actix_web", "async_std", "smol_potat", "tokio"];

/// Takes those away that would do once more what `#[pool::main]` or `#[pool::test]` does.
fn reject_attributes(kind: &str, attrs: &mut Vec<Attribute>, errors: &mut Errors) {
    attrs.retain(|attr| {
        let path: Vec<String> =
            attr.path().segments.iter().map(|segment| segment.ident.to_string()).collect();
        let message = match &*path {
            // Only where the crate is written as well: a `main` may be anything.
            [krate, word]
                if RUNTIMES.contains(&&**krate) && ["main", "test"].contains(&&**word) =>
            {
                let way_out = match &**krate {
                    "tokio" => format!(
                        "remove `#[tokio::{word}]` and give its options (`flavor`, \
                         `worker_threads`) to `#[pool::{kind}]`"
                    ),
                    _ => format!(
                        "remove `#[{krate}::{word}]`; for that runtime, remove `async` too and \
                         block on it in the function"
                    ),
                };
                format!(
                    "`#[pool::{kind}]` makes the tokio runtime of an `async fn` itself: nothing \
                     `async` is left below it; {way_out}"
                )
            }
            [.., word] if kind == "test" && word == "test" => {
                "`#[pool::test]` makes the function a test already; remove the other attribute"
                    .to_owned()
            }
            _ => return true,
        };
        errors.push(Error::new_spanned(attr, message));
        false
    });
}

/// A function under `#[pool::worker_start]`.
pub(crate) struct HookFn {
    pub(crate) function: Function,
    pub(crate) args: HookArgs,
}

impl HookFn {
    pub(crate) fn new(args: HookArgs, function: Function, errors: &mut Errors) -> Self {
        let noun = "`#[pool::worker_start]` function";
        reject_qualifiers(&function.sig, noun, errors);
        reject_inputs(&function.sig, noun, "nobody names the types", errors);
        if let Some(token) = &function.sig.asyncness {
            errors.push(Error::new_spanned(
                token,
                format!(
                    "a {noun} is not `async`: it runs before the worker has a runtime; \
                     block in it on what it waits for"
                ),
            ));
        }
        HookFn { function, args }
    }
}

/// A function under `#[pool::state]`.
pub(crate) struct StateFn {
    pub(crate) function: Function,
    pub(crate) args: HookArgs,
    /// What it returns; `None`: rejected.
    pub(crate) output: Option<Type>,
}

impl StateFn {
    pub(crate) fn new(args: HookArgs, function: Function, errors: &mut Errors) -> Self {
        let noun = "`#[pool::state]` function";
        reject_qualifiers(&function.sig, noun, errors);
        reject_inputs(
            &function.sig,
            noun,
            "a worker looks for the one function that makes a type; write one for each type",
            errors,
        );
        if let Some(token) = &function.sig.asyncness {
            errors.push(Error::new_spanned(
                token,
                format!(
                    "a {noun} is not `async`: it makes the state before the job runs; \
                     block in it on what it waits for"
                ),
            ));
        }
        let output = match &function.sig.output {
            ReturnType::Default => {
                errors.push(Error::new(function.sig.ident.span(), NO_STATE));
                None
            }
            ReturnType::Type(_, ty) => reject_maker(ty, errors).then(|| (**ty).clone()),
        };
        StateFn { function, args, output }
    }
}

/// For what a worker calls by itself.
fn reject_inputs(sig: &Signature, noun: &str, why_not_generic: &str, errors: &mut Errors) {
    for parameter in &sig.generics.params {
        errors.push(Error::new_spanned(
            parameter,
            format!("a {noun} cannot be generic: {why_not_generic}"),
        ));
    }
    for input in &sig.inputs {
        errors.push(Error::new_spanned(
            input,
            format!(
                "a {noun} has no parameters: each worker calls it by itself; \
                 read the environment or a file"
            ),
        ));
    }
}
