//! What a job prints goes where the builder says, whole: for each setting, both streams, and what
//! the job has started.

use std::io::Write as _;
use std::process::Command;

use pool::{JobQueue, Output, Pool, PoolEvent, block_on, call, submit};
use pool_tests::{Isolation, isolated};

/// Prints many lines to both streams, and lets a child do the same.
#[pool::pool_job]
fn print(word: &str, lines: u32) {
    for n in 0..lines {
        println!("<{word} out {n}>");
        eprintln!("<{word} err {n}>");
    }
    print!("<{word} out last>");
    eprint!("<{word} err last>");
    std::io::stdout().flush().unwrap();
    let script = format!("echo '<{word} out child>'; echo '<{word} err child>' >&2");
    assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
}

const LINES: u32 = 300;

/// All that the job prints to one stream.
fn all(word: &str, stream: &str) -> Vec<String> {
    let numbers = (0..LINES).map(|n| n.to_string());
    let names = numbers.chain(["last".to_owned(), "child".to_owned()]);
    names.map(|name| format!("<{word} {stream} {name}>")).collect()
}

/// How often each of them stands in `text`.
fn counts(text: &str, words: &[String]) -> Vec<usize> {
    words.iter().map(|word| text.matches(word.as_str()).count()).collect()
}

fn settings() -> impl Iterator<Item = (Output, Output, String)> {
    let all = [Output::Inherit, Output::Null, Output::Capture];
    all.into_iter()
        .flat_map(move |out| all.into_iter().map(move |err| (out, err, format!("{out:?}-{err:?}"))))
}

#[pool::test]
fn what_a_job_prints_goes_where_the_builder_says_whole() {
    let body = || {
        for (out, err, word) in settings() {
            let pool = Pool::builder().workers(1).stdout(out).stderr(err).build().unwrap();
            let mut events = pool.events();
            submit!(pool => print, &word, LINES).wait().unwrap();
            drop(pool);
            let mut captured = String::new();
            while let Some(event) = block_on(events.next()) {
                if let PoolEvent::Output { line, .. } = event {
                    captured.push_str(&line);
                }
            }
            for (output, stream) in [(out, "out"), (err, "err")] {
                let expected = usize::from(output == Output::Capture);
                let counts = counts(&captured, &all(&word, stream));
                assert!(counts.iter().all(|&n| n == expected), "{word} {stream}: {counts:?}");
            }
        }
    };
    Isolation::new().run_and_read(body, |printed| {
        for (out, err, word) in settings() {
            for (output, stream) in [(out, "out"), (err, "err")] {
                let expected = usize::from(output == Output::Inherit);
                let counts = counts(printed, &all(&word, stream));
                assert!(counts.iter().all(|&n| n == expected), "{word} {stream}: {counts:?}");
            }
        }
    });
}

#[pool::test]
fn jobs_of_a_queue_print_to_the_same_places() {
    isolated(|| {
        let queue = JobQueue::new();
        let handle = block_on(queue.push(call!(print, "queued", 1)));
        let pool = Pool::builder().workers(1).stdout(Output::Capture).stderr(Output::Capture);
        let pool = pool.build().unwrap();
        let mut events = pool.events();
        let id = handle.id();
        assert_eq!(block_on(pool.work(&queue)).succeeded, 1);
        block_on(pool.shutdown());
        let mut lines = 0;
        while let Some(event) = block_on(events.next()) {
            if let PoolEvent::Output { job, line, .. } = event {
                assert!(line.starts_with("<queued") && job == Some(id));
                lines += 1;
            }
        }
        // The child goes on in the line that was begun.
        assert_eq!(lines, 4);
    });
}
