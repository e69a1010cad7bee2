//! What a user may ask for a job: [`Priority`], [`RetryPolicy`], and the terms they add up to.
//!
//! Precedence is call, then attribute, then pool; `Terms::resolve` is the one place that knows it.

use std::time::Duration;

/// Which queue a job waits in. Higher ones are handed to workers first;
/// within one priority it is first come, first served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// After everything else.
    Low,
    /// The default.
    #[default]
    Normal,
    /// Before everything else.
    High,
}

/// How often, when and after what a job is tried again.
///
/// Crashes and timeouts are retried by default, panics are not. Cancelled and killed
/// jobs, jobs past their deadline and a job's own `Err` are never retried.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use pool::RetryPolicy;
///
/// let policy = RetryPolicy::attempts(3)
///     .backoff(Duration::from_millis(100), 2.0, Duration::from_secs(5))
///     .on_panic(true);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use = "a policy does nothing until it is given to a call or to a builder"]
pub struct RetryPolicy {
    pub(crate) attempts: u32,
    pub(crate) initial: Duration,
    pub(crate) factor: f64,
    pub(crate) max: Duration,
    pub(crate) on_panic: bool,
    pub(crate) on_crash: bool,
    pub(crate) on_timeout: bool,
    pub(crate) memory_factor: f64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy::attempts(1)
    }
}

impl RetryPolicy {
    /// Up to `n` attempts in all: the first try counts, and zero is taken as one.
    pub const fn attempts(n: u32) -> Self {
        RetryPolicy {
            attempts: if n == 0 { 1 } else { n },
            initial: Duration::ZERO,
            factor: 1.0,
            max: Duration::ZERO,
            on_panic: false,
            on_crash: true,
            on_timeout: true,
            memory_factor: 1.0,
        }
    }

    /// Waits `initial` before the second attempt, `factor` times as long before each
    /// further one, never longer than `max`; plus up to a tenth of that by chance,
    /// so that jobs that failed together do not come back together.
    ///
    /// A factor that is not a number, or below one, is taken as one.
    pub const fn backoff(mut self, initial: Duration, factor: f64, max: Duration) -> Self {
        self.initial = initial;
        self.factor = if factor >= 1.0 { factor } else { 1.0 };
        self.max = max;
        self
    }

    /// Whether a panic is tried again (not by default: the same input mostly panics again).
    pub const fn on_panic(mut self, retry: bool) -> Self {
        self.on_panic = retry;
        self
    }

    /// Whether a crash of the worker is tried again (by default it is).
    pub const fn on_crash(mut self, retry: bool) -> Self {
        self.on_crash = retry;
        self
    }

    /// Whether a timeout is tried again (by default it is).
    pub const fn on_timeout(mut self, retry: bool) -> Self {
        self.on_timeout = retry;
        self
    }

    /// Raises the memory limit in force at each retry: times `factor` at the second attempt,
    /// times its square at the third.
    ///
    /// A factor that is not a number, or below one, is taken as one.
    pub const fn memory_factor(mut self, factor: f64) -> Self {
        self.memory_factor = if factor >= 1.0 { factor } else { 1.0 };
        self
    }

    /// The wait after `failed` attempts, without its jitter.
    pub(crate) fn delay_after(&self, failed: u32) -> Duration {
        if self.initial.is_zero() {
            // However often it failed: zero times a power beyond all numbers is no number.
            return Duration::ZERO;
        }
        let exponent = i32::try_from(failed.saturating_sub(1)).unwrap_or(i32::MAX);
        let wanted = self.initial.as_secs_f64() * self.factor.powi(exponent);
        Duration::try_from_secs_f64(wanted).map_or(self.max, |wait| wait.min(self.max))
    }
}

/// What one source (a call, an attribute) asks for; `None` leaves it to the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct JobOptions {
    /// `Some(None)`: explicitly without a timeout.
    pub timeout: Option<Option<Duration>>,
    /// Counted from `submit` or `push`.
    pub deadline: Option<Duration>,
    /// How long a job that was asked to stop may go on.
    pub grace: Option<Duration>,
    /// The queue it waits in.
    pub priority: Option<Priority>,
    /// When and how often it is tried again.
    pub retry: Option<RetryPolicy>,
    /// How long an attempt may go on without a sign of progress.
    pub stall_timeout: Option<Duration>,
    /// Resident memory of its worker, in bytes.
    pub memory_limit: Option<u64>,
}

impl JobOptions {
    /// Nothing asked for.
    pub const NONE: JobOptions = JobOptions {
        timeout: None,
        deadline: None,
        grace: None,
        priority: None,
        retry: None,
        stall_timeout: None,
        memory_limit: None,
    };

