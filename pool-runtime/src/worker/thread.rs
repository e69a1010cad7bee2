//! A worker on a thread of its host: it greets and serves as one in a process does.
//!
//! It is told to end by the end of its channel, and then only its own thread ends. It has no guard,
//! runs no start hooks and changes nothing of the process but one thing: the panic hook, which
//! passes on whatever does not happen in a job.

use std::sync::Arc;

use super::outbox::Outbox;
use super::panic;
use super::serve::{Over, Worker};
use crate::context::{CancelWatch, become_worker_thread};
use crate::os::ChannelEnd;
use crate::registry;
use crate::wire::{Hello, PROTOCOL_VERSION, PanicReport, Welcome};

/// Serves until the host hangs up or says that it is over.
pub(crate) fn serve_on_thread(channel: ChannelEnd, watch: Arc<CancelWatch>, welcome: Welcome) {
    let table = match registry::table() {
        Ok(table) => table,
        // Then no pool is built.
        Err(_) => return,
    };
    become_worker_thread();
    panic::install(None::<fn(PanicReport)>);
    let hello = Hello {
        protocol: PROTOCOL_VERSION,
        pid: std::process::id(),
        fingerprint: table.fingerprint(),
        trouble: None,
    };
    if channel.write_all(&hello.encode(), &[]).is_err() {
        return;
    }
    let worker = Worker::new(Outbox::new(Arc::new(channel), &watch), watch.clone(), table, welcome);
    match worker.serve() {
        // A reply that nobody waits for any more is refused like one that cannot be written.
        Over::Told | Over::HostGone => {}
        Over::Broken(farewell) => watch.recorder.say_farewell(farewell),
    }
    worker.end();
}
