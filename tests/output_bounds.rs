//! Captured output has bounds: a job that prints without end, lines without end, and pipes that
//! never end.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pool::{Output, OutputStream, Pool, PoolBuilder, PoolEvent, block_on, call, submit};
use pool_tests::jobs::{self, Death};
use pool_tests::{Isolation, isolated, lines, pids, proc, scratch, wait_until};

/// Writes `text` again and again: until the gate is open, or for ever.
#[pool::pool_job]
fn flood(text: &str, stderr: bool, started: &Path, gate: &Path) -> u64 {
    let block = text.repeat((64 << 10) / text.len());
    jobs::append(started, "it writes");
    let mut written = 0;
    while !gate.exists() {
        match stderr {
            true => std::io::stderr().write_all(block.as_bytes()).unwrap(),
            false => std::io::stdout().write_all(block.as_bytes()).unwrap(),
        }
        written += block.len() as u64;
    }
    written
}

/// Starts a process that no kill of the worker reaches, which holds its stdout and stderr; then
/// ends, or dies.
#[pool::pool_job]
#[expect(clippy::zombie_processes, reason = "nobody reaps it before the test ends")]
fn leave_a_child(started: &Path, floods: bool, death: Option<Death>) {
    let goes_on = if floods { "yes" } else { "sleep 10000" };
    let script = format!("echo $$ >> '{}'; exec {goes_on}", started.display());
    let mut command = Command::new("setsid");
    command.args(["sh", "-c", &script]).stdin(Stdio::null()).spawn().unwrap();
    // By then it has left the group.
    wait_until("it is there", || lines(started).len() == 1);
    println!("it is there");
    eprintln!("it is there");
    if let Some(death) = death {
        jobs::die(death);
    }
}

