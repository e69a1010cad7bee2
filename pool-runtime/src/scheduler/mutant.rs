//! Mistakes that the simulation has to notice.

/// A rule that is broken on purpose, one at a time and only in tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutant {}
