//! A worker that speaks the wire by hand, well or badly.
//!
//! It shares no code with the library: what it knows of frames, greetings and the recorder it
//! knows from the prose. Arguments: how to behave, and perhaps a file. With a file only the first
//! process that can create it misbehaves and notes its number in it; all others behave well. A
//! worker that behaves well answers every job with its own process number.

#![expect(unsafe_code, reason = "shared memory")]
#![expect(clippy::unwrap_used, reason = "a puppet that fails is a worker that crashes")]

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use rustix::fs::SealFlags;
use rustix::mm::{MapFlags, ProtFlags};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

const HELLO: u8 = 1;
const DONE: u8 = 2;
const PANICKED: u8 = 3;
const FAILED: u8 = 4;
const LOG: u8 = 5;
const POKE: u8 = 6;
const PASSED: u8 = 7;
const PROGRESS: u8 = 8;

/// Host to worker.
const RUN: u8 = 2;

/// Words of the recorder's slot for progress.
const VERSION: usize = 320 / 8;
const POKED: usize = 1408 / 8;
const RECORDER_LEN: usize = 4096 + 64 * 1024;

/// What the host said first, and both ways to speak with it.
struct Puppet {
    channel: UnixStream,
    memory: OwnedFd,
    words: &'static [AtomicU64],
    protocol: u32,
    fingerprint: u64,
}

/// Sixteen bytes: length, kind, flags, two bytes of time, number of the job.
fn header(len: u32, kind: u8, flags: u8, seq: u64) -> Vec<u8> {
    let mut bytes = len.to_le_bytes().to_vec();
    bytes.extend([kind, flags, 0, 0]);
    bytes.extend(seq.to_le_bytes());
    bytes
}

fn frame(kind: u8, seq: u64, body: &[u8]) -> Vec<u8> {
    [header(u32::try_from(body.len()).unwrap(), kind, 0, seq), body.to_vec()].concat()
}

/// This process, as MessagePack.
fn own_number() -> Vec<u8> {
    [&[0xce][..], &process::id().to_be_bytes()].concat()
}

/// A text with its length before it.
fn text(text: &[u8]) -> Vec<u8> {
    [&u32::try_from(text.len()).unwrap().to_le_bytes(), text].concat()
}

/// Something that was logged, from this target: a warning that says hello, and a number.
fn record(target: &str) -> Vec<u8> {
    let short = |text: &str| [&(text.len() as u16).to_le_bytes(), text.as_bytes()].concat();
    let texts = ["event", target, "", "a.rs", "message", "number"].map(short).concat();
    let site = [&[2][..], &7_u32.to_le_bytes(), &texts].concat();
    let site_len = (site.len() as u16).to_le_bytes();
    let message = [&[0, 5][..], &short("hello")].concat();
    let number = [&[1, 2][..], &9_u64.to_le_bytes()].concat();
    [&site_len[..], &site, &message, &number].concat()
}

/// Numbers without end or pattern.
fn rubbish() -> impl Iterator<Item = u64> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::from_fn(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Some(state)
    })
}

/// Until it is killed.
fn live_on() -> ! {
    loop {
        thread::park();
    }
}

