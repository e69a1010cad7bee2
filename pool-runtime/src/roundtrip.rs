//! Jobs from the call to the output within one thread: what the macros emit, run through a stage
//! without any process.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};

use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::context::JobContext;
use crate::registry::{Encoded, Fault, Job, JobEntry, Stage, Wanted};
use crate::state::StateStore;
use crate::{call, pool_job};

struct Desk {
    arguments: Encoded,
    context: JobContext,
    job: &'static JobEntry,
    states: StateStore,
}

impl Desk {
    fn new(job: &'static JobEntry, arguments: Encoded) -> Desk {
        Desk { arguments, context: JobContext::detached(), job, states: StateStore::default() }
    }
}

impl Stage for Desk {
    fn take_raw(&mut self) -> Option<Vec<u8>> {
        self.arguments.raw.then(|| std::mem::take(&mut self.arguments.bytes).into_vec())
    }

    fn arguments(&self) -> &[u8] {
        &self.arguments.bytes
    }

    fn context(&self) -> &dyn Any {
        &self.context
    }

    fn state(&self, wanted: Wanted) -> Result<&dyn Any, Fault> {
        self.states.get(wanted, self.job, &|maker| {
            maker();
            Ok(())
        })
    }

    fn block_on(&self, mut job: Pin<&mut dyn Future<Output = ()>>) {
        let mut context = Context::from_waker(Waker::noop());
        while job.as_mut().poll(&mut context).is_pending() {}
    }
}

fn shim<J: Job>(call: Call<J>) -> Result<Encoded, Fault> {
    let parts = call.into_parts();
    let known = parts.known.unwrap();
    run_with(known.entry, parts.arguments.finish().unwrap())
}

fn run_with(job: &'static JobEntry, arguments: Encoded) -> Result<Encoded, Fault> {
    let mut output = Encoded::default();
    (job.run)(&mut Desk::new(job, arguments), &mut output).map(|()| output)
}

/// There and back.
fn run<J: Job>(call: Call<J>) -> J::Output {
    J::decode(shim(call).unwrap()).unwrap()
}

#[pool_job(crate = crate)]
fn add(a: u32, b: u32) -> u32 {
    a + b
}

#[pool_job(crate = crate)]
fn greet(mut name: String, from: &str) -> String {
    name.push_str(from);
    name
}

#[pool_job(crate = crate)]
fn reversed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.reverse();
    bytes
}

type Blob = Vec<u8>;

#[pool_job(crate = crate)]
fn length(bytes: &[u8]) -> usize {
    bytes.len()
}

#[pool_job(crate = crate)]
fn aliased(bytes: Blob) -> Blob {
    bytes
}

#[pool_job(crate = crate)]
#[expect(clippy::ptr_arg, reason = "a `Vec<u8>` behind a reference is a byte string too")]
fn joined(a: &[u8], b: Vec<u8>, c: &Vec<u8>) -> Vec<u8> {
    [a, &b, c].concat()
}

#[pool_job(crate = crate)]
fn extension(path: &Path, other: PathBuf) -> Option<String> {
    assert_eq!(path, other);
    Some(path.extension()?.to_str()?.into())
}

#[pool_job(crate = crate)]
fn sum(numbers: &[u32]) -> u64 {
    numbers.iter().map(|&n| u64::from(n)).sum()
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sparse {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    first: Option<u32>,
    second: String,
    kind: Kind,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Kind {
    Number(i64),
    Words { words: Vec<String> },
}

impl Default for Kind {
    fn default() -> Self {
        Kind::Words { words: vec!["a".into()] }
    }
}

#[pool_job(crate = crate)]
fn same(sparse: Sparse, lent: &Sparse) -> (Sparse, BTreeMap<u8, Kind>) {
    assert_eq!(sparse, *lent);
    (sparse, BTreeMap::from([(1, Kind::Number(-1)), (2, Kind::default())]))
}

#[pool_job(crate = crate)]
fn maybe(value: Option<Option<u32>>) -> Option<Option<u32>> {
    value
}

#[pool_job(crate = crate)]
fn nothing() {}

#[pool_job(crate = crate)]
fn fallible(fail: bool) -> Result<u8, String> {
    if fail { Err("no".into()) } else { Ok(1) }
}

#[pool_job(crate = crate)]
async fn later(ctx: &JobContext, text: &str) -> String {
    // Not `Send`, and alive across the await.
    let text = Rc::new(text.to_owned());
    std::future::ready(()).await;
    let _ = ctx;
    (*text).clone()
}

#[pool_job(crate = crate)]
fn with_context(a: u8, _: u8, ctx: &crate::JobContext) -> u8 {
    let _ = ctx;
    a
}

#[pool_job(crate = crate)]
fn endless() -> ! {
    std::process::exit(0)
}

#[pool_job(crate = crate)]
async fn endless_async() -> ! {
    std::process::exit(0)
}

#[pool_job(crate = crate)]
fn r#type(r#fn: u8) -> u8 {
    r#fn
}

mod resize {
    #[crate::pool_job(
        marker = Resize,
        timeout = "30s",
        retries = 2,
        priority = "high",
        crate = "crate"
    )]
    pub(super) fn resize(width: u32) -> u32 {
        width * 2
    }

    #[crate::pool_job(name = "given", crate = crate)]
    pub(super) fn other() {}
}

