//! Why jobs end: what was said or seen of them, made into their outcome.

use std::sync::Arc;
use std::time::Duration;

use super::body::runs_on;
use super::cell::{Cell, Outcome};
use super::link::{Link, Said};
use crate::error::{JobErrorKind, WorkerExit, last_words};
use crate::id::JobId;
use crate::scheduler::Ending;

/// What an action may need to know of the news that caused it.
#[derive(Default)]
pub(super) struct Cause {
    /// The answer that was just read.
    pub(super) said: Option<Said>,
    /// What is known of the death that was just seen.
    pub(super) detail: Option<Arc<str>>,
    /// What this job's worker wrote to stderr while it ran it.
    tail: Option<(JobId, Arc<str>)>,
}

/// Why the last launch failed.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) text: Arc<str>,
    tail: Option<Arc<str>>,
}

impl Trouble {
    /// `detail` says who it was; `overdue`: it was killed because it was not ready in so long.
    pub(super) fn new(
        detail: &str,
        exit: WorkerExit,
        overdue: Option<Duration>,
        link: Option<&Arc<Link>>,
    ) -> Trouble {
        let text = match (exit, overdue) {
            (WorkerExit::Unknown, _) => detail.to_owned(),
            (_, Some(limit)) => format!(
                "{detail} was not ready within its start timeout of {limit:?}: raise \
                 `start_timeout`, or see what its start hooks wait for"
            ),
            (exit, None) => format!(
                "{detail} {exit} before it was ready: its `main` is not wrapped by \
                 `#[pool::main]`, or a start hook ended it"
            ),
        };
        let tail = link.and_then(|link| link.stderr_tail());
        let words = tail.as_deref().and_then(last_words);
        let text = words.map(|words| format!("{text}; its last words: {words:?}")).unwrap_or(text);
        Trouble { text: text.into(), tail }
    }
}

impl Cause {
    /// The worker at `link` ran `job` until now.
    pub(super) fn remember(&mut self, job: &Cell, link: &Link) {
        self.tail = link.stderr_tail().map(|tail| (job.id(), tail));
    }

    /// What becomes of a job.
    pub(super) fn outcome(
        &mut self,
        job: &Cell,
        ending: Ending,
        attempts: u32,
        trouble: Option<&Trouble>,
    ) -> Outcome {
        let kind = match ending {
            Ending::Replied => match self.said.take() {
                Some(Said::Failed(kind)) => *kind,
                Some(Said::Panicked(info)) => JobErrorKind::Panicked(*info),
                // The scheduler ends a job by a reply only while that reply is fed.
                Some(Said::Awake | Said::Logged(_) | Said::News | Said::Progress(_)) | None => {
                    JobErrorKind::Crashed(WorkerExit::Unknown)
                }
            },
            Ending::Crashed(exit) => {
                let error = job.error(JobErrorKind::Crashed(exit), attempts);
                return Err(error.with_detail(self.detail.clone()).with_tail(self.tail_of(job)));
            }
            Ending::TimedOut(limit) => JobErrorKind::TimedOut(limit),
            Ending::MemoryLimit(limit) => JobErrorKind::MemoryLimit { limit },
            Ending::Unsupported(demand) => JobErrorKind::Unsupported(runs_on(&demand)),
            Ending::Cancelled => JobErrorKind::Cancelled,
            Ending::PoolClosed => JobErrorKind::PoolClosed,
            Ending::WorkerStart => {
                let text = trouble.map_or("the reason is unknown", |trouble| &trouble.text);
                let error = job.error(JobErrorKind::WorkerStart(text.to_owned()), attempts);
                return Err(error.with_tail(trouble.and_then(|trouble| trouble.tail.clone())));
            }
        };
        Err(job.error(kind, attempts).with_tail(self.tail_of(job)))
    }

    fn tail_of(&self, job: &Cell) -> Option<Arc<str>> {
        let (id, tail) = self.tail.as_ref()?;
        (*id == job.id()).then(|| tail.clone())
    }
}