impl Puppet {
    /// The channel is stdin; the recorder's descriptor comes with the first byte.
    fn adopt() -> Puppet {
        let channel = UnixStream::from(io::stdin().as_fd().try_clone_to_owned().unwrap());
        let mut welcome = [0; 56];
        let mut memory = None;
        let mut filled = 0;
        while filled < welcome.len() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let mut parts = [IoSliceMut::new(&mut welcome[filled..])];
            let flags = RecvFlags::empty();
            let message =
                rustix::net::recvmsg(&channel, &mut parts, &mut ancillary, flags).unwrap();
            assert!(message.bytes > 0, "the host has nothing to say");
            filled += message.bytes;
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(sent) = message {
                    memory = memory.or(sent.into_iter().next());
                }
            }
        }
        let memory = memory.expect("the recorder travels with the welcome");
        // Header 16, magic number 8, protocol 4, slot 4, fingerprint 8, limit 8, descriptors 4.
        assert_eq!(welcome[4], 1);
        assert_eq!(welcome[16..24], *b"pool-hi\x01");
        let protocol = u32::from_le_bytes(welcome[24..28].try_into().unwrap());
        let fingerprint = u64::from_le_bytes(welcome[32..40].try_into().unwrap());
        let words = map(&memory);
        Puppet { channel, memory, words, protocol, fingerprint }
    }

    fn say(&self, bytes: &[u8]) {
        // The host hangs up on those that misbehave.
        if (&self.channel).write_all(bytes).is_err() {
            live_on();
        }
    }

    fn hello(&self, protocol: u32, fingerprint: u64) -> Vec<u8> {
        let mut body = b"pool-hi\x01".to_vec();
        body.extend(protocol.to_le_bytes());
        body.extend(process::id().to_le_bytes());
        body.extend(fingerprint.to_le_bytes());
        frame(HELLO, 0, &body)
    }

    fn greet(&self) {
        self.say(&self.hello(self.protocol, self.fingerprint));
    }

    /// The number of the next job; nothing of it is claimed. Exits when the host says so.
    fn read_job(&self) -> u64 {
        let mut head = [0; 16];
        if (&self.channel).read_exact(&mut head).is_err() || head[4] != RUN {
            process::exit(0);
        }
        let len = u32::from_le_bytes(head[0..4].try_into().unwrap());
        let mut body = vec![0; len as usize];
        (&self.channel).read_exact(&mut body).unwrap();
        u64::from_le_bytes(head[8..16].try_into().unwrap())
    }

    /// Seq of the next job that nobody has claimed.
    fn next(&self) -> &AtomicU64 {
        &self.words[0]
    }

    fn claim(&self, seq: u64) -> bool {
        self.next().compare_exchange(seq, seq + 1, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Waits for a job and claims it.
    fn claim_job(&self) -> u64 {
        loop {
            let seq = self.read_job();
            if self.claim(seq) {
                return seq;
            }
            self.say(&frame(PASSED, seq, &[]));
        }
    }

    /// As it should be.
    fn serve(&self) -> ! {
        loop {
            let seq = self.claim_job();
            self.say(&frame(DONE, seq, &own_number()));
        }
    }

    /// One job, and this is what it says.
    fn answer(&self, bytes: impl FnOnce(u64) -> Vec<u8>) -> ! {
        let seq = self.claim_job();
        self.say(&bytes(seq));
        live_on()
    }

    /// Every job, with the same kind of answer.
    fn answer_all(&self, bytes: impl Fn(u64) -> Vec<u8>) -> ! {
        loop {
            let seq = self.claim_job();
            self.say(&bytes(seq));
        }
    }

    fn misbehave_early(&self, how: &str) {
        match how {
            "says four bytes" => self.say(&[1, 2, 3, 4]),
            "says rubbish" => {
                let rubbish: Vec<u8> = rubbish().take(8192).flat_map(u64::to_le_bytes).collect();
                self.say(&rubbish);
            }
            "says half a greeting" => {
                self.say(&self.hello(self.protocol, self.fingerprint)[..20]);
            }
            "answers before it greets" => self.say(&frame(DONE, 0, &own_number())),
            "speaks another protocol" => self.say(&self.hello(99, self.fingerprint)),
            "has other jobs" => self.say(&self.hello(self.protocol, !self.fingerprint)),
            // It does greet, and hears nothing of what follows.
            "stops its ears" => {
                self.channel.shutdown(Shutdown::Read).unwrap();
                self.greet();
            }
            "exits with code 9" => process::exit(9),
            _ => return,
        }
        live_on()
    }

    fn misbehave(&self, how: &str) -> ! {
        match how {
            "behaves well" => self.serve(),
            "says half a frame" => self.answer(|seq| frame(DONE, seq, &[0; 100])[..26].to_vec()),
            "says a quarter of a large output" => self.answer(|seq| {
                let mut part = header(64 << 20, DONE, 0, seq);
                part.resize(16 << 20, 7);
                part
            }),
            "promises too much" => self.answer(|seq| header(u32::MAX, DONE, 0, seq)),
            "invents a kind" => self.answer(|seq| frame(77, seq, &[])),
            "invents flags" => self.answer(|seq| header(0, DONE, 0xf0, seq)),
            "answers the next job" => self.answer(|seq| frame(DONE, seq + 1, &own_number())),
            "answers the last job of all" => self.answer(|_| frame(DONE, u64::MAX, &own_number())),
            "answers twice" => self.answer(|seq| frame(DONE, seq, &own_number()).repeat(2)),
            "greets twice" => self.answer(|_| self.hello(self.protocol, self.fingerprint)),
            "logs" => self.answer(|seq| frame(LOG, seq, b"a word")),
            "logs too much" => self.answer(|seq| frame(LOG, seq, &[0; 9000])),
            "logs for the next job" => self.answer(|seq| frame(LOG, seq + 1, &record("a"))),
            "logs a torn record" => self.answer(|seq| {
                let record = record("a");
                frame(LOG, seq, &record[..record.len() - 1])
            }),
            "logs from everywhere" => self.answer(|seq| {
                for n in 0..50_000 {
                    self.say(&frame(LOG, seq, &record(&format!("place {n}"))));
                }
                frame(DONE, seq, &own_number())
            }),
            "pokes with a body" => self.answer(|seq| frame(POKE, seq, &[0; 64])),
            "pokes without end" => self.answer(|seq| {
                loop {
                    self.say(&frame(POKE, seq, &[]).repeat(4096));
                }
            }),
            "pokes whenever it is heard" => self.answer(|seq| {
                loop {
                    if self.words[POKED].swap(1, Ordering::SeqCst) == 0 {
                        // There is always something new.
                        self.words[VERSION + 1].store(seq + 1, Ordering::SeqCst);
                        self.words[VERSION + 2].fetch_add(1, Ordering::SeqCst);
                        self.words[VERSION].fetch_add(2, Ordering::SeqCst);
                        self.say(&frame(POKE, seq, &[]));
                    }
                }
            }),
            "passes over without end" => self.answer(|seq| {
                loop {
                    self.say(&frame(PASSED, seq, &[]).repeat(4096));
                }
            }),
            "says its last words without end" => self.answer(|seq| {
                loop {
                    self.say(&frame(PROGRESS, seq, &[0; 17]).repeat(4096));
                }
            }),
            "says half of its progress" => self.answer(|seq| frame(PROGRESS, seq, &[0; 9])),
            "says too much of its progress" => self.answer(|seq| frame(PROGRESS, seq, &[0; 4096])),
            "answers without end" => self.answer(|first| {
                let mut frames = (first..).map(|seq| frame(DONE, seq, &own_number()));
                loop {
                    self.say(&frames.by_ref().take(1000).flatten().collect::<Vec<u8>>());
                }
            }),
            "answers in no encoding" => self.answer_all(|seq| frame(DONE, seq, &[0xc1])),
            "answers with too much" => self.answer(|seq| frame(DONE, seq, &vec![0; 4 << 20])),
            "tears a panic report" => self.answer(|seq| frame(PANICKED, seq, &[9, 0, 0, 0, b'x'])),
            "tears a refusal" => self.answer(|seq| frame(FAILED, seq, &[7])),
            "panics at length" => self.answer(|seq| {
                frame(PANICKED, seq, &[text(&vec![255; 64 << 20]), vec![0; 2]].concat())
            }),
            "mumbles in its refusal" => {
                let long = text("é".repeat(1000).as_bytes()[1..].as_ref());
                self.answer_all(|seq| frame(FAILED, seq, &[&[1][..], &long].concat()))
            }
            "answers what was taken back" => {
                let seq = self.read_job();
                while self.next().load(Ordering::Acquire) == seq {
                    thread::yield_now();
                }
                self.say(&frame(DONE, seq, &own_number()));
                live_on()
            }
            "claims nothing" => loop {
                let seq = self.read_job();
                self.say(&frame(DONE, seq, &own_number()));
            },
            "scribbles" => {
                let words = self.words;
                thread::spawn(move || {
                    for (word, value) in words.iter().cycle().zip(rubbish()) {
                        word.store(value, Ordering::Relaxed);
                    }
                });
                self.answer_without_claims()
            }
            "counts backwards" => {
                let next: &'static AtomicU64 = &self.words[0];
                thread::spawn(move || {
                    loop {
                        next.fetch_xor(1, Ordering::Relaxed);
                    }
                });
                self.answer_without_claims()
            }
            "claims everything and dies" => self.die_with(u64::MAX),
            "claims nothing and dies" => self.die_with(0),
            "resizes the recorder" => {
                let small = rustix::fs::ftruncate(&self.memory, 0).is_err();
                let large = rustix::fs::ftruncate(&self.memory, 1 << 30).is_err();
                let seals = rustix::fs::fcntl_add_seals(&self.memory, SealFlags::WRITE).is_err();
                assert!(small && large && seals, "the recorder is not sealed");
                self.serve()
            }
            "unmaps the recorder" => {
                let seq = self.claim_job();
                let address = self.words.as_ptr().cast_mut().cast();
                // SAFETY: none; the next access is a certain SIGSEGV.
                unsafe { rustix::mm::munmap(address, RECORDER_LEN) }.unwrap();
                self.next().store(seq, Ordering::Release);
                live_on()
            }
            "never reads" => {
                self.next().store(1, Ordering::Release);
                live_on()
            }
            "closes its channel" => {
                self.claim_job();
                self.channel.shutdown(Shutdown::Both).unwrap();
                live_on()
            }
            "sends descriptors" => loop {
                let seq = self.claim_job();
                let files: Vec<_> = (0..8).map(|_| File::open("/dev/null").unwrap()).collect();
                let files: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
                let mut ancillary = SendAncillaryBuffer::new(&mut space);
                assert!(ancillary.push(SendAncillaryMessage::ScmRights(&files)));
                let answer = frame(DONE, seq, &own_number());
                let parts = [IoSlice::new(&answer)];
                let flags = SendFlags::empty();
                rustix::net::sendmsg(&self.channel, &parts, &mut ancillary, flags).unwrap();
            },
            other => panic!("nobody knows how one {other}"),
        }
    }

    /// As jobs come, whatever the recorder says.
    fn answer_without_claims(&self) -> ! {
        loop {
            let seq = self.read_job();
            self.say(&frame(DONE, seq, &own_number()));
        }
    }

    fn die_with(&self, next: u64) -> ! {
        self.claim_job();
        self.next().store(next, Ordering::Release);
        process::abort()
    }
}

fn map(memory: &OwnedFd) -> &'static [AtomicU64] {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    let anywhere = std::ptr::null_mut();
    // SAFETY: a new mapping of whole pages, which is never unmapped (but by the mode that wants to
    // crash), at an address that is aligned for words; all access to it is atomic.
    unsafe {
        let address =
            rustix::mm::mmap(anywhere, RECORDER_LEN, protection, MapFlags::SHARED, memory, 0)
                .unwrap();
        std::slice::from_raw_parts(address.cast(), RECORDER_LEN / size_of::<AtomicU64>())
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let how = arguments.next().expect("how to behave");
    let is_hostile = arguments.next().is_none_or(|once| {
        let file = File::create_new(once);
        file.is_ok_and(|mut file| writeln!(file, "{}", process::id()).is_ok())
    });
    let how = if is_hostile { how.as_str() } else { "behaves well" };
    let puppet = Puppet::adopt();
    puppet.misbehave_early(how);
    puppet.greet();
    puppet.misbehave(how)
}
