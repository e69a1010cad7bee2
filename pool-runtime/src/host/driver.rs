//! The pool's own thread: readiness, timers and deaths enter the core from here.
//!
//! It runs a runtime of its own, so that a pool outlives the runtimes of its callers and works
//! without any. One task looks after each worker, from its launch until it is reaped; nothing in
//! them blocks.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::background::OwnedRuntime;
use super::body::Body;
use super::capture::{Capture, Rest};
use super::core::Host;
use super::link::{Answer, Link, Said, TEXT_ROOM};
use super::memory;
use super::news::{Gone, News};
use super::pokes::Pokes;
use super::race::{First, race};
use crate::error::WorkerExit;
use crate::os;
use crate::scheduler::WorkerId;
use crate::wire::{Flags, Frame, FrameReader, Hello, ToHost, Welcome, WireFault};

/// How long a worker may live after it has closed its channel.
const AFTERLIFE: Duration = Duration::from_millis(20);
/// How long a killed process is waited for before its slot is given to another.
const LAST_WAIT: Duration = Duration::from_secs(2);
/// How often what a worker left behind is looked for, where the host inherits it.
const ORPHAN_LOOK: Duration = Duration::from_millis(5);
/// Reads in one turn, before the others have theirs.
const READS_A_TURN: usize = 16;
/// Bytes in one turn: whoever sends megabytes does not hold up the small replies of others.
const BYTES_A_TURN: usize = 256 * 1024;
/// What jobs have logged, in one turn: each is work for a subscriber, of which nothing is known.
const RECORDS_A_TURN: usize = 256;
/// Reads of what lies in the channel after a death: more than it holds, and yet bounded, since a
/// descendant that got away may go on writing into it.
const READS_AT_DEATH: usize = 256;

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
            // Whoever waits for the end of the pool need not wait until its memory is unmapped.
            drop(link);
        });
    }
}

