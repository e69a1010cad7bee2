//! Values of every kind go to a worker and come back, from jobs in every kind of place.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pool::{Call, JobContext, JobEntry, Pool, call, pool_job, submit};
use pool_tests::{Isolation, isolated, jobs};
use serde::{Deserialize, Serialize};

const MIB: usize = 1 << 20;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Config {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<Box<Config>>,
    limits: BTreeMap<String, f64>,
    shape: Shape,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle(f64),
    Rectangle { width: u32, height: u32 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(i64),
    Text(String),
    Fields { a: u8 },
}

fn config() -> Config {
    let limits = BTreeMap::from([("low".to_owned(), -0.0), ("high".to_owned(), f64::INFINITY)]);
    let shape = Shape::Rectangle { width: 3, height: u32::MAX };
    let parent = Config {
        name: String::new(),
        parent: None,
        limits: BTreeMap::new(),
        shape: Shape::Circle(0.5),
    };
    Config { name: "ünïcödé 🦀".to_owned(), parent: Some(Box::new(parent)), limits, shape }
}

#[pool_job]
#[expect(clippy::too_many_arguments, reason = "one of each kind")]
fn numbers(a: i8, b: u16, c: i32, d: u64, e: i64, f: f32, g: f64, h: bool, i: char) -> String {
    format!("{a} {b} {c} {d} {e} {f} {g} {h} {i}")
}

#[pool_job]
fn wide(a: u128, b: i128) -> (u128, i128) {
    (a, b)
}

#[pool_job]
fn owned(text: String, list: Vec<i32>, map: HashMap<u8, String>, tuple: (u8, (u8,))) -> String {
    format!("{text} {list:?} {map:?} {tuple:?}")
}

#[pool_job]
fn borrowed(text: &str, list: &[u64], path: &Path, config: &Config, number: &u8) -> String {
    format!("{text} {list:?} {} {} {number}", path.display(), config.name)
}

#[pool_job]
async fn borrowed_later(text: &str, bytes: &[u8], config: &Config) -> (String, usize, Config) {
    tokio::time::sleep(Duration::from_millis(1)).await;
    (text.to_owned(), bytes.len(), config.clone())
}

#[pool_job]
fn same_config(config: Config) -> Config {
    config
}

#[pool_job]
fn same_untagged(values: Vec<Untagged>) -> Vec<Untagged> {
    values
}

#[pool_job]
fn mutable(mut text: String, mut list: Vec<u8>) -> (String, Vec<u8>) {
    text.push('!');
    list.push(9);
    (text, list)
}

#[pool_job]
fn ignored(_: String, kept: u8, _: &Config, _unused: u64) -> u8 {
    kept
}

#[pool_job]
fn option(value: Option<u32>) -> Option<u32> {
    value
}

#[pool_job]
fn nested_option(value: Option<Option<u32>>) -> Option<Option<u32>> {
    value
}

#[pool_job]
fn unit(value: ()) {
    value
}

#[pool_job]
fn nothing() {}

#[pool_job]
fn result(value: Result<u8, String>) -> Result<u8, String> {
    value
}

#[pool_job]
async fn result_later(divisor: i32) -> Result<i32, String> {
    tokio::task::yield_now().await;
    100_i32.checked_div(divisor).ok_or_else(|| "by zero".to_owned())
}

#[pool_job]
fn context_in_the_middle(a: u8, ctx: &JobContext, b: u8) -> (u8, u32) {
    (a + b, ctx.attempt())
}

#[pool_job]
fn about_itself(ctx: &JobContext) -> (String, String) {
    (ctx.job_id().to_string(), ctx.job_name().to_owned())
}

#[pool_job]
fn never(how: &str) -> ! {
    panic!("{how}");
}

/// Changes both ends, so that no copy of the input passes for the output.
fn turn(bytes: &mut [u8]) {
    if let [first, .., last] = bytes {
        std::mem::swap(first, last);
    }
}

#[pool_job]
fn turn_owned(mut bytes: Vec<u8>) -> Vec<u8> {
    turn(&mut bytes);
    bytes
}

#[pool_job]
fn turn_borrowed(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    turn(&mut bytes);
    bytes
}

#[pool_job]
async fn turn_later(mut bytes: Vec<u8>) -> Vec<u8> {
    tokio::task::yield_now().await;
    turn(&mut bytes);
    bytes
}

#[pool_job]
fn join(a: &[u8], b: Vec<u8>) -> Vec<u8> {
    [a, &b].concat()
}

#[pool_job]
fn count_bytes(bytes: &[u8], every: usize) -> usize {
    bytes.len() * every
}

#[pool_job]
fn zeroes(n: usize) -> Vec<u8> {
    vec![0; n]
}

#[pool_job]
fn next_each(list: Vec<u64>) -> Vec<u64> {
    list.into_iter().map(|n| n.wrapping_add(1)).collect()
}

type Blob = Vec<u8>;

#[pool_job]
fn through_an_alias(blob: Blob) -> Blob {
    blob
}

mod private {
    use pool::pool_job;

    #[pool_job]
    pub(super) fn double(n: u64) -> u64 {
        n * 2
    }

    #[pool_job]
    fn hidden(n: u64) -> u64 {
        n * 3
    }

    pub(super) fn call_hidden(pool: &pool::Pool, n: u64) -> pool::JobHandle<u64> {
        pool::submit!(*pool => hidden, n)
    }

    pub(super) mod inner {
        #[pool::pool_job(name = "a name of its own")]
        pub(in super::super) fn named() -> u64 {
            4
        }
    }
}

mod taken {
    pub(super) mod resize {
        #[pool::pool_job(marker = ResizeJob)]
        pub(in super::super) fn resize(n: u64) -> u64 {
            n + 5
        }
    }
    pub(super) use resize::resize;
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

#[pool::test]
fn numbers_of_every_kind_arrive() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let text = submit!(
            pool => numbers, i8::MIN, u16::MAX, i32::MIN, u64::MAX, i64::MIN, f32::MIN_POSITIVE,
            f64::NAN, true, '🦀'
        );
        let expected = numbers(
            i8::MIN,
            u16::MAX,
            i32::MIN,
            u64::MAX,
            i64::MIN,
            f32::MIN_POSITIVE,
            f64::NAN,
            true,
            '🦀',
        );
        assert_eq!(text.wait().unwrap(), expected);
        let wide = submit!(pool => wide, u128::MAX, i128::MIN);
        assert_eq!(wide.wait().unwrap(), (u128::MAX, i128::MIN));
    });
}

