//! What a worker asks of the system: to be told of its host's end, and to end well itself.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::Handle;
use super::channel::ChannelEnd;

/// What [`spawn_small`] gives a thread: as much as a waker of a job may need.
const SMALL_STACK: usize = 256 * 1024;

/// A way to see the host's end, beside the channel's: a fork child of the host may hold the
/// channel open.
#[derive(Debug)]
pub(crate) struct HostWatch(Option<OwnedFd>);

impl HostWatch {
    /// `None` if the parent of this process is not the process `pid`.
    pub(super) fn open(pid: i32) -> Option<HostWatch> {
        let host = Pid::from_raw(pid)?;
        let watch = end_of(host).and_then(|watch| away(watch.as_fd())).ok();
        // Asked after opening: so the descriptor cannot belong to a later process of that number.
        (rustix::process::getppid() == Some(host)).then_some(HostWatch(watch))
    }

    /// Whether the host is gone by then.
    pub(super) fn ends_within(&self, timeout: Duration) -> bool {
        let Some(host) = &self.0 else { return false };
        let timeout = Timespec::try_from(timeout).ok();
        let mut descriptors = [PollFd::new(host, PollFlags::IN)];
        rustix::event::poll(&mut descriptors, timeout.as_ref()).is_ok_and(|ended| ended > 0)
    }
}

/// Readable once that process has ended.
#[cfg(target_os = "linux")]
fn end_of(host: Pid) -> rustix::io::Result<OwnedFd> {
    rustix::process::pidfd_open(host, rustix::process::PidfdFlags::empty())
}

/// Readable once that process has ended. Needed more than on Linux: a `poll` that asks a socket
/// for nothing sleeps through its hang-up here.
#[cfg(any(target_os = "freebsd", target_vendor = "apple"))]
fn end_of(host: Pid) -> rustix::io::Result<OwnedFd> {
    use rustix::event::kqueue::{Event, EventFilter, EventFlags, ProcessEvents, kevent, kqueue};

    let queue = kqueue()?;
    let exit = EventFilter::Proc { pid: host, flags: ProcessEvents::EXIT };
    let wanted = Event::new(exit, EventFlags::ADD, std::ptr::null_mut());
    let mut nothing: [Event; 0] = [];
    // SAFETY: what is watched is no descriptor that could be closed.
    unsafe { kevent(&queue, &[wanted], &mut nothing, None) }?;
    Ok(queue)
}

#[cfg(not(any(target_os = "linux", target_os = "freebsd", target_vendor = "apple")))]
fn end_of(_: Pid) -> rustix::io::Result<OwnedFd> {
    Err(Errno::NOSYS)
}

/// A copy with a high number, which a job that closes low ones by habit does not meet.
pub(super) fn away(low: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    [1000, 100]
        .iter()
        .find_map(|&lowest| rustix::io::fcntl_dupfd_cloexec(low, lowest).ok())
        .map_or_else(|| rustix::io::fcntl_dupfd_cloexec(low, 3), Ok)
}

/// Wakes the guard.
#[derive(Debug)]
pub(crate) struct Nudge {
    read: OwnedFd,
    /// `None`: the same one.
    write: Option<OwnedFd>,
}

impl Nudge {
    #[cfg(target_os = "linux")]
    pub(crate) fn new() -> io::Result<Nudge> {
        use rustix::event::{EventfdFlags, eventfd};

        let counter = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Nudge { read: away(counter.as_fd())?, write: None })
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn new() -> io::Result<Nudge> {
        let (read, write) = std::os::unix::net::UnixStream::pair()?;
        read.set_nonblocking(true)?;
        write.set_nonblocking(true)?;
        Ok(Nudge { read: away(read.as_fd())?, write: Some(away(write.as_fd())?) })
    }

    /// A full one is as good as one more.
    pub(crate) fn send(&self) {
        let _ = rustix::io::write(self.write.as_ref().unwrap_or(&self.read), &1u64.to_ne_bytes());
    }

    fn clear(&self) {
        let mut bytes = [0; 64];
        while rustix::io::read(&self.read, &mut bytes).is_ok_and(|n| n == bytes.len()) {}
    }
}

