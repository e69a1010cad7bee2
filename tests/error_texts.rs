//! What errors say, word for word, where real processes cause them: compared with the files in
//! `texts/`. Each is to tell what happened, to which job, and what to do next. To renew the files:
//! `POOL_GOLDEN=overwrite cargo test -p pool-tests --test error_texts`. The frame round these texts
//! is in `pool-runtime/src/texts.txt`.

use std::fmt::Display;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use pool::{Call, JobQueue, Pool, PoolBuilder, call, pool_job, submit};
use pool_tests::jobs::{self, Death};
use pool_tests::{Isolation, isolated, run_puppet, scratch, wait_until};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Texts on their way into a file.
#[derive(Default)]
struct Texts(Vec<String>);

impl Texts {
    fn add(&mut self, title: &str, text: impl Display) {
        let mut text = text.to_string();
        // What differs from run to run.
        for (before, after) in
            [("pid ", ""), ("(id ", ""), ("", " jobs registered"), ("", " types made by others")]
        {
            text = without_number(&text, before, after);
        }
        self.0.push(format!("# {title}\n{text}\n"));
    }

    fn compare(self, name: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("texts/{name}.txt"));
        let texts = self.0.concat();
        if std::env::var_os("POOL_GOLDEN").is_some_and(|mode| mode == "overwrite") {
            std::fs::write(&path, &texts).unwrap();
        }
        let wanted = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(texts == wanted, "{} differs; the texts are now:\n{texts}", path.display());
    }
}

/// `…` for each number that stands between these two.
fn without_number(text: &str, before: &str, after: &str) -> String {
    let mut cleaned = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let number = rest[start..].trim_start_matches(|c: char| c.is_ascii_digit());
        let end = rest.len() - number.len();
        let hit = rest[..start].ends_with(before) && number.starts_with(after);
        cleaned.push_str(&rest[..start]);
        cleaned.push_str(if hit { "…" } else { &rest[start..end] });
        rest = number;
    }
    cleaned + rest
}

/// Can be neither encoded nor decoded, as its number says.
#[derive(Debug)]
struct Shy(u8);

const MUTE: u8 = 1;
const DEAF: u8 = 2;

impl Serialize for Shy {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            MUTE => Err(S::Error::custom("this is mute")),
            n => to.serialize_u8(n),
        }
    }
}

impl<'de> Deserialize<'de> for Shy {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match u8::deserialize(from)? {
            DEAF => Err(D::Error::custom("this is deaf")),
            n => Ok(Shy(n)),
        }
    }
}

#[pool_job]
fn take(first: u8, shy: Shy) -> u8 {
    first + shy.0
}

#[pool_job]
fn give(n: u8) -> Shy {
    Shy(n)
}

#[pool_job]
fn zeroes(n: usize) -> Vec<u8> {
    vec![0; n]
}

struct Orphan;
struct Twin;
struct Broken;
struct Panicky;

#[pool::state]
fn broken() -> Result<Broken, String> {
    Err("no licence".to_owned())
}

#[pool::state]
fn panicky() -> Panicky {
    panic!("no patience")
}

#[pool::state]
fn castor() -> Twin {
    Twin
}

#[pool::state]
fn pollux() -> Twin {
    Twin
}

