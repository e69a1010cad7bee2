//! The host's end of what a worker prints.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Handle;
use super::channel::{read_into, watch};

/// Gives what a worker has written, and never blocks.
#[derive(Debug)]
pub(crate) struct PipeEnd(AsyncFd<OwnedFd>);

/// A new pipe: the end to read from, and what becomes a worker's stdout or stderr. Inside the
/// driver's runtime only.
pub(crate) fn output_pipe() -> io::Result<(PipeEnd, Handle)> {
    let (read, write) = pipe()?;
    // Of the two ends each has a mode of its own: the worker's goes on blocking.
    rustix::io::ioctl_fionbio(&read, true)?;
    Ok((PipeEnd(watch(read, Interest::READABLE)?), write))
}

#[cfg(not(target_vendor = "apple"))]
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

/// Set after the fact: a process that another thread starts in between keeps the pipe open. Nobody
/// here waits for its end.
#[cfg(target_vendor = "apple")]
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe()?;
    rustix::io::fcntl_setfd(&read, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::fcntl_setfd(&write, rustix::io::FdFlags::CLOEXEC)?;
    Ok((read, write))
}

impl PipeEnd {
    /// Waits until there is something, and appends at most `max` bytes of it; zero at the end.
    /// May be dropped at any time without losing anything.
    pub(crate) async fn read(&self, buffer: &mut Vec<u8>, max: usize) -> io::Result<usize> {
        loop {
            // Taken before the read, so that what arrives in between is not forgotten.
            let mut readable = self.0.readable().await?;
            match self.try_read(buffer, max) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => readable.clear_ready(),
                result => return result,
            }
        }
    }

    /// Appends what is there now; an error if that is nothing.
    pub(crate) fn try_read(&self, buffer: &mut Vec<u8>, max: usize) -> io::Result<usize> {
        read_into(self.0.get_ref().as_fd(), buffer, max)
    }
}
