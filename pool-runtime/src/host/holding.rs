//! The host towards its cells, and as it prints.

use std::fmt;
use std::task::Waker;

use tokio::runtime::Handle;

use super::act::Core;
use super::cell::{Cell, CellRef, Holder, Manner};
use super::core::Host;
use super::news::News;

impl Holder for Host {
    fn give_up(&self, cell: &CellRef, _ticket: i64, manner: Manner) -> bool {
        if !self.is_foreign() {
            self.enter(News::GiveUp(cell.clone(), manner));
        }
        true
    }

    fn runtime(&self) -> Option<Handle> {
        self.driver_runtime().cloned()
    }

    fn look(&self) {
        if !self.is_foreign() {
            self.look_closely_at(|_, _| ());
        }
    }

    fn let_in(&self) {
        Host::let_in(self);
    }

    fn help(&self, cell: &Cell, asker: &Waker, has_given_way: bool) -> bool {
        self.give_way_or_look(cell, asker, has_given_way)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut host = f.debug_struct("Host");
        host.field("closed", &self.is_closed());
        let jobs = |core: &Core| (core.scheduler.queued(), core.scheduler.running());
        // A fork child may lack whoever has to unlock something of it.
        let jobs = if self.is_foreign() { None } else { self.try_look_at(jobs) };
        if let Some((queued, running)) = jobs {
            host.field("queued", &queued).field("running", &running);
        }
        host.finish_non_exhaustive()
    }
}