/// Runs `work` on a thread with a small stack, for as long as this process lives.
///
/// Not by the standard library: its threads allocate when they start, for which the C library sets
/// up an arena of its own, and that takes as long as all the rest of a worker's start.
pub(crate) fn spawn_small<F: Fn() + Send + Sync + 'static>(work: F) -> io::Result<()> {
    extern "C" fn run<F: Fn()>(work: *mut libc::c_void) -> *mut libc::c_void {
        // SAFETY: this is the `F` below, which is never freed.
        let work = unsafe { &*work.cast::<F>() };
        work();
        std::ptr::null_mut()
    }

    let failed = |code: libc::c_int| match code {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    };
    let mut attributes = MaybeUninit::uninit();
    let attributes = attributes.as_mut_ptr();
    // SAFETY: the attributes are initialised by the first call, used by the next three and destroyed
    // by the last; the thread's argument lives for ever, and may be used by any thread.
    unsafe {
        failed(libc::pthread_attr_init(attributes))?;
        let started = failed(libc::pthread_attr_setstacksize(attributes, SMALL_STACK))
            .and_then(|()| {
                let detached = libc::PTHREAD_CREATE_DETACHED;
                failed(libc::pthread_attr_setdetachstate(attributes, detached))
            })
            .and_then(|()| {
                let mut thread = MaybeUninit::uninit();
                let work: *mut F = Box::leak(Box::new(work));
                failed(libc::pthread_create(thread.as_mut_ptr(), attributes, run::<F>, work.cast()))
            });
        libc::pthread_attr_destroy(attributes);
        started
    }
}

/// For `ps` and debuggers.
pub(crate) fn name_thread(name: &std::ffi::CStr) {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::set_name(name);
    #[cfg(not(target_os = "linux"))]
    let _ = name;
}

/// Why the guard woke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// The host is gone.
    HostGone,
    /// Descriptors of ours were closed by somebody else in this process.
    Robbed,
    /// By a nudge, or because the time is over.
    Other,
}

/// Sleeps until the host is gone, a nudge comes or the time is over.
pub(crate) fn wait_for_host(
    channel: &ChannelEnd,
    host: &HostWatch,
    nudge: &Nudge,
    timeout: Option<Duration>,
) -> Woken {
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    let channel = channel.fd();
    // No events asked for: hang-up, errors and a closed descriptor are always reported. Only Linux
    // wakes for the first two of them.
    let (host, flags) = match &host.0 {
        Some(host) => (host.as_fd(), PollFlags::IN),
        None => (channel, PollFlags::empty()),
    };
    let mut descriptors = [
        PollFd::new(&channel, PollFlags::empty()),
        PollFd::new(&nudge.read, PollFlags::IN),
        PollFd::new(&host, flags),
    ];
    match rustix::event::poll(&mut descriptors, timeout.as_ref()) {
        Ok(_) => {}
        Err(Errno::INTR | Errno::AGAIN | Errno::NOMEM) => return Woken::Other,
        Err(_) => return Woken::HostGone,
    }
    if descriptors.iter().any(|descriptor| descriptor.revents().contains(PollFlags::NVAL)) {
        return Woken::Robbed;
    }
    let nudged = !descriptors[1].revents().is_empty();
    let gone = [0, 2].iter().any(|&n| !descriptors[n].revents().is_empty());
    if nudged {
        nudge.clear();
    }
    if gone { Woken::HostGone } else { Woken::Other }
}

/// Signals and names as a worker wants them.
pub(crate) fn prepare_worker(slot: u32) {
    // SAFETY: these set dispositions only, no handler of ours runs. An inherited "ignore" of
    // SIGCHLD would break the jobs' own `Command`; SIGTTOU and SIGTTIN would stop a worker, which
    // is in a background group, when a job touches the terminal.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        libc::signal(libc::SIGTTOU, libc::SIG_IGN);
        libc::signal(libc::SIGTTIN, libc::SIG_IGN);
    }
    let mut name = *NAME;
    if let Ok(name) = std::ffi::CStr::from_bytes_until_nul(with_number(&mut name, slot)) {
        name_thread(name);
    }
}

