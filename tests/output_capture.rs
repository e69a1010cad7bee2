//! Captured output: what a job prints arrives line by line, whole, and is known to be its own.

use std::ffi::CString;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use pool::{
    EventStream, JobId, Output, OutputStream, Pool, PoolBuilder, PoolEvent, block_on, submit,
};
use pool_tests::jobs::{self, Death};
use pool_tests::{Isolation, isolated, lines, scratch, wait_until};

/// Prints to both streams, each text in a write of its own.
#[pool::pool_job]
fn say(out: &[Vec<u8>], err: &[Vec<u8>]) {
    for text in out {
        std::io::stdout().write_all(text).unwrap();
    }
    for text in err {
        std::io::stderr().write_all(text).unwrap();
    }
}

/// Says how far it is in the middle of a line, and goes on with it once the gate is open.
#[pool::pool_job]
fn say_in_two_parts(ctx: &pool::JobContext, gate: &Path) {
    eprint!("one ");
    ctx.progress(1, 2);
    while !gate.exists() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    eprintln!("line");
}

#[pool::pool_job]
fn count_aloud(from: u64, to: u64) {
    (from..to).for_each(|n| println!("{n}"));
}

/// A child prints, and its child.
#[pool::pool_job]
fn let_children_say(text: &str) {
    let script = format!("echo {text}; echo {text} >&2; (sh -c 'echo {text} deeper')");
    assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
}

/// Prints by the C library, whose stdout is buffered.
#[pool::pool_job]
#[expect(unsafe_code, reason = "C code prints")]
fn print_in_c(line: &str, beginning: &str) {
    let (line, beginning) = (CString::new(line).unwrap(), CString::new(beginning).unwrap());
    // SAFETY: strings with a zero at their end, of which one is a format.
    unsafe {
        libc::puts(line.as_ptr());
        libc::printf(c"%s".as_ptr(), beginning.as_ptr());
    }
}

/// Prints by the C library and is killed then.
#[pool::pool_job]
#[expect(unsafe_code, reason = "C code prints")]
fn print_in_c_and_die(line: &str) {
    let line = CString::new(line).unwrap();
    // SAFETY: a string with a zero at its end.
    unsafe { libc::puts(line.as_ptr()) };
    jobs::die(Death::Signal(9));
}

#[pool::pool_job]
fn say_and_hold(text: &str, started: &Path, gate: &Path) {
    println!("{text}");
    jobs::hold(started, gate);
}

/// Prints from a thread that it leaves behind, once the gate is open.
#[pool::pool_job]
fn say_later(text: &str, gate: &Path) {
    let (text, gate) = (text.to_owned(), gate.to_owned());
    std::thread::spawn(move || {
        while !gate.exists() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        println!("{text}");
    });
}

fn capturing() -> PoolBuilder {
    Pool::builder().workers(1).stdout(Output::Capture).stderr(Output::Capture)
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    job: Option<JobId>,
    stream: OutputStream,
    text: String,
}

fn out(job: JobId, text: &str) -> Line {
    Line { job: Some(job), stream: OutputStream::Stdout, text: text.to_owned() }
}

fn err(job: JobId, text: &str) -> Line {
    Line { job: Some(job), stream: OutputStream::Stderr, text: text.to_owned() }
}

fn line_of(event: PoolEvent) -> Option<Line> {
    match event {
        PoolEvent::Output { job, stream, line, .. } => Some(Line { job, stream, text: line }),
        _ => None,
    }
}

/// Ends the pool; the lines that it gave.
fn lines_of(pool: &Pool, mut events: EventStream) -> Vec<Line> {
    block_on(pool.close());
    let mut all = Vec::new();
    while let Some(event) = block_on(events.next()) {
        all.extend(line_of(event));
    }
    assert_eq!(events.dropped(), 0);
    all
}

