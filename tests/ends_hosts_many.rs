//! Many pools one after the other, and many workers at once: nothing grows, nothing is left.

#![expect(clippy::unwrap_used, reason = "a test has nothing better to do with an error")]

use std::fs;
use std::time::{Duration, Instant};

use pool::{Pool, submit};
use pool_tests::{Isolation, isolated, jobs, proc, wait_until};

/// What a process has of everything.
#[derive(Debug)]
struct Holdings {
    descriptors: usize,
    threads: usize,
    mappings: usize,
    resident_kib: u64,
}

impl Holdings {
    /// Once the drivers of pools that are over have ended.
    fn now() -> Holdings {
        let is_driver = |name: &String| name == "pool-driver";
        wait_until("the drivers have ended", || !proc::own_threads().iter().any(is_driver));
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        Holdings {
            descriptors: proc::own_descriptor_count(),
            threads: proc::own_threads().len(),
            mappings: proc::own_mappings(""),
            resident_kib: resident.trim().trim_end_matches(" kB").parse().unwrap(),
        }
    }
}

fn one_round(number: u64) {
    let pool = Pool::new(1).unwrap();
    assert_eq!(submit!(pool => jobs::echo, number).wait().unwrap(), number);
    pool::block_on(pool.shutdown());
    drop(pool);
}

#[pool::test]
fn a_thousand_pools_one_after_the_other_leave_nothing_behind() {
    let isolation = Isolation::new().watchdog(Duration::from_secs(110));
    isolation.run_and_read(
        || {
            let begin = Instant::now();
            (0..100).for_each(one_round);
            let early = Holdings::now();
            (100..1000).for_each(one_round);
            let late = Holdings::now();
            println!("note: {early:?} after 100 pools, {late:?} after 1,000");
            println!("note: {:?} a pool", begin.elapsed() / 1000);
            assert_eq!(late.descriptors, early.descriptors);
            assert_eq!(late.threads, early.threads);
            // The allocator may have taken an arena for one more thread.
            assert!(late.mappings <= early.mappings + 4, "{early:?}, {late:?}");
            assert!(late.resident_kib <= early.resident_kib + 1024, "{early:?}, {late:?}");
            assert!(proc::children(std::process::id()).is_empty());
        },
        print_notes,
    );
}

#[pool::test]
fn two_hundred_workers_start_work_and_end() {
    let isolation = Isolation::new().alone().watchdog(Duration::from_secs(110));
    isolation.run_and_read(
        || {
            let begin = Instant::now();
            let pool = Pool::new(200).unwrap();
            pool::block_on(pool.ready()).unwrap();
            println!("note: 200 workers were ready after {:?}", begin.elapsed());
            assert_eq!(proc::children(std::process::id()).len(), 200);
            let begin = Instant::now();
            let jobs: Vec<_> = (0..2000).map(|n| submit!(pool => jobs::echo, n)).collect();
            for (n, job) in jobs.into_iter().enumerate() {
                assert_eq!(job.wait().unwrap(), n as u64);
            }
            println!("note: 2,000 jobs took {:?}", begin.elapsed());
            let begin = Instant::now();
            pool::block_on(pool.shutdown());
            println!("note: all were gone after {:?}", begin.elapsed());
            assert!(proc::children(std::process::id()).is_empty());
            assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
        },
        print_notes,
    );
}

#[pool::test]
fn two_hundred_workers_can_be_stopped_before_they_are_up() {
    isolated(|| {
        let pool = Pool::new(200).unwrap();
        pool::block_on(pool.shutdown());
        assert!(proc::children(std::process::id()).is_empty());
    });
}

fn print_notes(printed: &str) {
    // The harness may have begun a line before them.
    let notes = printed.lines().filter_map(|line| line.find("note: ").map(|at| &line[at..]));
    notes.for_each(|note| println!("{note}"));
}