/// What a worker is called, and room for its number.
const NAME: &[u8; 23] = b"pool-worker-\0\0\0\0\0\0\0\0\0\0\0";
const NAME_LEN: usize = 12;

/// Puts a number into the name. Not by `format!`: it would be all that an idle worker has formatted,
/// and what that needs lies in pages of its own.
fn with_number(name: &mut [u8; 23], number: u32) -> &[u8] {
    let digits = number.checked_ilog10().unwrap_or(0) as usize + 1;
    let mut rest = number;
    for digit in name[NAME_LEN..NAME_LEN + digits].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    name
}

/// Lets C code print lines as they come, as Rust code does, also where stdout is no terminal: what
/// lies in a buffer is lost when the process is killed.
pub(crate) fn print_lines() {
    // SAFETY: nothing was printed there before, no buffer of ours is handed over, and the mode is
    // one of the three that there are.
    #[cfg(any(target_os = "linux", target_os = "freebsd", target_vendor = "apple"))]
    unsafe {
        libc::setvbuf(c_stdout(), std::ptr::null_mut(), libc::_IOLBF, 0);
    }
}

/// What C code has printed without a line end leaves this process.
pub(crate) fn flush_c_stdout() {
    // SAFETY: the stream lives as long as the process, and has a lock of its own.
    #[cfg(any(target_os = "linux", target_os = "freebsd", target_vendor = "apple"))]
    unsafe {
        if is_pending(c_stdout()) {
            libc::fflush(c_stdout());
        }
    }
}

/// Whether there is something to be flushed. Without the stream's lock: what its job has printed by
/// now, this thread sees.
///
/// # Safety
///
/// It has to be a stream.
#[cfg(target_os = "linux")]
unsafe fn is_pending(stream: *mut libc::FILE) -> bool {
    unsafe extern "C" {
        /// In `stdio_ext.h` of each C library that there is for Linux.
        fn __fpending(stream: *mut libc::FILE) -> libc::size_t;
    }
    // SAFETY: the caller's; two of its numbers are read, and no buffer.
    unsafe { __fpending(stream) > 0 }
}

/// There is no telling.
#[cfg(any(target_os = "freebsd", target_vendor = "apple"))]
unsafe fn is_pending(_: *mut libc::FILE) -> bool {
    true
}

/// The C library's own.
#[cfg(any(target_os = "linux", target_os = "freebsd", target_vendor = "apple"))]
fn c_stdout() -> *mut libc::FILE {
    unsafe extern "C" {
        #[cfg_attr(any(target_vendor = "apple", target_os = "freebsd"), link_name = "__stdoutp")]
        static stdout: *mut libc::FILE;
    }
    // SAFETY: every C library has this variable, and sets it before `main`.
    unsafe { stdout }
}

/// From here on the worker prints to where it should.
pub(crate) fn restore_stdout(stdout: &Handle) -> io::Result<()> {
    rustix::stdio::dup2_stdout(stdout)?;
    Ok(())
}

/// Ends this process without running anything more.
pub(crate) fn leave(code: i32) -> ! {
    // SAFETY: `_exit` may be called at any time.
    unsafe { libc::_exit(code) }
}

/// Ends this process and everything in its group, which [`spawn`](super::spawn) has made for it.
pub(crate) fn end_own_group() -> ! {
    let own = rustix::process::getpid();
    let _ = rustix::process::kill_process_group(own, Signal::KILL);
    let _ = rustix::process::kill_process(own, Signal::KILL);
    leave(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_called_by_its_number() {
        for (number, name) in [
            (0, "pool-worker-0"),
            (7, "pool-worker-7"),
            (10, "pool-worker-10"),
            (u32::MAX, "pool-worker-4294967295"),
        ] {
            let mut room = *NAME;
            let bytes = with_number(&mut room, number);
            let text = std::ffi::CStr::from_bytes_until_nul(bytes).unwrap();
            assert_eq!(text.to_str(), Ok(name));
        }
    }
}
