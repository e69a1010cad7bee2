//! What workers and threads are given to do. All are ordinary functions, so the peers run them too.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

#[pool::pool_job]
pub(crate) fn nothing() {}

/// The same for procspawn, which wants an argument.
pub(crate) fn nothing_of((): ()) {}

/// Keeps a core busy.
#[pool::pool_job]
pub(crate) fn busy(nanos: u64) {
    let end = Instant::now() + Duration::from_nanos(nanos);
    while Instant::now() < end {}
}

#[pool::pool_job]
pub(crate) fn echo(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

#[pool::pool_job]
pub(crate) fn echo_records(records: Vec<Record>) -> Vec<Record> {
    records
}

/// Waits for ever.
#[pool::pool_job]
pub(crate) fn hold() {
    loop {
        std::thread::park();
    }
}

/// Keeps a core busy for ever.
#[pool::pool_job]
pub(crate) fn spin() {
    loop {
        std::hint::spin_loop();
    }
}

/// The same for procspawn; this file says that it has begun.
pub(crate) fn spin_and_say(file: PathBuf) {
    let _ = std::fs::write(file, "");
    spin();
}

/// A kilobyte of text with a number and a name.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    id: u64,
    name: String,
    text: String,
}

/// About `bytes` of records.
pub(crate) fn records(bytes: usize) -> Vec<Record> {
    let record = |id| Record { id, name: format!("record {id}"), text: "abcdefgh".repeat(126) };
    (0..bytes as u64 / 1024).map(record).collect()
}
