//! The shapes of types that a job's parameters and output, and a worker's states, may have.
//!
//! Judges what is written, and only that: whether a type can be serialised is for the compiler
//! to say. Every part of a type is looked at, so that all mistakes in it are told at once.

use syn::{Error, GenericArgument, Path, PathArguments, Type, TypeReference};

use crate::args::Errors;

/// `ty` without the invisible brackets of a `$ty:ty` and without needless ones.
pub(crate) fn peel(mut ty: &Type) -> &Type {
    loop {
        ty = match ty {
            Type::Group(group) => &group.elem,
            Type::Paren(paren) => &paren.elem,
            _ => return ty,
        };
    }
}

/// By the last word only: an attribute cannot look a path up.
pub(crate) fn is_context(ty: &Type) -> bool {
    matches!(peel(ty), Type::Path(path) if path.qself.is_none()
        && path.path.segments.last().is_some_and(|last| last.ident == "JobContext"))
}

/// Whether `reference`, which is the whole of a parameter, can be lent.
pub(crate) fn reject_reference(reference: &TypeReference, errors: &mut Errors) -> bool {
    let mut sound = true;
    if let Some(token) = &reference.mutability {
        errors.push(Error::new(
            token.span,
            "a job cannot change what its caller holds, which is in another process; \
             take the value, change it and return it",
        ));
        sound = false;
    }
    if let Some(lifetime) = &reference.lifetime {
        // A lifetime with a declaration is reported there.
        if lifetime.ident == "static" {
            errors.push(Error::new(lifetime.span(), named_lifetime(lifetime)));
        }
        sound &= lifetime.ident == "_";
    }
    sound
}

/// What a `#[state]` parameter of type `ty` asks for: the type behind the reference.
pub(crate) fn reject_state(ty: &Type, errors: &mut Errors) -> Type {
    let Type::Reference(reference) = peel(ty) else {
        if !matches!(ty, Type::Infer(_)) {
            errors.push(Error::new_spanned(
                ty,
                "a state is lent, since the worker keeps it for the next job; write `&` before \
                 its type",
            ));
        }
        return ty.clone();
    };
    if let Some(token) = &reference.mutability {
        errors.push(Error::new(
            token.span,
            "a state is shared by all jobs of its worker and lent by `&`; remove `mut`, and put \
             what changes into a `Cell`, `RefCell` or `Mutex`",
        ));
    }
    if let Some(lifetime) = &reference.lifetime {
        // A lifetime with a declaration is reported there.
        if lifetime.ident == "static" {
            errors.push(Error::new(
                lifetime.span(),
                "a state is lent for as long as the job runs; write `&T` without a lifetime",
            ));
        }
    }
    let inner = peel(&reference.elem);
    let message = match inner {
        _ if is_context(inner) => {
            Some("the context is no state: every job can have it; remove `#[state]`")
        }
        Type::Path(path) if path.path.is_ident("str") => Some(
            "a state is a sized type, which `str` is not; ask for a type of your own around a `String`",
        ),
        Type::Slice(_) => Some(
            "a state is a sized type, which a slice is not; ask for a type of your own around a `Vec`",
        ),
        Type::TraitObject(_) => Some(
            "a state is found by its type, and behind a trait object is any type; ask for \
             `&Box<dyn Trait>`, and let the `#[pool::state]` function return that",
        ),
        Type::ImplTrait(_) => {
            Some("a state is found by its type; write the type in place of `impl Trait`")
        }
        _ => None,
    };
    if let Some(message) = message {
        errors.push(Error::new_spanned(inner, message));
    }
    (*reference.elem).clone()
}

/// Said where a maker makes nothing.
pub(crate) const NO_STATE: &str = "a `#[pool::state]` function returns the state, a `T` or a `Result<T, E>`; what a worker only \
     does at its start goes into a `#[pool::worker_start]` function";

