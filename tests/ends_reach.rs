//! How far a pool can be reached from outside, and what a job can reach of its pool.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pool::{Pool, pool_job, submit};
use pool_tests::jobs;
use pool_tests::{Isolation, isolated, pids, proc, scratch, wait_until};
use rustix::process::Signal;

/// What a child of this job has open.
#[pool_job]
fn descriptors_of_a_child() -> Vec<String> {
    let listing = Command::new("ls").args(["-l", "/proc/self/fd"]).output().unwrap();
    let text = String::from_utf8(listing.stdout).unwrap();
    text.lines().filter_map(|line| Some(line.split_once(" -> ")?.1.to_owned())).collect()
}

/// Which memory of more than one process a child of this job has.
#[pool_job]
fn shared_memory_of_a_child() -> String {
    let count = Command::new("grep").args(["-c", "pool-recorder", "/proc/self/maps"]).output();
    String::from_utf8(count.unwrap().stdout).unwrap()
}

/// Which files this worker has open.
#[pool_job]
fn own_descriptors() -> Vec<String> {
    proc::own_descriptors().into_keys().collect()
}

/// Starts a child that leaves the worker's group, and goes on for ever.
#[pool_job]
fn leave_the_group(started: &Path) {
    let script = format!("echo $$ >> {}; exec sleep 10000", started.display());
    let mut child = Command::new("setsid").args(["sh", "-c", &script]).spawn().unwrap();
    child.wait().unwrap();
}

#[pool::test]
fn the_children_of_a_job_have_neither_its_channel_nor_its_recorder() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let open = submit!(pool => descriptors_of_a_child).wait().unwrap();
        assert!(open.len() >= 3, "{open:?}");
        let inherited = |target: &String| target.contains("socket") || target.contains("memfd");
        assert!(!open.iter().any(inherited), "{open:?}");
        assert_eq!(submit!(pool => shared_memory_of_a_child).wait().unwrap().trim(), "0");
    });
}

#[pool::test]
fn a_job_has_no_file_of_its_host_open() {
    isolated(|| {
        let secret = scratch("secret");
        let file = fs::File::create(&secret).unwrap();
        let pool = Pool::new(2).unwrap();
        let open = submit!(pool => own_descriptors).wait().unwrap();
        assert!(!open.contains(&secret.display().to_string()), "{open:?}");
        drop(file);
    });
}

/// The numbers that the kernel gave to the sockets of a process.
fn sockets(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let targets = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let number = |target: PathBuf| {
        let number = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
        Some(number.to_owned())
    };
    targets.filter_map(number).collect()
}

#[pool::test]
fn a_pool_listens_nowhere_and_its_channels_have_no_name() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        pool::block_on(pool.ready()).unwrap();
        let mut family = proc::children(std::process::id());
        family.push(std::process::id());
        let sockets: Vec<_> = family.into_iter().flat_map(sockets).collect();
        assert!(sockets.len() >= 4, "{sockets:?}");
        for table in ["tcp", "tcp6", "udp", "udp6"] {
            let Ok(text) = fs::read_to_string(format!("/proc/self/net/{table}")) else { continue };
            let mut words = text.split_whitespace();
            assert!(!words.any(|word| sockets.iter().any(|socket| socket == word)), "{table}");
        }
        // Num RefCount Protocol Flags Type St Inode Path
        let text = fs::read_to_string("/proc/self/net/unix").unwrap();
        for line in text.lines() {
            let fields: Vec<_> = line.split_whitespace().collect();
            if fields.get(6).is_some_and(|inode| sockets.iter().any(|socket| socket == inode)) {
                assert_eq!(fields[3], "00000000", "it listens: {line}");
                assert_eq!(fields.len(), 7, "it has a name: {line}");
            }
        }
    });
}

#[pool::test]
fn whoever_leaves_the_group_of_its_worker_is_not_reached() {
    Isolation::new().orphans().run(|| {
        let pool = Pool::new(1).unwrap();
        let started = scratch("started");
        let job = submit!(pool => leave_the_group, &started);
        wait_until("the child is away", || !pids(&started).is_empty());
        job.kill();
        assert!(job.wait().unwrap_err().is_cancelled());
        drop(pool);
        let child = pids(&started)[0];
        assert!(proc::is_alive(child), "it is: say so in the documentation");
        jobs::send(child, Signal::KILL);
    });
}