#[pool::test]
fn owned_and_borrowed_values_arrive() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let map = HashMap::from([(7, "seven".to_owned())]);
        let job = submit!(pool => owned, "a".into(), vec![-1, 2], map.clone(), (1, (2,)));
        assert_eq!(job.wait().unwrap(), owned("a".into(), vec![-1, 2], map, (1, (2,))));
        let (config, path) = (config(), PathBuf::from("/a/b c"));
        let job = submit!(pool => borrowed, "text", &[1, u64::MAX], &path, &config, &7);
        let expected = borrowed("text", &[1, u64::MAX], &path, &config, &7);
        assert_eq!(job.wait().unwrap(), expected);
        // Coerced like the arguments of a direct call.
        let (text, list) = ("owned".to_owned(), vec![3]);
        let job = submit!(pool => borrowed, &text, &list, &path, &config, &7);
        assert_eq!(job.wait().unwrap(), borrowed(&text, &list, &path, &config, &7));
        let job = submit!(pool => borrowed_later, &text, &bytes(9), &config);
        assert_eq!(job.wait().unwrap(), (text, 9, config));
    });
}

#[pool::test]
fn structures_come_back_as_they_were() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        assert_eq!(submit!(pool => same_config, config()).wait().unwrap(), config());
        for shape in [Shape::Point, Shape::Circle(-1.5)] {
            let config = Config { shape, parent: None, ..config() };
            assert_eq!(submit!(pool => same_config, config.clone()).wait().unwrap(), config);
        }
        let values =
            vec![Untagged::Number(-3), Untagged::Text("t".into()), Untagged::Fields { a: 1 }];
        assert_eq!(submit!(pool => same_untagged, values.clone()).wait().unwrap(), values);
    });
}

