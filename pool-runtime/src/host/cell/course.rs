//! How far a job is, in one byte.

use std::sync::atomic::{AtomicU8, Ordering};

use super::JobStatus;

/// The job's status, which is [`ENDED`] or else one of the others.
const STATUS: u8 = 0b11;
const QUEUED: u8 = 0;
const RUNNING: u8 = 1;
const ENDED: u8 = 2;
/// It holds a place in its pool's queue.
const PERMIT: u8 = 1 << 2;
/// It runs on behalf of somebody.
const SPONSORED: u8 = 1 << 3;
/// Which attempt was handed out last, shifted.
const ATTEMPT: u8 = 0xf << ATTEMPT_SHIFT;
const ATTEMPT_SHIFT: u32 = 4;
/// The number is as large or larger, and elsewhere.
const MANY: u8 = ATTEMPT >> ATTEMPT_SHIFT;

/// Read by anybody, and written by whoever has the job: who makes it, a queue, a core under its
/// lock. So nobody has to take turns for it.
pub(super) struct Course(AtomicU8);

impl Course {
    /// Of a job that waits; if it was made for a pool, it holds a place in the queue.
    #[inline]
    pub(super) fn begin(is_in_pool: bool) -> Course {
        Course(AtomicU8::new(if is_in_pool { QUEUED | PERMIT } else { QUEUED }))
    }

    pub(super) fn ended() -> Course {
        Course(AtomicU8::new(ENDED))
    }

    /// What its end leaves to be seen is seen by who sees the end.
    #[inline]
    pub(super) fn status(&self) -> JobStatus {
        match self.0.load(Ordering::Acquire) & STATUS {
            QUEUED => JobStatus::Queued,
            RUNNING => JobStatus::Running,
            _ => JobStatus::Ended,
        }
    }

    #[inline]
    fn has(&self, bit: u8) -> bool {
        self.0.load(Ordering::Relaxed) & bit != 0
    }

    #[inline]
    fn change(&self, change: impl FnOnce(u8) -> u8) {
        self.0.store(change(self.0.load(Ordering::Relaxed)), Ordering::Release);
    }

    #[inline]
    fn set(&self, bit: u8, is_set: bool) {
        self.change(|course| if is_set { course | bit } else { course & !bit });
    }

    /// Changes nothing once it has ended.
    #[inline]
    pub(super) fn set_running(&self, is_running: bool) {
        self.set(RUNNING, is_running);
    }

    #[inline]
    pub(super) fn end(&self) {
        self.set(ENDED, true);
    }

    pub(super) fn hold_permit(&self) {
        self.set(PERMIT, true);
    }

    /// Whether it held one.
    #[inline]
    pub(super) fn release_permit(&self) -> bool {
        let held = self.has(PERMIT);
        self.set(PERMIT, false);
        held
    }

    pub(super) fn set_sponsored(&self, is_sponsored: bool) {
        self.set(SPONSORED, is_sponsored);
    }

    #[inline]
    pub(super) fn is_sponsored(&self) -> bool {
        self.has(SPONSORED)
    }

    /// False if the number has to be kept elsewhere.
    #[must_use]
    #[inline]
    pub(super) fn set_attempt(&self, attempt: u32) -> bool {
        let small = u8::try_from(attempt).unwrap_or(MANY).min(MANY);
        self.change(|course| course & !ATTEMPT | small << ATTEMPT_SHIFT);
        small < MANY
    }

    /// `None`: it is elsewhere.
    pub(super) fn attempt(&self) -> Option<u32> {
        let attempt = self.0.load(Ordering::Relaxed) >> ATTEMPT_SHIFT;
        (attempt < MANY).then(|| attempt.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_it_gets_in_the_way_of_the_rest() {
        let course = Course::begin(true);
        for attempt in [1, 14, 15, 16, u32::MAX, 2] {
            let is_small = attempt < 15;
            assert_eq!(course.set_attempt(attempt), is_small);
            assert_eq!(course.attempt(), is_small.then_some(attempt));
            assert_eq!(course.status(), JobStatus::Queued);
        }
        course.set_running(true);
        course.set_sponsored(true);
        assert!(course.status() == JobStatus::Running && course.is_sponsored());
        assert!(course.release_permit() && !course.release_permit());
        course.hold_permit();
        course.end();
        for is_running in [false, true] {
            course.set_running(is_running);
            assert_eq!((course.status(), course.attempt()), (JobStatus::Ended, Some(2)));
        }
        assert!(course.release_permit() && course.is_sponsored());
    }
}
