//! What is left of a pool of processes when everything is taken away that it promises: a handle a
//! job, one queue behind one lock, a thread that writes frames and reads replies by the thousand, and
//! processes that look at the clock and answer. No priorities, no limits, no statistics, nobody who
//! could be cancelled, killed or lost. It is no peer: it shows how far one can get that way, and how far
//! with what is [promised](crate::promises) of each job by itself.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use crate::bare::role;
use crate::promises::{self, Promises};

/// A frame of the pool's for a no-op, and the reply.
const FRAME: usize = 45;
const REPLY: usize = 24;
/// Frames that one process has at most.
const WINDOW: usize = 1024;
const CHUNK: usize = 64 * 1024;

/// What a handle waits for, and what is kept of the job.
struct Slot<P: Promises>(Mutex<State>, P::Told);

enum State {
    Waiting(Option<Thread>),
    Done,
}

pub(crate) struct Handle<P: Promises>(Arc<Slot<P>>);

/// The queue, and who works it off.
pub(crate) struct Skeleton<P: Promises> {
    shared: Arc<Shared<P>>,
    pids: Vec<u32>,
    driver: Option<JoinHandle<()>>,
}

struct Shared<P: Promises> {
    promises: P,
    inbox: Mutex<Vec<Arc<Slot<P>>>>,
    /// The driver sleeps for want of jobs.
    sleeps: AtomicBool,
    is_over: AtomicBool,
}

struct Worker<P: Promises> {
    channel: UnixStream,
    child: Child,
    ledger: P::Ledger,
    window: VecDeque<Arc<Slot<P>>>,
    frames: Vec<u8>,
    replies: Vec<u8>,
    /// Bytes of a reply that is not whole.
    part: usize,
}

impl<P: Promises> Skeleton<P> {
    pub(crate) fn new(workers: usize) -> Skeleton<P> {
        let shared = Arc::new(Shared {
            promises: P::default(),
            inbox: Mutex::default(),
            sleeps: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
        });
        let workers: Vec<_> = (0..workers).map(|_| Worker::start()).collect();
        let pids = workers.iter().map(|worker| worker.child.id()).collect();
        let driven = shared.clone();
        let driver = Some(thread::spawn(move || drive(&driven, workers)));
        Skeleton { shared, pids, driver }
    }

    /// Of its processes.
    pub(crate) fn pids(&self) -> impl Iterator<Item = u32> + '_ {
        self.pids.iter().copied()
    }

    pub(crate) fn submit(&self) -> Handle<P> {
        let told = self.shared.promises.accept();
        let slot = Arc::new(Slot(Mutex::new(State::Waiting(None)), told));
        self.shared.inbox.lock().expect("nobody panics").push(slot.clone());
        if self.shared.sleeps.load(Ordering::SeqCst) {
            self.wake();
        }
        Handle(slot)
    }

    fn wake(&self) {
        self.driver.iter().for_each(|driver| driver.thread().unpark());
    }
}

impl<P: Promises> Drop for Skeleton<P> {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.wake();
        self.driver.take().map(JoinHandle::join);
    }
}

impl<P: Promises> Handle<P> {
    pub(crate) fn wait(self) {
        loop {
            match &mut *self.0.0.lock().expect("nobody panics") {
                State::Done => return P::output(&self.0.1),
                State::Waiting(waiter) => *waiter = Some(thread::current()),
            }
            thread::park();
        }
    }
}

fn drive<P: Promises>(shared: &Shared<P>, mut workers: Vec<Worker<P>>) {
    let mut queue = VecDeque::new();
    loop {
        queue.extend(std::mem::take(&mut *shared.inbox.lock().expect("nobody panics")));
        for worker in &mut workers {
            worker.hand_out(shared, &mut queue);
        }
        if workers.iter().all(|worker| worker.window.is_empty()) {
            if shared.is_over.load(Ordering::SeqCst) {
                return;
            }
            shared.sleeps.store(true, Ordering::SeqCst);
            if shared.inbox.lock().expect("nobody panics").is_empty() {
                thread::park();
            }
            shared.sleeps.store(false, Ordering::SeqCst);
            continue;
        }
        let mut fds: Vec<_> =
            workers.iter().map(|worker| PollFd::new(&worker.channel, PollFlags::IN)).collect();
        poll(&mut fds, None).expect("sockets can be polled");
        let readable: Vec<_> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        for (worker, _) in workers.iter_mut().zip(readable).filter(|(_, readable)| *readable) {
            worker.hear();
        }
    }
}

