//! The arguments of the attributes, from tokens to values.
//!
//! Knows the accepted syntax, which stands as comments at each type, and nothing of the item
//! below the attribute. A wrong option does not hide the next one: each is reported at its span
//! and the rest is read on.

use proc_macro2::TokenStream;
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::{Error, Ident, LitInt, LitStr, Path, Result, Token};

/// Errors of one item, reported together.
#[derive(Default)]
pub(crate) struct Errors(Option<Error>);

impl Errors {
    pub(crate) fn push(&mut self, error: Error) {
        match &mut self.0 {
            Some(all) => all.combine(error),
            none => *none = Some(error),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn into_compile_errors(self) -> TokenStream {
        self.0.map(Error::into_compile_error).unwrap_or_default()
    }
}

/// `#[pool_job(name = "…", timeout = "30s", retries = 2, priority = "high", marker = Ident,
/// crate = path)]`, each at most once, in any order.
#[derive(Default)]
pub(crate) struct JobArgs {
    /// `crate = path` or `crate = "path"`
    pub(crate) krate: Option<Path>,
    /// `name = "…"`, not empty
    pub(crate) name: Option<LitStr>,
    /// `timeout = "30s"`: a whole number and `ms`, `s`, `m` or `h`; here in milliseconds
    pub(crate) timeout: Option<u64>,
    /// `retries = 2`; here as attempts, which count the first try
    pub(crate) attempts: Option<u32>,
    /// `priority = "low"`, `"normal"` or `"high"`; here as the variant
    pub(crate) priority: Option<Ident>,
    /// `marker = Ident`
    pub(crate) marker: Option<Ident>,
}

impl JobArgs {
    pub(crate) fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let known = ["name", "timeout", "retries", "priority", "marker", "crate"];
        let mut args = JobArgs::default();
        each_option(tokens, &known, errors, |key, input| {
            match key.to_string().as_str() {
                "name" => args.name = Some(name(input)?),
                "timeout" => args.timeout = Some(timeout(input)?),
                "retries" => args.attempts = Some(attempts(input)?),
                "priority" => args.priority = Some(priority(input)?),
                "marker" => args.marker = Some(input.parse()?),
                _ => args.krate = Some(krate(input)?),
            }
            Ok(())
        });
        args
    }
}

/// `#[pool::main(flavor = "multi_thread", worker_threads = 4, crate = path)]`; the same for
/// `#[pool::test]`.
#[derive(Default)]
pub(crate) struct RuntimeArgs {
    pub(crate) krate: Option<Path>,
    /// `flavor = "current_thread"` or `"multi_thread"`; here as the variant
    pub(crate) flavor: Option<Ident>,
    /// `worker_threads = 4`, at least one, with `multi_thread` only
    pub(crate) worker_threads: Option<(Ident, LitInt)>,
    /// The first option that is about the runtime: a sync function has none.
    pub(crate) runtime_option: Option<Ident>,
}

impl RuntimeArgs {
    pub(crate) fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let known = ["flavor", "worker_threads", "crate"];
        let mut args = RuntimeArgs::default();
        each_option(tokens, &known, errors, |key, input| {
            match key.to_string().as_str() {
                "flavor" => args.flavor = Some(flavor(input)?),
                "worker_threads" => {
                    args.worker_threads = Some((key.clone(), worker_threads(input)?))
                }
                _ => {
                    args.krate = Some(krate(input)?);
                    return Ok(());
                }
            }
            args.runtime_option.get_or_insert_with(|| key.clone());
            Ok(())
        });
        args
    }
}

/// `#[pool::worker_start(crate = path)]`; the same for `#[pool::state]`.
#[derive(Default)]
pub(crate) struct HookArgs {
    pub(crate) krate: Option<Path>,
}

impl HookArgs {
    pub(crate) fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut args = HookArgs::default();
        each_option(tokens, &["crate"], errors, |_, input| {
            args.krate = Some(krate(input)?);
            Ok(())
        });
        args
    }
}

