//! The pokes of one worker: when the host looks for what its job says of its progress.
//!
//! 1. A poke: look at once, and from then on not before [`PAUSE`] is over, however often the job
//!    reports meanwhile. The worker pokes no more, since `poked` stays set in the recorder.
//! 2. The pause is over: clear `poked`, and look. What comes after that is poked for again.
//!
//! So a job that reports without end costs two looks in a pause, and one that has stopped costs
//! nothing. A poke within the pause is none that a worker of ours sends; some are borne.

use std::time::Duration;

use tokio::time::Instant;

use super::link::{Answer, Link, Said};
use crate::recorder::Reported;
use crate::wire::WireFault;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);
/// How many pokes that nobody asked for a worker may send in its life.
const BORNE: u32 = 64;

#[derive(Debug, Default)]
pub(super) struct Pokes {
    /// The pause goes on until then.
    pause: Option<Instant>,
    unasked: u32,
    /// What was seen last.
    version: u64,
}

impl Pokes {
    /// There was one. What is to be told, or why the worker has to go.
    pub(super) fn heard(&mut self, link: &Link) -> Result<Option<Answer>, WireFault> {
        if self.pause.is_none() {
            self.pause = Some(Instant::now() + PAUSE);
            return Ok(self.look(link));
        }
        self.unasked += 1;
        match self.unasked {
            0..=BORNE => Ok(None),
            _ => Err(WireFault::Unexpected("more pokes than were asked for")),
        }
    }

    /// Waits until [`look_again`](Self::look_again) is due, which may be never.
    pub(super) async fn pause_is_over(&self) {
        match self.pause {
            Some(until) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
    }

    /// Whether [`look_again`](Self::look_again) is due.
    pub(super) fn is_pause_over(&self) -> bool {
        self.pause.is_some_and(|until| until <= Instant::now())
    }

    /// After the pause.
    pub(super) fn look_again(&mut self, link: &Link) -> Option<Answer> {
        self.pause = None;
        link.recorder.take_notice();
        self.look(link)
    }

    fn look(&mut self, link: &Link) -> Option<Answer> {
        let Reported { version, seq, progress } = link.recorder.reported()?;
        let is_new = std::mem::replace(&mut self.version, version) != version;
        let said = Said::Progress(Box::new(progress));
        is_new.then_some(Answer { seq, said, took: Duration::ZERO })
    }
}
