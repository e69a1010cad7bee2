//! Tries to reach a process from outside of it, and prints what came of each try: `what: allowed`
//! or `what: ` and the error. The argument is the process's number.

#![expect(clippy::unwrap_used, reason = "a puppet has nothing better to do with an error")]

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, RawFd};

use rustix::process::{Pid, PidfdFlags};

/// What nothing safe does, from the C library that the standard library is linked with.
mod c {
    use std::ffi::{c_long, c_void};

    pub(super) const PTRACE_SEIZE: i32 = 0x4206;
    pub(super) const SYS_PIDFD_GETFD: c_long = 438;

    #[repr(C)]
    pub(super) struct Area {
        pub(super) base: *mut c_void,
        pub(super) len: usize,
    }

    #[expect(unsafe_code, reason = "declarations of the C library's own functions")]
    unsafe extern "C" {
        pub(super) fn ptrace(request: i32, pid: i32, address: usize, data: usize) -> c_long;
        pub(super) fn syscall(number: c_long, ...) -> c_long;
        pub(super) fn process_vm_readv(
            pid: i32,
            local: *const Area,
            locals: usize,
            remote: *const Area,
            remotes: usize,
            flags: usize,
        ) -> isize;
    }
}

fn main() {
    let pid: i32 = std::env::args().nth(1).unwrap().parse().unwrap();
    let process = Pid::from_raw(pid).unwrap();
    let of = |name: &str| format!("/proc/{pid}/{name}");
    tell("list its descriptors", fs::read_dir(of("fd")).map(drop));
    tell("open its descriptors", open_all(&of("fd")));
    tell("list its mapped files", fs::read_dir(of("map_files")).map(drop));
    tell("read where its memory is", File::open(of("maps")).and_then(|file| read_some(&file)));
    tell("open its memory", File::open(of("mem")).map(drop));
    tell("read its environment", File::open(of("environ")).and_then(|file| read_some(&file)));
    tell("signal it", rustix::process::test_kill_process(process).map_err(Into::into));
    tell("signal its group", rustix::process::test_kill_process_group(process).map_err(Into::into));
    tell("take its channel", take_descriptors(process));
    tell("read its memory", read_memory(pid));
    tell("trace it", trace(pid));
}

fn tell(what: &str, result: io::Result<()>) {
    match result {
        Ok(()) => println!("{what}: allowed"),
        Err(error) => println!("{what}: {:?} {error}", error.kind()),
    }
}

fn read_some(mut file: &File) -> io::Result<()> {
    file.read(&mut [0; 16]).map(drop)
}

/// The recorder is a file without a name; this is a way to one that is open in another process.
fn open_all(descriptors: &str) -> io::Result<()> {
    let mut last = Err(io::ErrorKind::PermissionDenied.into());
    for number in (0..64).chain(1000..1064) {
        let result = File::open(format!("{descriptors}/{number}"));
        if result.is_ok() {
            return Ok(());
        }
        // What is not there says nothing.
        if let Err(error) = result {
            if error.kind() == io::ErrorKind::PermissionDenied {
                last = Err(error);
            }
        }
    }
    last
}

fn answer(result: i64) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[expect(unsafe_code, reason = "a system call that nothing safe makes")]
fn take_descriptors(process: Pid) -> io::Result<()> {
    let pidfd = rustix::process::pidfd_open(process, PidfdFlags::empty())?;
    let take = |number: RawFd| {
        // SAFETY: plain numbers; what comes of it is a new descriptor that is never used.
        answer(unsafe { c::syscall(c::SYS_PIDFD_GETFD, pidfd.as_raw_fd(), number, 0) })
    };
    let bad = |error: &io::Error| error.raw_os_error() == Some(9);
    (0..64).map(take).find(|result| !result.as_ref().is_err_and(bad)).unwrap()
}

#[expect(unsafe_code, reason = "a system call that nothing safe makes")]
fn read_memory(pid: i32) -> io::Result<()> {
    // The programs are the same, but not at the same place: a fault there is past the check.
    let mut byte = [0_u8; 1];
    let here = c::Area { base: byte.as_mut_ptr().cast(), len: 1 };
    // SAFETY: writes at most one byte, into `byte`.
    let result = unsafe { c::process_vm_readv(pid, &here, 1, &here, 1, 0) };
    match answer(result as i64) {
        Err(error) if error.raw_os_error() == Some(14) => Ok(()),
        result => result,
    }
}

#[expect(unsafe_code, reason = "a system call that nothing safe makes")]
fn trace(pid: i32) -> io::Result<()> {
    // SAFETY: plain numbers; the other process is let go when this one ends.
    answer(unsafe { c::ptrace(c::PTRACE_SEIZE, pid, 0, 0) })
}
