//! The bar of `JobStream::progress`, on a pseudo terminal.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use pool_tests::{isolated, jobs, scratch, wait_until};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet-progress");

/// The puppet, and all that its terminal was sent so far.
struct Show {
    puppet: Child,
    dir: PathBuf,
    sent: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Show {
    fn begin(choice: Option<&str>) -> Show {
        let dir = scratch("show");
        fs::create_dir(&dir).unwrap();
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let name = OsStr::from_bytes(name.as_bytes());
        let terminal = OpenOptions::new().read(true).write(true).open(name).unwrap();
        let mut command = Command::new(PUPPET);
        command.arg(&dir).env("TERM", "xterm").env_remove("POOL_PROGRESS");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(terminal);
        if let Some(choice) = choice {
            command.env("POOL_PROGRESS", choice);
        }
        let puppet = command.spawn().unwrap();
        // It holds the other end.
        drop(command);
        let sent = Arc::new(Mutex::new(Vec::new()));
        let mut master = File::from(master);
        let into = sent.clone();
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            // A terminal that nobody holds any more gives an error.
            while let Ok(n @ 1..) = master.read(&mut buffer) {
                into.lock().unwrap().extend_from_slice(&buffer[..n]);
            }
        });
        Show { puppet, dir, sent, reader }
    }

    fn sent(&self) -> String {
        String::from_utf8_lossy(&self.sent.lock().unwrap()).into_owned()
    }

    /// Waits until the terminal was sent all of `texts`.
    fn wait_for(&self, texts: &[&str]) {
        wait_until(&format!("{texts:?} on the terminal"), || {
            let sent = self.sent();
            texts.iter().all(|text| sent.contains(text))
        });
    }

    fn open(&self, name: &str) {
        jobs::open(&self.dir.join(name));
    }

    /// Lets the puppet come to its end, and gives all that was sent.
    fn end(mut self) -> String {
        assert!(self.puppet.wait().unwrap().success());
        self.reader.join().unwrap();
        String::from_utf8_lossy(&self.sent.lock().unwrap()).into_owned()
    }
}

#[pool::test]
fn a_terminal_gets_a_bar_with_the_running_labels() {
    isolated(|| {
        let show = Show::begin(None);
        show.wait_for(&["shown [", "0 of 5 (0 %)", "label a: 3 of 10 (30 %), reading", "label b"]);
        // What a worker prints stands above the bar, in a line of its own.
        wait_until("a line above the bar", || {
            let sent = show.sent();
            sent.split_once("printed by a").is_some_and(|(_, behind)| behind.contains("shown ["))
        });
        show.open("a");
        // `c` has failed, `d` waits for its second attempt behind `e`.
        show.wait_for(&["2 of 5 (40 %), 1 failed, ", " left", "label e"]);
        assert!(!show.sent().contains("attempt 2"));
        show.open("e");
        show.wait_for(&["3 of 5 (60 %), 1 failed, 1 retried, ", "label d, attempt 2"]);
        show.open("d");
        show.wait_for(&["4 of 5 (80 %)"]);
        show.open("b");
        let sent = show.end();
        // What is left of it is one line.
        let (_, last) = sent.rsplit_once("shown: ").unwrap();
        assert!(last.starts_with("5 of 5 (100 %), 1 failed, 1 retried, in "), "{last:?}");
        assert!(last.ends_with("s\r\n"), "{last:?}");
    });
}

#[pool::test]
fn a_terminal_may_be_spared_the_bar() {
    isolated(|| {
        let show = Show::begin(Some("plain"));
        ["a", "b", "d", "e"].into_iter().for_each(|name| show.open(name));
        // The terminal itself ends lines so.
        let sent = show.end().replace("\r\n", "\n");
        assert!(!sent.contains('\r') && !sent.contains('\u{1b}'), "{sent:?}");
        assert_eq!(sent.lines().filter(|line| line.starts_with("shown: ")).count(), 5, "{sent}");
    });
}

#[pool::test]
fn nothing_is_shown_on_a_terminal_if_so_asked() {
    isolated(|| {
        let show = Show::begin(Some("none"));
        ["a", "b", "d", "e"].into_iter().for_each(|name| show.open(name));
        assert!(!show.end().contains("shown"));
    });
}