/// Reads `option = value, …`; `set` reads the value.
fn each_option(
    tokens: TokenStream,
    known: &[&str],
    errors: &mut Errors,
    mut set: impl FnMut(&Ident, ParseStream<'_>) -> Result<()>,
) {
    let mut seen: Vec<String> = Vec::new();
    let parser = |input: ParseStream<'_>| {
        while !input.is_empty() {
            let option = one_option(input, known, &mut seen, &mut set);
            if let Err(error) = option.and_then(|()| end_of_option(input)) {
                errors.push(error);
                while !input.is_empty() && !input.peek(Token![,]) {
                    input.parse::<proc_macro2::TokenTree>()?;
                }
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(())
    };
    if let Err(error) = parser.parse2(tokens) {
        errors.push(error);
    }
}

fn one_option(
    input: ParseStream<'_>,
    known: &[&str],
    seen: &mut Vec<String>,
    set: &mut impl FnMut(&Ident, ParseStream<'_>) -> Result<()>,
) -> Result<()> {
    let key = input.call(Ident::parse_any)?;
    let option = key.to_string();
    if !known.contains(&option.as_str()) {
        let known: Vec<String> = known.iter().map(|known| format!("`{known}`")).collect();
        return Err(Error::new(
            key.span(),
            format!("unknown option `{option}`; known: {}", known.join(", ")),
        ));
    }
    if seen.contains(&option) {
        return Err(Error::new(key.span(), format!("`{option}` is given twice; remove one")));
    }
    if !input.peek(Token![=]) {
        return Err(Error::new(key.span(), format!("`{option}` needs a value: `{option} = …`")));
    }
    input.parse::<Token![=]>()?;
    seen.push(option);
    set(&key, input)
}

fn end_of_option(input: ParseStream<'_>) -> Result<()> {
    if input.is_empty() || input.peek(Token![,]) {
        Ok(())
    } else {
        Err(input.error("expected `,` after an option"))
    }
}

fn krate(input: ParseStream<'_>) -> Result<Path> {
    if input.peek(LitStr) {
        input.parse::<LitStr>()?.parse_with(Path::parse_mod_style)
    } else {
        input.call(Path::parse_mod_style)
    }
}

fn name(input: ParseStream<'_>) -> Result<LitStr> {
    let name: LitStr = string(input, "a name in quotes, as `name = \"resize\"`")?;
    if name.value().is_empty() {
        return Err(Error::new(name.span(), "a job's name cannot be empty"));
    }
    Ok(name)
}

fn timeout(input: ParseStream<'_>) -> Result<u64> {
    let expected = "a whole number and one of `ms`, `s`, `m`, `h`, as `timeout = \"30s\"`";
    let text = string(input, expected)?;
    let value = text.value();
    let (digits, unit) =
        value.split_at(value.len() - value.trim_start_matches(|c: char| c.is_ascii_digit()).len());
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(Error::new(text.span(), format!("expected {expected}"))),
    };
    match digits.parse::<u64>().ok().and_then(|number| number.checked_mul(millis)) {
        None => Err(Error::new(text.span(), format!("expected {expected}"))),
        Some(0) => Err(Error::new(
            text.span(),
            "a timeout of zero ends every attempt; leave the option out for no timeout",
        )),
        Some(millis) => Ok(millis),
    }
}

fn attempts(input: ParseStream<'_>) -> Result<u32> {
    let expected = "the number of further attempts, as `retries = 2`";
    let span = input.span();
    let number: LitInt =
        input.parse().map_err(|_| Error::new(span, format!("expected {expected}")))?;
    let retries = number.base10_parse::<u32>().ok().and_then(|retries| retries.checked_add(1));
    retries.ok_or_else(|| Error::new(span, format!("expected {expected}")))
}

fn priority(input: ParseStream<'_>) -> Result<Ident> {
    let variants = [("low", "Low"), ("normal", "Normal"), ("high", "High")];
    variant(input, &variants, "\"low\", \"normal\" or \"high\"")
}

fn flavor(input: ParseStream<'_>) -> Result<Ident> {
    let variants = [("current_thread", "CurrentThread"), ("multi_thread", "MultiThread")];
    variant(input, &variants, "\"multi_thread\" or \"current_thread\"")
}

fn worker_threads(input: ParseStream<'_>) -> Result<LitInt> {
    let expected = "expected a number of threads, as `worker_threads = 4`";
    let span = input.span();
    let number: LitInt = input.parse().map_err(|_| Error::new(span, expected))?;
    match number.base10_parse::<usize>() {
        Ok(1..) => Ok(number),
        _ => Err(Error::new(span, expected)),
    }
}

fn variant(input: ParseStream<'_>, variants: &[(&str, &str)], expected: &str) -> Result<Ident> {
    let text = string(input, expected)?;
    let value = text.value();
    match variants.iter().find(|(word, _)| *word == value) {
        Some((_, variant)) => Ok(Ident::new(variant, text.span())),
        None => Err(Error::new(text.span(), format!("expected {expected}"))),
    }
}

fn string(input: ParseStream<'_>, expected: &str) -> Result<LitStr> {
    let span = input.span();
    input.parse().map_err(|_| Error::new(span, format!("expected {expected}")))
}
