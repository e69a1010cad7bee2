//! Between users of one machine: whoever may not reach the host cannot reach its pool.

#![expect(clippy::unwrap_used, reason = "a test has nothing better to do with an error")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use pool_tests::{Isolation, pids, proc, run_puppet, scratch, wait_until};

const OWNER: u32 = 65533;
const STRANGER: u32 = 65534;

/// The sockets that a process has, by the numbers that the kernel has given them.
fn sockets(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let targets = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let inode = |target: &Path| Some(target.to_str()?.strip_prefix("socket:[")?.replace(']', ""));
    targets.filter_map(|target| inode(&target)).collect()
}

/// What came of everything that the intruder tries as this user: the names of what was allowed,
/// and the lines of what was not.
fn intrude(program: &Path, user: u32, pid: u32) -> (BTreeSet<String>, Vec<String>) {
    let mut command = Command::new(program);
    command.arg(pid.to_string()).uid(user).gid(user);
    let (status, printed) = run_puppet(&mut command);
    assert!(status.success(), "{status}: {printed}");
    let (allowed, refused): (Vec<_>, Vec<_>) =
        printed.lines().map(str::to_owned).partition(|line| line.ends_with(": allowed"));
    (allowed.into_iter().collect(), refused)
}

#[pool::test]
fn another_user_can_neither_reach_nor_read_a_pool() {
    Isolation::new().orphans().run_and_read(
        || {
            if !rustix::process::geteuid().is_root() {
                println!("note: skipped, only root can become several users");
                return;
            }
            let room = scratch("noted").parent().unwrap().to_owned();
            fs::set_permissions(&room, fs::Permissions::from_mode(0o777)).unwrap();
            let (host, intruder) = (scratch("host"), scratch("intruder"));
            fs::copy(env!("CARGO_BIN_EXE_puppet-ends"), &host).unwrap();
            fs::copy(env!("CARGO_BIN_EXE_puppet-intruder"), &intruder).unwrap();
            let noted = scratch("noted");
            let mut command = Command::new(&host);
            command.arg("busy").arg(&noted).arg("wait").uid(OWNER).gid(OWNER);
            command.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
            let mut owner = command.spawn().unwrap();
            wait_until("its workers are busy", || pids(&noted).len() == 4);
            let workers = proc::children(owner.id());
            assert_eq!(workers.len(), 4);
            let family = std::iter::once(owner.id()).chain(workers.iter().copied());

            for pid in family {
                // There is no name by which anybody could connect.
                let own = sockets(pid);
                assert!(!own.is_empty(), "{pid} has no channel");
                let table = fs::read_to_string("/proc/net/unix").unwrap();
                for line in table.lines().skip(1) {
                    let columns: Vec<_> = line.split_whitespace().collect();
                    if own.iter().any(|inode| inode == columns[6]) {
                        assert_eq!(columns.len(), 7, "a socket with a name: {line}");
                    }
                }
                let (allowed, refused) = intrude(&intruder, STRANGER, pid);
                assert!(allowed.is_empty(), "{allowed:?}");
                assert_eq!(refused.len(), 11, "{refused:?}");
                assert!(
                    refused.iter().all(|line| line.contains("PermissionDenied")),
                    "{refused:?}"
                );
                // That these tries are good ones shows where they are made by its owner.
                let (allowed, refused) = intrude(&intruder, OWNER, pid);
                assert!(allowed.len() >= 9, "{allowed:?}, {refused:?}");
            }
            let files = fs::read_dir(std::env::temp_dir()).unwrap();
            let owned = files.flatten().filter(|file| {
                use std::os::unix::fs::MetadataExt as _;
                file.metadata().is_ok_and(|file| file.uid() == OWNER)
            });
            let owned: Vec<_> = owned.map(|file| file.path()).collect();
            assert!(owned.is_empty(), "{owned:?}");
            assert!(workers.iter().all(|&worker| proc::is_alive(worker)));
            owner.kill().unwrap();
            owner.wait().unwrap();
        },
        |printed| {
            let notes = printed.lines().filter_map(|line| Some(&line[line.find("note: ")?..]));
            notes.for_each(|note| println!("{note}"));
        },
    );
}