#[pool::test]
fn parameters_may_be_mutable_or_ignored() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let job = submit!(pool => mutable, "text".into(), vec![8]);
        assert_eq!(job.wait().unwrap(), ("text!".to_owned(), vec![8, 9]));
        assert_eq!(submit!(pool => ignored, "x".into(), 5, &config(), 6).wait().unwrap(), 5);
        assert_eq!(submit!(pool => context_in_the_middle, 1, 2).wait().unwrap(), (3, 1));
    });
}

#[pool::test]
fn empty_values_come_back() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        for value in [None, Some(0), Some(7)] {
            assert_eq!(submit!(pool => option, value).wait().unwrap(), value);
        }
        // `Some(None)` is nothing else than `None` in MessagePack.
        for value in [None, Some(Some(7))] {
            assert_eq!(submit!(pool => nested_option, value).wait().unwrap(), value);
        }
        submit!(pool => unit, ()).wait().unwrap();
        submit!(pool => nothing).wait().unwrap();
        assert_eq!(submit!(pool => turn_owned, Vec::new()).wait().unwrap(), []);
        assert_eq!(submit!(pool => next_each, Vec::new()).wait().unwrap(), []);
    });
}

#[pool::test]
fn a_result_of_the_jobs_own_is_not_flattened() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        for value in [Ok(7), Err("why".to_owned())] {
            assert_eq!(submit!(pool => result, value.clone()).wait().unwrap(), value);
        }
        assert_eq!(submit!(pool => result_later, 5).wait().unwrap(), Ok(20));
        assert_eq!(submit!(pool => result_later, 0).wait().unwrap(), Err("by zero".to_owned()));
    });
}

#[pool::test]
fn a_job_that_never_returns_gives_a_unit_to_wait_for() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let job: pool::JobHandle<()> = submit!(pool => never, "as ever");
        let error = job.wait().unwrap_err();
        assert!(error.is_panic() && error.to_string().contains("as ever"), "{error}");
    });
}

#[pool::test]
fn a_job_knows_its_id_and_name() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let job = submit!(pool => about_itself);
        let id = job.id().to_string();
        assert_eq!(job.name(), "jobs_round_trip::about_itself");
        assert_eq!(job.wait().unwrap(), (id, "jobs_round_trip::about_itself".to_owned()));
    });
}

#[pool::test]
fn bytes_of_every_size_travel() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let sizes = [0, 1, 2, 15, 46, 47, 255, 256, 4096, 32_768, 32_769, 65_535, 65_536, 300_000];
        for size in sizes {
            let mut expected = bytes(size);
            turn(&mut expected);
            let bytes = bytes(size);
            assert_eq!(submit!(pool => turn_borrowed, &bytes).wait().unwrap(), expected);
            assert_eq!(submit!(pool => turn_owned, bytes.clone()).wait().unwrap(), expected);
            assert_eq!(submit!(pool => turn_later, bytes).wait().unwrap(), expected);
        }
    });
}

#[pool::test]
fn two_strings_of_bytes_can_be_parameters_of_one_job() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        for (a, b) in [(0, 0), (0, 3), (3, 0), (200, 70_000), (1, MIB)] {
            let (a, b) = (bytes(a), bytes(b));
            let joined = [&a[..], &b].concat();
            assert_eq!(submit!(pool => join, &a, b).wait().unwrap(), joined);
        }
        assert_eq!(submit!(pool => count_bytes, &bytes(9), 3).wait().unwrap(), 27);
        assert_eq!(submit!(pool => zeroes, 5).wait().unwrap(), [0; 5]);
        assert_eq!(submit!(pool => through_an_alias, bytes(5)).wait().unwrap(), bytes(5));
    });
}

