//! The two ends of a channel: `interprocess` streams over a socket pair that has no name, so
//! nobody else can connect, nothing is left behind and there is nothing to accept.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use interprocess::local_socket::traits::Stream as _;
use interprocess::os::unix::uds_local_socket::Stream;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

use super::Handle;
use super::pages::want_huge;
use crate::wire::{Source, WELCOME_LEN};

/// What a channel holds in each direction: the reader has something to do while the writer waits
/// for its turn. What systems give by themselves is a quarter of it and less.
const CHANNEL_ROOM: usize = 1 << 20;
/// What the host reads at once.
const READ_GRANT: usize = 256 * 1024;
/// Two sockets that speak with each other.
fn sockets() -> io::Result<(UnixStream, UnixStream)> {
    let ends = UnixStream::pair()?;
    for end in [&ends.0, &ends.1] {
        // The system gives what it allows; less is slower, and no harm.
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(end, CHANNEL_ROOM);
        // On Linux what is unread counts as the sender's.
        #[cfg(not(target_os = "linux"))]
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size(end, CHANNEL_ROOM);
    }
    // The standard library does that for every other socket, and not for a pair.
    #[cfg(target_vendor = "apple")]
    for end in [&ends.0, &ends.1] {
        rustix::net::sockopt::set_socket_nosigpipe(end, true)?;
    }
    Ok(ends)
}

/// Both ends of a new channel: the host's, and what becomes the worker's stdin.
pub(super) fn pair() -> io::Result<(Stream, OwnedFd)> {
    let (ours, theirs) = sockets()?;
    Ok((Stream::from(ours), OwnedFd::from(theirs)))
}

/// Both ends of a new channel, for a worker that is a thread of this process. Inside the driver's
/// runtime only.
pub(crate) fn local_channel() -> io::Result<(HostEnd, ChannelEnd)> {
    let (ours, theirs) = sockets()?;
    Ok((HostEnd::register(Stream::from(ours))?, ChannelEnd(Stream::from(theirs))))
}

/// Reads exactly the host's first frame and what travels with it. A larger read would lose the
/// descriptors' place in the stream.
pub(super) fn receive_welcome(theirs: &Stream) -> io::Result<([u8; WELCOME_LEN], Vec<OwnedFd>)> {
    let mut welcome = [0; WELCOME_LEN];
    let mut descriptors = Vec::with_capacity(2);
    let mut filled = 0;
    while filled < WELCOME_LEN {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [io::IoSliceMut::new(&mut welcome[filled..])];
        match rustix::net::recvmsg(theirs.inner(), &mut parts, &mut ancillary, CLOSE_ON_EXEC) {
            Ok(message) if message.bytes == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(message) => filled += message.bytes,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(sent) = message {
                for descriptor in sent {
                    rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::CLOEXEC)?;
                    descriptors.push(descriptor);
                }
            }
        }
    }
    Ok((welcome, descriptors))
}

#[cfg(not(target_vendor = "apple"))]
const CLOSE_ON_EXEC: RecvFlags = RecvFlags::CMSG_CLOEXEC;
/// Set after the fact: no other thread runs in a worker yet.
#[cfg(target_vendor = "apple")]
const CLOSE_ON_EXEC: RecvFlags = RecvFlags::empty();

/// One write. Never raises SIGPIPE: a host may have set that back to its default, to which a
/// worker's death would then be the host's own.
fn send(fd: BorrowedFd<'_>, parts: &[IoSlice<'_>]) -> rustix::io::Result<usize> {
    rustix::net::sendmsg(fd, parts, &mut SendAncillaryBuffer::default(), QUIETLY)
}

#[cfg(not(target_vendor = "apple"))]
const QUIETLY: SendFlags = SendFlags::NOSIGNAL;
/// There the socket is told when it is made.
#[cfg(target_vendor = "apple")]
const QUIETLY: SendFlags = SendFlags::empty();

/// One read into spare capacity, without filling it with zeroes first.
pub(super) fn read_into(fd: BorrowedFd<'_>, buffer: &mut Vec<u8>, max: usize) -> io::Result<usize> {
    fill(buffer, max, |spare| rustix::io::read(fd, spare).map(|(filled, _)| filled.len()))
}

/// The same, but never waits.
fn receive_now(fd: BorrowedFd<'_>, buffer: &mut Vec<u8>, max: usize) -> io::Result<usize> {
    fill(buffer, max, |spare| {
        let received = rustix::net::recv(fd, spare, RecvFlags::DONTWAIT);
        received.map(|((filled, _), _)| filled.len())
    })
}

