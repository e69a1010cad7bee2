//! The host's side of a worker process: start it, signal its group, learn of its end, reap it.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Handle;
use super::channel::{HostEnd, pair, watch};
use super::memory::{Gauge, offer_to_the_kernel};
use crate::error::WorkerExit;
use crate::os::WORKER_VARIABLE;
use crate::wire::PROTOCOL_VERSION;

/// The program that runs now, whatever became of its file; what error messages call it.
///
/// On Linux the kernel's own link is used: it leads to the very file that was started, even if
/// that was deleted or replaced since.
pub(crate) fn own_executable() -> io::Result<PathBuf> {
    let link = PathBuf::from("/proc/self/exe");
    if cfg!(target_os = "linux") && link.exists() {
        return Ok(link);
    }
    std::env::current_exe().or_else(|error| path_from_the_kernel().ok_or(error))
}

/// What the kernel was asked to execute, where there is no `/proc` to say it.
#[cfg(target_os = "linux")]
fn path_from_the_kernel() -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;

    // SAFETY: for this key the kernel gives zero or the address of a string that lives as long as
    // the process.
    let path = unsafe {
        let address = libc::getauxval(libc::AT_EXECFN);
        (address != 0).then(|| std::ffi::CStr::from_ptr(address as *const libc::c_char))
    }?;
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(path.to_bytes()));
    path.canonicalize().ok()
}

#[cfg(not(target_os = "linux"))]
fn path_from_the_kernel() -> Option<PathBuf> {
    None
}

/// A second descriptor of the host's stdout, for a worker that gets it late.
pub(crate) fn own_stdout() -> io::Result<Handle> {
    io::stdout().as_fd().try_clone_to_owned()
}

/// Starts a worker with one end of a new channel as its stdin, in a process group of its own. It
/// waits for its [welcome](HostEnd::welcome).
///
/// Must be called inside the driver's runtime. Whatever can be made while the process starts is made
/// after this. No `pre_exec` here: with it a spawn from a large host takes a hundred times as long.
pub(crate) fn spawn(mut command: Command, name: &OsStr) -> io::Result<(HostEnd, Process)> {
    let (ours, theirs) = pair()?;
    command
        .arg0(name)
        .env(WORKER_VARIABLE, format!("{PROTOCOL_VERSION}:{}", std::process::id()))
        .stdin(Stdio::from(theirs))
        .process_group(0);
    let child = command.spawn()?;
    // The command holds the worker's end open.
    drop(command);
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::Error::other("the system gave a process without a number"))?;
    // From here on the process has an owner; if the rest fails, it is killed and reaped.
    let mut process =
        Process { pid, gone: Mutex::new(false), exit: Exit::Unwatched, memory: Gauge::default() };
    let registered = Exit::watch(pid).and_then(|exit| {
        process.exit = exit;
        HostEnd::register(ours)
    });
    // Before it has its welcome: no code of a user's runs in there before that.
    offer_to_the_kernel(pid, || process.is_ours());
    match registered {
        Ok(ours) => Ok((ours, process)),
        Err(error) => {
            process.discard();
            Err(error)
        }
    }
}

/// A worker process, until it is reaped.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    /// Reaped, by us or by somebody else: its number may belong to another process by now.
    gone: Mutex<bool>,
    exit: Exit,
    memory: Gauge,
}

impl Process {
    pub(crate) fn id(&self) -> u32 {
        self.pid.as_raw_pid().unsigned_abs()
    }

    /// Ends a process that came to nothing. Nobody waits for it: a driver must not.
    pub(crate) fn discard(self) {
        self.kill();
        let reap = move || {
            let _ = wait_for(WaitId::Pid(self.pid), WaitIdOptions::EXITED);
        };
        let _ = std::thread::Builder::new().name("pool-reaper".to_owned()).spawn(reap);
    }

    /// The memory of the process that is resident now, in bytes; not that of its children. `None`
    /// for a process that has ended, and where the system does not say. Never another's, though
    /// the number may have a new owner.
    pub(crate) fn resident_memory(&self) -> Option<u64> {
        let gone = self.gone();
        if *gone { None } else { self.memory.look(self.pid, || self.is_ours()) }
    }

    /// Whether the process is on its way out, of itself or killed, though its end may be a while off
    /// on a machine that is busy. False where the system does not say.
    pub(crate) fn is_leaving(&self) -> bool {
        // The system takes memory away before it closes descriptors.
        cfg!(target_os = "linux") && self.resident_memory().is_none()
    }

    /// Kills the process and its group: both, since a job may have moved the process to another
    /// group. Does nothing once it was reaped.
    pub(crate) fn kill(&self) {
        if !*self.gone() {
            self.kill_group();
            self.kill_itself();
        }
    }

    /// Somebody else may have reaped the process, and its number may have a new owner. Hence the
    /// pidfd where there is one: that stays what it was, and finds what is left of the group.
    fn kill_group(&self) {
        let by_pidfd = self.signal_group_by_pidfd(libc::SIGKILL);
        if by_pidfd.is_none() && (self.is_ours() || self.is_nobodys()) {
            let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
        }
    }

