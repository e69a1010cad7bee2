//! Placeholder for the context of a running job.

/// What a job function sees of the job it runs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JobContext {}

impl JobContext {
    /// A context without a job, for unit tests of job functions.
    pub fn detached() -> Self {
        JobContext {}
    }
}
