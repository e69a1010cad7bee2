//! Which room may import which: downwards only.

use super::circles::uses;
use super::report;
use super::source;

/// A room, its files and folders at the library's root, and what it may import.
struct Room {
    name: &'static str,
    modules: &'static [&'static str],
    /// Rooms, or single modules of a room.
    below: &'static [&'static str],
    /// Crates from outside, `std` aside.
    crates: &'static [&'static str],
}

/// From the ground up: a room may import rooms above it in this list only.
const HOUSE: &[Room] = &[
    Room {
        name: "words",
        modules: &["id", "error", "happening", "policy", "stats", "trace"],
        below: &[],
        crates: &["tracing"],
    },
    Room {
        name: "bytes",
        modules: &["codec", "registry", "wire", "failure"],
        below: &["words"],
        crates: &["serde", "rmp_serde", "inventory"],
    },
    Room { name: "mind", modules: &["scheduler"], below: &["words"], crates: &[] },
    Room {
        name: "hands",
        modules: &["os", "recorder", "spin"],
        below: &["words", "wire"],
        crates: &["interprocess", "rustix", "libc", "windows_sys"],
    },
    Room {
        name: "context",
        modules: &["context", "reporter", "state"],
        below: &["words", "bytes", "hands"],
        crates: &[],
    },
    Room {
        name: "host",
        modules: &["host"],
        below: &["words", "bytes", "mind", "hands", "context"],
        crates: &["tokio", "triomphe"],
    },
    Room {
        name: "worker",
        modules: &["worker"],
        below: &["words", "bytes", "hands", "context"],
        crates: &["tokio"],
    },
    Room { name: "meter", modules: &["meter"], below: &["words", "host"], crates: &["indicatif"] },
    Room {
        name: "roof",
        modules: &[
            "pool", "builder", "call", "events", "global", "handle", "order", "progress", "queue",
            "stream",
        ],
        below: &["words", "bytes", "context", "host", "meter"],
        crates: &["tokio", "futures_core"],
    },
    Room {
        name: "door",
        modules: &["lib", "guide", "private", "macros", "fuzz"],
        below: &["words", "bytes", "context", "host", "worker", "roof"],
        crates: &["pool_macros"],
    },
];

/// What breaks the table, and why it may: file, what it names, reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("os/unix/channel.rs", "tokio", "readiness of a descriptor (`AsyncFd`) is the driver's"),
    ("os/unix/pipe.rs", "tokio", "readiness of a descriptor (`AsyncFd`) is the driver's"),
    ("os/unix/process.rs", "tokio", "readiness of a pidfd (`AsyncFd`) is the driver's"),
    ("builder.rs", "scheduler", "the builder writes the scheduler's `Config`"),
    ("builder.rs", "worker", "the loop that threads run `in_process`, handed down as a function"),
    ("pool.rs", "scheduler", "`Readiness` is what `Pool::ready` reports"),
    ("call.rs", "serde", "the bounds of `Call::named`: its types are the user's"),
    ("private.rs", "inventory", "expansions register through our re-export"),
    ("private.rs", "tokio", "the runtime of an async `main` or test"),
];

#[test]
fn imports_go_downwards() {
    let mut findings = Vec::new();
    let mut used = vec![false; EXCEPTIONS.len()];
    let outside = dependencies();
    for source in source::library() {
        let first = source.place().split(['/', '.']).next().unwrap_or_default();
        let Some(room) = room_of(first) else {
            findings.push(format!("{}: give it a room in tests/tidy/floors.rs", source.path));
            continue;
        };
        let mut check = |name: &str, allowed: bool| {
            let excepted = EXCEPTIONS
                .iter()
                .position(|(file, what, _)| (*file, *what) == (source.place(), name));
            match excepted {
                Some(n) => used[n] = true,
                None if allowed => {}
                None => findings
                    .push(format!("{}: the {} may not import `{name}`", source.path, room.name)),
            }
        };
        for path in uses(&source.tokens(), "crate") {
            // What is no module of the root is an item of `lib.rs`.
            let module = if room_of(&path).is_some() { path.as_str() } else { "lib" };
            let own = room.modules.contains(&module);
            let below = room_of(module).is_some_and(|other| room.below.contains(&other.name));
            check(module, own || below || room.below.contains(&module));
        }
        for name in &outside {
            if !uses(&source.tokens(), name).is_empty() || names_crate(&source, name) {
                check(name, room.crates.contains(&name.as_str()));
            }
        }
    }
    for (n, (file, what, _)) in EXCEPTIONS.iter().enumerate() {
        if !used[n] {
            findings.push(format!("{file} does not name `{what}` any more: drop the exception"));
        }
    }
    report("an import that goes up, or out of the house", findings);
}

#[test]
fn the_house_has_no_stairs_that_lead_in_a_circle() {
    for (n, room) in HOUSE.iter().enumerate() {
        for below in room.below {
            let known = HOUSE[..n].iter().any(|r| r.name == *below || r.modules.contains(below));
            assert!(known, "the {} stands on `{below}`, which is not below it", room.name);
        }
    }
}

fn room_of(module: &str) -> Option<&'static Room> {
    HOUSE.iter().find(|room| room.modules.contains(&module))
}

/// `use name;` and `pub use name;` have no path behind the name.
fn names_crate(source: &source::Source, name: &str) -> bool {
    use source::Token::{Mark, Word};
    source.tokens().windows(3).any(|w| w == [Word("use"), Word(name), Mark(';')])
}

/// The library's dependencies, as its code calls them.
fn dependencies() -> Vec<String> {
    let manifest = std::fs::read_to_string(source::root().join("pool-runtime/Cargo.toml"));
    let manifest = manifest.expect("the library has a manifest");
    let mut names = Vec::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.contains("dependencies") && !line.contains("dev-dependencies");
        } else if let (true, Some((key, _))) = (inside, line.split_once('=')) {
            let name = key.split('.').next().unwrap_or_default().trim();
            names.push(name.replace('-', "_"));
        }
    }
    assert!(names.contains(&"tokio".to_owned()), "the dependencies are not found");
    names
}
