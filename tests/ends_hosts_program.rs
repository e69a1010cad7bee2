//! What a worker is started from: a program that is gone, that has more rights than its caller,
//! that is told to be a worker by somebody else, that is large, that has no standard streams.

#![expect(clippy::unwrap_used, reason = "a test has nothing better to do with an error")]

use std::fs;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use pool_tests::{Isolation, isolated, jobs, lines, run_puppet, scratch, wait_until};

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet-ends");
const NOBODY: u32 = 65534;

/// The puppet under a name of its own.
fn copied(name: &str) -> PathBuf {
    let copy = scratch(name);
    fs::copy(PUPPET, &copy).unwrap();
    copy
}

/// Starts a copy, which launches workers; then `change` is done to its file, and it launches some
/// more.
fn launches_after(name: &str, change: impl FnOnce(&PathBuf)) {
    let (program, file) = (copied(name), scratch(&format!("{name}-log")));
    let printed = scratch(&format!("{name}-printed"));
    let mut host = Command::new(&program)
        .arg("launching")
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(fs::File::create(&printed).unwrap())
        .spawn()
        .unwrap();
    jobs::append(&file, "go");
    wait_until("it has launched some", || lines(&file).len() == 2);
    assert_eq!(fs::read_to_string(&printed).unwrap(), "");
    change(&program);
    for round in 2..5 {
        jobs::append(&file, "go");
        wait_until("it has launched more", || lines(&file).len() == 2 * round);
    }
    jobs::append(&file, "end");
    assert!(host.wait().unwrap().success());
    assert!(fs::read_to_string(&printed).unwrap().contains("the file has no name"));
}

#[pool::test]
fn a_program_whose_file_is_deleted_goes_on_to_launch_workers() {
    isolated(|| launches_after("deleted", |program| fs::remove_file(program).unwrap()));
}

#[pool::test]
fn a_program_whose_file_is_replaced_launches_what_it_was_and_not_what_it_is_now() {
    isolated(|| {
        launches_after("replaced", |program| {
            let other = scratch("other");
            fs::copy(env!("CARGO_BIN_EXE_puppet-host"), &other).unwrap();
            fs::rename(&other, program).unwrap();
        });
    });
}

/// A copy that anybody may run, with the rights of its owner, root.
fn set_user_id(name: &str) -> Option<PathBuf> {
    if !rustix::process::geteuid().is_root() {
        println!("note: skipped, only root can make a program that is set-user-id");
        return None;
    }
    let program = copied(name);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    Some(program)
}

fn run_as_nobody(program: &PathBuf, change: impl FnOnce(&mut Command)) -> Option<String> {
    let mut command = Command::new(program);
    command.arg("privileged").uid(NOBODY).gid(NOBODY);
    change(&mut command);
    let (status, printed) = run_puppet(&mut command);
    assert!(status.success(), "{status}: {printed}");
    if printed.contains("privileged: false") {
        println!("note: skipped, the file system ignores set-user-id");
        return None;
    }
    Some(printed)
}

fn print_notes(printed: &str) {
    // The harness may have begun a line before them.
    let notes = printed.lines().filter_map(|line| line.find("note: ").map(|at| &line[at..]));
    notes.for_each(|note| println!("{note}"));
}

#[pool::test]
fn a_set_user_id_program_gets_no_pool() {
    Isolation::new().run_and_read(
        || {
            let Some(program) = set_user_id("privileged") else { return };
            if let Some(printed) = run_as_nobody(&program, |_| ()) {
                assert!(printed.contains("no pool: "), "{printed}");
                assert!(printed.contains("set-user-id"), "{printed}");
            }
        },
        print_notes,
    );
}

/// A channel as a worker would have it, made by this process: the end for its stdin. The other one
/// has said a welcome's worth of bytes.
fn forged_channel() -> (UnixStream, Stdio) {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.write_all(&[0; 256]).unwrap();
    (ours, Stdio::from(OwnedFd::from(theirs)))
}

