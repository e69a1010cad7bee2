//! Very many jobs, some of which kill their workers, while others stop, wake and kill workers at
//! any moment: no job is lost, none runs twice without a counted retry, and no more jobs are
//! charged than workers have died.
//!
//! `POOL_CHAOS_JOBS` says how many jobs (100,000 by default), `POOL_CHAOS_SEED` which sequence of
//! chances; the seed is printed when the test fails.

#![expect(clippy::unwrap_used, reason = "a test has nothing better to do with an error")]

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use pool::{JobContext, JobErrorKind, JobHandle, Pool, RetryPolicy, WorkerExit, call};
use pool_tests::jobs::{self, Death};
use pool_tests::{Isolation, scratch};
use rustix::process::{Pid, Signal};

/// More of them than cores, so that one that is stopped leaves others.
const WORKERS: usize = 4;
/// Jobs that were submitted and not looked at yet.
const IN_FLIGHT: usize = 4096;
/// What the tries of a job that is tried again add up to.
const ATTEMPTS: u32 = 3;

/// What all processes of this test see: how often each job has begun, and who the workers are.
struct Board {
    memory: NonNull<u8>,
    jobs: usize,
}

// SAFETY: all access is by atomics, and the mapping lives as long as the process.
#[expect(unsafe_code, reason = "a shared mapping")]
unsafe impl Send for Board {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "a shared mapping")]
unsafe impl Sync for Board {}

impl Board {
    fn path() -> PathBuf {
        scratch("board")
    }

    fn create(jobs: usize) -> Board {
        let file = File::create_new(Board::path()).unwrap();
        file.set_len((WORKERS * 4 + jobs) as u64).unwrap();
        Board::open()
    }

    #[expect(unsafe_code, reason = "a shared mapping")]
    fn open() -> Board {
        let file = OpenOptions::new().read(true).write(true).open(Board::path()).unwrap();
        let length = file.metadata().unwrap().len() as usize;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let (nowhere, descriptor) = (std::ptr::null_mut(), file.as_raw_fd());
        // SAFETY: the system chooses a place that nothing else has.
        let memory =
            unsafe { libc::mmap(nowhere, length, access, libc::MAP_SHARED, descriptor, 0) };
        assert_ne!(memory, libc::MAP_FAILED);
        Board { memory: NonNull::new(memory.cast()).unwrap(), jobs: length - WORKERS * 4 }
    }

    /// Of a worker: its board is opened once.
    fn shared() -> &'static Board {
        static BOARD: OnceLock<Board> = OnceLock::new();
        BOARD.get_or_init(Board::open)
    }

    /// Who works in this slot, as of the last job there.
    #[expect(unsafe_code, reason = "a shared mapping")]
    fn worker(&self, slot: usize) -> &AtomicU32 {
        assert!(slot < WORKERS);
        // SAFETY: inside of the mapping, which begins at a page; accessed by atomics only.
        unsafe { self.memory.add(slot * 4).cast().as_ref() }
    }

    /// How often job `n` has begun.
    #[expect(unsafe_code, reason = "a shared mapping")]
    fn runs(&self, n: usize) -> &AtomicU8 {
        assert!(n < self.jobs);
        // SAFETY: as above.
        unsafe { self.memory.add(WORKERS * 4 + n).cast().as_ref() }
    }
}

/// Leaves its marks, and then does as its number says.
#[pool::pool_job]
fn work(ctx: &JobContext, n: u64) -> (u64, u32) {
    let board = Board::shared();
    board.worker(ctx.worker()).store(std::process::id(), Ordering::Relaxed);
    board.runs(n as usize).fetch_add(1, Ordering::Relaxed);
    match Kind::of(n) {
        Kind::NoOp => {}
        Kind::Short => {
            let until = Instant::now() + Duration::from_micros(n % 200);
            while Instant::now() < until {
                std::hint::spin_loop();
            }
        }
        Kind::Dies(death) => jobs::die(death),
    }
    (answer(n), ctx.attempt())
}

fn answer(n: u64) -> u64 {
    n.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    NoOp,
    Short,
    Dies(Death),
}

impl Kind {
    fn of(n: u64) -> Kind {
        match n % 2000 {
            500 => Kind::Dies(Death::Abort),
            1000 => Kind::Dies(Death::Segfault),
            1500 => Kind::Dies(Death::Exit(9)),
            m if m % 10 == 3 => Kind::Short,
            _ => Kind::NoOp,
        }
    }

    fn exit(self) -> Option<WorkerExit> {
        Some(match self {
            Kind::Dies(Death::Abort) => WorkerExit::Signal(libc::SIGABRT),
            Kind::Dies(Death::Segfault) => WorkerExit::Signal(libc::SIGSEGV),
            Kind::Dies(Death::Exit(code)) => WorkerExit::Code(code),
            _ => return None,
        })
    }
}

/// Every third job may be tried again.
fn is_retried(n: u64) -> bool {
    n % 3 == 0
}

/// splitmix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// Whether `pid` is alive and a child of this process: its number may be another's by now.
fn is_mine(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let parent = format!("PPid:\t{}", std::process::id());
    status.lines().any(|line| line == parent) && !status.contains("State:\tZ")
}

fn signal(pid: u32, signal: Signal) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::kill_process(pid, signal).is_ok())
}

