//! Which words may stand where.

use super::report;
use super::source::{self, Source, Token};

/// A word of code, and the files of the library that may say it.
struct Reserved {
    words: &'static [&'static str],
    /// A file, or a folder with its slash.
    places: &'static [&'static str],
    why: &'static str,
}

const RESERVED: &[Reserved] = &[
    Reserved {
        words: &["rmp_serde"],
        places: &["codec.rs", "codec/"],
        why: "only the codec names the encoding",
    },
    Reserved {
        words: &["inventory"],
        places: &["registry.rs", "private.rs"],
        why: "only the registry knows how entries are collected (`private.rs` for expansions)",
    },
    Reserved {
        words: &["tracing"],
        places: &["trace.rs", "trace/", "guide/mod.rs"],
        why: "only there it is known whether the feature is on (and the guide has a chapter)",
    },
    Reserved {
        words: &["Command", "Child"],
        places: &["os/", "host/launch.rs"],
        why: "a command is prepared by the launch and started by the hands",
    },
    Reserved {
        words: &[
            "waitid",
            "waitpid",
            "kill_process",
            "kill_process_group",
            "kill_current_process_group",
            "pidfd_open",
            "pidfd_send_signal",
            "fork",
            "rustix",
            "libc",
            "interprocess",
            "windows_sys",
        ],
        places: &["os/"],
        why: "only the hands start, signal and reap processes and speak to the system",
    },
    Reserved {
        words: &["unsafe", "unsafe_code"],
        places: &["os/", "recorder.rs"],
        why: "everything else is safe code",
    },
    Reserved {
        words: &["cfg", "target_os", "target_family"],
        places: &[
            "os/",
            "worker/panic.rs",
            "scheduler/",
            "meter/mod.rs",
            "lib.rs",
            "guide/mod.rs",
            "trace.rs",
        ],
        why: "only the hands know the platform (a panic hook asks whether panics abort, the \
              scheduler has mutants in tests, the root its doctests; the meter and `trace.rs` have \
              features)",
    },
    Reserved {
        words: &["indicatif"],
        places: &["meter/bar.rs"],
        why: "the bar is one file, which may be left out",
    },
    Reserved {
        words: &["Scheduler", "handle_event", "handle_timeout", "poll_action", "poll_timeout"],
        places: &["scheduler/", "host/core.rs", "host/act.rs"],
        why: "only the core calls the scheduler",
    },
    Reserved {
        words: &["catch_unwind"],
        places: &["worker/panic.rs", "host/wakers.rs", "context.rs", "trace/spans.rs"],
        why: "a job's panic ends in one place; a panic of a waker or of a subscriber ends nobody else",
    },
];

#[test]
fn reserved_words_stand_where_they_belong() {
    let mut findings = Vec::new();
    for source in source::library() {
        for Reserved { words, places, why } in RESERVED {
            let allowed = places.iter().any(|place| match place.ends_with('/') {
                true => source.place().starts_with(place),
                false => source.place() == *place,
            });
            if allowed {
                continue;
            }
            for word in *words {
                for line in source.lines_with(word) {
                    findings.push(format!("{}:{line}: `{word}`: {why}", source.path));
                }
            }
        }
    }
    report("a word outside of its place", findings);
}

#[test]
fn the_scheduler_has_no_clock_no_io_and_no_chance() {
    const FORBIDDEN: &[&str] = &[
        "Instant",
        "SystemTime",
        "io",
        "net",
        "fs",
        "env",
        "process",
        "thread",
        "tokio",
        "rand",
        "println",
        "eprintln",
        "Mutex",
        "RefCell",
    ];
    let mut findings = Vec::new();
    for source in source::library() {
        if source.place().starts_with("scheduler/") {
            for word in FORBIDDEN {
                for line in source.lines_with(word) {
                    findings.push(format!("{}:{line}: `{word}`", source.path));
                }
            }
        }
    }
    report("the scheduler is pure", findings);
}

#[test]
fn nothing_in_the_driver_blocks() {
    // `sleep` is tokio's there; the core's lock is held for moments only, by design.
    const FORBIDDEN: &[&str] = &["wait", "join", "recv", "park", "Condvar", "File", "read_to_end"];
    let mut findings = Vec::new();
    let driver = ["host/driver.rs", "host/desk.rs"];
    for source in source::library().iter().filter(|source| driver.contains(&source.place())) {
        for word in FORBIDDEN {
            for line in source.lines_with(word) {
                findings.push(format!("{}:{line}: `{word}`", source.path));
            }
        }
    }
    report("the driver looks after all workers at once", findings);
}

#[test]
fn nothing_is_left_half_done() {
    let mut findings = Vec::new();
    for source in source::all() {
        for word in ["todo", "unimplemented", "dbg"] {
            findings.extend(calls(&source, word, '!'));
        }
    }
    report("finish it", findings);
}

#[test]
fn nothing_is_unwrapped_outside_of_tests() {
    let mut findings = Vec::new();
    for source in source::all().iter().filter(|source| !source.is_test) {
        findings.extend(calls(source, "unwrap", '('));
        findings.extend(calls(source, "unwrap_err", '('));
    }
    report("an `expect` says why it cannot fail; `?` and `match` are better still", findings);
}

#[test]
fn lints_are_expected_with_a_reason_and_never_allowed() {
    // What the macros emit is not read by people, and may or may not cause a warning.
    const EMITTED: &str = "pool-macros/src/expand";
    let mut findings = Vec::new();
    for source in source::all().iter().filter(|source| !source.path.starts_with(EMITTED)) {
        findings.extend(calls(source, "allow", '('));
    }
    report("use `#[expect(lint, reason = \"…\")]`", findings);
}

/// Where `word` is followed by `mark`.
fn calls(source: &Source, word: &str, mark: char) -> Vec<String> {
    let wanted = [Token::Word(word), Token::Mark(mark)];
    let lines = source.code.lines().enumerate();
    lines
        .filter(|(_, line)| source::tokens(line).windows(2).any(|pair| pair == wanted))
        .map(|(n, _)| format!("{}:{}: `{word}{mark}`", source.path, n + 1))
        .collect()
}
