//! What the core is told, and what it sees of the world besides.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::backlog::Share;
use super::cell::{CellRef, Holder, Manner, Numbered, Place};
use super::hub::Hub;
use super::launch::LaunchPlan;
use super::link::Link;
use super::looks::Looks;
use crate::error::WorkerExit;
use crate::os::fork_depth;
use crate::scheduler::{Time, WorkerId};

/// What the core sees of the world.
pub(super) struct Around {
    pub(super) plan: LaunchPlan,
    pub(super) closed: AtomicBool,
    /// A look was posted and not fed yet: one serves all who ask for it.
    pub(super) look_is_due: AtomicBool,
    /// Of those who wait for a short job.
    pub(super) looks: Looks,
    pub(super) epoch: Instant,
    /// Those who watch the pool.
    pub(super) hub: Arc<Hub>,
    /// Where the pool was made: a fork child has copies of everything and owns nothing.
    pub(super) depth: u32,
    /// The pool itself.
    pub(super) holder: Weak<dyn Holder>,
    /// By which cells know it.
    pub(super) number: Option<Numbered>,
}

impl Around {
    pub(super) fn now(&self) -> Time {
        Time::after_start(self.epoch.elapsed())
    }

    pub(super) fn moment(&self, instant: Instant) -> Time {
        Time::after_start(instant.saturating_duration_since(self.epoch))
    }

    pub(super) fn is_foreign(&self) -> bool {
        fork_depth() != self.depth
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire) || self.is_foreign()
    }

    /// Where a job of this pool is.
    pub(super) fn place(&self) -> Place {
        match &self.number {
            Some(numbered) => Place::Pool(numbered.number()),
            None => Place::Held(self.holder.clone(), 0),
        }
    }

    pub(super) fn is_here(&self, place: &Place) -> bool {
        match place {
            Place::Nowhere => false,
            Place::Pool(number) => {
                self.number.as_ref().is_some_and(|numbered| numbered.number() == *number)
            }
            Place::Held(holder, _) => holder.ptr_eq(&self.holder),
        }
    }
}

/// Something that happened. Two words, since all jobs come this way: what few of them need is behind a
/// pointer.
pub(super) enum News {
    Submit(CellRef),
    GiveUp(CellRef, Manner),
    Attach(Arc<Share>),
    Launched(Arc<Link>),
    Ready(WorkerId),
    /// There are replies in a worker's ring.
    Replies(Arc<Link>),
    Gone(Box<Gone>),
    /// The worker has more memory than its job of this seq may use.
    OverMemory(Box<(WorkerId, u64)>),
    /// A worker that was launched is gone from the system too.
    Reaped,
    /// A queue has new jobs.
    Pushed,
    /// Time has passed. By the driver only: while it is held up replies lie unread, and nobody is to
    /// be blamed for them.
    Look,
    Close,
    Shutdown,
}

const _: () = assert!(size_of::<News>() <= 16);

/// A worker's end.
pub(super) struct Gone {
    pub(super) worker: WorkerId,
    /// `None` if no process ever came to be.
    pub(super) link: Option<Arc<Link>>,
    pub(super) exit: WorkerExit,
    /// Who it was, and what the exit alone does not say.
    pub(super) detail: String,
    /// It had not greeted.
    pub(super) in_launch: bool,
}