#[pool::test]
fn what_the_environment_says_never_makes_a_set_user_id_program_a_worker() {
    Isolation::new().run_and_read(
        || {
            let Some(program) = set_user_id("told") else { return };
            let truth = format!("1:{}", std::process::id());
            for told in ["", "1", "1:1", "rubbish", &truth] {
                let printed = run_as_nobody(&program, |command| {
                    command.env("POOL_WORKER", told);
                });
                let Some(printed) = printed else { return };
                assert!(printed.contains("main ran"), "{told}: {printed}");
            }
            // The parent is the process that it was told, and that one has made the channel.
            let (_ours, theirs) = forged_channel();
            let mut command = Command::new(&program);
            command.arg("privileged").uid(NOBODY).gid(NOBODY).env("POOL_WORKER", &truth);
            let output = command.stdin(theirs).output().unwrap();
            let printed = String::from_utf8(output.stdout).unwrap();
            assert!(printed.contains("main ran, privileged: true\nno pool: "), "{printed}");
        },
        print_notes,
    );
}

#[pool::test]
fn an_ordinary_program_that_somebody_calls_a_worker_says_why_it_is_none_and_ends() {
    isolated(|| {
        let told = format!("1:{}", std::process::id());
        let other = format!("9999:{}", std::process::id());
        for (told, why) in [
            ("", "malformed"),
            ("rubbish", "malformed"),
            ("1:", "malformed"),
            ("1:-7", "stdin is no channel"),
            ("1:1", "stdin is no channel"),
            (&*told, "stdin is no channel"),
            (&*other, "protocol 9999"),
        ] {
            let mut command = Command::new(PUPPET);
            let (status, printed) = run_puppet(command.env("POOL_WORKER", told));
            assert_eq!(status.code(), Some(70), "{told}: {printed}");
            assert!(printed.contains("told to be a pool worker"), "{told}: {printed}");
            assert!(printed.contains(why), "{told}: {printed}");
            assert!(!printed.contains("main ran"), "{told}: {printed}");
        }
        // Whoever makes the channel, and says nothing or rubbish there.
        for (told, speaks, why) in [
            ("1:1", true, "the channel belongs to process"),
            (&told, true, "no welcome"),
            (&told, false, "the host said nothing"),
        ] {
            let (ours, theirs) = forged_channel();
            let theirs = if speaks {
                theirs
            } else {
                let (silent, theirs) = UnixStream::pair().unwrap();
                drop(silent);
                Stdio::from(OwnedFd::from(theirs))
            };
            let mut command = Command::new(PUPPET);
            let output = command.env("POOL_WORKER", told).stdin(theirs).output().unwrap();
            drop(ours);
            let (said, why_not) = (output.stdout, String::from_utf8(output.stderr).unwrap());
            assert_eq!(output.status.code(), Some(70), "{told}: {why_not}");
            assert!(why_not.contains(why), "{told}: {why_not}");
            assert!(said.is_empty());
        }
    });
}

#[pool::test]
fn a_large_host_launches_as_fast_as_a_small_one() {
    Isolation::new().alone().run_and_read(
        || {
            let of = |mebibytes: &str| {
                let (status, printed) =
                    run_puppet(Command::new(PUPPET).args(["resident", mebibytes]));
                assert!(status.success(), "{status}: {printed}");
                printed.trim().parse::<u64>().unwrap()
            };
            let (small, large) = (of("0"), of("1024"));
            let ratio = large as f64 / small as f64;
            println!("note: a first output after {small} µs, with 1 GiB resident after {large} µs");
            assert!(ratio < 5.0, "{small} µs, {large} µs: {ratio:.1}");
        },
        print_notes,
    );
}

#[pool::test]
fn a_host_without_standard_streams_has_a_whole_pool() {
    isolated(|| {
        let file = scratch("seen");
        let script = r#"exec "$0" "$@" <&- >&- 2>&-"#;
        let mut command = Command::new("sh");
        command.args(["-c", script, PUPPET, "closed"]).arg(&file);
        let status = command.status().unwrap();
        let seen = lines(&file);
        assert!(status.success(), "{status}: {seen:?}");
        assert_eq!(seen, ["/dev/null", "/dev/null", "/dev/null", "well"]);
    });
}
