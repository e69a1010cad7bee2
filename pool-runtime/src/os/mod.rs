//! The only place that knows the platform: channels, processes, shared memory.
//!
//! Every platform offers the same functions under the same names, and nothing above this
//! folder is conditional. What the functions rely on was tried on each platform; a comment at
//! the place names the trap that it avoids.

#![expect(unsafe_code, reason = "system calls; each block states why it is sound")]

#[cfg(unix)]
mod unix;

#[cfg(unix)]
pub(crate) use unix::{
    Adopted, Adoption, Arrivals, ChannelEnd, Handle, HostEnd, HostWatch, Mapping, Nudge, PipeEnd,
    Process, Readable, WithoutWaiting, Woken, adopt, end_own_group, flush_c_stdout,
    forget_environment, fork_depth, give_back, is_privileged, is_worker, leave, local_channel,
    name_thread, nanos, output_pipe, own_executable, own_stdout, prepare_worker, print_lines,
    restore_stdout, spawn, spawn_small, wait_for_host,
};

/// The environment variable that tells a process it is a worker: protocol version and host pid.
pub(crate) const WORKER_VARIABLE: &str = "POOL_WORKER";

/// The environment variable that asks for threads in place of worker processes.
pub(crate) const IN_PROCESS_VARIABLE: &str = "POOL_IN_PROCESS";

/// The signal of [`Process::kill`].
pub(crate) const KILLED_BY_US: i32 = 9;

/// The exit code of a worker that cannot go on (`EX_SOFTWARE` of sysexits.h).
pub(crate) const EXIT_BROKEN: i32 = 70;

/// What [`adopt`] says of a worker whose host ended while it started.
pub(crate) const HOST_GONE: &str = "its host is gone";
