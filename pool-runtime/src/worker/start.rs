//! From a fresh process to a serving worker: adopt the channel, open the recorder, run the start
//! hooks, greet the host.

use std::sync::Arc;
use std::thread;

use tokio::runtime::Handle;

use super::outbox::Outbox;
use super::{guard, panic, serve};
use crate::context::CancelWatch;
use crate::os::{self, Adopted, Adoption, Nudge};
use crate::recorder::Recorder;
use crate::registry;
use crate::wire::{Hello, PROTOCOL_VERSION, Welcome};

/// As the thread of a `main` has it where nothing else is asked for; it is reserved, not used.
const STACK: usize = 8 * 1024 * 1024;

/// Serves and exits if this process was started as a worker; else returns.
pub(crate) fn serve_if_worker() {
    let adopted = match os::adopt() {
        Adoption::Host => return,
        Adoption::Worker(adopted) => adopted,
        Adoption::Refused(reason) => {
            give_up("this process was told to be a pool worker, but", &reason)
        }
    };
    os::forget_environment();
    if Handle::try_current().is_err() {
        serve(adopted);
    }
    // A `main` by another macro, inside of whose runtime no async job could be waited for: on a
    // thread that is in none.
    let thread = thread::Builder::new().stack_size(STACK);
    match thread.spawn(move || -> () { serve(adopted) }) {
        // It ends with the process.
        Ok(serving) => _ = serving.join(),
        Err(error) => give_up("a pool worker has no thread to serve on:", &error.to_string()),
    }
    os::leave(os::EXIT_BROKEN)
}

fn serve(adopted: Adopted) -> ! {
    match start(adopted) {
        Ok(worker) => worker.serve_and_leave(),
        Err(reason) => give_up("a pool worker could not start:", &reason),
    }
}

/// Orphans are common and silent: a host that was killed while its workers started.
fn give_up(what: &str, reason: &str) -> ! {
    if reason != os::HOST_GONE {
        eprintln!("{what} {reason}");
    }
    os::leave(os::EXIT_BROKEN)
}

fn start(adopted: Adopted) -> Result<serve::Worker, String> {
    let Adopted { channel, host, welcome, descriptors } = adopted;
    let welcome = Welcome::decode(&welcome).ok_or("its host said no welcome")?;
    os::prepare_worker(welcome.slot);
    os::print_lines();
    let channel = Arc::new(channel);
    let nudge = Nudge::new().map_err(|error| format!("no pipe for its guard: {error}"))?;
    let mut descriptors = descriptors.into_iter();
    let recorder = descriptors.next().ok_or("its host sent no recorder")?;
    let recorder = Recorder::open(&recorder).map_err(|error| format!("no recorder: {error}"))?;
    if let Some(stdout) = descriptors.next() {
        os::restore_stdout(&stdout).map_err(|error| format!("no stdout: {error}"))?;
    }
    let watch = Arc::new(CancelWatch::new(recorder, nudge));
    let outbox = Outbox::new(channel.clone(), &watch);
    guard::start(outbox.clone(), host, watch.clone())
        .map_err(|error| format!("no thread for its guard: {error}"))?;
    let table = registry::table()?;
    let worker = serve::Worker::new(outbox, watch, table, welcome);
    let last_words = worker.last_words();
    panic::install(Some(last_words));
    let hello = Hello {
        protocol: PROTOCOL_VERSION,
        pid: std::process::id(),
        fingerprint: table.fingerprint(),
        trouble: run_hooks().err(),
    };
    channel.write_all(&hello.encode(), &[]).map_err(|_| os::HOST_GONE)?;
    // A job may lie here already, which is another one by the numbers of another table.
    match hello.objection(&welcome) {
        None => Ok(worker),
        // The host has the reason and tells it.
        Some(_) => os::leave(os::EXIT_BROKEN),
    }
}

/// The user's start hooks; a panic of one is its failure.
fn run_hooks() -> Result<(), String> {
    for hook in registry::start_hooks() {
        let place = || format!("start hook `{}` ({}:{})", hook.name, hook.file, hook.line);
        match panic::catch(|| (hook.run)()) {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => return Err(format!("{} failed: {reason}", place())),
            Err(report) => return Err(format!("{} panicked{}", place(), panic::in_short(report))),
        }
    }
    Ok(())
}
