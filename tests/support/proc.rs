//! What the system knows of processes, from `/proc`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Every process that there is.
pub fn all() -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// The state letter of a process (`Z`: dead and not reaped); `None` if there is no such process.
pub fn state(pid: u32) -> Option<char> {
    stat(pid).map(|(state, _)| state)
}

/// Whether the process runs, sleeps or is stopped: neither gone nor dead.
pub fn is_alive(pid: u32) -> bool {
    state(pid).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// The children of a process, dead ones that were not reaped included.
pub fn children(pid: u32) -> Vec<u32> {
    all().into_iter().filter(|&other| stat(other).is_some_and(|(_, of)| of == pid)).collect()
}

/// Children, their children, and so on.
pub fn descendants(pid: u32) -> Vec<u32> {
    let mut found = children(pid);
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        found.extend(children(pid));
        next += 1;
    }
    found
}

/// How much of the processors the process has had, in ticks: a hundred a second, as a rule.
pub fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

/// State and parent.
fn stat(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may have some of its own.
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Whether `text` stands in the environment that the process was started with.
pub fn has_in_environment(pid: u32, text: &str) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The names of the threads of this process.
pub fn own_threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let name = |path: &Path| fs::read_to_string(path.join("comm")).ok();
    let names = tasks.filter_map(|task| name(&task.ok()?.path()));
    names.map(|name| name.trim().to_owned()).collect()
}

/// The descriptors of this process: how many of each kind (`socket`, `pipe`, a path).
pub fn own_descriptors() -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/fd").unwrap().flatten() {
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let target = target.to_string_lossy();
        // The one that this directory is read through.
        if target.starts_with("/proc/") {
            continue;
        }
        let kind = target.split_once(":[").filter(|(_, end)| end.ends_with(']'));
        let kind = match kind {
            Some((kind, _)) if kind != "anon_inode" => kind,
            _ => &*target,
        };
        *kinds.entry(kind.to_owned()).or_default() += 1;
    }
    kinds
}

/// How many descriptors this process has.
pub fn own_descriptor_count() -> usize {
    own_descriptors().values().sum()
}

/// How many mappings of this process have `name` in their path.
pub fn own_mappings(name: &str) -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains(name)).count()
}

/// For the reader of a failure: what a process is, and what each of its threads is doing.
pub fn describe(pid: u32) -> String {
    let read = |path: &str| fs::read_to_string(format!("/proc/{pid}/{path}")).unwrap_or_default();
    let Some((state, parent)) = stat(pid) else { return format!("{pid}: gone\n") };
    let command = read("cmdline").replace('\0', " ");
    let mut text = format!("{pid} (child of {parent}) {state} {}\n", command.trim());
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let tid = task.file_name().to_string_lossy().into_owned();
        let of_task = |path: &str| read(&format!("task/{tid}/{path}")).trim().to_owned();
        let status = of_task("status");
        let state = status.lines().find(|line| line.starts_with("State:")).unwrap_or_default();
        let (name, wait, call) = (of_task("comm"), of_task("wchan"), of_task("syscall"));
        let _ = writeln!(text, "    {tid} {name:15} {state} in {wait}, system call {call}");
    }
    text
}
