//! The least that two processes need for a round trip: one blocking read and one write each.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

const ECHO: &str = "RATIOS_ECHO";
/// A frame of the pool's without a payload.
const BYTES: usize = 44;

/// Another process that sends back what it gets.
pub(crate) struct Echo {
    ours: UnixStream,
    child: Child,
}

impl Echo {
    /// Starts this program once more; its stdin is the other end of a socket pair.
    pub(crate) fn start() -> Echo {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair can be made");
        let program = std::env::current_exe().expect("this program has a path");
        let child = Command::new(program)
            .env(ECHO, "1")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .expect("this program can be started");
        Echo { ours, child }
    }

    pub(crate) fn round_trip(&mut self) {
        let mut ball = [7; BYTES];
        self.ours.write_all(&ball).expect("the echo reads");
        self.ours.read_exact(&mut ball).expect("the echo answers");
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // It sees the end of the stream, and ends.
        let _ = self.ours.shutdown(std::net::Shutdown::Both);
        let _ = self.child.wait();
    }
}

/// The other process: never comes back.
pub(crate) fn echo_if_asked() {
    if std::env::var_os(ECHO).is_none() {
        return;
    }
    let stdin = std::io::stdin().as_fd().try_clone_to_owned();
    let mut channel = UnixStream::from(stdin.expect("stdin can be duplicated"));
    let mut ball = [0; BYTES];
    while channel.read_exact(&mut ball).is_ok() && channel.write_all(&ball).is_ok() {}
    std::process::exit(0);
}