impl<P: Promises> Worker<P> {
    fn start() -> Worker<P> {
        let (channel, theirs) = UnixStream::pair().expect("a socket pair can be made");
        let child = role(P::ROLE).stdin(Stdio::from(OwnedFd::from(theirs))).spawn();
        let child = child.expect("this program can be started");
        let (ledger, window) = (P::Ledger::default(), VecDeque::new());
        let (frames, replies) = (Vec::new(), vec![0; CHUNK]);
        Worker { channel, child, ledger, window, frames, replies, part: 0 }
    }

    fn hand_out(&mut self, shared: &Shared<P>, queue: &mut VecDeque<Arc<Slot<P>>>) {
        let count = (WINDOW - self.window.len()).min(queue.len());
        let now = Instant::now();
        for slot in queue.drain(..count) {
            let arguments = P::hand_out(&mut self.ledger, &slot.1, now.elapsed());
            let mut frame = [1; FRAME];
            frame[..8].copy_from_slice(&arguments.to_le_bytes());
            self.frames.extend_from_slice(&frame);
            self.window.push_back(slot);
        }
        shared.promises.leave(count);
        if !self.frames.is_empty() {
            self.channel.write_all(&self.frames).expect("it reads");
            self.frames.clear();
        }
    }

    fn hear(&mut self) {
        let read = self.channel.read(&mut self.replies[self.part..]).expect("it answers");
        let bytes = self.part + read;
        let whole = bytes - bytes % REPLY;
        let replies = self.replies[..whole].chunks_exact(REPLY);
        for (slot, reply) in self.window.drain(..whole / REPLY).zip(replies) {
            let (took, output) = reply.split_at(8);
            let took = u64::from_le_bytes(took.try_into().expect("eight bytes"));
            let output = &output[..usize::from(output[8]).min(8)];
            P::end(&mut self.ledger, &slot.1, Duration::from_nanos(took), output);
            let state = &mut *slot.0.lock().expect("nobody panics");
            if let State::Waiting(Some(waiter)) = std::mem::replace(state, State::Done) {
                waiter.unpark();
            }
        }
        self.replies.copy_within(whole..bytes, 0);
        self.part = bytes - whole;
    }
}

impl<P: Promises> Drop for Worker<P> {
    fn drop(&mut self) {
        // It sees the end of the stream, and ends.
        let _ = self.channel.shutdown(std::net::Shutdown::Both);
        let _ = self.child.wait();
    }
}

/// The role of the process; with a worker that keeps what is promised, if there is one.
pub(crate) fn answer(worker: Option<&promises::Worker>) {
    let stdin = std::io::stdin().as_fd().try_clone_to_owned();
    let mut channel = UnixStream::from(stdin.expect("stdin can be duplicated"));
    let (mut buffer, mut part) = (vec![0; CHUNK], 0);
    let (mut replies, mut before) = (Vec::new(), Instant::now());
    while let Ok(n @ 1..) = channel.read(&mut buffer[part..]) {
        let frames = (part + n) / FRAME;
        for frame in buffer.chunks_exact(FRAME).take(frames) {
            let now = Instant::now();
            let took = (now - std::mem::replace(&mut before, now)).as_nanos() as u64;
            let mut reply = [frame[0]; REPLY];
            reply[..8].copy_from_slice(&took.to_le_bytes());
            worker.inspect(|worker| worker.run(frame, &mut reply));
            replies.extend_from_slice(&reply);
        }
        buffer.copy_within(frames * FRAME..part + n, 0);
        part = part + n - frames * FRAME;
        if channel.write_all(&replies).is_err() {
            return;
        }
        replies.clear();
    }
}