#[pool_job]
fn ask_orphan(#[state] _: &Orphan) {}

#[pool_job]
fn ask_twin(#[state] _: &Twin) {}

#[pool_job]
fn ask_broken(#[state] _: &Broken) {}

#[pool_job]
fn ask_panicky(#[state] _: &Panicky) {}

#[pool::test]
fn of_jobs() {
    isolated(|| {
        let mut texts = Texts::default();
        let pool = Pool::builder().workers(1).max_payload(1000).env("RUST_BACKTRACE", "0");
        let pool = pool.env_remove("RUST_LIB_BACKTRACE").build().unwrap();
        let mut add = |title: &str, error: pool::JobError| texts.add(title, error);
        add("an argument that cannot be encoded", {
            let call = call!(take, 1, Shy(MUTE)).label("a.pdf");
            pool.submit(call).wait().unwrap_err()
        });
        add("an argument that cannot be decoded", {
            submit!(pool => take, 1, Shy(DEAF)).wait().unwrap_err()
        });
        add("an output that cannot be encoded", submit!(pool => give, MUTE).wait().unwrap_err());
        add("an output that cannot be decoded", submit!(pool => give, DEAF).wait().unwrap_err());
        let named = |args: (u8,)| pool.submit(Call::named::<u8>("error_texts::take", args));
        add("an argument too few", named((1,)).wait().unwrap_err());
        let name = "error_texts::ask_twim";
        add("an unknown name", pool.submit(Call::named::<()>(name, ())).wait().unwrap_err());
        add("no tuple", {
            pool.submit(Call::named::<()>("error_texts::give", 1)).wait().unwrap_err()
        });
        add("an output too large", submit!(pool => zeroes, 1001).wait().unwrap_err());
        add("a state without a maker", submit!(pool => ask_orphan).wait().unwrap_err());
        add("a state with two makers", submit!(pool => ask_twin).wait().unwrap_err());
        add("a state whose maker fails", submit!(pool => ask_broken).wait().unwrap_err());
        add("a state whose maker panics", submit!(pool => ask_panicky).wait().unwrap_err());
        add("a panic", submit!(pool => jobs::die, Death::Panic).wait().unwrap_err());
        add("a crash", submit!(pool => jobs::die, Death::Abort).wait().unwrap_err());
        let call = call!(jobs::die, Death::Exit(7)).retry(pool::RetryPolicy::attempts(2));
        add("a second crash", pool.submit(call).wait().unwrap_err());
        let queue = JobQueue::new();
        queue.close();
        add("a push too late", {
            pool::block_on(pool::block_on(queue.push(call!(jobs::pid)))).unwrap_err()
        });
        texts.compare("jobs");
    });
}

#[pool::test]
fn of_pools_that_are_full_or_closed() {
    isolated(|| {
        let mut texts = Texts::default();
        let (started, gate) = (scratch("started"), scratch("gate"));
        let pool = Pool::builder().workers(1).queue_capacity(1).build().unwrap();
        let running = submit!(pool => jobs::hold, &started, &gate);
        wait_until("it runs", || started.exists());
        pool_tests::wait_for_room(&pool, 1);
        let queued = submit!(pool => jobs::pid);
        texts.add("full, submit", submit!(pool => jobs::pid).wait().unwrap_err());
        let call = call!(jobs::pid).label("a.pdf");
        texts.add("full, try_submit", pool.try_submit(call).unwrap_err());
        pool::block_on(pool.shutdown());
        texts.add("closed, running", running.wait().unwrap_err());
        texts.add("closed, queued", queued.wait().unwrap_err());
        texts.add("closed, submit", submit!(pool => jobs::pid).wait().unwrap_err());
        texts.add("closed, try_submit", pool.try_submit(call!(jobs::pid)).unwrap_err());
        texts.add("closed, reserve", pool::block_on(pool.reserve()).unwrap_err());
        texts.add("closed, ready", pool::block_on(pool.ready()).unwrap_err());
        texts.compare("pools");
    });
}

#[pool::test]
fn of_settings() {
    isolated(|| {
        let mut texts = Texts::default();
        let new = Pool::builder;
        let mut add = |title: &str, builder: PoolBuilder| {
            texts.add(title, builder.build().unwrap_err());
        };
        add("workers(0)", new().workers(0));
        add("workers(1000000)", new().workers(1_000_000));
        add("queue_capacity(0)", new().queue_capacity(0));
        add("threads_per_worker(0)", new().threads_per_worker(0));
        add("executable, not there", new().executable("/not/there"));
        add("executable, a folder", new().executable("/"));
        add("current_dir, not there", new().current_dir("/not/there"));
        add("current_dir, a file", new().current_dir("/dev/null"));
        add("env, without a name", new().env("", "1"));
        add("env, name with a mark", new().env("A=B", "1"));
        add("env, value with a zero", new().env("A", "1\0"));
        add("env_remove, with a zero", new().env_remove("A\0"));
        add("args, with a zero", new().args(["1\0"]));
        add("name, with a zero", new().name("1\0"));
        texts.compare("settings");
    });
}

#[pool::test]
fn of_workers_that_do_not_start() {
    isolated(|| {
        let mut texts = Texts::default();
        let mut add = |title: &str, builder: PoolBuilder| {
            let pool = builder.workers(1).build().unwrap();
            texts.add(&format!("{title}, the job"), submit!(pool => jobs::pid).wait().unwrap_err());
            texts.add(&format!("{title}, ready"), pool::block_on(pool.ready()).unwrap_err());
        };
        add("no worker", Pool::builder().executable("/bin/true"));
        let silent = Pool::builder().executable("/bin/sleep").args(["10000"]);
        add("silent", silent.start_timeout(Duration::from_millis(100)));
        add("other jobs", Pool::builder().executable(env!("CARGO_BIN_EXE_puppet-host")));
        texts.compare("start");
    });
}

#[pool::test]
fn of_the_global_pool() {
    Isolation::new().env("POOL_WORKERS", "a few").run(|| {
        let mut texts = Texts::default();
        texts.add("POOL_WORKERS", Pool::try_global().unwrap_err());
        texts.add("POOL_WORKERS, the job", submit!(jobs::pid).wait().unwrap_err());
        let again = Pool::builder().workers(1).build_global();
        texts.add("built twice", again.unwrap_err());
        #[pool_job]
        fn in_a_worker() -> String {
            Pool::try_global().unwrap_err().to_string()
        }
        let pool = Pool::new(1).unwrap();
        texts.add("in a worker", submit!(pool => in_a_worker).wait().unwrap());
        texts.compare("global");
    });
}

#[pool::test]
fn of_programs() {
    isolated(|| {
        let mut texts = Texts::default();
        let mut add = |title: &str, command: &mut Command| {
            let (status, output) = run_puppet(command);
            assert!(status.success(), "{status}: {output}");
            texts.add(title, output.trim_end());
        };
        add("no wrapped main", &mut Command::new(env!("CARGO_BIN_EXE_puppet-unwrapped")));
        add("two jobs of one name", &mut Command::new(env!("CARGO_BIN_EXE_puppet-duplicate")));
        let hook = || Command::new(env!("CARGO_BIN_EXE_puppet-bad-hook"));
        add("a start hook that fails", hook().env("HOOK", "fail"));
        add("a start hook that panics", hook().env("HOOK", "panic"));
        add("a start hook that exits", hook().env("HOOK", "exit"));
        texts.compare("programs");
    });
}
