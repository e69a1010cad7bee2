//! Reads a folder of foreign files with a native parser that some of them break.
//!
//! A parser of PDFs, images, fonts or grammars is often native code, and files come from anywhere.
//! One of ten thousand makes it crash, hang or take all memory; on a thread that is the end of the
//! whole run. Here it costs that one file: all others are read, and a report names the bad ones.
//!
//! Without an argument it makes such a folder, and looks at the report itself. To give it one of
//! yours: `cargo run -p pool-examples --example foreign_files -- FOLDER`

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs, io, process};

use pool::{Failure, JobContext, Output, Pool, RetryPolicy, call, pool_job};

/// How many words a file has. Its path is sent, not its content: the worker reads it.
#[pool_job]
fn count_words(ctx: &JobContext, path: &Path) -> Result<usize, Failure> {
    let content = fs::read_to_string(path)?;
    native::count_words(&content, ctx.attempt()).map_err(Failure::msg)
}

/// Reads every file, prints the report, and gives the files that could not be read.
fn read_all(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut files = entries.collect::<io::Result<Vec<_>>>()?;
    files.sort();

    let pool = Pool::builder()
        // What takes longer hangs. Its worker is killed, and replaced.
        .timeout(Duration::from_secs(2))
        // What takes more is a bomb, or only large: the second attempt may take twice as much.
        .memory_limit(64 << 20)
        // A crash may be bad luck, so there is a second attempt. What hung would hang again.
        .retry(RetryPolicy::attempts(2).on_timeout(false).memory_factor(2.0))
        // What a parser says before it dies becomes a part of the error.
        .stderr(Output::Capture)
        .build()?;

    // A few calls are made ahead of the results, however many files there are.
    let calls = files.iter().map(|path| call!(count_words, path).label(path.to_string_lossy()));
    let results = pool.map(calls).blocking();

    let (mut words, mut bad) = (0, Vec::new());
    for (path, result) in files.iter().zip(results) {
        match result {
            Ok(Ok(count)) => {
                words += count;
                continue;
            }
            // The parser said what is wrong.
            Ok(Err(failure)) => println!("{}: {failure}", path.display()),
            // The parser could not return any more. The error names the file by its label and
            // has the parser's last words.
            Err(error) => println!("{error}"),
        }
        bad.push(path.clone());
    }
    println!("{words} words in {} files; {} are bad", files.len() - bad.len(), bad.len());
    Ok(bad)
}

#[pool::main]
fn main() -> Result<(), Box<dyn Error>> {
    if let Some(folder) = env::args_os().nth(1) {
        read_all(Path::new(&folder))?;
        return Ok(());
    }
    let folder = env::temp_dir().join(format!("foreign_files-{}", process::id()));
    fs::create_dir(&folder)?;
    let bad = native::make_files(&folder).map_err(Into::into).and_then(|()| read_all(&folder));
    fs::remove_dir_all(&folder)?;
    let expected = ["bomb.doc", "cycle.doc", "deep.doc", "torn.doc"];
    assert_eq!(bad?, expected.map(|name| folder.join(name)));
    Ok(())
}

/// Stands for a library written in C, and for files that do to it what files do to such libraries.
mod native {
    use std::path::Path;
    use std::time::Duration;
    use std::{fs, io, process, thread};

    pub(super) fn count_words(content: &str, attempt: u32) -> Result<usize, String> {
        match content.split_whitespace().next() {
            None => return Err("no document: it is empty".to_owned()),
            // Brackets in brackets, and a parser that recurses off its stack.
            Some("%deep") => {
                eprintln!("parser.c:1234: stack overflow");
                process::abort()
            }
            // A reference to itself, and a parser that follows it.
            Some("%cycle") => loop {
                thread::sleep(Duration::from_secs(1));
            },
            // A few bytes that unpack to more memory than there is.
            Some("%bomb") => unpack(1 << 20),
            // One that is large, but not too large.
            Some("%large") => unpack(90),
            // Two threads of the parser met; the next time they will not.
            Some("%race") if attempt == 1 => process::abort(),
            Some(_) => {}
        }
        Ok(content.split_whitespace().count())
    }

    fn unpack(mebibytes: usize) {
        let mut unpacked = Vec::new();
        for _ in 0..mebibytes {
            unpacked.push(vec![1_u8; 1 << 20]);
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub(super) fn make_files(folder: &Path) -> io::Result<()> {
        for n in 1..=20 {
            fs::write(folder.join(format!("letter-{n:02}.doc")), "Yours sincerely ".repeat(n))?;
        }
        for name in ["deep", "cycle", "bomb", "large", "race"] {
            fs::write(folder.join(format!("{name}.doc")), format!("%{name} and a word"))?;
        }
        fs::write(folder.join("torn.doc"), "")
    }
}