#[test]
fn numbers_and_text() {
    assert_eq!(run(call!(add, 1, 2)), 3);
    let from = String::from("b");
    assert_eq!(run(call!(greet, "a".into(), &from)), "ab");
    assert_eq!(run(call!(self::greet, "a".into(), "c",)), "ac");
    assert_eq!(run(call!(sum, &[1, 2, 3])), 6);
    assert_eq!(run(call!(sum, &Vec::from([1, 2, 3]))), 6);
}

#[test]
fn one_byte_string_is_moved_and_not_encoded() {
    let bytes = vec![1, 2, 3];
    let place = bytes.as_ptr();
    let call = call!(reversed, bytes);
    let parts = call.into_parts();
    let payload = parts.arguments.finish().unwrap();
    assert!(payload.raw);
    assert_eq!(payload.bytes.as_ptr(), place);
    let job = parts.known.unwrap().entry;
    let output = run_with(job, payload).unwrap();
    assert_eq!(output.bytes.as_ptr(), place);
    assert_eq!(output, Encoded { bytes: vec![3, 2, 1].into(), raw: true });
    assert!(call!(aliased, vec![1]).into_parts().arguments.finish().unwrap().raw);
    assert_eq!(run(call!(aliased, vec![1])), [1]);
    assert_eq!(run(call!(length, b"abc")), 3);
    assert_eq!(run(call!(length, &vec![0; 70_000])), 70_000);
}

#[test]
fn byte_strings_among_others_travel_as_bin() {
    let call = call!(joined, b"a", b"b".to_vec(), &b"c".to_vec());
    assert_eq!(
        call.into_parts().arguments.finish().unwrap().bytes[..],
        [0x93, 0xc4, 1, b'a', 0xc4, 1, b'b', 0xc4, 1, b'c']
    );
    assert_eq!(run(call!(joined, b"a", b"b".to_vec(), &b"c".to_vec())), b"abc");
}

#[test]
fn paths() {
    let path = Path::new("a/b.png");
    assert_eq!(run(call!(extension, path, path.into())), Some("png".into()));
    assert_eq!(run(call!(extension, &PathBuf::from("a"), "a".into())), None);
}

#[test]
fn serde_attributes_hold() {
    let numbered = || Sparse { kind: Kind::Number(7), ..Sparse::default() };
    for sparse in [Sparse::default, numbered] {
        let (back, kinds) = run(call!(same, sparse(), &sparse()));
        assert_eq!(back, sparse());
        assert_eq!(kinds[&2], Kind::default());
    }
}

#[test]
fn options_units_and_results() {
    run(call!(nothing));
    assert_eq!(run(call!(maybe, None)), None);
    assert_eq!(run(call!(maybe, Some(Some(1)))), Some(Some(1)));
    // MessagePack has one nil. Documented at `#[pool_job]`.
    assert_eq!(run(call!(maybe, Some(None))), None);
    assert_eq!(run(call!(fallible, true)), Err("no".into()));
    assert_eq!(run(call!(fallible, false)), Ok(1));
}

