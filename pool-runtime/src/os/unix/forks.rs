//! How deep in a line of forks this process is, without asking the system each time.
//!
//! A fork child has copies of everything that its parent made, with locks that nobody releases.
//! Whatever noted the depth at which it was made knows by it that it is such a copy.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The depth that was noted last, here or in the process that this one is a copy of.
static DEEPEST: AtomicU32 = AtomicU32::new(0);

/// Greater in a fork child than in its parent, if that one has asked, too; never zero.
pub(crate) fn fork_depth() -> u32 {
    match page::get() {
        Some(mark) => match mark.load(Ordering::Acquire) {
            0 => note(mark),
            depth => depth,
        },
        None => by_pid(),
    }
}

/// Of two threads that note it at once, the second finds what the first has written.
fn note(mark: &AtomicU32) -> u32 {
    let depth = DEEPEST.load(Ordering::Acquire) + 1;
    match mark.compare_exchange(0, depth, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => {
            DEEPEST.store(depth, Ordering::Release);
            depth
        }
        Err(noted) => noted,
    }
}

/// Where the system has no memory that a fork wipes: a system call.
fn by_pid() -> u32 {
    /// The process, and its depth.
    static NOTED: AtomicU64 = AtomicU64::new(0);

    let pid = u64::from(std::process::id());
    let seen = NOTED.load(Ordering::Acquire);
    if seen >> 32 == pid {
        return seen as u32;
    }
    let depth = u64::from(seen as u32) + 1;
    match NOTED.compare_exchange(seen, pid << 32 | depth, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => depth as u32,
        Err(noted) => noted as u32,
    }
}

#[cfg(target_os = "linux")]
mod page {
    //! A page of which a fork child finds nothing but zeros.

    use std::ptr;
    use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

    const LEN: usize = size_of::<AtomicU32>();

    pub(super) fn get() -> Option<&'static AtomicU32> {
        static PAGE: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());
        // No `OnceLock`: in a fork child it may be held by a thread that is not there.
        static FAILED: AtomicBool = AtomicBool::new(false);

        let mut page = PAGE.load(Ordering::Acquire);
        if page.is_null() {
            if FAILED.load(Ordering::Relaxed) {
                return None;
            }
            let Some(new) = map() else {
                FAILED.store(true, Ordering::Relaxed);
                return None;
            };
            page = new;
            let null = ptr::null_mut();
            if let Err(first) =
                PAGE.compare_exchange(null, new, Ordering::AcqRel, Ordering::Acquire)
            {
                // SAFETY: mapped above, and nobody else has seen it.
                let _ = unsafe { munmap(new.cast(), LEN) };
                page = first;
            }
        }
        // SAFETY: a mapping of at least this length, aligned to a page, which is never unmapped.
        Some(unsafe { &*page })
    }

    fn map() -> Option<*mut AtomicU32> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let page = unsafe {
            mmap_anonymous(ptr::null_mut(), LEN, protection, MapFlags::PRIVATE | MapFlags::POPULATE)
        }
        .ok()?;
        // SAFETY: the range was mapped above and nobody has it.
        let wiped = unsafe { madvise(page, LEN, Advice::LinuxWipeOnFork) };
        if wiped.is_err() {
            // SAFETY: as above.
            let _ = unsafe { munmap(page, LEN) };
            return None;
        }
        Some(page.cast())
    }
}

#[cfg(not(target_os = "linux"))]
mod page {
    //! Nothing of the kind.

    use std::sync::atomic::AtomicU32;

    pub(super) fn get() -> Option<&'static AtomicU32> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_child_is_deeper_than_its_parent() {
        let here = fork_depth();
        assert_eq!(fork_depth(), here);
        // SAFETY: the child does nothing but a few atomic operations and leaves.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let (depth, by_pid) = (fork_depth(), (by_pid() != by_pid()));
            let is_right = depth == here + 1 && fork_depth() == depth && !by_pid;
            // SAFETY: ends this process at once.
            unsafe { libc::_exit(i32::from(!is_right)) };
        }
        let mut status = -1;
        // SAFETY: `status` lives through the call, and the child is ours.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0);
    }

    #[test]
    fn without_such_a_page_the_number_of_the_process_tells() {
        assert_eq!((by_pid(), by_pid()), (1, 1));
    }
}