/// Whether what a maker returns can be a state.
pub(crate) fn reject_maker(ty: &Type, errors: &mut Errors) -> bool {
    let message = match peel(ty) {
        Type::Tuple(tuple) if tuple.elems.is_empty() => NO_STATE,
        Type::Never(_) => NO_STATE,
        Type::ImplTrait(_) => {
            "a job finds its state by the type; write the type in place of `impl Trait`, for \
             example `Box<dyn Trait>`"
        }
        Type::Path(path) => return reject_made_by_result(&path.path, errors),
        _ => return true,
    };
    errors.push(Error::new_spanned(ty, message));
    false
}

/// `Result<(), E>` by any path; what a `Result` of another name makes is for the compiler to see.
fn reject_made_by_result(path: &Path, errors: &mut Errors) -> bool {
    let Some(last) = path.segments.last().filter(|last| last.ident == "Result") else {
        return true;
    };
    match &last.arguments {
        PathArguments::AngleBracketed(arguments) => match arguments.args.first() {
            Some(GenericArgument::Type(made)) => reject_maker(made, errors),
            _ => true,
        },
        _ => true,
    }
}

/// Where a type stands.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    Parameter,
    Output,
}

/// Whether `ty` is free of what cannot be sent or cannot be named; its parts included.
pub(crate) fn reject_inside(ty: &Type, place: Place, errors: &mut Errors) -> bool {
    let mut all = |types: &mut dyn Iterator<Item = &Type>| {
        // Not `all`, which stops at the first: every mistake is reported.
        types.fold(true, |sound, ty| reject_inside(ty, place, errors) & sound)
    };
    match ty {
        Type::Array(array) => all(&mut [&*array.elem].into_iter()),
        Type::Slice(slice) => all(&mut [&*slice.elem].into_iter()),
        Type::Paren(paren) => all(&mut [&*paren.elem].into_iter()),
        Type::Group(group) => all(&mut [&*group.elem].into_iter()),
        Type::Tuple(tuple) => all(&mut tuple.elems.iter()),
        Type::Path(path) => {
            let qself = path.qself.as_ref().map(|qself| &*qself.ty);
            let sound = all(&mut qself.into_iter());
            reject_in_path(&path.path, place, errors) & sound
        }
        Type::Reference(reference) => {
            errors.push(Error::new_spanned(reference, match place {
                Place::Output => {
                    "a job's output cannot borrow: it outlives the job and leaves the process; \
                     return an owned type"
                }
                Place::Parameter => {
                    "a reference inside another type cannot be received: a worker lends out whole \
                     parameters only; use the owned type here"
                }
            }));
            false
        }
        Type::ImplTrait(_) => {
            errors.push(Error::new_spanned(
                ty,
                "a job's types are named: both processes must agree on what the bytes mean; \
                 write a concrete type in place of `impl Trait`",
            ));
            false
        }
        Type::TraitObject(_) => {
            errors.push(Error::new_spanned(
                ty,
                "a trait object cannot be sent: the other process would not know which type it is; \
                 use a concrete type, for example an enum",
            ));
            false
        }
        // The compiler has its own words for this one.
        Type::Infer(_) => false,
        _ => true,
    }
}

fn reject_in_path(path: &Path, place: Place, errors: &mut Errors) -> bool {
    let mut sound = true;
    for segment in &path.segments {
        let PathArguments::AngleBracketed(arguments) = &segment.arguments else { continue };
        for argument in &arguments.args {
            match argument {
                GenericArgument::Type(ty) => sound &= reject_inside(ty, place, errors),
                GenericArgument::Lifetime(lifetime) if lifetime.ident != "static" => {
                    // A lifetime with a declaration is reported there.
                    if lifetime.ident == "_" {
                        errors.push(Error::new(
                            lifetime.span(),
                            "a type that borrows cannot be received or returned; write `'static` where \
                             the type can own its data, as `Cow<'static, str>`, or use an owned type",
                        ));
                    }
                    sound = false;
                }
                _ => {}
            }
        }
    }
    sound
}

pub(crate) fn named_lifetime(lifetime: &syn::Lifetime) -> String {
    format!(
        "a job cannot name the lifetime `{lifetime}`: what it receives lives as long as the job \
         runs; write `&T` without a lifetime, or take an owned type"
    )
}