#[test]
fn contexts_are_injected_and_async_is_driven() {
    assert_eq!(run(call!(with_context, 1, 2)), 1);
    assert_eq!(run(call!(later, "x")), "x");
    drop((call!(endless), call!(endless_async)));
    assert_eq!(run(call!(r#type, 1)), 1);
}

#[test]
fn names_are_full_paths() {
    fn name<J: Job>(call: Call<J>) -> &'static str {
        call.into_parts().known.unwrap().entry.name()
    }
    #[pool_job(crate = crate)]
    fn inner() {}
    let closure = || {
        #[pool_job(crate = crate)]
        fn inmost() {}
        name(call!(inmost))
    };
    assert_eq!(name(call!(crate::roundtrip::add, 1, 2)), "pool::roundtrip::add");
    assert_eq!(name(call!(inner)), "pool::roundtrip::names_are_full_paths::inner");
    assert_eq!(closure(), "pool::roundtrip::names_are_full_paths::inmost");
    assert_eq!(name(call!(resize::Resize, 1)), "pool::roundtrip::resize::resize");
    assert_eq!(name(call!(resize::other)), "given");
    assert_eq!(name(call!(r#type, 1)), "pool::roundtrip::type");
    let names: Vec<_> = crate::registered_jobs().map(|entry| entry.name()).collect();
    assert!(names.is_sorted() && names.contains(&"given"), "{names:?}");
    let entry = crate::registered_jobs().next().unwrap();
    assert!(entry.file().ends_with("roundtrip.rs") && entry.line() > 0);
}

#[test]
fn attributes_become_options() {
    use crate::policy::{JobOptions, Priority, RetryPolicy};
    let options = call!(resize::Resize, 1).into_parts().known.unwrap().entry.options;
    assert_eq!(
        options,
        JobOptions {
            timeout: Some(Some(std::time::Duration::from_secs(30))),
            retry: Some(RetryPolicy::attempts(3)),
            priority: Some(Priority::High),
            ..JobOptions::NONE
        }
    );
    assert_eq!(run(call!(resize::Resize, 2)), 4);
}

#[test]
fn calls_by_name_take_lists_for_bytes() {
    assert_eq!(run(Call::named::<u32>("pool::roundtrip::add", (1, 2))), 3);
    assert_eq!(run(Call::named::<usize>("pool::roundtrip::length", (vec![1u8, 200],))), 2);
    let reversed = Call::named::<Vec<u8>>("pool::roundtrip::reversed", ([1u8, 200],));
    assert_eq!(run(reversed), [200, 1]);
    let pair = Call::named::<[u8; 2]>("pool::roundtrip::reversed", ([1u8, 200],));
    assert_eq!(run(pair), [200, 1]);
    let joined = Call::named::<Option<Vec<u16>>>(
        "pool::roundtrip::joined",
        ([1u8], vec![200u8], Vec::<u8>::new()),
    );
    assert_eq!(run(joined), Some(vec![1, 200]));
    run(Call::named::<()>("given", ()));
}

#[test]
fn calls_by_name_say_what_does_not_fit() {
    let decode = |fault| match fault {
        Err(Fault::Decode(text)) => text,
        other => panic!("{other:?}"),
    };
    let text = decode(shim(Call::named::<u32>("pool::roundtrip::add", (1,))));
    assert_eq!(text, "in the worker, arguments: the job has 2 parameters, the call gave 1");
    let text = decode(shim(Call::named::<u32>("pool::roundtrip::add", (1, "x"))));
    assert!(text.starts_with("in the worker, parameter `b`: a value of another type"), "{text}");
    let not_a_tuple = Call::named::<u32>("pool::roundtrip::add", 1).into_parts().arguments;
    let text = not_a_tuple.finish().unwrap_err();
    assert!(text.contains("write `(a, b)`"), "{text}");
    let unknown = Call::named::<u32>("ad", (1, 2)).into_parts().unknown.unwrap();
    assert!(unknown.text.contains("`pool::roundtrip::add`"), "{}", unknown.text);
    let output = shim(Call::named::<String>("pool::roundtrip::add", (1, 2))).unwrap();
    let text = crate::Named::<String>::decode(output).unwrap_err();
    assert!(text.starts_with("on the host, output: invalid type: integer"), "{text}");
}

#[test]
fn calls_can_be_printed() {
    let text = format!("{:?}", call!(add, 1, 2).label("x"));
    assert!(text.contains("pool::roundtrip::add") && text.contains("\"x\""), "{text}");
}

#[crate::test(crate = crate, flavor = "multi_thread", worker_threads = 1)]
async fn async_tests_are_entered_by_the_name_that_the_harness_gives() -> Result<(), String> {
    let name = std::thread::current().name().map(str::to_owned).ok_or("a test has a name")?;
    let mut paths = inventory::iter::<crate::registry::TestEntry>.into_iter().map(|e| e.path());
    assert!(paths.any(|path| path == name), "{name}");
    assert!(crate::registry::test_entry().is_some());
    if name.is_empty() {
        return Err(name);
    }
    Ok(())
}

#[crate::test(crate = crate)]
#[should_panic(expected = "on purpose")]
fn sync_tests_keep_their_attributes() {
    panic!("on purpose");
}

#[crate::worker_start(crate = crate)]
fn succeeds() {}

/// Set by the one test that wants it: a worker of this test binary must be able to start.
static FAIL: AtomicBool = AtomicBool::new(false);

#[crate::worker_start(crate = crate)]
fn fails() -> Result<(), std::num::ParseIntError> {
    let text = if FAIL.load(Ordering::Relaxed) { "x" } else { "1" };
    text.parse::<u8>().map(drop)
}

#[test]
fn start_hooks_are_collected_with_their_errors() {
    FAIL.store(true, Ordering::Relaxed);
    let mut hooks: Vec<_> =
        crate::registry::start_hooks().map(|hook| (hook.name, (hook.run)())).collect();
    FAIL.store(false, Ordering::Relaxed);
    hooks.sort();
    assert_eq!(
        hooks,
        [
            ("pool::roundtrip::fails", Err("invalid digit found in string".into())),
            ("pool::roundtrip::succeeds", Ok(()))
        ]
    );
}