#[pool::test]
fn sixty_four_mebibytes_go_in_and_out_at_once_in_several_workers() {
    Isolation::new().alone().run(|| {
        let pool = Pool::new(2).unwrap();
        let input = bytes(64 * MIB);
        let mut expected = input.clone();
        turn(&mut expected);
        let jobs = [(); 4].map(|()| submit!(pool => turn_owned, input.clone()));
        for job in jobs {
            // Not `assert_eq`: nobody wants to read that.
            assert!(job.wait().unwrap() == expected);
        }
        let list: Vec<u64> = (0..8 * MIB as u64).map(|n| n << 32).collect();
        let next: Vec<u64> = list.iter().map(|n| n + 1).collect();
        assert!(submit!(pool => next_each, list).wait().unwrap() == next);
        assert_eq!(submit!(pool => jobs::echo, 1).wait().unwrap(), 1);
    });
}

#[pool::test]
fn small_jobs_pass_while_a_large_one_is_on_its_way() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let large = submit!(pool => turn_owned, bytes(64 * MIB));
        for n in 0..200 {
            assert_eq!(submit!(pool => jobs::echo, n).wait().unwrap(), n);
        }
        assert_eq!(large.wait().unwrap().len(), 64 * MIB);
    });
}

#[pool::test]
fn a_large_job_that_is_given_up_halfway_harms_nobody() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        for _ in 0..5 {
            let large = submit!(pool => turn_owned, bytes(16 * MIB));
            large.cancel();
            assert!(large.wait().map_or_else(|error| error.is_cancelled(), |_| true));
            assert_eq!(submit!(pool => jobs::echo, 1).wait().unwrap(), 1);
        }
    });
}

#[pool::test]
fn jobs_may_stand_anywhere() {
    isolated(|| {
        #[pool_job]
        fn in_a_body(n: u64) -> u64 {
            n + 1
        }
        let pool = Pool::new(1).unwrap();
        assert_eq!(submit!(pool => in_a_body, 1).wait().unwrap(), 2);
        assert_eq!(submit!(pool => private::double, 2).wait().unwrap(), 4);
        assert_eq!(private::call_hidden(&pool, 2).wait().unwrap(), 6);
        assert_eq!(submit!(pool => private::inner::named).wait().unwrap(), 4);
        assert_eq!(submit!(pool => taken::resize::ResizeJob, 1).wait().unwrap(), 6);
        assert_eq!(taken::resize(1), 6);
        // In a second crate.
        assert_eq!(submit!(pool => pool_tests::jobs::echo, 9).wait().unwrap(), 9);
        assert_eq!(submit!(pool => ::pool_tests::jobs::echo, 9).wait().unwrap(), 9);
        let named = submit!(pool => in_a_body, 1);
        assert_eq!(named.name(), "jobs_round_trip::jobs_may_stand_anywhere::in_a_body");
    });
}

#[pool::test]
fn pools_are_whatever_derefs_to_one() {
    isolated(|| {
        struct App {
            pool: std::sync::Arc<Pool>,
        }
        let app = App { pool: std::sync::Arc::new(Pool::new(1).unwrap()) };
        assert_eq!(submit!(app.pool => jobs::echo, 1).wait().unwrap(), 1);
        assert_eq!(submit!(&app.pool => jobs::echo, 2).wait().unwrap(), 2);
        assert_eq!(submit!(app.pool.clone() => jobs::echo, 3).wait().unwrap(), 3);
        assert_eq!(submit!({ &*app.pool } => jobs::echo, 4,).wait().unwrap(), 4);
    });
}

