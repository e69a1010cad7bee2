//! `pool::Failure`: the error of jobs that use `?` on anything; and what is known of all jobs.

use std::error::Error;
use std::fmt;
use std::path::Path;

use pool::{Failure, Pool, pool_job, registered_jobs, submit};
use pool_tests::isolated;

#[derive(Debug)]
struct Unreadable(std::io::Error);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the settings cannot be read")
    }
}

impl Error for Unreadable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[pool_job]
fn setting(file: &Path) -> Result<u32, Failure> {
    let text = std::fs::read_to_string(file).map_err(Unreadable)?;
    if text.is_empty() {
        return Err(Failure::msg("no settings"));
    }
    Ok(text.parse()?)
}

#[pool_job]
async fn outer(file: &Path) -> Result<u32, Failure> {
    Ok(setting(file)? + 1)
}

/// Its own source.
#[derive(Debug)]
struct Ouroboros;

impl fmt::Display for Ouroboros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("round and round")
    }
}

impl Error for Ouroboros {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self)
    }
}

#[pool_job]
fn bite_the_tail() -> Result<(), Failure> {
    Err(Ouroboros)?;
    Ok(())
}

#[pool::test]
fn message_and_chain_survive_the_journey() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let failure = submit!(pool => outer, Path::new("/not/there")).wait().unwrap().unwrap_err();
        assert_eq!(failure.message(), "the settings cannot be read");
        let sources: Vec<&str> = failure.sources().collect();
        assert_eq!(sources, ["No such file or directory (os error 2)"]);
        assert_eq!(failure, setting(Path::new("/not/there")).unwrap_err());
        let failure = submit!(pool => setting, Path::new("/dev/null")).wait().unwrap().unwrap_err();
        assert_eq!((failure.message(), failure.sources().count()), ("no settings", 0));
        let failure = submit!(pool => bite_the_tail).wait().unwrap().unwrap_err();
        assert_eq!(failure.message(), "round and round");
        assert!((1..100).contains(&failure.sources().count()));
    });
}

#[pool::test]
fn question_marks_take_up_job_error_and_failure_alike() {
    fn boxed(pool: &Pool) -> Result<u32, Box<dyn Error + Send + Sync>> {
        Ok(submit!(pool => setting, Path::new("/not/there")).wait()??)
    }
    fn failing(pool: &Pool) -> Result<u32, Failure> {
        let number = submit!(pool => setting, Path::new("/not/there")).wait()??;
        Ok(number)
    }
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let error = boxed(&pool).unwrap_err();
        assert_eq!(error.to_string(), "the settings cannot be read");
        assert!(error.source().unwrap().to_string().contains("No such file"));
        assert!(failing(&pool).unwrap_err().to_string().contains("settings"));
        pool::block_on(pool.shutdown());
        let failure = failing(&pool).unwrap_err();
        assert!(failure.message().contains("its pool was closed"), "{failure}");
    });
}

#[test]
fn all_jobs_are_listed_by_name_with_their_places() {
    let jobs = registered_jobs();
    let names: Vec<&str> = registered_jobs().map(|job| job.name()).collect();
    assert_eq!(jobs.len(), names.len());
    assert!(names.is_sorted());
    for (name, file) in [
        ("jobs_failure::setting", file!()),
        ("jobs_failure::outer", file!()),
        ("pool_tests::jobs::pid", "tests/support/jobs.rs"),
    ] {
        let job = registered_jobs().find(|job| job.name() == name).unwrap();
        assert_eq!(job.file(), file);
        let text = std::fs::read_to_string(Path::new("..").join(file)).unwrap();
        let line = text.lines().nth(job.line() as usize - 1).unwrap();
        assert!(line.contains("#[pool_job]"), "{name}: {line}");
        let debug = format!("{job:?}");
        assert!(debug.contains(name) && debug.contains(file), "{debug}");
    }
}
