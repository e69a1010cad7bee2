//! What all processes of a chaos test see: the seed, how often each job has begun, and who the
//! workers are.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use pool_tests::scratch;

/// More of them than cores, so that one that is stopped leaves others.
pub(crate) const WORKERS: usize = 4;

/// Where the marks of the jobs begin: behind the seed and the workers.
const MARKS: usize = 8 + WORKERS * 4;

pub(crate) struct Board {
    memory: NonNull<u8>,
    pub(crate) jobs: usize,
}

// SAFETY: all access is by atomics, and the mapping lives as long as the process.
#[expect(unsafe_code, reason = "a shared mapping")]
unsafe impl Send for Board {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "a shared mapping")]
unsafe impl Sync for Board {}

impl Board {
    fn path() -> PathBuf {
        scratch("board")
    }

    /// Of the host, before any worker looks at it.
    pub(crate) fn create(seed: u64, jobs: u64) -> &'static Board {
        let file = File::create_new(Board::path()).unwrap();
        file.set_len(MARKS as u64 + jobs).unwrap();
        let board = Board::shared();
        board.seed_word().store(seed, Ordering::Relaxed);
        board
    }

    /// The board of this test; each process opens it once.
    pub(crate) fn shared() -> &'static Board {
        static BOARD: OnceLock<Board> = OnceLock::new();
        BOARD.get_or_init(Board::open)
    }

    #[expect(unsafe_code, reason = "a shared mapping")]
    fn open() -> Board {
        let file = OpenOptions::new().read(true).write(true).open(Board::path()).unwrap();
        let length = file.metadata().unwrap().len() as usize;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let (nowhere, descriptor) = (std::ptr::null_mut(), file.as_raw_fd());
        // SAFETY: the system chooses a place that nothing else has.
        let memory =
            unsafe { libc::mmap(nowhere, length, access, libc::MAP_SHARED, descriptor, 0) };
        assert_ne!(memory, libc::MAP_FAILED);
        Board { memory: NonNull::new(memory.cast()).unwrap(), jobs: length - MARKS }
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed_word().load(Ordering::Relaxed)
    }

    #[expect(unsafe_code, reason = "a shared mapping")]
    fn seed_word(&self) -> &AtomicU64 {
        // SAFETY: inside of the mapping, which begins at a page; accessed by atomics only.
        unsafe { self.memory.cast().as_ref() }
    }

    /// Who works in this slot, as of the last job there that knows its slot.
    #[expect(unsafe_code, reason = "a shared mapping")]
    pub(crate) fn worker(&self, slot: usize) -> &AtomicU32 {
        assert!(slot < WORKERS);
        // SAFETY: as above.
        unsafe { self.memory.add(8 + slot * 4).cast().as_ref() }
    }

    /// How often job `n` has begun.
    #[expect(unsafe_code, reason = "a shared mapping")]
    pub(crate) fn runs(&self, n: u64) -> &AtomicU8 {
        let n = n as usize;
        assert!(n < self.jobs);
        // SAFETY: as above.
        unsafe { self.memory.add(MARKS + n).cast().as_ref() }
    }
}
