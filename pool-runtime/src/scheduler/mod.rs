//! Decides which job runs where and when, and how each one ends.
//!
//! Owns every job from its submission to its resolution, the windows of the workers, and the
//! reasons for launching and killing. Refuses to know what a job is (it moves a `T`), how a
//! process is started, what travels on the channel, and what time it is: events come in,
//! actions go out, moments are arguments. So the same code runs in the pool and, many
//! thousand times faster than life, in the simulation.
//!
//! # Protocol
//!
//! 1. Feed: [`Scheduler::submit`], [`Scheduler::handle_event`] with news,
//!    [`Scheduler::handle_timeout`] when the armed moment has come. News that came together may be
//!    fed by [`Scheduler::take_in`], each with its drain, and then [`Scheduler::conclude`].
//! 2. Drain [`Scheduler::poll_action`] until it gives `None` and perform each action, in
//!    order, before anything else is fed. The one exception: an [`Action::Recall`] is answered
//!    by [`Event::Recalled`] or [`Event::NotBegun`] on the spot (or by [`Event::WorkerGone`], if that
//!    is what the hands find), and what follows from it is drained along with the rest.
//! 3. Arm [`Scheduler::poll_timeout`]. An idle scheduler arms nothing.
//!
//! Workers hold replies back. Hands that can see these feed them before anything that may end a job:
//! a timeout, a cancel, a shutdown, a death; and right after a recall is answered. Else a job that
//! has ended may be killed, or be run once more.
//!
//! # States
//!
//! A job is in the queue, in back-off, or in the window of one worker, and then it is resolved,
//! once. A worker is gone, starting, ready, stopping or killed; each of these but gone and ready
//! has a deadline, and so has everything that is waited for in ready.
//!
//! # Rules that are easy to miss
//!
//! - An attempt counts once it was claimed. What a worker never began goes back to where it
//!   stood in its queue, uncounted.
//! - A job is charged with a death only as the head of a window: because it was claimed, or
//!   because it lay there for the fourth time.
//! - The unclaimed head of a window is looked at after 50 ms. A worker that turns out not to
//!   have taken notice gets nothing more before it shows that it is awake. If it has not after
//!   two seconds it is replaced: somebody may have stopped every worker there is.
//! - While a recall, a grace period or a claimed job that was found by a recall is pending,
//!   the worker gets nothing new: nobody is handed to a worker that may be killed.
//! - A worker that starts may be handed one job before it is up, if nobody else takes it. The job
//!   waits there, and goes back to its place after 50 ms, if another worker is up.
//! - Jobs that end without ever having run, because the pool shuts down, are resolved in the
//!   order in which they were submitted, whether they were handed ahead or not.

mod actions;
mod config;
mod course;
mod crew;
mod early;
mod estimate;
mod event;
mod job;
mod launches;
mod list;
mod machine;
mod numbers;
mod queue;
mod recall;
#[cfg(test)]
mod sim;
mod staff;
mod sums;
#[cfg(test)]
mod tests;
mod times;
mod window;
mod worker;

pub(crate) use config::{Config, LATENCY, horizon};
pub(crate) use event::{
    Action, Assignment, Bounds, Ending, Event, JobKey, Readiness, Reply, Time, WorkerId,
};
pub(crate) use machine::Scheduler;
