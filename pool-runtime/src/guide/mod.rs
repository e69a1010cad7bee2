//! The guide, chapter by chapter. Its programs are compiled and, but for those that say why not,
//! run.
//!
//! | chapter | for whoever asks |
//! |---|---|
//! | [`foreign_files`] | How do I read files that may crash, hang or bloat the library that reads them? |
//! | [`jobs`] | What does a job's life look like, what can I say of one call, how do I end one? |
//! | [`many_jobs`] | There are thousands of them: stream, queue, or handles? |
//! | [`workers`] | What is a worker, what may I keep in it, what does one job leave to the next? |
//! | [`sending`] | What can be an argument or an output? |
//! | [`testing`] | How do I test jobs? Debug them? |
//! | [`observability`] | What is it doing? Numbers, events, progress, captured output. |
//! | [`tracing`] | How do spans and events of jobs get into my subscriber? |
//! | [`deployment`] | Containers, systemd, memory, updates, bundles, hosts that are an interpreter. |
//! | [`performance`] | When is a job worth a process? What costs what? |
//! | [`coming_from`] | I know pipes, Python's pools, `spawn_blocking` or rayon: what is it here? |
//! | [`how_things_end`] | This happened: what does the caller see, what becomes of the processes? |

#[doc = include_str!("foreign_files.md")]
pub mod foreign_files {}

#[doc = include_str!("jobs.md")]
pub mod jobs {}

#[doc = include_str!("many_jobs.md")]
pub mod many_jobs {}

#[doc = include_str!("workers.md")]
pub mod workers {}

#[doc = include_str!("sending.md")]
pub mod sending {}

#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("observability.md")]
pub mod observability {}

#[doc = include_str!("tracing.md")]
#[cfg_attr(docsrs, doc(cfg(feature = "tracing")))]
pub mod tracing {}

#[doc = include_str!("deployment.md")]
pub mod deployment {}

#[doc = include_str!("performance.md")]
pub mod performance {}

#[doc = include_str!("coming_from.md")]
pub mod coming_from {}

#[doc = include_str!("how_things_end.md")]
pub mod how_things_end {}
