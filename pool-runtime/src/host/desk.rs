//! Reads one worker's frames, and writes what a submitter could not.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::act::Core;
use super::after::After;
use super::capture::{Capture, Rest};
use super::core::Host;
use super::link::{Answer, LARGE, Link, Said, TEXT_ROOM};
use super::memory;
use super::news::News;
use super::offload::{Offload, read_body, write_all};
use super::pokes::Pokes;
use super::race::{First, race};
use crate::os::{Arrivals, Readable};
use crate::wire::{
    Flags, Frame, FrameBody, FrameReader, Header, Hello, ToHost, Welcome, WireFault,
};

/// Reads in one turn, before the others have theirs.
const READS_A_TURN: usize = 16;
/// Bytes in one turn: whoever sends megabytes does not hold up the small replies of others.
const BYTES_A_TURN: usize = 256 * 1024;
/// What jobs have logged, in one turn: each is work for a subscriber, of which nothing is known.
const RECORDS_A_TURN: usize = 256;
/// Reads of what lies in the channel after a death: more than it holds, and yet bounded, since a
/// descendant that got away may go on writing into it.
const READS_AT_DEATH: usize = 256;
/// When the system has no descriptor to spare, or no room for a registration.
const REGISTER_AGAIN: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The process has ended; its last words may still lie in the channel.
    Process,
    /// The channel has ended.
    Channel,
    /// The channel takes no more; what the worker said last may still lie in it.
    Writing,
}

/// Reads one worker's frames.
pub(super) struct Desk {
    reader: FrameReader<ToHost>,
    welcome: Welcome,
    /// What it prints.
    pub(super) capture: Capture,
    /// It has greeted.
    pub(super) is_ready: bool,
    /// What it said beside its replies: of a recalled frame, or of the progress of a job before its
    /// reply. One for each frame that was sent, at most.
    asides: u64,
    pokes: Pokes,
    /// The job that was answered last.
    answered: Option<u64>,
    /// What jobs have logged, in this turn.
    records: usize,
    /// Who has the reader meanwhile.
    reading: Option<Offload<FrameReader<ToHost>>>,
    /// Who writes meanwhile.
    writing: Option<Offload<()>>,
    /// There was no thread to be had: this one does all.
    is_alone: bool,
}

/// What there is to be read.
enum More<'a> {
    Readable(Readable<'a>),
    /// The reader is back.
    Read(Option<FrameReader<ToHost>>),
}

async fn more<'a>(
    reading: &mut Option<Offload<FrameReader<ToHost>>>,
    arrivals: &'a mut Option<Arrivals>,
    link: &Link,
) -> io::Result<More<'a>> {
    if let Some(reading) = reading {
        // Who reads waits by itself: nobody is to be woken for each piece.
        *arrivals = None;
        return Ok(More::Read(reading.done().await));
    }
    if arrivals.is_none() {
        *arrivals = Some(register(link).await);
    }
    match arrivals {
        Some(arrivals) => arrivals.readable().await.map(More::Readable),
        None => std::future::pending().await,
    }
}

/// The system may have no room for the registration.
async fn register(link: &Link) -> Arrivals {
    loop {
        match link.channel.arrivals() {
            Ok(arrivals) => return arrivals,
            Err(_) => tokio::time::sleep(REGISTER_AGAIN).await,
        }
    }
}

/// What became of what was to be written.
enum Writes {
    /// It is much.
    Large,
    /// It was much.
    Written,
    /// Nothing can be written any more.
    Refused,
}

async fn writes(writing: &mut Option<Offload<()>>, link: &Link, is_alone: bool) -> Writes {
    match writing {
        Some(writing) => {
            writing.done().await;
            Writes::Written
        }
        None => write_rest(link, is_alone).await,
    }
}

/// What came of some reads.
enum Readings {
    /// There may be more.
    More,
    /// Nothing more for now.
    Drained,
    /// Much more, of one body.
    Large,
    /// Nothing more for ever.
    End,
}

impl Desk {
    pub(super) fn new(host: &Host, welcome: Welcome, capture: Capture) -> Desk {
        Desk {
            reader: FrameReader::new(host.around.plan.max_payload.max(TEXT_ROOM)),
            welcome,
            capture,
            is_ready: false,
            asides: 0,
            pokes: Pokes::default(),
            answered: None,
            records: 0,
            reading: None,
            writing: None,
            is_alone: false,
        }
    }

