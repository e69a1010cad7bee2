//! How a new process learns that it is a worker, and whose.
//!
//! 1. The variable says so. Without it, or in a set-user-id program, this is no worker.
//! 2. The other end of stdin was made by the process that the variable names, and that process is
//!    the parent. Else this process ends: it must never run the user's `main` by mistake.
//! 3. The channel moves away from stdin, which is put at its end; so neither a job nor its
//!    children can touch the channel.

use std::ffi::OsStr;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use interprocess::local_socket::traits::StreamCommon;
use interprocess::os::unix::uds_local_socket::Stream;
use rustix::fs::{Mode, OFlags};

use super::Handle;
use super::channel::{ChannelEnd, receive_welcome};
use super::worker::{HostWatch, away};
use crate::os::{HOST_GONE, WORKER_VARIABLE};
use crate::wire::{PROTOCOL_VERSION, WELCOME_LEN};

/// What this process is.
pub(crate) enum Adoption {
    /// Not a worker.
    Host,
    /// A worker of the host at the other end.
    Worker(Adopted),
    /// It was told to be a worker, and cannot believe it.
    Refused(String),
}

/// What a worker starts with.
pub(crate) struct Adopted {
    pub(crate) channel: ChannelEnd,
    pub(crate) host: HostWatch,
    pub(crate) welcome: [u8; WELCOME_LEN],
    /// The recorder, then perhaps the host's stdout.
    pub(crate) descriptors: Vec<Handle>,
}

/// How long a host may live on whose channel has ended, before it is said to have closed it.
const LAST_MOMENT: Duration = Duration::from_secs(1);

static ADOPTED: AtomicBool = AtomicBool::new(false);

/// Whether this process has found out that it is a worker.
pub(crate) fn is_worker() -> bool {
    ADOPTED.load(Ordering::Relaxed)
}

/// Finds out what this process is. To be called before anything else.
pub(crate) fn adopt() -> Adoption {
    let Some(told) = std::env::var_os(WORKER_VARIABLE) else {
        return Adoption::Host;
    };
    if is_privileged() {
        return Adoption::Host;
    }
    match believe(&told) {
        Ok(adopted) => {
            ADOPTED.store(true, Ordering::Relaxed);
            Adoption::Worker(adopted)
        }
        Err(reason) => Adoption::Refused(reason),
    }
}

fn believe(told: &OsStr) -> Result<Adopted, String> {
    let told = told.to_string_lossy();
    let (protocol, pid) = told.split_once(':').ok_or("its value is malformed")?;
    if protocol.parse() != Ok(PROTOCOL_VERSION) {
        return Err(format!(
            "the host speaks protocol {protocol}, this program {PROTOCOL_VERSION}"
        ));
    }
    let pid: i32 = pid.parse().map_err(|_| "its value is malformed")?;
    // Not by the standard library's `stdin`, which has a buffer.
    let stream = Stream::from(UnixStream::from(
        away(rustix::stdio::stdin()).map_err(|error| format!("stdin cannot be moved: {error}"))?,
    ));
    // On a socket pair the peer is whoever made the pair.
    let creds = stream.peer_creds().map_err(|error| format!("stdin is no channel: {error}"))?;
    if let Some(peer) = creds.pid() {
        if i64::from(peer) != i64::from(pid) {
            return Err(format!("the channel belongs to process {peer}, not to {pid}"));
        }
    }
    // The channel is its own, and yet it is no child of it: an orphan.
    let host = HostWatch::open(pid).ok_or(HOST_GONE)?;
    let (welcome, descriptors) = receive_welcome(&stream).map_err(|error| {
        // A host that is killed has closed its channels a moment before it is gone.
        match host.ends_within(LAST_MOMENT) {
            true => HOST_GONE.to_owned(),
            false => format!("the host said nothing: {error}"),
        }
    })?;
    close_stdin().map_err(|error| format!("stdin cannot be closed: {error}"))?;
    Ok(Adopted { channel: ChannelEnd(stream), host, welcome, descriptors })
}

fn close_stdin() -> io::Result<()> {
    let null = rustix::fs::open(c"/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(())
}

/// Runs with rights that its caller does not have.
pub(crate) fn is_privileged() -> bool {
    use rustix::process::{getegid, geteuid, getgid, getuid};
    getuid() != geteuid() || getgid() != getegid()
}

/// Removes the variable that made this process a worker: a job's own children are none.
pub(crate) fn forget_environment() {
    // SAFETY: this runs before any code of the user and before this crate starts a thread. Under
    // a test harness the thread that started this one sleeps until it ends.
    unsafe { std::env::remove_var(WORKER_VARIABLE) };
}
