//! Still pictures of a pool: its numbers, and what it is doing.
//!
//! What is counted is copied under the core's lock, so that all of it belongs to one moment; the
//! system is asked after the unlock.

use std::sync::Arc;
use std::time::Duration;

use super::act::Core;
use super::cell::Cell;
use super::core::Host;
use super::link::Link;
use crate::scheduler::{Time, WorkerId};
use crate::stats::{RunningJob, Snapshot, Stats, WorkerState, WorkerStats};

impl Core {
    /// The link of a worker that the scheduler counts as present.
    fn link(&self, worker: WorkerId, state: WorkerState) -> Option<&Arc<Link>> {
        self.seats.link(worker).filter(|_| state != WorkerState::Gone)
    }

    /// Whether there is a worker for the job now. If not, another pool may have one.
    pub(super) fn is_hungry_for(&self, now: Time, cell: &Cell) -> bool {
        let own = cell.options().and_then(|own| own.memory_limit);
        let has_limit = own.or(self.defaults.memory_limit).is_some();
        self.scheduler.hungers_for(now, cell.number, has_limit)
    }
}

impl Host {
    /// The pool's numbers; none in a fork child.
    pub(crate) fn stats(&self) -> Stats {
        // A thread that the child does not have may have held the lock.
        if self.is_foreign() {
            return Stats::default();
        }
        let (mut stats, links) = self.look_closely_at(|core, posted| {
            let mut workers = Vec::new();
            let mut links = Vec::new();
            for view in core.scheduler.workers() {
                let link = core.link(view.worker, view.state);
                workers.push(WorkerStats {
                    slot: view.worker.slot as usize,
                    pid: link.map(|link| link.process.id()),
                    state: view.state,
                    job: view.head.map(|(task, ..)| task.cell.id()),
                    jobs_done: view.done,
                    rss: None,
                });
                links.push(link.cloned());
            }
            let ended = core.ledger.ended();
            let stats = Stats {
                workers,
                // What lies in the inbox was accepted, too.
                queued: core.scheduler.queued() as u64 + posted,
                running: core.scheduler.running() as u64,
                succeeded: ended.succeeded,
                failed: ended.failed,
                crashed: core.ledger.crashed(),
                cancelled: ended.cancelled,
                restarts: core.ledger.restarts(),
                wait: core.scheduler.wait().clone(),
                run: core.scheduler.run().clone(),
                utilization: core.scheduler.utilization(self.now()),
            };
            (stats, links)
        });
        for (worker, link) in stats.workers.iter_mut().zip(links) {
            worker.rss = link.and_then(|link| link.process.resident_memory());
        }
        stats
    }

    /// What is running and what waits; nothing in a fork child.
    pub(crate) fn snapshot(&self) -> Snapshot {
        if self.is_foreign() {
            return Snapshot::default();
        }
        let (running, oldest_queued) = self.look_closely_at(|core, posted| {
            let now = self.now();
            let views = core.scheduler.workers().filter_map(|view| {
                let (task, attempt, since) = view.head?;
                let link = core.link(view.worker, view.state).cloned();
                Some((task.cell.clone(), view.worker.slot, link, attempt, now.since(since)))
            });
            let running: Vec<_> = views.collect();
            let oldest = core.scheduler.oldest_queued(now);
            // What lies in the inbox has come just now.
            (running, oldest.or((posted > 0).then_some(Duration::ZERO)))
        });
        let running = running.into_iter().map(|(cell, slot, link, attempt, age)| RunningJob {
            id: cell.id(),
            name: cell.name(),
            label: cell.label().as_deref().map(str::to_owned),
            slot: slot as usize,
            pid: link.as_ref().map(|link| link.process.id()),
            attempt,
            age,
            progress: cell.progress(),
            rss: link.and_then(|link| link.process.resident_memory()),
        });
        Snapshot { running: running.collect(), oldest_queued }
    }
}
