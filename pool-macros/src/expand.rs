//! From a model to tokens: quoting, and nothing that decides.
//!
//! An expansion is the user's item, untouched, and beside it what `pool::__private` needs.
//! Types are quoted at their own place, so that the compiler points at them where they cannot be
//! sent. Our names inside an expansion are hygienic and cannot meet the user's.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, format_ident, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;
use syn::{Ident, Path, Type};

use crate::args::{Errors, JobArgs, RuntimeArgs};
use crate::model::{Function, JobFn, Parameter, Sent, WrappedFn};

pub(crate) mod worker;

/// `#[pool_job]`
pub(crate) fn job(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let args = JobArgs::parse(args, &mut errors);
    let function = match Function::parse_item("pool_job", item.clone()) {
        Ok(function) => function,
        Err(error) => return not_a_function(item, error, errors),
    };
    let job = JobFn::new(args, function, &mut errors);
    let companion = companion(&job);
    let beside = match &job.output {
        // Where a `self` is, no type can be declared.
        _ if job.function.sig.receiver().is_some() => TokenStream::new(),
        Some(output) if errors.is_empty() && !job.has_rejected() => {
            let registration = registration(&job, output);
            quote! { #companion #registration }
        }
        _ => {
            let stand_in = stand_in(&job);
            quote! { #companion #stand_in }
        }
    };
    let function = &job.function;
    let errors = errors.into_compile_errors();
    quote! { #function #beside #errors }
}

fn not_a_function(item: TokenStream, error: syn::Error, mut errors: Errors) -> TokenStream {
    errors.push(error);
    let errors = errors.into_compile_errors();
    quote! { #item #errors }
}

/// The type that stands for the function in paths. The braces leave the function's own name
/// alone, which lives among the values.
fn companion(job: &JobFn) -> TokenStream {
    let (conditions, vis, companion) =
        (job.function.conditions(), &job.function.vis, job.companion());
    quote! {
        #(#conditions)*
        #[doc(hidden)]
        #[allow(
            dead_code,
            missing_debug_implementations,
            non_camel_case_types,
            unreachable_pub
        )]
        #vis struct #companion {}
    }
}

/// What makes the companion a job, and the job known.
fn registration(job: &JobFn, output: &Type) -> TokenStream {
    let private = private(job.args.krate.as_ref());
    let conditions = job.function.conditions();
    let companion = job.companion();
    let naming = naming(job);
    let options = options(&job.args, &private);
    let kind = kind(output, &private);
    let received = hygienic("output");
    let receive = quote_spanned!(output.span()=> #kind.receive::<#output>(#received));
    let constructor = constructor(job, &private);
    let run = run(job, output, &private);
    quote! {
        #(#conditions)*
        #[doc(hidden)]
        #[allow(
            deprecated,
            private_interfaces,
            unreachable_code,
            unused_imports,
            unused_qualifications,
            clippy::all,
            clippy::pedantic
        )]
        const _: () = {
            static __POOL_ENTRY: #private::JobEntry = #private::JobEntry::new(#private::JobFacts {
                type_name: ::core::any::type_name::<#companion>,
                naming: #private::Naming::#naming,
                file: ::core::file!(),
                line: ::core::line!(),
                options: #options,
                run: __pool_run,
            });

            impl #private::Job for #companion {
                type Output = #output;

                fn decode(
                    #received: #private::Encoded,
                ) -> ::core::result::Result<Self::Output, ::std::string::String> {
                    use #private::AnyKind as _;
                    #receive
                }
            }

            impl #private::Registered for #companion {
                fn entry() -> &'static #private::JobEntry {
                    &__POOL_ENTRY
                }
            }

            #constructor

            #run

            #private::inventory::submit! {
                #private::Listed(&__POOL_ENTRY)
            }
        };
    }
}

/// What `call!` calls: the sent parameters as the user wrote them, so that arguments are
/// inferred and coerced as in a direct call.
fn constructor(job: &JobFn, private: &TokenStream) -> TokenStream {
    let (vis, companion) = (&job.function.vis, job.companion());
    let sent: Vec<&Sent> = job.sent().collect();
    let total = total(&sent);
    let parameters = sent.iter().map(|Sent { name, ty, .. }| quote!(#name: #ty));
    let call = hygienic("call");
    let pushes = sent.iter().map(|sent| {
        let (kind, ty) = (kind(sent.value(), private), &sent.ty);
        let text = name_text(&sent.name);
        // The argument is quoted at its type: a type that cannot be sent is reported there.
        let mut value = sent.name.clone();
        value.set_span(sent.value().span().resolved_at(value.span()));
        quote_spanned! {sent.value().span()=>
            #kind.push::<#ty>(#private::arguments(&mut #call), #text, #value);
        }
    });
    let mutable = (!sent.is_empty()).then(|| quote!(mut));
    let name = constructor_name(job);
    quote! {
        impl #companion {
            #[doc(hidden)]
            #[allow(dead_code)]
            #vis fn #name(#(#parameters),*) -> #private::Call<Self> {
                use #private::AnyKind as _;
                let #mutable #call = #private::begin::<Self>(#total);
                #(#pushes)*
                #call
            }
        }
    }
}