    pub(super) async fn serve(&mut self, host: &Host, link: &Arc<Link>) -> Ended {
        let mut arrivals = None;
        loop {
            let news = {
                let more = pin!(more(&mut self.reading, &mut arrivals, link));
                let ended = pin!(link.process.ended());
                let writes = pin!(writes(&mut self.writing, link, self.is_alone));
                let pause = pin!(self.pokes.pause_is_over());
                let output = pin!(self.capture.read());
                race(race(race(more, ended), writes), race(pause, output)).await
            };
            match news {
                First::Left(First::Left(First::Left(Ok(More::Read(reader))))) => {
                    if !self.take_back(host, link, reader) {
                        return Ended::Channel;
                    }
                }
                First::Left(First::Left(First::Left(Ok(More::Readable(readable))))) => {
                    let readings = self.read(host, link, READS_A_TURN);
                    // Whoever speaks without end is heard first, each time.
                    if self.pokes.is_pause_over() {
                        self.look_again(host, link);
                    }
                    match readings {
                        Readings::More => tokio::task::yield_now().await,
                        Readings::Drained => readable.drained(),
                        Readings::Large => self.lend_reader(link).await,
                        Readings::End => return Ended::Channel,
                    }
                }
                // The runtime is going away.
                First::Left(First::Left(First::Left(Err(_)))) => return Ended::Channel,
                First::Left(First::Left(First::Right(()))) => return Ended::Process,
                First::Left(First::Right(Writes::Refused)) => return Ended::Writing,
                First::Left(First::Right(Writes::Large)) => {
                    self.writing = Offload::begin((), link, write_all).ok();
                    self.is_alone |= self.writing.is_none();
                }
                First::Left(First::Right(Writes::Written)) => self.writing = None,
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
            host.enter_by_driver(|core, after| {
                if let Err(fault) = core.answer(&host.around, link, answer, false, after) {
                    link.condemn(words(fault));
                }
                core.conclude(&host.around, link.worker, after);
            });
        }
    }

    /// Reads what it prints until the process has ended, or for so long. Whether it has.
    pub(super) async fn outlive(&mut self, host: &Host, link: &Link, limit: Duration) -> bool {
        let ended = pin!(link.process.ended());
        let limit = pin!(tokio::time::sleep(limit));
        let pump = pin!(self.capture.pump(host.hub(), link.journal.as_ref()));
        matches!(race(race(ended, limit), pump).await, First::Left(First::Left(())))
    }

    /// After a death: what still lies in the channel.
    pub(super) fn read_last(&mut self, host: &Host, link: &Arc<Link>) {
        self.read(host, link, READS_AT_DEATH);
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
            if matches!(filled, Ok(1..)) {
                host.came_by_itself(link);
            }
            if !self.book(host, link) {
                return Readings::End;
            }
            match filled {
                Ok(0) => return Readings::End,
                Ok(_) if self.has_much_to_read() && turns < READS_AT_DEATH => {
                    return Readings::Large;
                }
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

    /// Books what was read. False if the worker is at fault.
    fn book(&mut self, host: &Host, link: &Arc<Link>) -> bool {
        let mut drained = None;
        while self.reader.has_frames() {
            let parsed = host.enter_by_driver(|core, after| {
                let parsed = self.parse(host, core, link, drained, after);
                // Before jobs are handed out: it gets no more.
                let parsed = parsed.map_err(|reason| link.condemn(reason));
                core.conclude(&host.around, link.worker, after);
                parsed
            });
            match parsed {
                Ok(Parsed::All) => break,
                Ok(Parsed::UpToRecords) => {}
                Ok(Parsed::UpToOutput(rest)) => {
                    self.capture.drain(host.hub(), link.journal.as_ref(), rest);
                    drained = Some(rest);
                }
                Err(()) => return false,
            }
        }
        true
    }

    fn has_much_to_read(&self) -> bool {
        !self.is_alone && self.reader.missing() >= LARGE
    }

    /// To a thread; if there can be none, this one reads on.
    async fn lend_reader(&mut self, link: &Arc<Link>) {
        let reader = std::mem::replace(&mut self.reader, FrameReader::new(0));
        match Offload::begin(reader, link, read_body) {
            Ok(reading) => self.reading = Some(reading),
            Err(reader) => {
                self.reader = reader;
                self.is_alone = true;
                tokio::task::yield_now().await;
            }
        }
    }

    /// The reader is back, and something may be whole. False: nothing more can be read.
    fn take_back(
        &mut self,
        host: &Host,
        link: &Arc<Link>,
        reader: Option<FrameReader<ToHost>>,
    ) -> bool {
        self.reading = None;
        match reader {
            Some(reader) => self.reader = reader,
            None => link.condemn("what it sent was lost on the way".to_owned()),
        }
        !link.is_condemned() && self.book(host, link)
    }

    /// The worker has ended: what its threads have is wanted back.
    pub(super) async fn stop_threads(&mut self, host: &Host, link: &Arc<Link>) {
        if let Some(writing) = self.writing.take() {
            let _ = writing.stop().await;
        }
        if let Some(reading) = self.reading.take() {
            let reader = reading.stop().await;
            self.take_back(host, link, reader);
        }
    }

    /// Books the frames that are whole, under the core's lock. `drained`: how what the worker has
    /// printed was passed on. `Err`: in what the worker is at fault.
    fn parse(
        &mut self,
        host: &Host,
        core: &mut Core,
        link: &Arc<Link>,
        drained: Option<Rest>,
        after: &mut After,
    ) -> Result<Parsed, String> {
        let around = &host.around;
        let limit = around.plan.max_payload;
        let is_drained = !self.capture.is_on() || drained == Some(Rest::Line);
        let mut has_logged = false;
        loop {
            if !self.is_ready {
                match self.reader.next(Hello::check).map_err(words)? {
                    Some(frame) => greet(&self.welcome, &frame)?,
                    None => return Ok(Parsed::All),
                }
                self.is_ready = true;
                core.feed(around, News::Ready(link.worker), core.now, after);
                continue;
            }
            if !is_drained || has_logged {
                match self.reader.next_kind() {
                    // What a job has printed before it answered comes before its end.
                    Some(kind) if !is_drained && (kind.ends_job() || drained.is_none()) => {
                        let rest = if kind.ends_job() { Rest::Line } else { Rest::Stays };
                        return Ok(Parsed::UpToOutput(rest));
                    }
                    // A job's end is not to be seen before what it logged was passed on.
                    Some(kind) if has_logged && kind != ToHost::Log => {
                        return Ok(Parsed::UpToRecords);
                    }
                    _ => {}
                }
            }
            let check = |header: &_| Answer::check(header, link.sent(), limit);
            // Most are of this kind.
            let is_done = |header: &Header<_>| header.kind == ToHost::Done && check(header).is_ok();
            if let Some((header, body, _)) = self.reader.next_in_place(is_done) {
                let is_bloated = heard(link, &mut self.answered, &header).map_err(words)?;
                let mut output = FrameBody::Lies(body);
                let done = core.done(around, link, &header, &mut output, is_bloated, after);
                done.map_err(words)?;
                continue;
            }
            let Some(mut frame) = self.reader.next(check).map_err(words)? else {
                return Ok(Parsed::All);
            };
            let header = frame.header;
            let is_bloated = heard(link, &mut self.answered, &header).map_err(words)?;
            if header.kind == ToHost::Done {
                let output = &mut frame.body;
                core.done(around, link, &header, output, is_bloated, after).map_err(words)?;
                continue;
            }
            let mut answer = Answer::read(&frame).map_err(words)?;
            match answer.said {
                Said::News => match self.pokes.heard(link).map_err(words)? {
                    Some(news) => answer = news,
                    None => continue,
                },
                Said::Awake | Said::Progress(_) => {
                    self.asides += 1;
                    if self.asides > link.sent() {
                        return Err(words(WireFault::Unexpected("more asides than jobs")));
                    }
                }
                // Its job goes on, and keeps its limit.
                Said::Logged(_) => {
                    self.records += 1;
                    has_logged = true;
                }
                Said::Failed(_) | Said::Panicked(_) => {}
            }
            core.answer(around, link, answer, is_bloated, after).map_err(words)?;
        }
    }
}

/// A frame has come. Of an answer: whether its job leaves the worker beyond its memory limit.
#[inline]
fn heard(
    link: &Link,
    answered: &mut Option<u64>,
    header: &Header<ToHost>,
) -> Result<bool, WireFault> {
    if header.flags.has(Flags::RING) {
        link.receive(header.frame_len());
    }
    let seq = header.seq;
    if !header.kind.ends_job() {
        return Ok(false);
    }
    match answered.replace(seq) {
        Some(last) if last >= seq => Err(WireFault::Seq { seq }),
        _ => Ok(memory::is_bloated(link, seq)),
    }
}

/// How far some frames were parsed.
enum Parsed {
    /// No other one is whole.
    All,
    /// Before what comes now, what jobs have logged has to be passed on.
    UpToRecords,
    /// The same of what they have printed.
    UpToOutput(Rest),
}

fn words(fault: WireFault) -> String {
    fault.to_string()
}

fn greet(welcome: &Welcome, frame: &Frame<'_, ToHost>) -> Result<(), String> {
    let hello = Hello::decode(frame.body.as_slice()).map_err(|fault| fault.to_string())?;
    match hello.objection(welcome) {
        None => Ok(()),
        Some(reason) => Err(reason),
    }
}

/// Writes what a submitter could not, whenever the channel takes more, until it never will again.
/// May be dropped and begun again at any time.
async fn write_rest(link: &Link, is_alone: bool) -> Writes {
    while !link.is_closed() {
        if !link.is_blocked() {
            link.blocked.notified().await;
        } else if !is_alone && link.has_much_to_write() {
            return Writes::Large;
        } else if write_blocked(link).await.is_err() {
            // No descriptor for the registration: others give theirs back some time.
            tokio::time::sleep(REGISTER_AGAIN).await;
        }
    }
    Writes::Refused
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
