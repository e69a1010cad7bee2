//! Every text of an error that a user may read, compared with `texts.txt`: what happened, to which
//! job and attempt, what to do next. To renew the file: `POOL_GOLDEN=overwrite cargo test -p
//! pool-runtime --lib texts`. The texts within them, and those of `BuildError`, are in
//! `tests/error_texts.rs`.

use std::path::Path;
use std::time::Duration;

use crate::codec;
use crate::error::{BuildError, Closed, JobError, JobErrorKind, PanicInfo, Subject, WorkerExit};
use crate::failure::Failure;
use crate::id::JobId;

fn kinds() -> Vec<JobErrorKind> {
    let panic = PanicInfo {
        message: "index out of bounds".into(),
        location: Some(("src/resize.rs".into(), 12, 9)),
        backtrace: None,
    };
    let text = || "(what exactly)".to_owned();
    let all = vec![
        JobErrorKind::Panicked(panic.clone()),
        JobErrorKind::Panicked(PanicInfo { backtrace: Some("0: main".into()), ..panic.clone() }),
        JobErrorKind::Panicked(PanicInfo { location: None, ..panic }),
        JobErrorKind::Crashed(WorkerExit::Code(3)),
        JobErrorKind::Crashed(WorkerExit::Signal(11)),
        JobErrorKind::Crashed(WorkerExit::Signal(9)),
        JobErrorKind::Crashed(WorkerExit::Signal(64)),
        JobErrorKind::Crashed(WorkerExit::Unknown),
        JobErrorKind::TimedOut(Duration::from_millis(1500)),
        JobErrorKind::Cancelled,
        JobErrorKind::PoolClosed,
        JobErrorKind::QueueFull,
        JobErrorKind::QueueClosed,
        JobErrorKind::UnknownJob(text()),
        JobErrorKind::Encode(text()),
        JobErrorKind::Decode(text()),
        JobErrorKind::State(text()),
        JobErrorKind::PayloadTooLarge { size: 2048, limit: 1024 },
        JobErrorKind::MemoryLimit { limit: 1 << 30 },
        JobErrorKind::WorkerStart(text()),
        JobErrorKind::Unsupported(text()),
    ];
    // A new kind has to be in this list: it stops compiling here.
    for kind in &all {
        match kind {
            JobErrorKind::Panicked(_)
            | JobErrorKind::Crashed(_)
            | JobErrorKind::TimedOut(_)
            | JobErrorKind::Cancelled
            | JobErrorKind::PoolClosed
            | JobErrorKind::QueueFull
            | JobErrorKind::QueueClosed
            | JobErrorKind::UnknownJob(_)
            | JobErrorKind::Encode(_)
            | JobErrorKind::Decode(_)
            | JobErrorKind::State(_)
            | JobErrorKind::PayloadTooLarge { .. }
            | JobErrorKind::MemoryLimit { .. }
            | JobErrorKind::WorkerStart(_)
            | JobErrorKind::Unsupported(_) => {}
        }
    }
    all
}

fn texts() -> String {
    let subject = |label: Option<&str>| Subject {
        id: JobId::from_words([0, 7]),
        name: "app::resize".into(),
        label: label.map(Into::into),
    };
    let mut lines = Vec::new();
    for kind in kinds() {
        lines.push(format!("# {kind:?}"));
        lines.push(JobError::new(kind.clone(), subject(None), 0).to_string());
        let error = JobError::new(kind.clone(), subject(Some("a.pdf")), 2);
        lines.push(error.to_string());
        if matches!(kind, JobErrorKind::Crashed(_)) {
            let detail = Some("worker 1, pid 4711".into());
            lines.push(error.with_detail(detail).to_string());
        }
    }
    lines.push("# BuildError".into());
    lines.push(BuildError::new("(what to change)").to_string());
    lines.push(BuildError::not_ready("(why)").to_string());
    lines.push("# Closed".into());
    lines.push(Closed.to_string());
    lines.push("# Failure".into());
    let words = codec::encode(&["cannot read a.pdf", "no page 3", "unexpected end"]).unwrap();
    let failure: Failure = codec::decode(&words).unwrap();
    lines.push(failure.to_string());
    lines.push(format!("{failure:#}"));
    lines.push(format!("{failure:?}"));
    lines.push(String::new());
    lines.join("\n")
}

#[test]
fn every_text_of_an_error_is_as_it_was_written_down() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/texts.txt");
    let texts = texts();
    if std::env::var_os("POOL_GOLDEN").is_some_and(|mode| mode == "overwrite") {
        std::fs::write(&path, &texts).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(texts == wanted, "{} differs; the texts are now:\n{texts}", path.display());
}
