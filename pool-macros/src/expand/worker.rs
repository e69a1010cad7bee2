//! The functions that a worker calls by itself: `#[pool::worker_start]` and `#[pool::state]`.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned as _;

use super::{not_a_function, path_text, private};
use crate::args::{Errors, HookArgs};
use crate::model::{Function, HookFn, StateFn};

/// `#[pool::worker_start]`
pub(crate) fn worker_start(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let args = HookArgs::parse(args, &mut errors);
    let function = match Function::parse_item("pool::worker_start", item.clone()) {
        Ok(function) => function,
        Err(error) => return not_a_function(item, error, errors),
    };
    let hook = HookFn::new(args, function, &mut errors);
    let function = &hook.function;
    if !errors.is_empty() {
        let errors = errors.into_compile_errors();
        return quote! { #[allow(dead_code)] #function #errors };
    }
    let private = private(hook.args.krate.as_ref());
    let conditions = function.conditions();
    let ident = &function.sig.ident;
    let path = path_text(ident);
    let span = function.output().map_or_else(Span::call_site, |output| output.span());
    let run = quote_spanned!(span=> || #private::Started::started(#ident()));
    quote! {
        #function

        #(#conditions)*
        #[doc(hidden)]
        #[allow(clippy::all)]
        const _: () = {
            #private::inventory::submit! {
                #private::StartEntry {
                    name: #path,
                    file: ::core::file!(),
                    line: ::core::line!(),
                    run: #run,
                }
            }
        };
    }
}

/// `#[pool::state]`
pub(crate) fn state(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let args = HookArgs::parse(args, &mut errors);
    let function = match Function::parse_item("pool::state", item.clone()) {
        Ok(function) => function,
        Err(error) => return not_a_function(item, error, errors),
    };
    let state = StateFn::new(args, function, &mut errors);
    let function = &state.function;
    let output = match &state.output {
        Some(output) if errors.is_empty() => output,
        _ => {
            let errors = errors.into_compile_errors();
            return quote! { #[allow(dead_code)] #function #errors };
        }
    };
    let private = private(state.args.krate.as_ref());
    let conditions = function.conditions();
    let ident = &function.sig.ident;
    let path = path_text(ident);
    // At the return type, where the compiler has something to say against it.
    let maker = quote_spanned!(output.span()=> #private::Maker::<#output>::of());
    let make = quote_spanned!(output.span()=> #maker.make(#ident()));
    quote! {
        #function

        #(#conditions)*
        #[doc(hidden)]
        #[allow(
            deprecated,
            private_interfaces,
            unused_imports,
            unused_qualifications,
            clippy::all,
            clippy::pedantic
        )]
        const _: () = {
            use #private::AnyMaker as _;

            #private::inventory::submit! {
                #private::StateEntry {
                    name: #path,
                    file: ::core::file!(),
                    line: ::core::line!(),
                    made: || #maker.made(),
                    make: || #make,
                }
            }
        };
    }
}
