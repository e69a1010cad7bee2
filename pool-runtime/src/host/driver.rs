//! The pool's own thread: readiness, timers and deaths enter the core from here.
//!
//! It runs a runtime of its own, so that a pool outlives the runtimes of its callers and works
//! without any. One task looks after each worker, from its launch until it is reaped; nothing in
//! them blocks.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::background::OwnedRuntime;
use super::body::Body;
use super::capture::Capture;
use super::core::Host;
use super::desk::{Desk, Ended};
use super::link::Link;
use super::memory;
use super::news::{Gone, News};
use super::race::{First, race};
use crate::error::WorkerExit;
use crate::os;
use crate::scheduler::WorkerId;
use crate::wire::Welcome;

/// How long a worker may live after it has closed its channel.
const AFTERLIFE: Duration = Duration::from_millis(20);
/// How long a killed process is waited for before its slot is given to another.
const LAST_WAIT: Duration = Duration::from_secs(2);
/// How often what a worker left behind is looked for, where the host inherits it.
const ORPHAN_LOOK: Duration = Duration::from_millis(5);

/// Starts the driver of `host`.
pub(crate) fn start(host: &Arc<Host>) -> io::Result<()> {
    let runtime = OwnedRuntime::new()?;
    host.set_runtime(runtime.handle());
    // The first process starts while the driver's thread does.
    let inside = runtime.enter();
    host.tick();
    let first = host.take_launch().map(|worker| Birth::begin(host, worker));
    drop(inside);
    let (tell, told) = oneshot::channel();
    let driven = host.clone();
    let thread = std::thread::Builder::new().name("pool-driver".to_owned());
    let spawned = thread.spawn(move || {
        driven.set_driver();
        runtime.block_on(async {
            let first = told.await.unwrap_or_default();
            // A task like the others: what wakes it on this thread need not wake the thread.
            let _ = tokio::spawn(drive(driven, first)).await;
        });
    });
    match spawned {
        Ok(_) => drop(tell.send(first)),
        Err(error) => {
            first.into_iter().for_each(Birth::undo);
            return Err(error);
        }
    }
    Ok(())
}

/// A worker that was launched, or could not be.
struct Birth {
    worker: WorkerId,
    launched: Result<(Link, Welcome, Capture), String>,
}

impl Birth {
    /// Inside the driver's runtime.
    fn begin(host: &Host, worker: WorkerId) -> Birth {
        Birth { worker, launched: host.around.plan.start(worker) }
    }

    fn undo(self) {
        match self.launched.map(|(link, ..)| (link.process, link.channel)) {
            Ok((Body::Process(process), _)) => process.discard(),
            Ok((Body::Thread(_), channel)) => channel.hang_up(),
            Err(_) => {}
        }
    }

    /// Looks after the worker for the rest of its life.
    fn go_on(self, host: &Arc<Host>) {
        let host = host.clone();
        tokio::spawn(async move {
            let link = life(&host, self).await;
            host.enter_as_driver(News::Reaped);
            // Where the pool ends a worker seldom has a successor, who would want its descriptors.
            // Whoever waits for that end need not wait until its memory is unmapped, and may have been
            // woken on this very processor; and of several workers that have ended the others are
            // reaped first.
            if host.is_closed() {
                if host.rest.is_set() {
                    std::thread::yield_now();
                }
                tokio::task::yield_now().await;
            }
            drop(link);
        });
    }
}

/// Until the pool is at rest.
async fn drive(host: Arc<Host>, first: Option<Birth>) {
    first.into_iter().for_each(|birth| birth.go_on(&host));
    loop {
        let bell = pin!(host.bell.notified());
        let due = host.tick();
        while let Some(worker) = host.take_launch() {
            Birth::begin(&host, worker).go_on(&host);
            // Those that are up need not wait until the last one is launched.
            tokio::task::yield_now().await;
        }
        if host.rest.is_set() {
            return;
        }
        match due {
            None => bell.await,
            Some(due) => {
                race(bell, pin!(tokio::time::sleep(due.since(host.now())))).await;
            }
        }
    }
}

/// One worker's life, from the moment that it was launched until it is reaped; what is left of it.
async fn life(host: &Host, birth: Birth) -> Option<Arc<Link>> {
    let worker = birth.worker;
    let (link, welcome, capture) = match birth.launched {
        Ok((link, welcome, capture)) => (Arc::new(link), welcome, capture),
        Err(reason) => {
            let exit = WorkerExit::Unknown;
            let gone = Gone { worker, link: None, exit, detail: reason, in_launch: true };
            host.enter_as_driver(News::Gone(Box::new(gone)));
            return None;
        }
    };
    host.enter_as_driver(News::Launched(link.clone()));
    let mut desk = Desk::new(host, welcome, capture);
    let ended = match race(pin!(desk.serve(host, &link)), pin!(memory::watch(host, &link))).await {
        First::Left(ended) => ended,
        First::Right(never) => match never {},
    };
    if link.process.is_thread() {
        // It sees the end of its channel, some time.
        link.kill();
        link.process.ended().await;
    } else if ended != Ended::Process {
        // A worker that exits closes its channel first, and may lose its processor right then.
        if !desk.outlive(host, &link, AFTERLIFE).await && !link.process.is_leaving() {
            link.condemn("it closed its channel and lived on".to_owned());
        }
    }
    let has_ended = desk.outlive(host, &link, LAST_WAIT).await;
    // Its group dies before it is reaped, which sees to that if nothing comes between; and what it
    // said last is read before it is dead to us.
    if !has_ended || ended != Ended::Channel {
        link.kill();
    }
    desk.stop_threads(host, &link).await;
    if ended != Ended::Channel {
        desk.read_last(host, &link);
    }
    desk.capture.finish(host.hub(), link.journal.as_ref());
    let exit = match has_ended {
        true => link.process.reap().unwrap_or(WorkerExit::Unknown),
        false => WorkerExit::Unknown,
    };
    let farewell = || link.recorder.farewell().map(|farewell| farewell.to_string());
    let verdict = link.verdict().or_else(farewell);
    // The signal is ours, or the code is: neither says anything of the job. Any other exit was its
    // own, before we came to it.
    let exit = match exit {
        WorkerExit::Signal(os::KILLED_BY_US) | WorkerExit::Code(os::EXIT_BROKEN)
            if verdict.is_some() =>
        {
            WorkerExit::Unknown
        }
        exit => exit,
    };
    let who = format!("worker {}, {}", worker.slot, link.process.describe());
    let detail = verdict.map_or_else(|| who.clone(), |verdict| format!("{who}: {verdict}"));
    host.enter_as_driver(News::Gone(Box::new(Gone {
        worker,
        link: Some(link.clone()),
        exit,
        detail,
        in_launch: !desk.is_ready,
    })));
    bury(&link).await;
    Some(link)
}

/// Reaps behind everybody's back: a process that would not die, and orphans.
async fn bury(link: &Link) {
    link.process.ended().await;
    let _ = link.process.reap();
    let until = Instant::now() + LAST_WAIT;
    while link.process.reap_orphans() && Instant::now() < until {
        tokio::time::sleep(ORPHAN_LOOK).await;
    }
}