/// `read` gives the number of bytes that it has written from the beginning on.
fn fill(
    buffer: &mut Vec<u8>,
    max: usize,
    read: impl Fn(&mut [MaybeUninit<u8>]) -> rustix::io::Result<usize>,
) -> io::Result<usize> {
    let spare = buffer.spare_capacity_mut();
    let max = max.min(spare.len());
    if max == 0 {
        return Err(io::Error::other("a read without room"));
    }
    loop {
        match read(&mut spare[..max]) {
            Ok(n) => {
                // SAFETY: both callers hand on the length of what the system call has initialised,
                // which begins right behind the vector's length, inside its capacity.
                unsafe { buffer.set_len(buffer.len() + n) };
                return Ok(n);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The worker's end: blocking.
#[derive(Debug)]
pub(crate) struct ChannelEnd(pub(super) Stream);

impl ChannelEnd {
    /// Writes `head` and then `body`, whole.
    pub(crate) fn write_all(&self, head: &[u8], body: &[u8]) -> io::Result<()> {
        let mut parts = [IoSlice::new(head), IoSlice::new(body)];
        let mut parts = &mut parts[..];
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            match send(self.fd(), parts) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => IoSlice::advance_slices(&mut parts, n),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Writes what fits of `bytes`; if that is nothing, waits for room at most `patience` and
    /// tries once more.
    pub(crate) fn write_some(&self, bytes: &[u8], patience: Duration) -> io::Result<usize> {
        let parts = [IoSlice::new(bytes)];
        let mut patience = Timespec::try_from(patience).ok().filter(|_| !patience.is_zero());
        loop {
            let at_once = QUIETLY.union(SendFlags::DONTWAIT);
            let mut nothing = SendAncillaryBuffer::default();
            match rustix::net::sendmsg(self.fd(), &parts, &mut nothing, at_once) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if patience.is_some() => {
                    let limit = patience.take();
                    let mut descriptors = [PollFd::from_borrowed_fd(self.fd(), PollFlags::OUT)];
                    // Whatever it says, the next try says more.
                    let _ = rustix::event::poll(&mut descriptors, limit.as_ref());
                }
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                result => return Ok(result?),
            }
        }
    }

    /// Whether nobody has closed it under us.
    pub(crate) fn is_open(&self) -> bool {
        rustix::io::fcntl_getfd(self.fd()).is_ok()
    }

    /// Two that speak with each other.
    #[cfg(test)]
    pub(crate) fn pair_for_tests() -> io::Result<(ChannelEnd, ChannelEnd)> {
        let (one, other) = pair()?;
        Ok((ChannelEnd(one), ChannelEnd(Stream::from(UnixStream::from(other)))))
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.inner().as_fd()
    }
}

impl Source for &ChannelEnd {
    fn read_into(&mut self, buffer: &mut Vec<u8>, max: usize) -> io::Result<usize> {
        read_into(self.fd(), buffer, max)
    }

    fn has_grown(&mut self, buffer: &mut Vec<u8>) {
        want_huge(buffer);
    }
}

/// The worker's end, for reads that never wait.
pub(crate) struct WithoutWaiting<'a>(pub(crate) &'a ChannelEnd);

impl Source for WithoutWaiting<'_> {
    fn read_into(&mut self, buffer: &mut Vec<u8>, max: usize) -> io::Result<usize> {
        receive_now(self.0.fd(), buffer, max)
    }

    fn has_grown(&mut self, buffer: &mut Vec<u8>) {
        want_huge(buffer);
    }
}

/// The host's end: never blocks.
#[derive(Debug)]
pub(crate) struct HostEnd {
    stream: Arc<Stream>,
    /// Registered with the channel, so that where that fails there is none.
    first: Mutex<Option<Arrivals>>,
}

/// Says when there is something to read, for as long as it lives: meanwhile each write of the worker
/// wakes the host.
///
/// It is registered for reading only. A registration for both directions is edge-triggered for
/// both, and wakes the host for "writable" at every read of the worker, too.
#[derive(Debug)]
pub(crate) struct Arrivals(AsyncFd<Registered>);

/// What the runtime watches.
#[derive(Debug)]
struct Registered(Arc<Stream>);

impl std::os::fd::AsRawFd for Registered {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        std::os::fd::AsRawFd::as_raw_fd(self.0.inner())
    }
}

impl Arrivals {
    fn of(stream: &Arc<Stream>) -> io::Result<Self> {
        watch(Registered(stream.clone()), Interest::READABLE).map(Arrivals)
    }

    /// Waits until there is something to read.
    pub(crate) async fn readable(&self) -> io::Result<Readable<'_>> {
        self.0.readable().await.map(Readable)
    }
}

