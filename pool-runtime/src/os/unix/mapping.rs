//! Memory that host and worker share: sealed `memfd` on Linux, an unlinked private file elsewhere.

use std::io;
use std::ptr::NonNull;

use rustix::mm::{MapFlags, ProtFlags};

use super::Handle;

/// A shared mapping of whole pages; unmapped when dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    address: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is plain memory that stays where it is; whoever reads or writes it does so
// through atomics (recorder.rs).
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// New memory of `len` zero bytes, and the descriptor by which the worker maps it.
    pub(crate) fn create(len: usize) -> io::Result<(Mapping, Handle)> {
        let file = shared_memory(len)?;
        Ok((Mapping::open(&file, len)?, file))
    }

    /// Maps what the host has made.
    pub(crate) fn open(file: &Handle, len: usize) -> io::Result<Mapping> {
        // Beyond the end of a file there is no memory, only SIGBUS.
        let size = rustix::fs::fstat(file)?.st_size;
        if u64::try_from(size).ok() != u64::try_from(len).ok() {
            return Err(io::Error::other(format!("a recorder of {size} bytes, {len} expected")));
        }
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let address = unsafe {
            rustix::mm::mmap(std::ptr::null_mut(), len, protection, MapFlags::SHARED, file, 0)
        }?;
        let address = NonNull::new(address.cast())
            .ok_or_else(|| io::Error::other("the recorder was mapped at address zero"))?;
        let mapping = Mapping { address, len };
        mapping.keep_from_forks()?;
        Ok(mapping)
    }

    #[cfg(target_os = "linux")]
    fn keep_from_forks(&self) -> io::Result<()> {
        // SAFETY: the range is our own mapping; after a fork the child has no use for it.
        unsafe {
            let advice = rustix::mm::Advice::LinuxDontFork;
            rustix::mm::madvise(self.address.as_ptr().cast(), self.len, advice)?;
        }
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::unnecessary_wraps, reason = "the same signature on every platform")]
    fn keep_from_forks(&self) -> io::Result<()> {
        Ok(())
    }

    /// The first byte; page-aligned and valid for [`len`](Self::len) bytes.
    pub(crate) fn address(&self) -> NonNull<u8> {
        self.address
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `open`, and nothing refers to it any more: every
        // reference into it borrows from this value.
        let _ = unsafe { rustix::mm::munmap(self.address.as_ptr().cast(), self.len) };
    }
}

#[cfg(target_os = "linux")]
fn shared_memory(len: usize) -> io::Result<Handle> {
    use rustix::fs::{MemfdFlags, SealFlags};

    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = rustix::fs::memfd_create("pool-recorder", flags)?;
    rustix::fs::ftruncate(&file, len as u64)?;
    // Without the seals a worker's `ftruncate` would kill the host by SIGBUS.
    rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(file)
}

#[cfg(not(target_os = "linux"))]
fn shared_memory(len: usize) -> io::Result<Handle> {
    use std::fs::{File, OpenOptions, remove_file};
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    use crate::id::JobId;

    let name = format!("pool-recorder-{}-{}", std::process::id(), JobId::fresh());
    let path = std::env::temp_dir().join(name);
    let mut file: File =
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    remove_file(&path)?;
    // Written, not only extended: a full disk must show here, not as a SIGBUS later.
    file.write_all(&vec![0; len])?;
    Ok(file.into())
}