/// The erased shim: decodes, calls, encodes.
fn run(job: &JobFn, output: &Type, private: &TokenStream) -> TokenStream {
    let function = &job.function.sig.ident;
    let sent: Vec<&Sent> = job.sent().collect();
    let total = total(&sent);
    let [stage, raw, parameters, result, encoded] =
        ["stage", "raw", "parameters", "output", "encoded"].map(hygienic);
    let mut takes = Vec::new();
    let mut states = Vec::new();
    let mut passed = Vec::new();
    for (index, parameter) in job.parameters.iter().enumerate() {
        let local = hygienic(&format!("parameter_{index}"));
        match parameter {
            Parameter::Sent(sent) => {
                let (kind, value) = (kind(sent.value(), private), sent.value());
                let text = name_text(&sent.name);
                takes.push(quote_spanned! {value.span()=>
                    let #local = #kind.take::<#value>(&mut #parameters, #text)?;
                });
                let lend = sent.lent.is_some().then(|| quote!(&));
                passed.push(quote!(#lend #local));
            }
            Parameter::Context => passed.push(quote!(#private::context(&*#stage))),
            Parameter::State(ty) => {
                states.push(quote_spanned! {ty.span()=>
                    let #local = #private::state::<#ty>(&*#stage)?;
                });
                passed.push(quote!(#local));
            }
            Parameter::Rejected(_) => {}
        }
    }
    let mutable = (!takes.is_empty()).then(|| quote!(mut));
    let called = quote!(#function(#(#passed),*));
    let called = match (job.function.is_async(), job.function.output()) {
        (false, _) => called,
        // `!` has no value to store, so it is made a `()` by the block.
        (true, Some(Type::Never(_))) => {
            quote!(#private::drive(&*#stage, async { #called.await; }))
        }
        (true, _) => quote!(#private::drive(&*#stage, #called)),
    };
    let kind = kind(output, private);
    let give = quote_spanned!(output.span()=> #kind.give::<#output>(#result, #encoded));
    quote! {
        fn __pool_run(
            #stage: &mut dyn #private::Stage,
            #encoded: &mut #private::Encoded,
        ) -> ::core::result::Result<(), #private::Fault> {
            use #private::AnyKind as _;
            // By their path: the user's own traits may have methods of these names, for any type.
            let #raw = #private::Stage::take_raw(&mut *#stage);
            let #mutable #parameters = #private::Parameters::open(
                #raw,
                #private::Stage::arguments(&*#stage),
                #total
            )?;
            #(#takes)*
            #parameters.close()?;
            #(#states)*
            let #result: #output = #called;
            #give
        }
    }
}

/// In place of a registration, after a rejection: `call!` and `submit!` find what they look for
/// and the compiler adds nothing to our errors.
fn stand_in(job: &JobFn) -> TokenStream {
    let private = private(job.args.krate.as_ref());
    let conditions = job.function.conditions();
    let (vis, companion) = (&job.function.vis, job.companion());
    let output = job.output.as_ref().map_or_else(|| quote!(()), |output| output.to_token_stream());
    let parameters = job.parameters.iter().filter_map(|parameter| match parameter {
        Parameter::Sent(sent) => Some(&sent.ty),
        Parameter::Rejected(ty) => Some(ty),
        Parameter::Context | Parameter::State(_) => None,
    });
    let generics = &job.function.sig.generics;
    let bounds = &generics.where_clause;
    let name = constructor_name(job);
    quote! {
        #(#conditions)*
        #[doc(hidden)]
        #[allow(private_interfaces, clippy::all)]
        const _: () = {
            impl #private::Job for #companion {
                type Output = #output;

                fn decode(
                    _: #private::Encoded,
                ) -> ::core::result::Result<Self::Output, ::std::string::String> {
                    ::core::unreachable!()
                }
            }

            impl #companion {
                #[doc(hidden)]
                #[allow(dead_code)]
                #vis fn #name #generics(#(_: #parameters),*) -> #private::Call<Self> #bounds {
                    ::core::unreachable!()
                }
            }
        };
    }
}

/// At the place of the function, which is what the compiler shows when arguments do not fit.
fn constructor_name(job: &JobFn) -> Ident {
    Ident::new("__pool_call", job.function.sig.ident.span().resolved_at(Span::call_site()))
}

/// How a value of this type travels, looked up at the type's place.
fn kind(ty: &Type, private: &TokenStream) -> TokenStream {
    quote_spanned!(ty.span()=> #private::Kind::<#ty>::of())
}

fn naming(job: &JobFn) -> TokenStream {
    match (&job.args.name, &job.args.marker) {
        (Some(name), _) => quote!(Given(#name)),
        (None, Some(_)) => {
            // Without `r#`, as in the path of a type.
            let function = name_text(&job.function.sig.ident);
            quote!(Function(#function))
        }
        (None, None) => quote!(Path),
    }
}

fn options(args: &JobArgs, private: &TokenStream) -> TokenStream {
    let JobArgs { timeout, attempts, priority, .. } = args;
    let some = quote!(::core::option::Option::Some);
    let timeout = timeout
        .map(|millis| quote!(timeout: #some(#some(::core::time::Duration::from_millis(#millis))),));
    let retry =
        attempts.map(|attempts| quote!(retry: #some(#private::RetryPolicy::attempts(#attempts)),));
    let priority =
        priority.as_ref().map(|variant| quote!(priority: #some(#private::Priority::#variant),));
    match (&timeout, &retry, &priority) {
        (None, None, None) => quote!(#private::JobOptions::NONE),
        _ => quote! {
            #private::JobOptions { #timeout #retry #priority ..#private::JobOptions::NONE }
        },
    }
}

/// `#[pool::main]`
pub(crate) fn main(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let args = RuntimeArgs::parse(args, &mut errors);
    let function = match Function::parse_item("pool::main", item.clone()) {
        Ok(function) => function,
        Err(error) => return not_a_function(item, error, errors),
    };
    let main = WrappedFn::main(args, function, &mut errors);
    let private = private(main.args.krate.as_ref());
    let guard = hygienic("guard");
    let first = quote! {
        #private::enter_main();
        let #guard = #private::global_guard();
    };
    let function = wrapped(&main, &private, first, "MultiThread");
    let errors = errors.into_compile_errors();
    quote! { #function #errors }
}

/// `#[pool::test]`
pub(crate) fn test(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let args = RuntimeArgs::parse(args, &mut errors);
    let function = match Function::parse_item("pool::test", item.clone()) {
        Ok(function) => function,
        Err(error) => return not_a_function(item, error, errors),
    };
    let test = WrappedFn::test(args, function, &mut errors);
    let private = private(test.args.krate.as_ref());
    let function = wrapped(&test, &private, quote!(#private::enter_test();), "CurrentThread");
    let conditions = test.function.conditions();
    let path = path_text(&test.function.sig.ident);
    let errors = errors.into_compile_errors();
    quote! {
        #[::core::prelude::v1::test]
        #function

        #(#conditions)*
        #[cfg(test)]
        #[doc(hidden)]
        const _: () = {
            #private::inventory::submit! {
                #private::TestEntry::new(#path)
            }
        };

        #errors
    }
}

/// The function with `first` before its body; an async body runs on a runtime. The body is not
/// put into another function: the names of the jobs in it would change.
fn wrapped(
    wrapped: &WrappedFn,
    private: &TokenStream,
    first: TokenStream,
    default_flavor: &str,
) -> TokenStream {
    let Function { attrs, vis, sig, body } = &wrapped.function;
    let mut sig = sig.clone();
    // Rejected parameters stay known to the body, so that it brings up no further errors.
    let parameters = std::mem::take(&mut sig.inputs).into_iter().filter_map(|input| match input {
        syn::FnArg::Typed(typed) => Some(quote!(let #typed = ::core::unreachable!();)),
        syn::FnArg::Receiver(_) => None,
    });
    let parameters: TokenStream = parameters.collect();
    let body = match sig.asyncness.take() {
        None => quote!(#body),
        Some(_) => {
            let threads = match &wrapped.args.worker_threads {
                Some((_, threads)) => quote!(::core::option::Option::Some(#threads)),
                None => quote!(::core::option::Option::None),
            };
            let default_flavor = Ident::new(default_flavor, Span::call_site());
            let flavor = wrapped.args.flavor.as_ref().unwrap_or(&default_flavor);
            let hint = output_hint(&wrapped.function);
            quote!(#private::run_async(#private::Flavor::#flavor, #threads, async move { #hint #body }))
        }
    };
    let allowed =
        (!parameters.is_empty()).then(|| quote!(#[allow(unreachable_code, unused_variables)]));
    quote! {
        #(#attrs)*
        #allowed
        #vis #sig {
            #first
            #parameters
            #body
        }
    }
}

/// Tells an async block its type before the first `return` and `?` in it.
fn output_hint(function: &Function) -> Option<TokenStream> {
    let output = match function.output()? {
        // Neither can be named here.
        Type::Never(_) | Type::ImplTrait(_) => return None,
        output => output,
    };
    let output_name = hygienic("output");
    Some(quote! {
        if let ::core::option::Option::Some(#output_name) = ::core::option::Option::None::<#output> {
            #[allow(unreachable_code)]
            return #output_name;
        }
    })
}

fn private(krate: Option<&Path>) -> TokenStream {
    match krate {
        Some(krate) => quote!(#krate::__private),
        None => quote!(::pool::__private),
    }
}

/// The function's path as text, for what has no companion to ask for it.
fn path_text(ident: &Ident) -> TokenStream {
    let name = ident.to_string();
    quote!(::core::concat!(::core::module_path!(), "::", #name))
}

/// A name as its reader knows it.
fn name_text(name: &Ident) -> String {
    name.unraw().to_string()
}

fn total(sent: &[&Sent]) -> proc_macro2::Literal {
    // A function with more parameters than that does not compile anyway.
    proc_macro2::Literal::u16_suffixed(u16::try_from(sent.len()).unwrap_or(u16::MAX))
}

fn hygienic(name: &str) -> Ident {
    format_ident!("__pool_{name}", span = Span::mixed_site())
}