    /// `None` where there is no such way; false if nobody is left in the group.
    #[cfg(target_os = "linux")]
    fn signal_group_by_pidfd(&self, signal: libc::c_int) -> Option<bool> {
        let Exit::Pidfd(pidfd) = &self.exit else { return None };
        match signal_by_pidfd(pidfd.get_ref(), signal, PIDFD_SIGNAL_PROCESS_GROUP) {
            // Linux before 6.9 does not know the flag.
            Err(Errno::INVAL | Errno::NOSYS) => None,
            result => Some(result != Err(Errno::SRCH)),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn signal_group_by_pidfd(&self, _signal: libc::c_int) -> Option<bool> {
        None
    }

    fn kill_itself(&self) {
        #[cfg(target_os = "linux")]
        if let Exit::Pidfd(pidfd) = &self.exit {
            if signal_by_pidfd(pidfd.get_ref(), libc::SIGKILL, 0) != Err(Errno::NOSYS) {
                return;
            }
        }
        if self.is_ours() {
            let _ = rustix::process::kill_process(self.pid, Signal::KILL);
        }
    }

    /// Alive, or dead and not reaped: its number is its own.
    fn is_ours(&self) -> bool {
        self.wait(WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT).is_ok()
    }

    /// No process has its number. A group that has it is the one that this process led: as long as
    /// somebody is in there, the number is given to no other process.
    fn is_nobodys(&self) -> bool {
        rustix::process::test_kill_process(self.pid) == Err(Errno::SRCH)
    }

    /// How it ended, if it has.
    fn wait(&self, options: WaitIdOptions) -> rustix::io::Result<Option<WaitIdStatus>> {
        let options = options | WaitIdOptions::EXITED;
        #[cfg(target_os = "linux")]
        if let Exit::Pidfd(pidfd) = &self.exit {
            let result = wait_for(WaitId::PidFd(pidfd.get_ref().as_fd()), options);
            // Linux before 5.4 knows no such wait.
            if !matches!(result, Err(Errno::INVAL)) {
                return result;
            }
        }
        wait_for(WaitId::Pid(self.pid), options)
    }

    /// Waits until the process has ended. It is not reaped yet.
    pub(crate) async fn ended(&self) {
        match &self.exit {
            Exit::Unwatched => {}
            #[cfg(target_os = "linux")]
            Exit::Pidfd(pidfd) => {
                // An error means that the runtime is shutting down, and nobody waits any more.
                let _ = pidfd.readable().await;
            }
            Exit::Thread(ended) => {
                let _ = ended.clone().wait_for(|ended| *ended).await;
            }
        }
    }

    /// How the process ended, if it has. What is left of its group is killed first, while the
    /// zombie still keeps the number reserved.
    pub(crate) fn reap(&self) -> Option<WorkerExit> {
        let mut gone = self.gone();
        if *gone {
            return Some(WorkerExit::Unknown);
        }
        if matches!(self.wait(WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT), Ok(None)) {
            return None;
        }
        self.kill_group();
        *gone = true;
        match self.wait(WaitIdOptions::NOHANG) {
            Ok(Some(status)) => Some(exit_of(&status)),
            // The host ignores SIGCHLD, or somebody else waits for any child.
            Ok(None) | Err(_) => Some(WorkerExit::Unknown),
        }
    }

    /// Reaps what the worker left behind, where the host is PID 1 or a subreaper and so inherits
    /// it. True if there may be more to come.
    pub(crate) fn reap_orphans(&self) -> bool {
        // The number may be that of another group by now, unless somebody is left in this one.
        while self.signal_group_by_pidfd(0).unwrap_or_else(|| self.is_nobodys()) {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            match rustix::process::waitid(WaitId::Pgid(Some(self.pid)), options) {
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
        false
    }

    fn gone(&self) -> MutexGuard<'_, bool> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For [`signal_by_pidfd`]: the whole group that the process leads, or led while it lived.
#[cfg(target_os = "linux")]
const PIDFD_SIGNAL_PROCESS_GROUP: libc::c_uint = 1 << 2;

/// `rustix` has this without the flags.
#[cfg(target_os = "linux")]
fn signal_by_pidfd(
    pidfd: &OwnedFd,
    signal: libc::c_int,
    flags: libc::c_uint,
) -> rustix::io::Result<()> {
    use std::os::fd::AsRawFd;

    let pidfd = pidfd.as_raw_fd();
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the call reads nothing of ours but its plain arguments.
    let result =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd, signal, no_info, flags) };
    if result == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::NOSYS))
}

fn wait_for(whom: WaitId<'_>, options: WaitIdOptions) -> rustix::io::Result<Option<WaitIdStatus>> {
    loop {
        match rustix::process::waitid(whom.clone(), options) {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

fn exit_of(status: &WaitIdStatus) -> WorkerExit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => WorkerExit::Code(code),
        (None, Some(signal)) => WorkerExit::Signal(signal),
        (None, None) => WorkerExit::Unknown,
    }
}

/// How the end of the process is noticed.
#[derive(Debug)]
enum Exit {
    Unwatched,
    #[cfg(target_os = "linux")]
    Pidfd(AsyncFd<OwnedFd>),
    /// A thread that waits without reaping.
    Thread(tokio::sync::watch::Receiver<bool>),
}

impl Exit {
    fn watch(pid: Pid) -> io::Result<Exit> {
        #[cfg(target_os = "linux")]
        if let Ok(pidfd) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
            return watch(pidfd, Interest::READABLE).map(Exit::Pidfd);
        }
        let (tell, ended) = tokio::sync::watch::channel(false);
        std::thread::Builder::new().name("pool-reaper".to_owned()).spawn(move || {
            let _ = wait_for(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
            let _ = tell.send(true);
        })?;
        Ok(Exit::Thread(ended))
    }
}