/// Signals workers at random until it is told to end. Whoever was stopped is woken again.
fn disturb(
    board: &Board,
    mut chance: Chance,
    end: &AtomicBool,
    kills: &AtomicU64,
    stops: &AtomicU64,
) {
    let mut asleep: Vec<(Instant, u32)> = Vec::new();
    while !end.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_micros(chance.below(6_000)));
        let now = Instant::now();
        asleep.retain(|&(until, pid)| {
            let stays = now < until;
            if !stays && is_mine(pid) {
                signal(pid, Signal::CONT);
            }
            stays
        });
        let slot = chance.below(WORKERS as u64) as usize;
        let pid = board.worker(slot).load(Ordering::Relaxed);
        if pid == 0 || !is_mine(pid) {
            continue;
        }
        if chance.below(2) == 0 {
            kills.fetch_add(u64::from(signal(pid, Signal::KILL)), Ordering::Relaxed);
        } else if signal(pid, Signal::STOP) {
            stops.fetch_add(1, Ordering::Relaxed);
            asleep.push((now + Duration::from_millis(chance.below(150)), pid));
        }
    }
    for (_, pid) in asleep {
        if is_mine(pid) {
            signal(pid, Signal::CONT);
        }
    }
}

/// How jobs have ended.
#[derive(Debug, Default)]
struct Ends {
    good: u64,
    crashed: u64,
    /// Attempts that were charged with a death.
    charged: u64,
    /// Of these, attempts of jobs that do not kill their worker.
    charged_innocent: u64,
}

impl Ends {
    fn look(&mut self, board: &Board, n: u64, job: JobHandle<(u64, u32)>) {
        let kind = Kind::of(n);
        let ended = job.wait();
        let runs = u32::from(board.runs(n as usize).load(Ordering::Relaxed));
        let charged = match ended {
            Ok((output, attempt)) => {
                assert_eq!(output, answer(n), "the output of job {n}");
                assert!(kind.exit().is_none(), "job {n} ended well");
                assert!(
                    (1..=attempt).contains(&runs),
                    "job {n} ran {runs} times in {attempt} attempts"
                );
                self.good += 1;
                attempt - 1
            }
            Err(error) => {
                let JobErrorKind::Crashed(exit) = *error.kind() else { panic!("job {n}: {error}") };
                let killed = exit == WorkerExit::Signal(libc::SIGKILL);
                assert!(killed || Some(exit) == kind.exit(), "job {n}: {error}");
                assert!(runs <= error.attempts(), "job {n} ran {runs} times: {error}");
                let most = if is_retried(n) { ATTEMPTS } else { 1 };
                assert_eq!(error.attempts(), most, "job {n}: {error}");
                self.crashed += 1;
                error.attempts()
            }
        };
        self.charged += u64::from(charged);
        if kind.exit().is_none() {
            self.charged_innocent += u64::from(charged);
        }
    }
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[pool::test]
fn no_job_is_lost_or_run_twice_and_no_more_are_charged_than_workers_died() {
    let jobs = number_from("POOL_CHAOS_JOBS").unwrap_or(100_000);
    let body = || {
        let seed = number_from("POOL_CHAOS_SEED").unwrap_or_else(|| {
            let moment = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            moment.as_micros() as u64
        });
        println!("POOL_CHAOS_SEED={seed}");
        let begin = Instant::now();
        let board = Board::create(jobs as usize);
        let pool = Pool::new(WORKERS).unwrap();
        let (end, kills, stops) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        let mut ends = Ends::default();
        thread::scope(|scope| {
            scope.spawn(|| disturb(&board, Chance(seed), &end, &kills, &stops));
            let end = EndsAnyway(&end);
            let mut in_flight = VecDeque::new();
            for n in 0..jobs {
                if in_flight.len() == IN_FLIGHT {
                    let (n, job) = in_flight.pop_front().unwrap();
                    ends.look(&board, n, job);
                }
                let call = call!(work, n);
                let call = match is_retried(n) {
                    true => call.retry(RetryPolicy::attempts(ATTEMPTS)),
                    false => call,
                };
                in_flight.push_back((n, pool.submit(call)));
            }
            for (n, job) in in_flight {
                ends.look(&board, n, job);
            }
            drop(end);
        });
        // Whoever runs a job once more does so before the pool is at its end.
        let report = pool::block_on(pool.close());
        assert_eq!((report.succeeded, report.failed, report.cancelled), (0, 0, 0));
        let (mut suicides, mut most) = (0, 0);
        for n in 0..jobs {
            let runs = u64::from(board.runs(n as usize).load(Ordering::Relaxed));
            let limit = if is_retried(n) { u64::from(ATTEMPTS) } else { 1 };
            assert!(runs <= limit, "job {n} ran {runs} times");
            most = most.max(runs);
            if Kind::of(n).exit().is_some() {
                suicides += runs;
            }
        }
        let (kills, stops) = (kills.into_inner(), stops.into_inner());
        println!(
            "measured: {jobs} jobs in {:?}, {kills} kills, {stops} stops, {suicides} deaths by \
             jobs; {ends:?}",
            begin.elapsed()
        );
        assert_eq!(ends.good + ends.crashed, jobs);
        assert!(ends.charged <= kills + suicides, "more were charged than died");
        assert!(ends.charged_innocent <= kills, "more were charged than were killed");
    };
    let watchdog = Duration::from_secs(60 + jobs / 1000);
    Isolation::new().alone().watchdog(watchdog).run_and_read(body, |printed| {
        printed
            .lines()
            .filter(|line| line.contains("measured"))
            .for_each(|line| println!("{line}"));
    });
}

/// Ends the disturbance also where an assertion fails.
struct EndsAnyway<'a>(&'a AtomicBool);

impl Drop for EndsAnyway<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
