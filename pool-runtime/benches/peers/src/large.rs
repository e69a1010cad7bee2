//! 64 MiB there and back, as bytes and as a structure. At the end the host has a value of its own
//! again, so it copies what came in shared memory; the other process writes its answer anew.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ipc_channel::ipc::IpcSharedMemory;
use pool::{Pool, call};

use crate::contest::{self, Contestant, Goal};
use crate::ipc::{self, BytesEcho, TypedEcho};
use crate::jobs::{Record, echo, echo_records, nothing, records};
use crate::{Bench, hands};

const BYTES: usize = 64 << 20;
/// How long no-ops are submitted for a percentile.
const WATCHED: Duration = Duration::from_millis(800);

pub(crate) fn bytes(bench: &mut Bench) {
    let pool = hands::pool(1);
    let procspawn = hands::procspawn(1);
    let memory = TypedEcho::<IpcSharedMemory>::start("ipc memory");
    let raw = BytesEcho::start();
    let data = vec![7; BYTES];
    let mut contestants = vec![
        Contestant::new("pool: Vec<u8> to Vec<u8>", || {
            let data = data.clone();
            time(|| pool.submit(call!(echo, data)).wait().expect("an echo succeeds"))
        }),
        Contestant::new("ipc-channel, shared memory", || {
            time(|| memory.round_trip(IpcSharedMemory::from_bytes(&data)).to_vec())
        })
        .goal(Goal::AtMost(0.4)),
        Contestant::new("procspawn", || {
            let data = data.clone();
            time(|| procspawn.spawn(data, echo).join().expect("an echo succeeds"))
        })
        .goal(Goal::AtMost(0.16)),
        Contestant::new("ipc-channel, raw bytes", || time(|| raw.round_trip(&data))),
    ];
    contest::run(1, bench.rounds, &mut contestants);
    bench.report.take("64 MiB of bytes there and back", "ms", &contestants);
}

pub(crate) fn structure(bench: &mut Bench) {
    let pool = hands::pool(1);
    let procspawn = hands::procspawn(1);
    let memory = TypedEcho::<IpcSharedMemory>::start("ipc records");
    let typed = TypedEcho::<Vec<Record>>::start("ipc typed");
    let data = records(BYTES);
    let mut contestants = vec![
        Contestant::new("pool: a vector of records to the same", || {
            let data = data.clone();
            time(|| pool.submit(call!(echo_records, data)).wait().expect("an echo succeeds"))
        }),
        Contestant::new("ipc-channel, shared memory, the pool's encoding", || {
            time(|| ipc::unpack(&memory.round_trip(ipc::pack(&data))))
        })
        .goal(Goal::AtMost(1.0)),
        Contestant::new("ipc-channel, typed", || {
            let data = data.clone();
            time(|| typed.round_trip(data))
        }),
        Contestant::new("procspawn", || {
            let data = data.clone();
            time(|| procspawn.spawn(data, echo_records).join().expect("an echo succeeds"))
        }),
    ];
    contest::run(1, bench.rounds, &mut contestants);
    bench.report.take("64 MiB of a serde structure there and back", "ms", &contestants);
}

/// What a no-op has to wait at worst while large jobs run beside it, in another worker; and while
/// two processes copy as much that have nothing to do with the pool.
pub(crate) fn beside(bench: &mut Bench) {
    let pool = hands::pool(bench.workers.max(2));
    let copier = Mutex::new(BytesEcho::start());
    let copy = |data| pool.submit(call!(echo, data)).wait().expect("an echo succeeds");
    let mut contestants = [
        Contestant::new("pool: beside 64 MiB jobs", || while_others(&pool, copy)),
        Contestant::new("pool: without them", || {
            while_others(&pool, |data| {
                thread::sleep(WATCHED / 8);
                data
            })
        })
        .goal(Goal::AtMost(2.0)),
        Contestant::new("pool: beside two processes that copy 64 MiB", || {
            while_others(&pool, |data| copier.lock().expect("nobody else has it").round_trip(&data))
        }),
    ];
    contest::run(1, bench.rounds, &mut contestants);
    bench.report.take("a no-op beside 64 MiB jobs", "p99, µs", &contestants);
}

/// The 99th percentile of no-ops, one at a time, while another thread does something again and
/// again.
fn while_others(pool: &Pool, other: impl Fn(Vec<u8>) -> Vec<u8> + Sync) -> f64 {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut data = vec![7; BYTES];
            while !is_over.load(Ordering::Relaxed) {
                data = other(data);
            }
        });
        let (begin, mut times) = (Instant::now(), Vec::new());
        while begin.elapsed() < WATCHED {
            let start = Instant::now();
            pool.submit(call!(nothing)).wait().expect("a no-op succeeds");
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
        is_over.store(true, Ordering::Relaxed);
        times.sort_by(f64::total_cmp);
        times[times.len() * 99 / 100]
    })
}

/// Milliseconds; what comes out is dropped later.
fn time<T>(trip: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    let out = trip();
    let took = start.elapsed();
    drop(out);
    took.as_secs_f64() * 1000.0
}
