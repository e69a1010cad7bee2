//! The host's side of a worker process: start it, signal its group, learn of its end, reap it.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Handle;
use super::channel::{HostEnd, pair, send_welcome, watch};
use crate::error::WorkerExit;
use crate::os::WORKER_VARIABLE;
use crate::wire::{PROTOCOL_VERSION, WELCOME_LEN};

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

/// Starts a worker with one end of a new channel as its stdin, in a process group of its own.
///
/// `welcome` and the descriptors lie in the channel before the process exists. Must be called
/// inside the driver's runtime. No `pre_exec` here: with it a spawn from a large host takes a
/// hundred times as long.
pub(crate) fn spawn(
    mut command: Command,
    name: &OsStr,
    welcome: &[u8; WELCOME_LEN],
    recorder: &Handle,
    stdout: Option<&Handle>,
) -> io::Result<(HostEnd, Process)> {
    let (ours, theirs) = pair()?;
    let descriptors: Vec<BorrowedFd<'_>> =
        std::iter::once(recorder).chain(stdout).map(AsFd::as_fd).collect();
    send_welcome(&ours, welcome, &descriptors)?;
    let ours = HostEnd::register(ours)?;
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
    let mut process = Process { pid, gone: Mutex::new(false), exit: Exit::Unwatched };
    match Exit::watch(pid) {
        Ok(exit) => process.exit = exit,
        Err(error) => {
            process.kill();
            // The driver must not wait for it.
            let reap = move || {
                let _ = wait_for(pid, WaitIdOptions::EXITED);
            };
            let _ = std::thread::Builder::new().name("pool-reaper".to_owned()).spawn(reap);
            return Err(error);
        }
    }
    Ok((ours, process))
}

/// A worker process, until it is reaped.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    /// Reaped, by us or by somebody else: its number may belong to another process by now.
    gone: Mutex<bool>,
    exit: Exit,
}

impl Process {
    pub(crate) fn id(&self) -> u32 {
        self.pid.as_raw_pid().unsigned_abs()
    }

    /// Kills the process and its group: both, since a job may have moved the process to another
    /// group. Does nothing once it was reaped.
    pub(crate) fn kill(&self) {
        let mut gone = self.gone();
        // Somebody else may have reaped it, and its number may be another's by now.
        let peek = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        *gone = *gone || wait_for(self.pid, peek).is_err();
        if !*gone {
            let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
            let _ = rustix::process::kill_process(self.pid, Signal::KILL);
        }
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

    /// How the process ended, if it has. Its group is killed first, while the zombie still
    /// keeps the number reserved.
    pub(crate) fn reap(&self) -> Option<WorkerExit> {
        let mut gone = self.gone();
        if *gone {
            return Some(WorkerExit::Unknown);
        }
        let peek = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match wait_for(self.pid, peek) {
            Ok(None) => return None,
            Ok(Some(_)) => {
                let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
            }
            Err(_) => {}
        }
        *gone = true;
        match wait_for(self.pid, WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(Some(status)) => Some(exit_of(&status)),
            // The host ignores SIGCHLD, or somebody else waits for any child.
            Ok(None) | Err(_) => Some(WorkerExit::Unknown),
        }
    }

    /// Reaps what the worker left behind, where the host is PID 1 or a subreaper and so inherits
    /// it. True if there may be more to come.
    pub(crate) fn reap_orphans(&self) -> bool {
        loop {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            match rustix::process::waitid(WaitId::Pgid(Some(self.pid)), options) {
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    fn gone(&self) -> MutexGuard<'_, bool> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wait_for(pid: Pid, options: WaitIdOptions) -> rustix::io::Result<Option<WaitIdStatus>> {
    loop {
        match rustix::process::waitid(WaitId::Pid(pid), options) {
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
            let _ = wait_for(pid, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
            let _ = tell.send(true);
        })?;
        Ok(Exit::Thread(ended))
    }
}
