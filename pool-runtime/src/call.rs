//! A job with its arguments, not yet handed over: [`Call`].
//!
//! What can be known before there is a pool is known here: whether the arguments can be encoded,
//! whether the name is registered. Neither fails here; both become what the handle resolves to.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{self, Arguments};
use crate::policy::{JobOptions, Priority, RetryPolicy};
use crate::registry::{self, Encoded, Job, JobEntry, Known};

/// A job with its arguments already encoded, made by [`call!`](crate::call) and consumed by
/// `submit`.
///
/// The methods say how this one call differs from what the attribute and the pool say.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use pool::{Priority, call, pool_job};
///
/// #[pool_job]
/// fn resize(path: &str, width: u32) -> u64 {
///     path.len() as u64 * u64::from(width)
/// }
///
/// let call = call!(resize, "a.png", 100)
///     .timeout(Duration::from_secs(30))
///     .priority(Priority::High)
///     .label("a.png");
/// # drop(call);
/// ```
#[must_use = "a call does nothing until it is submitted"]
pub struct Call<J: Job> {
    parts: CallParts,
    job: PhantomData<fn() -> J>,
}

/// A call without its type.
#[derive(Debug, Default)]
pub(crate) struct CallParts {
    /// `None`: it is unknown.
    pub(crate) known: Option<Known>,
    pub(crate) unknown: Option<Box<UnknownName>>,
    pub(crate) arguments: Arguments,
    /// What is asked for this call, if anything.
    pub(crate) options: Option<Box<JobOptions>>,
    pub(crate) label: Option<Arc<str>>,
}

/// A name that is not in the table, or a table that could not be made.
#[derive(Debug, Default)]
pub(crate) struct UnknownName {
    pub(crate) name: String,
    /// For the reader: what might have been meant, or what is wrong with the table.
    pub(crate) text: String,
}

/// The job of a call by name, [`Call::named`], with the output that the caller expects.
pub struct Named<Out>(PhantomData<fn() -> Out>);

impl<Out: DeserializeOwned + 'static> Job for Named<Out> {
    type Output = Out;

    fn decode(output: Encoded) -> Result<Out, String> {
        codec::decode_output(output)
    }
}

impl Call<Named<()>> {
    /// A call of the job of this name, for names that come from outside the program.
    ///
    /// `args` is a tuple of the job's sent parameters (`(a,)` for one, `()` for none).
    /// Nothing is checked before the job runs: arguments that do not fit resolve to
    /// [`Decode`](crate::JobErrorKind::Decode), and so does an output that is no `Out`.
    /// A name that nobody registered resolves to
    /// [`UnknownJob`](crate::JobErrorKind::UnknownJob).
    ///
    /// # Examples
    ///
    /// ```
    /// use pool::{Call, pool_job};
    ///
    /// #[pool_job(name = "add")]
    /// fn add(a: u32, b: u32) -> u32 {
    ///     a + b
    /// }
    ///
    /// let call = Call::named::<u32>("add", (1, 2));
    /// # drop(call);
    /// ```
    pub fn named<Out: DeserializeOwned + 'static>(
        name: &str,
        args: impl Serialize,
    ) -> Call<Named<Out>> {
        let arguments = Arguments::of_tuple(&args);
        match registry::table().and_then(|table| table.find(name)) {
            Ok(known) => Call::known(known, arguments),
            Err(text) => Call::unknown(UnknownName { name: name.into(), text }),
        }
    }
}

impl<J: Job> Call<J> {
    #[inline(always)]
    fn known(known: Known, arguments: Arguments) -> Self {
        let (known, unknown) = (Some(known), None);
        let parts = CallParts { known, unknown, arguments, options: None, label: None };
        Call { parts, job: PhantomData }
    }

    #[cold]
    fn unknown(name: UnknownName) -> Self {
        let unknown = Some(Box::new(name));
        Call { parts: CallParts { unknown, ..CallParts::default() }, job: PhantomData }
    }

    /// What `call!` begins with: so many arguments follow, and are encoded where they stay.
    #[inline(always)]
    pub(crate) fn begin(entry: &'static JobEntry, total: u16) -> Self {
        match registry::known(entry) {
            Ok(known) => Self::known(known, Arguments::new(total)),
            Err(text) => Self::unknown(UnknownName { name: entry.name().into(), text }),
        }
    }

    fn options(&mut self) -> &mut JobOptions {
        self.parts.options.get_or_insert_default()
    }

    /// Leaves a call of nothing.
    pub(crate) fn take(&mut self) -> Self {
        Call { parts: std::mem::take(&mut self.parts), job: PhantomData }
    }

    pub(crate) fn into_parts(self) -> CallParts {
        self.parts
    }

    /// Where they lie: they are taken from there without being moved, if they are few.
    #[inline]
    pub(crate) fn parts(&mut self) -> &mut CallParts {
        &mut self.parts
    }

    /// How long one attempt may run, from the moment the job can run in its worker.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options().timeout = Some(Some(timeout));
        self
    }

    /// No timeout, whatever the attribute and the pool say.
    pub fn no_timeout(mut self) -> Self {
        self.options().timeout = Some(None);
        self
    }

    /// How long all of it may take, from `submit` or `push`: queue, back-off and every attempt
    /// included.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.options().deadline = Some(deadline);
        self
    }

    /// The queue it waits in.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.options().priority = Some(priority);
        self
    }

    /// When and how often it is tried again.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.options().retry = Some(policy);
        self
    }

    /// How long the job may go on once it was asked to stop, before its worker is killed.
    pub fn grace_period(mut self, grace: Duration) -> Self {
        self.options().grace = Some(grace);
        self
    }

    /// How long an attempt may go on without any [`progress`](crate::JobContext::progress) or
    /// [`message`](crate::JobContext::message), each of which starts it anew.
    ///
    /// In every other way a timeout; [`remaining`](crate::JobContext::remaining) does not count it.
    /// The host looks for progress every 10 ms, so this should be several times as long.
    pub fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.options().stall_timeout = Some(timeout);
        self
    }

    /// Resident memory that the worker may have while it runs this job, in bytes; in place of the
    /// pool's limit.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.options().memory_limit = Some(bytes);
        self
    }

    /// Which input this is, for errors, events, snapshots and spans. It stays on the host side.
    pub fn label(mut self, label: impl Into<Arc<str>>) -> Self {
        self.parts.label = Some(label.into());
        self
    }

    /// The job's name.
    pub(crate) fn name(&self) -> &str {
        match (&self.parts.known, &self.parts.unknown) {
            (Some(known), _) => known.entry.name(),
            (None, Some(unknown)) => &unknown.name,
            (None, None) => "",
        }
    }

    /// What it was labelled with.
    pub(crate) fn label_given(&self) -> Option<&str> {
        self.parts.label.as_deref()
    }
}

impl<J: Job> fmt::Debug for Call<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CallParts { arguments, options, label, .. } = &self.parts;
        f.debug_struct("Call")
            .field("job", &self.name())
            .field("payload", &arguments.size())
            .field("options", options)
            .field("label", label)
            .finish_non_exhaustive()
    }
}

impl<Out> fmt::Debug for Named<Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Named")
    }
}
