//! Without the feature: every word of it, and nothing behind them.

use crate::error::Subject;

/// No frame is a record.
pub(crate) const RECORD_LIMIT: u32 = 0;

/// No span.
#[derive(Clone, Debug, Default)]
pub(crate) struct JobSpan(());

impl JobSpan {
    #[inline]
    pub(crate) fn of(_: &Subject) -> JobSpan {
        JobSpan(())
    }

    #[inline]
    pub(crate) fn is_some(&self) -> bool {
        false
    }
}

/// Refused at its header.
#[derive(Debug)]
pub(crate) struct Record;

impl Record {
    #[inline]
    pub(crate) fn read(_: &[u8]) -> Option<Record> {
        Some(Record)
    }
}

/// Nothing to be done.
#[derive(Debug, Default)]
pub(crate) struct Pending;

impl Pending {
    #[inline]
    pub(crate) fn started(&mut self, _: JobSpan, _attempt: u32, _slot: u32) {}

    #[inline]
    pub(crate) fn logged(&mut self, _: JobSpan, _: Record) {}

    #[inline]
    pub(crate) fn settle(&mut self) {}
}

#[inline]
pub(crate) fn when_traced<T: Default>(_: impl FnOnce() -> T) -> T {
    T::default()
}

#[inline]
pub(crate) fn wanted() -> Option<u64> {
    None
}

#[inline]
pub(crate) fn follow<O, S>(_level: impl FnOnce() -> u64, _outlet: impl FnOnce() -> (O, S))
where
    O: Fn() -> bool + Send + Sync + 'static,
    S: Fn(&[u8]) + Send + Sync + 'static,
{
}

/// Nothing is forwarded, hence nothing dropped.
#[inline]
pub(crate) fn dropped(_: u64) -> Vec<u8> {
    Vec::new()
}
