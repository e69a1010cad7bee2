//! What is left of a pool of processes when everything is taken away that it promises: a handle a
//! job, one queue behind one lock, a thread that writes frames and reads replies by the thousand, and
//! processes that look at the clock and answer. No priorities, no limits, no statistics, nobody who
//! could be cancelled, killed or lost. It is no peer: it shows how far one can get that way.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, Thread};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};

use crate::bare::role;

/// A frame of the pool's for a no-op, and the reply.
const FRAME: usize = 45;
const REPLY: usize = 24;
/// Frames that one process has at most.
const WINDOW: usize = 1024;
const CHUNK: usize = 64 * 1024;

/// What a handle waits for.
struct Slot(Mutex<State>);

enum State {
    Waiting(Option<Thread>),
    Done,
}

pub(crate) struct Handle(Arc<Slot>);

/// The queue, and who works it off.
pub(crate) struct Skeleton {
    shared: Arc<Shared>,
    pids: Vec<u32>,
    driver: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    inbox: Mutex<Vec<Arc<Slot>>>,
    /// The driver sleeps for want of jobs.
    sleeps: AtomicBool,
    is_over: AtomicBool,
}

struct Worker {
    channel: UnixStream,
    child: Child,
    window: VecDeque<Arc<Slot>>,
    frames: Vec<u8>,
    /// Bytes of a reply that is not whole.
    part: usize,
}

impl Skeleton {
    pub(crate) fn new(workers: usize) -> Skeleton {
        let shared = Arc::new(Shared::default());
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

    pub(crate) fn submit(&self) -> Handle {
        let slot = Arc::new(Slot(Mutex::new(State::Waiting(None))));
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

impl Drop for Skeleton {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.wake();
        self.driver.take().map(JoinHandle::join);
    }
}

impl Handle {
    pub(crate) fn wait(self) {
        loop {
            match &mut *self.0.0.lock().expect("nobody panics") {
                State::Done => return,
                State::Waiting(waiter) => *waiter = Some(thread::current()),
            }
            thread::park();
        }
    }
}

fn drive(shared: &Shared, mut workers: Vec<Worker>) {
    let (mut queue, mut buffer) = (VecDeque::new(), vec![0; CHUNK]);
    loop {
        queue.extend(std::mem::take(&mut *shared.inbox.lock().expect("nobody panics")));
        for worker in &mut workers {
            worker.hand_out(&mut queue);
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
            worker.hear(&mut buffer);
        }
    }
}

impl Worker {
    fn start() -> Worker {
        let (channel, theirs) = UnixStream::pair().expect("a socket pair can be made");
        let child = role("answer").stdin(Stdio::from(OwnedFd::from(theirs))).spawn();
        let child = child.expect("this program can be started");
        Worker { channel, child, window: VecDeque::new(), frames: Vec::new(), part: 0 }
    }

    fn hand_out(&mut self, queue: &mut VecDeque<Arc<Slot>>) {
        let places = WINDOW - self.window.len();
        for slot in queue.drain(..places.min(queue.len())) {
            self.frames.extend_from_slice(&[1; FRAME]);
            self.window.push_back(slot);
        }
        if !self.frames.is_empty() {
            self.channel.write_all(&self.frames).expect("it reads");
            self.frames.clear();
        }
    }

    fn hear(&mut self, buffer: &mut [u8]) {
        let bytes = self.part + self.channel.read(buffer).expect("it answers");
        self.part = bytes % REPLY;
        for slot in self.window.drain(..bytes / REPLY) {
            let state = &mut *slot.0.lock().expect("nobody panics");
            if let State::Waiting(Some(waiter)) = std::mem::replace(state, State::Done) {
                waiter.unpark();
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It sees the end of the stream, and ends.
        let _ = self.channel.shutdown(std::net::Shutdown::Both);
        let _ = self.child.wait();
    }
}

/// The role of the process.
pub(crate) fn answer() {
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