fn capturing(workers: usize) -> PoolBuilder {
    Pool::builder().workers(workers).stdout(Output::Capture).stderr(Output::Capture)
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

const PLENTY: Duration = Duration::from_secs(20);

#[pool::test]
fn a_job_that_prints_without_end_neither_blocks_nor_grows_the_host() {
    isolated(|| {
        let pool = capturing(1).build().unwrap();
        let unread = pool.events();
        for (n, text) in
            ["x\n", "no line end ", "a line of some length, as they are\n"].into_iter().enumerate()
        {
            for stderr in [false, true] {
                let started = scratch(&format!("started {n} {stderr}"));
                let gate = scratch(&format!("gate {n} {stderr}"));
                let job = submit!(pool => flood, text, stderr, &started, &gate);
                wait_until("it writes", || lines(&started).len() == 1);
                let before = resident();
                let until = Instant::now() + Duration::from_millis(300);
                let mut peak = before;
                while Instant::now() < until {
                    peak = peak.max(resident());
                    std::thread::sleep(Duration::from_millis(5));
                }
                jobs::open(&gate);
                let written = job.wait().unwrap();
                // A pipe holds 64 KiB: so it was read on.
                assert!(written > 1 << 20, "{text:?}: {written} bytes");
                assert!(peak < before + (24 << 20), "{text:?}: {before} to {peak} bytes");
            }
        }
        assert!(unread.dropped() > 1000);
    });
}

#[pool::test]
fn a_flood_ends_with_its_job_however_that_ends() {
    isolated(|| {
        let pool = capturing(1).build().unwrap();
        let never = scratch("no gate");
        let started = scratch("started");
        let job = submit!(pool => flood, "words\n", false, &started, &never);
        wait_until("it writes", || lines(&started).len() == 1);
        job.kill();
        assert!(job.wait().unwrap_err().is_cancelled());
        let call = call!(flood, "words\n", true, &scratch("again"), &never);
        let error = pool.submit(call.timeout(Duration::from_millis(300))).wait().unwrap_err();
        assert!(error.is_timeout());
        assert!(error.stderr_tail().unwrap().contains("words\nwords"), "{error:?}");
        assert_eq!(submit!(pool => jobs::echo, 3).wait().unwrap(), 3);
        let started = scratch("at the end");
        let job = submit!(pool => flood, "words\n", false, &started, &never);
        wait_until("it writes", || lines(&started).len() == 1);
        let since = Instant::now();
        drop(pool);
        assert!(job.wait().unwrap_err().is_pool_closed());
        assert!(since.elapsed() < PLENTY);
    });
}

#[pool::test]
fn the_flood_of_one_worker_does_not_hold_up_the_others() {
    isolated(|| {
        let pool = capturing(2).build().unwrap();
        block_on(pool.ready()).unwrap();
        let (started, gate) = (scratch("started"), scratch("gate"));
        let events = pool.events();
        let job = submit!(pool => flood, "x\n", false, &started, &gate);
        wait_until("it writes", || lines(&started).len() == 1);
        let since = Instant::now();
        for n in 0..200 {
            assert_eq!(submit!(pool => jobs::echo, n).wait().unwrap(), n);
        }
        assert!(since.elapsed() < PLENTY, "{:?}", since.elapsed());
        jobs::open(&gate);
        job.wait().unwrap();
        block_on(pool.shutdown());
        drop(events);
    });
}

#[pool::test]
fn the_news_of_other_jobs_get_through_a_flood() {
    isolated(|| {
        let pool = capturing(2).build().unwrap();
        block_on(pool.ready()).unwrap();
        let mut events = pool.events();
        let (started, gate) = (scratch("started"), scratch("gate"));
        let job = submit!(pool => flood, "x\n", false, &started, &gate);
        let flooding = job.id();
        wait_until("lines are dropped", || events.dropped() > 0);
        let ids: Vec<_> = (0..100)
            .map(|n| {
                let handle = submit!(pool => jobs::echo, n);
                let id = handle.id();
                handle.wait().unwrap();
                id
            })
            .collect();
        jobs::open(&gate);
        job.wait().unwrap();
        block_on(pool.shutdown());
        let mut ended = Vec::new();
        while let Some(event) = block_on(events.next()) {
            if let PoolEvent::JobEnded { id, .. } = event {
                ended.push(id);
            }
        }
        ended.retain(|id| *id != flooding);
        assert_eq!(ended, ids);
    });
}

#[pool::test]
fn a_descendant_that_holds_the_pipe_does_not_hold_up_the_workers_end() {
    Isolation::new().orphans().run(|| {
        for (n, death) in [None, Some(Death::Abort)].into_iter().enumerate() {
            for floods in [false, true] {
                let started = scratch(&format!("started {n} {floods}"));
                let pool = capturing(1).build().unwrap();
                let mut events = pool.events();
                let since = Instant::now();
                let result = submit!(pool => leave_a_child, &started, floods, death).wait();
                assert_eq!(result.is_err(), death.is_some());
                if let Err(error) = result {
                    assert!(error.stderr_tail().unwrap().contains("it is there"), "{error:?}");
                }
                assert_eq!(submit!(pool => jobs::echo, 3).wait().unwrap(), 3);
                drop(pool);
                assert!(since.elapsed() < PLENTY, "{:?}", since.elapsed());
                let mut said = 0;
                while let Some(event) = block_on(events.next()) {
                    if let PoolEvent::Output { line, stream, .. } = event {
                        let is_told = stream == OutputStream::Stderr && line == "it is there";
                        said += usize::from(is_told);
                    }
                }
                // Nobody has read the events meanwhile.
                assert!(said == 1 || floods && events.dropped() > 0);
                for pid in pids(&started) {
                    // It got an error when it wrote into the pipe that nobody reads any more.
                    if !floods {
                        assert!(proc::is_alive(pid));
                        jobs::send(pid, rustix::process::Signal::KILL);
                    }
                }
            }
        }
    });
}

#[pool::test]
fn two_hundred_pools_with_captured_output_leave_no_descriptor() {
    Isolation::new().watchdog(Duration::from_secs(120)).run(|| {
        let before = proc::own_descriptors();
        for n in 0..200 {
            let pool = capturing(1).build().unwrap();
            let events = pool.events();
            if n % 4 == 0 {
                assert_eq!(submit!(pool => jobs::echo, n).wait().unwrap(), n);
            }
            drop((pool, events));
        }
        // The driver of the last pool may still be on its way out.
        wait_until("nothing is left", || proc::own_descriptors() == before);
    });
}