fn only(lines: &[Line], stream: OutputStream) -> Vec<Line> {
    lines.iter().filter(|line| line.stream == stream).cloned().collect()
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[pool::test]
fn lines_come_whole_with_their_stream_and_their_job() {
    isolated(|| {
        let pool = capturing().build().unwrap();
        let events = pool.events();
        let (o, e) = (texts(&["one\ntw", "o\n", "\n", "\r\nthree\r\n"]), texts(&["fo", "ur\n"]));
        let first = submit!(pool => say, &o, &e);
        let second = submit!(pool => say, &texts(&["five\n"]), &[]);
        let (a, b) = (first.id(), second.id());
        assert!(first.wait().is_ok() && second.wait().is_ok());
        let lines = lines_of(&pool, events);
        let expected = ["one", "two", "", "", "three"].map(|text| out(a, text)).to_vec();
        let expected = [expected, vec![out(b, "five")]].concat();
        assert_eq!(only(&lines, OutputStream::Stdout), expected);
        assert_eq!(only(&lines, OutputStream::Stderr), [err(a, "four")]);
    });
}

#[pool::test]
fn lines_of_a_job_come_between_its_start_and_its_end() {
    isolated(|| {
        let pool = capturing().workers(2).build().unwrap();
        let mut events = pool.events();
        let handles: Vec<_> =
            (0..20).map(|n| submit!(pool => count_aloud, 10 * n, 10 * n + 10)).collect();
        let ids: Vec<_> = handles.iter().map(|handle| handle.id()).collect();
        handles.into_iter().for_each(|handle| handle.wait().unwrap());
        block_on(pool.close());
        let mut running = Vec::new();
        let mut next: Vec<_> = (0..20).map(|n| 10 * n).collect();
        while let Some(event) = block_on(events.next()) {
            match event {
                PoolEvent::JobStarted { id, slot, .. } => running.push((id, slot)),
                PoolEvent::JobEnded { id, .. } => running.retain(|(other, _)| *other != id),
                PoolEvent::Output { job, slot, line, .. } => {
                    let job = job.expect("a job was running");
                    assert!(running.contains(&(job, slot)), "{line}");
                    let n = ids.iter().position(|id| *id == job).unwrap();
                    assert_eq!(line, next[n].to_string());
                    next[n] += 1;
                }
                _ => {}
            }
        }
        assert_eq!(next, (1..=20).map(|n| 10 * n).collect::<Vec<_>>());
    });
}

#[pool::test]
fn a_line_is_not_cut_where_its_job_says_how_far_it_is() {
    isolated(|| {
        let pool = Pool::builder().workers(1).stderr(Output::Capture).build().unwrap();
        let events = pool.events();
        let gate = scratch("gate");
        let handle = submit!(pool => say_in_two_parts, &gate);
        assert_eq!(block_on(handle.progress().next()).unwrap().done, 1);
        std::fs::write(&gate, "").unwrap();
        handle.wait().unwrap();
        let lines = lines_of(&pool, events);
        assert_eq!(lines.len(), 1, "{lines:?}");
    });
}

#[pool::test]
fn a_last_line_without_an_end_is_a_line() {
    isolated(|| {
        let pool = capturing().build().unwrap();
        let events = pool.events();
        let first = submit!(pool => say, &texts(&["a", "b"]), &texts(&["c"]));
        let second = submit!(pool => say, &texts(&["d\ne"]), &[]);
        let (a, b) = (first.id(), second.id());
        assert!(first.wait().is_ok() && second.wait().is_ok());
        let lines = lines_of(&pool, events);
        let expected = [out(a, "ab"), out(b, "d"), out(b, "e")];
        assert_eq!(only(&lines, OutputStream::Stdout), expected);
        assert_eq!(only(&lines, OutputStream::Stderr), [err(a, "c")]);
    });
}

#[pool::test]
fn what_is_no_text_is_replaced() {
    isolated(|| {
        let pool = capturing().build().unwrap();
        let events = pool.events();
        let job = submit!(pool => say, &[b"a\xFF\xFEb\n\x00\n".to_vec()], &[b"\xC3".to_vec()]);
        let id = job.id();
        job.wait().unwrap();
        let lines = lines_of(&pool, events);
        let expected = [out(id, "a\u{FFFD}\u{FFFD}b"), out(id, "\0")];
        assert_eq!(only(&lines, OutputStream::Stdout), expected);
        assert_eq!(only(&lines, OutputStream::Stderr), [err(id, "\u{FFFD}")]);
    });
}

#[pool::test]
fn a_long_line_comes_in_pieces_that_make_it_up() {
    isolated(|| {
        let pool = capturing().build().unwrap();
        let mut events = pool.events();
        // Read at once: there is room for less than that.
        let reader = std::thread::spawn(move || {
            let mut pieces = Vec::new();
            while let Some(event) = block_on(events.next()) {
                pieces.extend(line_of(event));
            }
            (pieces, events.dropped())
        });
        let long = "ä€🐙x".repeat((10 << 20) / 10);
        let job = submit!(pool => say, &[long.clone().into_bytes(), b"\nshort\n".to_vec()], &[]);
        let id = job.id();
        job.wait().unwrap();
        block_on(pool.close());
        let (pieces, dropped) = reader.join().unwrap();
        assert!(pieces.iter().all(|line| line.text.len() <= 64 * 1024 && line.job == Some(id)));
        // Of what the reader was too late for, nothing can be said.
        if dropped == 0 {
            let (last, pieces) = pieces.split_last().unwrap();
            assert_eq!(last.text, "short");
            let whole: String = pieces.iter().map(|line| line.text.as_str()).collect();
            assert!(whole == long, "{} {}", whole.len(), long.len());
        }
    });
}

#[pool::test]
fn what_the_children_of_a_job_print_is_captured_too() {
    isolated(|| {
        let pool = capturing().build().unwrap();
        let events = pool.events();
        let job = submit!(pool => let_children_say, "hear me");
        let id = job.id();
        job.wait().unwrap();
        let lines = lines_of(&pool, events);
        let expected = [out(id, "hear me"), out(id, "hear me deeper")];
        assert_eq!(only(&lines, OutputStream::Stdout), expected);
        assert_eq!(only(&lines, OutputStream::Stderr), [err(id, "hear me")]);
    });
}

#[pool::test]
fn what_c_code_prints_is_captured_when_the_job_ends() {
    isolated(|| {
        let pool = capturing().build().unwrap();
        let events = pool.events();
        let job = submit!(pool => print_in_c, "a line", "a beginning");
        let dies = submit!(pool => print_in_c_and_die, "the last one");
        let (id, dies_id) = (job.id(), dies.id());
        job.wait().unwrap();
        assert!(dies.wait().unwrap_err().is_crash());
        let expected = [out(id, "a line"), out(id, "a beginning"), out(dies_id, "the last one")];
        assert_eq!(lines_of(&pool, events), expected);
    });
}

#[pool::test]
fn a_line_is_told_while_its_job_runs() {
    isolated(|| {
        let (started, gate) = (scratch("started"), scratch("gate"));
        let pool = capturing().build().unwrap();
        let mut events = pool.events();
        let job = submit!(pool => say_and_hold, "now", &started, &gate);
        let line = block_on(async {
            loop {
                if let Some(line) = line_of(events.next().await.unwrap()) {
                    return line;
                }
            }
        });
        assert_eq!(line, out(job.id(), "now"));
        assert!(!job.is_finished());
        jobs::open(&gate);
        job.wait().unwrap();
    });
}

#[pool::test]
fn what_is_printed_between_two_jobs_belongs_to_none() {
    isolated(|| {
        let gate = scratch("gate");
        let pool = capturing().build().unwrap();
        let mut events = pool.events();
        submit!(pool => say_later, "later", &gate).wait().unwrap();
        jobs::open(&gate);
        let line = block_on(async {
            loop {
                if let Some(line) = line_of(events.next().await.unwrap()) {
                    return line;
                }
            }
        });
        let expected = Line { job: None, stream: OutputStream::Stdout, text: "later".to_owned() };
        assert_eq!(line, expected);
    });
}

#[pool::test]
fn what_a_job_printed_before_its_death_is_captured() {
    isolated(|| {
        let started = scratch("started");
        let pool = capturing().build().unwrap();
        let events = pool.events();
        let killed = submit!(pool => say_and_hold, "last words", &started, Path::new("no gate"));
        let id = killed.id();
        wait_until("it runs", || lines(&started).len() == 1);
        killed.kill();
        assert!(killed.wait().unwrap_err().is_cancelled());
        assert_eq!(lines_of(&pool, events), [out(id, "last words")]);
    });
}

#[pool::test]
fn of_two_streams_one_can_be_captured() {
    let body = || {
        let pool = Pool::builder().workers(1).stderr(Output::Capture).build().unwrap();
        let events = pool.events();
        let job = submit!(pool => say, &texts(&["to the terminal\n"]), &texts(&["to us\n"]));
        let id = job.id();
        job.wait().unwrap();
        assert_eq!(lines_of(&pool, events), [err(id, "to us")]);
    };
    Isolation::new().run_and_read(body, |output| {
        assert!(output.contains("to the terminal\n") && !output.contains("to us\n"), "{output}");
    });
}
