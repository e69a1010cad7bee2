//! A model that is loaded once in each worker, and used by every job there.
//!
//! What is too large to be sent with each call, or cannot be sent at all, is made in the worker: a
//! model, a database connection, an engine of a foreign library. The first job that asks for it has
//! it made; a worker that was replaced makes its own again.
//!
//! The model here knows which language a word is of. It comes from a file, of which each line is a
//! word and its language: `cargo run -p pool-examples --example worker_state -- MODEL`

use std::cell::Cell;
use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs, process};

use pool::{Failure, JobContext, Pool, call, pool_job};
use serde::{Deserialize, Serialize};

/// It is never sent, so it needs no serde; one job runs at a time, so it needs no lock.
struct Model {
    languages: HashMap<String, String>,
    guesses: Cell<u32>,
}

/// If this fails, the job that asked gets the reason, and the next one tries again.
#[pool::state]
fn load() -> Result<Model, Failure> {
    let path = env::var("MODEL")?;
    println!("process {} loads the model", process::id());
    let text = fs::read_to_string(&path)
        .map_err(|error| Failure::msg(format!("model {path}: {error}")))?;
    let entries = text.lines().filter_map(|line| line.split_once(' '));
    let languages = entries.map(|(word, language)| (word.to_owned(), language.to_owned()));
    Ok(Model { languages: languages.collect(), guesses: Cell::new(0) })
}

#[derive(Serialize, Deserialize)]
struct Guess {
    language: Option<String>,
    worker: usize,
    guesses: u32,
}

/// The caller passes the text only: `call!(guess, text)`.
#[pool_job]
fn guess(ctx: &JobContext, #[state] model: &Model, text: &str) -> Guess {
    model.guesses.set(model.guesses.get() + 1);
    let mut hits: HashMap<&String, usize> = HashMap::new();
    for word in text.to_lowercase().split_whitespace() {
        if let Some(language) = model.languages.get(word) {
            *hits.entry(language).or_default() += 1;
        }
    }
    let best = hits.into_iter().max_by_key(|(_, count)| *count);
    let language = best.map(|(language, _)| language.clone());
    Guess { language, worker: ctx.worker(), guesses: model.guesses.get() }
}

async fn guess_all(model: &Path) -> Result<(), Box<dyn Error>> {
    const TEXTS: [&str; 6] = [
        "the cat and the dog",
        "le chat et le chien",
        "die Katze und der Hund",
        "le chien and the cat",
        "what is love",
        "0xDEADBEEF",
    ];
    // A maker has no parameters. What it has to know it finds in its environment.
    let pool = Pool::builder().workers(2).env("MODEL", model).build()?;
    let mut guesses = pool.map(TEXTS.iter().cycle().take(24).map(|text| call!(guess, text)));
    for text in TEXTS.iter().cycle() {
        let Some(guess) = guesses.next().await else { break };
        let Guess { language, worker, guesses } = guess?;
        let language = language.as_deref().unwrap_or("none that I know");
        println!("{text}: {language} (guess {guesses} of worker {worker})");
    }
    Ok(())
}

#[pool::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if let Some(model) = env::args_os().nth(1) {
        return guess_all(&PathBuf::from(model)).await;
    }
    let model = env::temp_dir().join(format!("worker_state-{}", process::id()));
    let words = ["the english", "and english", "what english", "is english", "le french"];
    let more = ["et french", "chat french", "die german", "und german", "der german"];
    fs::write(&model, [words, more].concat().join("\n"))?;
    let done = guess_all(&model).await;
    fs::remove_file(&model)?;
    done
}