impl HostEnd {
    /// Inside the driver's runtime only.
    pub(super) fn register(stream: Stream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let stream = Arc::new(stream);
        let first = Mutex::new(Some(Arrivals::of(&stream)?));
        Ok(HostEnd { stream, first })
    }

    /// What says when there is something to read. One at a time; inside the driver's runtime only.
    pub(crate) fn arrivals(&self) -> io::Result<Arrivals> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        first.map_or_else(|| Arrivals::of(&self.stream), Ok)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.stream.inner().as_fd()
    }

    /// Writes the host's first frame with descriptors in its first byte. The socket is new and
    /// empty, hence the whole frame fits.
    pub(crate) fn welcome(
        &self,
        welcome: &[u8; WELCOME_LEN],
        recorder: &Handle,
        stdout: Option<&Handle>,
    ) -> io::Result<()> {
        let descriptors: Vec<BorrowedFd<'_>> =
            std::iter::once(recorder).chain(stdout).map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(io::Error::other("too many descriptors for a welcome"));
        }
        let parts = [IoSlice::new(welcome)];
        let sent = rustix::net::sendmsg(self.fd(), &parts, &mut ancillary, QUIETLY)?;
        if sent == WELCOME_LEN { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Ends the channel for both sides, which see its end after what lies in it.
    pub(crate) fn hang_up(&self) {
        let _ = rustix::net::shutdown(self.fd(), rustix::net::Shutdown::Both);
    }

    /// Blocks until there is something to read, or for so long: not on the driver's thread.
    pub(crate) fn wait(&self, patience: Duration) {
        self.wait_for(PollFlags::IN, patience);
    }

    /// The same until the channel takes more.
    pub(crate) fn wait_for_room(&self, patience: Duration) {
        self.wait_for(PollFlags::OUT, patience);
    }

    fn wait_for(&self, what: PollFlags, patience: Duration) {
        let limit = Timespec::try_from(patience).ok();
        let mut descriptors = [PollFd::from_borrowed_fd(self.fd(), what)];
        // Whatever it says, the next try says more.
        let _ = rustix::event::poll(&mut descriptors, limit.as_ref());
    }

    /// Writes what fits now of the parts.
    pub(crate) fn try_write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            match send(self.fd(), parts) {
                Err(Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }

    /// For writes that would have blocked. Registers for writing as long as it lives.
    pub(crate) fn room(&self) -> io::Result<Room> {
        let copy = self.fd().try_clone_to_owned()?;
        watch(copy, Interest::WRITABLE).map(Room)
    }
}

/// Says when the channel takes more.
#[derive(Debug)]
pub(crate) struct Room(AsyncFd<OwnedFd>);

impl Room {
    /// Waits until there is room for a write; `write` says whether all that was used up.
    pub(crate) async fn write_with(&self, write: impl FnOnce() -> bool) -> io::Result<()> {
        let mut ready = self.0.ready(Interest::WRITABLE).await?;
        if write() {
            ready.clear_ready();
        }
        Ok(())
    }
}

/// There was something to read. Taken before the read, so that [`drained`](Self::drained) cannot
/// forget what arrives in between.
#[derive(Debug)]
pub(crate) struct Readable<'a>(AsyncFdReadyGuard<'a, Registered>);

impl Readable<'_> {
    /// A read came up short: wait for news before the next one.
    pub(crate) fn drained(mut self) {
        self.0.clear_ready();
    }
}

impl Source for &HostEnd {
    fn read_into(&mut self, buffer: &mut Vec<u8>, max: usize) -> io::Result<usize> {
        read_into(self.fd(), buffer, max.min(READ_GRANT))
    }

    fn has_grown(&mut self, buffer: &mut Vec<u8>) {
        want_huge(buffer);
    }
}

/// Registers `owned` with the runtime.
pub(super) fn watch<T: std::os::fd::AsRawFd>(
    owned: T,
    interest: Interest,
) -> io::Result<AsyncFd<T>> {
    // SAFETY: every caller hands over an owned descriptor, which stays open and the same until
    // the registration, which owns it, is dropped.
    Ok(unsafe { AsyncFd::register_with_interest(owned, interest) }?)
}