    /// Whether nothing is asked for.
    pub(crate) const fn is_empty(&self) -> bool {
        let JobOptions { timeout, deadline, grace, priority, retry, stall_timeout, memory_limit } =
            self;
        timeout.is_none()
            && deadline.is_none()
            && grace.is_none()
            && priority.is_none()
            && retry.is_none()
            && stall_timeout.is_none()
            && memory_limit.is_none()
    }

    /// `self` where it says something, else `other`.
    pub(crate) fn or(self, other: JobOptions) -> JobOptions {
        JobOptions {
            timeout: self.timeout.or(other.timeout),
            deadline: self.deadline.or(other.deadline),
            grace: self.grace.or(other.grace),
            priority: self.priority.or(other.priority),
            retry: self.retry.or(other.retry),
            stall_timeout: self.stall_timeout.or(other.stall_timeout),
            memory_limit: self.memory_limit.or(other.memory_limit),
        }
    }
}

/// What holds for one job once every source was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Terms {
    pub(crate) priority: Priority,
    /// Per attempt, from the moment the job can run.
    pub(crate) timeout: Option<Duration>,
    pub(crate) grace: Duration,
    pub(crate) retry: RetryPolicy,
    /// Per attempt; begins anew with each sign of progress.
    pub(crate) stall_timeout: Option<Duration>,
    /// Of the first attempt, in bytes.
    pub(crate) memory_limit: Option<u64>,
}

impl Terms {
    /// The memory limit in force at this attempt, from 1.
    pub(crate) fn memory_limit_at(&self, attempt: u32) -> Option<u64> {
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        // A float becomes the nearest integer there is.
        self.memory_limit.map(|limit| match exponent {
            0 => limit,
            _ => (limit as f64 * self.retry.memory_factor.powi(exponent)) as u64,
        })
    }

    /// `options` where they say something, else what the pool says.
    pub(crate) fn resolve(options: JobOptions, pool: &Terms) -> Terms {
        Terms {
            priority: options.priority.unwrap_or(pool.priority),
            timeout: options.timeout.unwrap_or(pool.timeout),
            grace: options.grace.unwrap_or(pool.grace),
            retry: options.retry.unwrap_or(pool.retry),
            stall_timeout: options.stall_timeout.or(pool.stall_timeout),
            memory_limit: options.memory_limit.or(pool.memory_limit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(n: u64) -> JobOptions {
        JobOptions {
            timeout: Some(Some(Duration::from_secs(n))),
            grace: Some(Duration::from_secs(n)),
            priority: Some(if n == 1 { Priority::Low } else { Priority::High }),
            retry: Some(RetryPolicy::attempts(n as u32)),
            ..JobOptions::NONE
        }
    }

    #[test]
    fn a_call_goes_before_its_attribute_and_that_before_the_pool() {
        let pool = Terms { grace: Duration::from_secs(9), ..Terms::default() };
        let terms = |call: JobOptions, attribute| Terms::resolve(call.or(attribute), &pool);
        assert_eq!(terms(options(1), options(2)), terms(options(1), JobOptions::NONE));
        let of_call = terms(options(1), options(2));
        assert_eq!((of_call.priority, of_call.grace), (Priority::Low, Duration::from_secs(1)));
        assert_eq!((of_call.retry.attempts, of_call.timeout), (1, Some(Duration::from_secs(1))));
        let of_attribute = terms(JobOptions::NONE, options(2));
        assert_eq!((of_attribute.priority, of_attribute.retry.attempts), (Priority::High, 2));
        assert_eq!(terms(JobOptions::NONE, JobOptions::NONE), pool);
        let none = JobOptions { timeout: Some(None), ..JobOptions::NONE };
        assert_eq!(terms(none, options(2)).timeout, None);
    }
    #[test]
    fn back_offs_grow_to_their_maximum_and_none_stays_none() {
        let (second, max) = (Duration::from_secs(1), Duration::from_secs(5));
        let policy = RetryPolicy::attempts(9).backoff(second, 2.0, max);
        let waits = [1, 2, 3, 4, u32::MAX].map(|failed| policy.delay_after(failed));
        assert_eq!(waits, [second, 2 * second, 4 * second, max, max]);
        let none = RetryPolicy::attempts(9).backoff(Duration::ZERO, 2.0, max);
        assert_eq!([1, 2, 5000].map(|failed| none.delay_after(failed)), [Duration::ZERO; 3]);
    }
}