/// Until the pool is at rest.
async fn drive(host: Arc<Host>, first: Option<Birth>) {
    first.into_iter().for_each(|birth| birth.go_on(&host));
    loop {
        let bell = host.bell.notified();
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
                race(bell, tokio::time::sleep(due.since(host.now()))).await;
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
            host.enter_as_driver(News::Gone(gone));
            return None;
        }
    };
    host.enter_as_driver(News::Launched(link.clone()));
    let mut desk = Desk {
        reader: FrameReader::new(host.around.plan.max_payload.max(TEXT_ROOM)),
        welcome,
        capture,
        is_ready: false,
        asides: 0,
        pokes: Pokes::default(),
        answered: None,
        records: 0,
    };
    let ended = match race(desk.serve(host, &link), memory::watch(host, &link)).await {
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
    // Its group dies before it is reaped, and what it said last is read before it is dead to us.
    link.kill();
    if ended != Ended::Channel {
        desk.read(host, &link, READS_AT_DEATH);
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
    host.enter_as_driver(News::Gone(Gone {
        worker,
        link: Some(link.clone()),
        exit,
        detail,
        in_launch: !desk.is_ready,
    }));
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// The process has ended; its last words may still lie in the channel.
    Process,
    /// The channel has ended.
    Channel,
    /// The channel takes no more; what the worker said last may still lie in it.
    Writing,
}

/// Reads one worker's frames.
struct Desk {
    reader: FrameReader<ToHost>,
    welcome: Welcome,
    /// What it prints.
    capture: Capture,
    /// It has greeted.
    is_ready: bool,
    /// What it said beside its replies: of a recalled frame, or of the progress of a job before its
    /// reply. One for each frame that was sent, at most.
    asides: u64,
    pokes: Pokes,
    /// The job that was answered last.
    answered: Option<u64>,
    /// What jobs have logged, in this turn.
    records: usize,
}

/// What came of some reads.
enum Readings {
    /// There may be more.
    More,
    /// Nothing more for now.
    Drained,
    /// Nothing more for ever.
    End,
}

impl Desk {
    async fn serve(&mut self, host: &Host, link: &Arc<Link>) -> Ended {
        loop {
            let writes = write_rest(link);
            let worker = race(link.channel.readable(), link.process.ended());
            let beside = race(self.pokes.pause_is_over(), self.capture.read());
            let news = race(race(worker, writes), beside).await;
            match news {
                First::Left(First::Left(First::Left(Ok(readable)))) => {
                    let readings = self.read(host, link, READS_A_TURN);
                    // Whoever speaks without end is heard first, each time.
                    if self.pokes.is_pause_over() {
                        self.look_again(host, link);
                    }
                    match readings {
                        Readings::More => tokio::task::yield_now().await,
                        Readings::Drained => readable.drained(),
                        Readings::End => return Ended::Channel,
                    }
                }
                // The runtime is going away.
                First::Left(First::Left(First::Left(Err(_)))) => return Ended::Channel,
                First::Left(First::Left(First::Right(()))) => return Ended::Process,
                First::Left(First::Right(())) => return Ended::Writing,
                First::Right(First::Right(())) => {
                    self.capture.deliver(host.hub(), link.journal.as_ref());
                    // Whoever prints without end is one among many.
                    tokio::task::yield_now().await;
                }
                First::Right(First::Left(())) => self.look_again(host, link),
            }
        }
    }

    /// Passes on what a job has said of its progress since the last look.
    fn look_again(&mut self, host: &Host, link: &Arc<Link>) {
        if let Some(answer) = self.pokes.look_again(link) {
            host.enter_as_driver(News::Answers(link.clone(), vec![answer]));
        }
    }

    /// Reads what it prints until the process has ended, or for so long. Whether it has.
    async fn outlive(&mut self, host: &Host, link: &Link, limit: Duration) -> bool {
        let ended = race(link.process.ended(), tokio::time::sleep(limit));
        let pump = self.capture.pump(host.hub(), link.journal.as_ref());
        matches!(race(ended, pump).await, First::Left(First::Left(())))
    }

    /// Reads and books what is there.
    fn read(&mut self, host: &Host, link: &Arc<Link>, turns: usize) -> Readings {
        self.records = 0;
        let mut bytes = 0;
        for _ in 0..turns {
            // Nothing that it has said since counts.
            if link.is_condemned() {
                return Readings::End;
            }
            let filled = self.reader.fill(&mut &link.channel);
            let mut answers = Vec::new();
            let fault = self.parse(host, link, &mut answers).err();
            if !answers.is_empty() {
                // What a job has printed before it answered comes before its end.
                let ends = answers.iter().any(|answer| answer.said.ends_job());
                let rest = if ends { Rest::Line } else { Rest::Stays };
                self.capture.drain(host.hub(), link.journal.as_ref(), rest);
                host.enter_as_driver(News::Answers(link.clone(), answers));
            }
            if let Some(reason) = fault {
                link.condemn(reason);
                return Readings::End;
            }
            match filled {
                Ok(0) => return Readings::End,
                Ok(n) => {
                    bytes += n;
                    let is_much = bytes >= BYTES_A_TURN || self.records >= RECORDS_A_TURN;
                    if is_much && turns < READS_AT_DEATH {
                        break;
                    }
                    // What was not filled shows that the channel is empty, where readiness is told
                    // by epoll or kqueue: so tokio's own sockets do it.
                    if self.reader.asked_for_more_than(n) && turns < READS_AT_DEATH {
                        return Readings::Drained;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Readings::Drained;
                }
                // A peer that died with unread bytes: an error once, then the end.
                Err(_) => return Readings::End,
            }
        }
        Readings::More
    }

    fn parse(
        &mut self,
        host: &Host,
        link: &Arc<Link>,
        answers: &mut Vec<Answer>,
    ) -> Result<(), String> {
        loop {
            let is_ready = self.is_ready;
            let limit = host.around.plan.max_payload;
            let check = |header: &_| match is_ready {
                true => Answer::check(header, link.sent(), limit),
                false => Hello::check(header),
            };
            let Some(frame) = self.reader.next(check).map_err(|fault| fault.to_string())? else {
                return Ok(());
            };
            if frame.header.flags.has(Flags::RING) {
                link.receive(frame.header.frame_len());
            }
            if self.is_ready {
                let mut answer = Answer::read(frame).map_err(|fault| fault.to_string())?;
                match answer.said {
                    Said::News => match self.pokes.heard(link) {
                        Ok(Some(news)) => answer = news,
                        Ok(None) => continue,
                        Err(fault) => return Err(fault.to_string()),
                    },
                    Said::Awake | Said::Progress(_) => {
                        self.asides += 1;
                        if self.asides > link.sent() {
                            return Err(WireFault::Unexpected("more asides than jobs").to_string());
                        }
                    }
                    // Its job goes on, and keeps its limit.
                    Said::Logged(_) => {}
                    Said::Done(_) | Said::Failed(_) | Said::Panicked(_) => {
                        let seq = answer.seq;
                        if self.answered.replace(seq).is_some_and(|last| last >= seq) {
                            return Err(WireFault::Seq { seq }.to_string());
                        }
                        answer.is_bloated = memory::is_bloated(link, answer.seq);
                    }
                }
                let is_record = matches!(answer.said, Said::Logged(_));
                self.records += usize::from(is_record);
                let is_behind =
                    matches!(answers.last(), Some(Answer { said: Said::Logged(_), .. }));
                if is_behind && !is_record {
                    // A job's end is not to be seen before what it logged was passed on.
                    let records = std::mem::take(answers);
                    host.enter_as_driver(News::Answers(link.clone(), records));
                    if link.is_condemned() {
                        return Ok(());
                    }
                }
                answers.push(answer);
            } else {
                self.greet(&frame)?;
                self.is_ready = true;
                host.enter_as_driver(News::Ready(link.worker));
            }
        }
    }

    fn greet(&self, frame: &Frame<ToHost>) -> Result<(), String> {
        let hello = Hello::decode(&frame.body).map_err(|fault: WireFault| fault.to_string())?;
        match hello.objection(&self.welcome) {
            None => Ok(()),
            Some(reason) => Err(reason),
        }
    }
}

/// Writes what a submitter could not, whenever the channel takes more, until it never will again.
/// May be dropped and begun again at any time.
async fn write_rest(link: &Link) {
    while !link.is_closed() {
        if !link.is_blocked() {
            link.blocked.notified().await;
        } else if write_blocked(link).await.is_err() {
            // No descriptor for the registration: others give theirs back some time.
            tokio::time::sleep(AFTERLIFE).await;
        }
    }
}

/// Writes until nothing is left to be written.
async fn write_blocked(link: &Link) -> io::Result<()> {
    let room = link.channel.room()?;
    while link.is_blocked() && !link.is_closed() {
        room.write_with(|| link.write_on()).await?;
        // The others have their turn.
        tokio::task::yield_now().await;
    }
    Ok(())
}
