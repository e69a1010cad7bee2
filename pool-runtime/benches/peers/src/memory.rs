//! The memory of an idle worker beside procspawn's and beside a process that has nothing but tokio.
//! All are the same program and alive at the same time, so that what they share counts the same.
//!
//! Of what they share the text of the program is the most. The system maps it in pieces of a hundred
//! kilobytes around what is run, so how much of it a process has depends on where the linker has put
//! things. Hence what each has of its own stands beside it.

use pool::call;

use crate::contest::{Contestant, Goal};
use crate::jobs::{nothing, nothing_of};
use crate::{Bench, bare, hands, usage};

/// What a worker did before it was idle.
const JOBS: usize = 100;

pub(crate) fn measure(bench: &mut Bench) {
    let mut all = [(); 3].map(|()| (Vec::new(), Vec::new(), Vec::new()));
    for _ in 0..bench.rounds {
        let pool = hands::pool(1);
        hands::all_in_pool(&pool, (0..JOBS).map(|_| call!(nothing)));
        let procspawn = hands::procspawn(1);
        (0..JOBS).for_each(|_| procspawn.spawn((), nothing_of).join().expect("a no-op succeeds"));
        let its = procspawn.spawn((), |()| std::process::id()).join().expect("a number is given");
        let mut tokio = bare::first_byte("tokio");
        let pids = [usage::pids(&pool)[0], its, tokio.id()];
        for (pid, (rss, pss, own)) in pids.into_iter().zip(&mut all) {
            let kilobytes = |name| usage::kilobytes(pid, "smaps_rollup", name);
            rss.push(kilobytes("Rss"));
            pss.push(kilobytes("Pss"));
            own.push(kilobytes("Private_Dirty"));
        }
        bare::end(std::slice::from_mut(&mut tokio));
    }
    let [pool, procspawn, tokio] = all;
    bench.report.take(
        "resident memory of an idle worker",
        "RSS, KiB",
        &[
            Contestant::measured("pool", pool.0),
            Contestant::measured("procspawn", procspawn.0).goal(Goal::AtMost(1.25)),
            Contestant::measured("a bare tokio process", tokio.0),
        ],
    );
    bench.report.take(
        "an idle worker's share of memory",
        "PSS, KiB",
        &[
            Contestant::measured("pool", pool.1),
            Contestant::measured("procspawn", procspawn.1),
            Contestant::measured("a bare tokio process", tokio.1).goal(Goal::AtMost(1.1)),
        ],
    );
    bench.report.take(
        "what an idle worker has written to",
        "private, KiB",
        &[
            Contestant::measured("pool", pool.2),
            Contestant::measured("procspawn", procspawn.2),
            Contestant::measured("a bare tokio process", tokio.2),
        ],
    );
}

/// The bare tokio process: what `#[tokio::main]` makes, and nothing to do.
pub(crate) fn wait_in_tokio() {
    let runtime = tokio::runtime::Runtime::new().expect("a tokio runtime can be built");
    runtime.block_on(async {
        bare::say_something();
        tokio::time::sleep(bare::LONG).await;
    });
}
