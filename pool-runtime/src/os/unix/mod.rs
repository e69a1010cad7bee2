//! Unix: socket pairs, process groups, `memfd` and `pidfd` where there are any.

mod adopt;
mod channel;
mod clock;
mod forks;
mod mapping;
mod memory;
mod pages;
mod pipe;
mod process;
mod worker;

pub(crate) use adopt::{Adopted, Adoption, adopt, forget_environment, is_privileged, is_worker};
pub(crate) use channel::{Arrivals, ChannelEnd, HostEnd, Readable, WithoutWaiting, local_channel};
pub(crate) use clock::nanos;
pub(crate) use forks::fork_depth;
pub(crate) use mapping::Mapping;
pub(crate) use pages::give_back;
pub(crate) use pipe::{PipeEnd, output_pipe};
pub(crate) use process::{Process, own_executable, own_stdout, spawn};
pub(crate) use worker::{
    HostWatch, Nudge, Woken, end_own_group, flush_c_stdout, leave, name_thread, prepare_worker,
    print_lines, restore_stdout, spawn_small, wait_for_host,
};

/// Something of the kernel's that can be handed to another process.
pub(crate) type Handle = std::os::fd::OwnedFd;
