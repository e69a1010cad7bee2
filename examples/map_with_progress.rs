//! Hashes every file of a folder, and shows how far it is.
//!
//! The bar is on stderr, so the hashes on stdout can go into a file or a pipe. It shows the running
//! files by their labels, each with how far it is. Where no terminal is, plain lines take its place. It is a feature of the
//! library, so run it with
//! `cargo run -p pool-examples --features progress --example map_with_progress -- FOLDER`
//!
//! Without an argument it hashes some files that it makes.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::{env, process};

use pool::{Failure, JobContext, Pool, call, pool_job};

/// FNV-1a.
#[pool_job]
fn hash(ctx: &JobContext, path: &Path) -> Result<u64, Failure> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut done = 0;
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut block = vec![0; 1 << 18];
    loop {
        let read = file.read(&mut block)?;
        if read == 0 {
            return Ok(hash);
        }
        done += read as u64;
        ctx.progress(done, size);
        for byte in &block[..read] {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

fn hash_all(folder: &Path) -> Result<(), Box<dyn Error>> {
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut files = entries.collect::<io::Result<Vec<_>>>()?;
    files.retain(|path| path.is_file());
    files.sort();

    let pool = Pool::builder().build()?;
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let calls = files.iter().map(|path| call!(hash, path).label(name(path)));
    // Collected first: what is printed while the bar is there would go through it.
    let hashes: Vec<_> = pool.map(calls).progress("hash").blocking().collect();

    for (path, hash) in files.iter().zip(hashes) {
        match hash? {
            Ok(hash) => println!("{hash:016x}  {}", name(path)),
            // Not readable, or gone meanwhile.
            Err(failure) => eprintln!("{}: {failure}", name(path)),
        }
    }
    Ok(())
}

#[pool::main]
fn main() -> Result<(), Box<dyn Error>> {
    if let Some(folder) = env::args_os().nth(1) {
        return hash_all(Path::new(&folder));
    }
    let folder = env::temp_dir().join(format!("map_with_progress-{}", process::id()));
    fs::create_dir(&folder)?;
    // Sparse files: much to read, nothing to write.
    let made = (1..=12).try_for_each(|n| {
        File::create(folder.join(format!("zeros-{n:02}")))?.set_len(n * (8 << 20))
    });
    let done = made.map_err(Into::into).and_then(|()| hash_all(&folder));
    fs::remove_dir_all(&folder)?;
    done
}
