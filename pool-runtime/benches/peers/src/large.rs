//! 64 MiB there and back, as bytes and as a structure. At the end the host has a value of its own
//! again, so it copies what came in shared memory; the other process writes its answer anew.

use std::time::Instant;

use ipc_channel::ipc::IpcSharedMemory;
use pool::call;

use crate::contest::{self, Contestant, Goal};
use crate::hands;
use crate::ipc::{self, BytesEcho, TypedEcho};
use crate::jobs::{Record, echo, echo_records, records};
use crate::report::Report;

const BYTES: usize = 64 << 20;

pub(crate) fn bytes(report: &mut Report, rounds: usize) {
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
    contest::run(1, rounds, &mut contestants);
    report.take("64 MiB of bytes there and back", "ms", &contestants);
}

pub(crate) fn structure(report: &mut Report, rounds: usize) {
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
    contest::run(1, rounds, &mut contestants);
    report.take("64 MiB of a serde structure there and back", "ms", &contestants);
}

/// Milliseconds; what comes out is dropped later.
fn time<T>(trip: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    let out = trip();
    let took = start.elapsed();
    drop(out);
    took.as_secs_f64() * 1000.0
}
