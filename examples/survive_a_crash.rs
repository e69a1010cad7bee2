//! One input of many takes its worker process down; the others give their results.
//!
//! The job is a recursive parser that nobody hardened. One document is nested so deeply that the
//! parser runs off its stack, which ends the whole process: no `catch_unwind` helps against that.
//! Another one makes it panic. The errors name both documents by their labels.

use std::process::ExitCode;

use pool::{Pool, call, pool_job};

/// How deeply the brackets of a document are nested.
#[pool_job]
fn depth(document: &str) -> usize {
    nested(document.as_bytes(), 0).0
}

/// Depth below here, and where the next part begins.
fn nested(document: &[u8], at: usize) -> (usize, usize) {
    let (mut deepest, mut at) = (0, at);
    loop {
        match document.get(at) {
            Some(b'[') => {
                let (depth, next) = nested(document, at + 1);
                deepest = deepest.max(depth + 1);
                at = next;
            }
            Some(b']') => return (deepest, at + 1),
            Some(b'?') => panic!("unexpected `?` at byte {at}"),
            Some(_) => at += 1,
            None => return (deepest, at),
        }
    }
}

#[pool::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut documents: Vec<(String, String)> = (1..=8)
        .map(|n| (format!("good-{n}.txt"), format!("{}{}", "[".repeat(n), "]".repeat(n))))
        .collect();
    documents.insert(3, ("bottomless.txt".to_owned(), "[".repeat(5_000_000)));
    documents.insert(6, ("question.txt".to_owned(), "[[?]]".to_owned()));

    let pool = Pool::new(2)?;
    let handles: Vec<_> = documents
        .iter()
        .map(|(name, document)| {
            (name, pool.submit(call!(depth, document.as_str()).label(name.as_str())))
        })
        .collect();

    let (mut good, mut bad) = (0, 0);
    for (name, handle) in handles {
        match handle.await {
            Ok(depth) => {
                good += 1;
                println!("{name}: {depth} deep");
            }
            Err(error) => {
                bad += 1;
                let what = if error.is_crash() { "a crash" } else { "no crash" };
                println!("{name}: {what}: {error}");
            }
        }
    }
    println!("{good} results, {bad} errors, and this process is well");
    // One crash and one panic are what this example is about.
    Ok(if (good, bad) == (8, 2) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