#[pool::test]
fn jobs_can_be_called_by_name() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let echo = Call::named::<u64>("pool_tests::jobs::echo", (7,));
        assert_eq!(pool.submit(echo).wait().unwrap(), 7);
        let nothing = Call::named::<()>("jobs_round_trip::nothing", ());
        pool.submit(nothing).wait().unwrap();
        let named = Call::named::<u64>("a name of its own", ());
        assert_eq!(pool.submit(named.timeout(Duration::from_secs(60))).wait().unwrap(), 4);
        let call = Call::named::<u64>("jobs_round_trip::taken::resize::resize", (1,));
        assert_eq!(pool.submit(call).wait().unwrap(), 6);
        let call = Call::named::<Config>("jobs_round_trip::same_config", (config(),));
        assert_eq!(pool.submit(call).wait().unwrap(), config());
        // Another type of the same shape will do.
        let call = Call::named::<i8>("pool_tests::jobs::echo", (7_i16,));
        assert_eq!(pool.submit(call).wait().unwrap(), 7);
    });
}

#[pool::test]
fn by_name_bytes_may_come_as_a_list() {
    isolated(|| {
        struct Bin(Vec<u8>);
        impl Serialize for Bin {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_bytes(&self.0)
            }
        }
        let pool = Pool::new(1).unwrap();
        let mut turned = bytes(300);
        turn(&mut turned);
        for name in ["jobs_round_trip::turn_owned", "jobs_round_trip::turn_borrowed"] {
            let list = Call::named::<Vec<u8>>(name, (bytes(300),));
            assert_eq!(pool.submit(list).wait().unwrap(), turned);
            let bin = Call::named::<Vec<u8>>(name, (Bin(bytes(300)),));
            assert_eq!(pool.submit(bin).wait().unwrap(), turned);
        }
        let joined = Call::named::<Vec<u8>>("jobs_round_trip::join", (Bin(vec![1]), vec![2_u8]));
        assert_eq!(pool.submit(joined).wait().unwrap(), [1, 2]);
    });
}

#[pool::test]
fn registered_jobs_are_sorted_and_know_their_place() {
    let jobs: Vec<&JobEntry> = pool::registered_jobs().collect();
    assert!(jobs.is_sorted_by_key(|job| job.name()));
    let find = |name: &str| jobs.iter().find(|job| job.name() == name).unwrap();
    let own = find("jobs_round_trip::private::hidden");
    assert!(own.file().ends_with("jobs_round_trip.rs") && own.line() > 0);
    assert!(find("pool_tests::jobs::echo").file().ends_with("jobs.rs"));
    find("a name of its own");
    assert_eq!(jobs.len(), pool::registered_jobs().len());
}

#[pool::test]
fn a_job_stays_a_function() {
    assert_eq!(join(&[1], vec![2]), [1, 2]);
    assert_eq!(context_in_the_middle(1, &JobContext::detached(), 2), (3, 1));
    assert_eq!(pool::block_on(result_later(50)), Ok(2));
    assert!(JobContext::current().is_none());
    let call = call!(jobs::echo, 1).label("a label");
    assert!(format!("{call:?}").contains("a label"));
}

/// What a user's own trait gives to every type is none of a job's business.
mod beside_other_traits {
    use super::*;

    #[expect(dead_code, reason = "nobody calls them, which is the point")]
    trait Commands {
        fn arguments(&self) -> &[u8];
        fn take_raw(&self) -> Option<Vec<u8>>;
        fn context(&self) {}
        fn close(&self) {}
    }

    impl<T: ?Sized> Commands for T {
        fn arguments(&self) -> &[u8] {
            &[0x92, 40, 2]
        }

        fn take_raw(&self) -> Option<Vec<u8>> {
            Some(vec![40, 2])
        }
    }

    #[pool_job]
    fn add(ctx: &JobContext, a: u32, b: u32) -> u32 {
        a + b + ctx.attempt()
    }

    #[pool::test]
    fn methods_for_every_type_are_not_taken_for_ours() {
        isolated(|| {
            let pool = Pool::new(1).unwrap();
            assert_eq!(pool.submit(call!(add, 1, 2)).wait().unwrap(), 4);
        });
    }
}
