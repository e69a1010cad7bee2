//! What is true of one worker, and of how many of them.

use std::ops::BitOr;

/// What is true of one worker: some of the constants below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks(u16);

impl Marks {
    /// Starting, Ready, Stopping or Killed.
    pub(super) const PRESENT: Marks = Marks(1);
    pub(super) const STARTING: Marks = Marks(1 << 1);
    pub(super) const READY: Marks = Marks(1 << 2);
    /// Gone, and never ready since the pool began.
    pub(super) const UNBORN_GONE: Marks = Marks(1 << 3);
    /// Never ready since the pool began.
    pub(super) const UNBORN: Marks = Marks(1 << 4);
    /// Its window holds a job that it may run.
    pub(super) const BUSY: Marks = Marks(1 << 5);
    /// It is not known whether the head of its window was claimed.
    pub(super) const UNVERIFIED: Marks = Marks(1 << 6);
    /// Ready, and has not taken what it was given.
    pub(super) const UNRESPONSIVE: Marks = Marks(1 << 7);
    /// Killed, and left to itself.
    pub(super) const ABANDONED: Marks = Marks(1 << 8);
    /// A recall has no answer yet.
    pub(super) const RECALLING: Marks = Marks(1 << 9);
    /// Jobs lie behind a head of which it is not known whether it was claimed.
    pub(super) const CROWDED: Marks = Marks(1 << 10);

    /// Starting, and a job waits for it there.
    pub(super) const EARLY: Marks = Marks(1 << 11);

    /// These marks, if they are deserved.
    pub(super) fn when(self, deserved: bool) -> Marks {
        if deserved { self } else { Marks::default() }
    }
}

impl BitOr for Marks {
    type Output = Marks;

    fn bitor(self, other: Marks) -> Marks {
        Marks(self.0 | other.0)
    }
}

/// How many workers have each of the [`Marks`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) present: usize,
    pub(super) starting: usize,
    pub(super) ready: usize,
    pub(super) unborn_gone: usize,
    pub(super) unborn: usize,
    pub(super) busy: usize,
    pub(super) unverified: usize,
    pub(super) unresponsive: usize,
    pub(super) abandoned: usize,
    pub(super) recalling: usize,
    pub(super) crowded: usize,
    pub(super) early: usize,
}

impl Sums {
    /// One worker has the `new` marks in place of the `old` ones.
    pub(super) fn replace(&mut self, old: Marks, new: Marks) {
        let changed = old.0 ^ new.0;
        let swap = |sum: &mut usize, mark: Marks| {
            if changed & mark.0 != 0 {
                *sum = if new.0 & mark.0 != 0 { *sum + 1 } else { *sum - 1 };
            }
        };
        swap(&mut self.present, Marks::PRESENT);
        swap(&mut self.starting, Marks::STARTING);
        swap(&mut self.ready, Marks::READY);
        swap(&mut self.unborn_gone, Marks::UNBORN_GONE);
        swap(&mut self.unborn, Marks::UNBORN);
        swap(&mut self.busy, Marks::BUSY);
        swap(&mut self.unverified, Marks::UNVERIFIED);
        swap(&mut self.unresponsive, Marks::UNRESPONSIVE);
        swap(&mut self.abandoned, Marks::ABANDONED);
        swap(&mut self.recalling, Marks::RECALLING);
        swap(&mut self.crowded, Marks::CROWDED);
        swap(&mut self.early, Marks::EARLY);
    }
}
