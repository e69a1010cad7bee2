//! What the scheduler says of itself, counted a second time by the world.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::stats::{Histogram, WorkerState};

use super::super::Time;
use super::super::worker::Stage;
use super::model::{Life, Process};
use super::world::World;
use super::{Violation, ensure};

/// Places in line tell the time, and are all different: many at one moment differ a little.
const TOLERANCE: Duration = Duration::from_micros(2);

/// The world's own count.
#[derive(Default)]
pub(super) struct Numbers {
    /// Attempts that ended, by slot.
    done: BTreeMap<u32, u64>,
    run: Histogram,
    /// How many jobs have begun, and how long they had waited in all.
    begun: u64,
    waited: Duration,
    /// Worker time, and that of workers with a job.
    present: Duration,
    busy: Duration,
}

impl Numbers {
    pub(super) fn attempt_ended(&mut self, slot: u32, ran: Duration) {
        *self.done.entry(slot).or_default() += 1;
        self.run.record(ran.as_nanos() as u64);
    }
}

impl World {
    /// Time passes, up to `now`.
    pub(super) fn pass(&mut self, now: Time) {
        let passed = now.since(std::mem::replace(&mut self.now, now));
        let times = |n: usize| passed * n as u32;
        self.numbers.present += times(self.processes.len());
        let is_busy = |process: &&Process| !process.window.is_empty() && !process.holds_early();
        let busy = self.processes.iter().filter(is_busy).count();
        self.numbers.busy += times(busy);
    }

    /// Whoever is the head of this window has begun.
    pub(super) fn note_head(&mut self, at: usize) {
        let Some(&head) = self.processes[at].window.front() else { return };
        let job = &mut self.jobs[head];
        if !std::mem::replace(&mut job.begun, true) {
            self.numbers.begun += 1;
            self.numbers.waited += self.now.since(job.waits_since);
        }
    }

    pub(super) fn resting(&self) -> Vec<usize> {
        self.open.iter().copied().filter(|&number| self.is_in_back_off(number)).collect()
    }

    /// Some of these may have come back to the queue.
    pub(super) fn note_rested(&mut self, resting: &[usize]) {
        for &number in resting {
            if !self.is_in_back_off(number) {
                self.jobs[number].waits_since = self.now;
            }
        }
    }

    pub(super) fn check_numbers(&self) -> Result<(), Violation> {
        self.check_workers()?;
        self.check_oldest()?;
        let (scheduler, numbers) = (&self.scheduler, &self.numbers);
        ensure!(*scheduler.run() == numbers.run, "other attempts have ended");
        let wait = scheduler.wait();
        let (begun, told) = (numbers.begun, wait.count());
        ensure!(told == begun, "{begun} jobs have begun, not {told}");
        let mean = numbers.waited / u32::try_from(begun.max(1)).unwrap_or(u32::MAX);
        ensure!(wait.mean().abs_diff(mean) <= TOLERANCE, "jobs waited {mean:?}, not {wait:?}");
        let present = (numbers.present.as_nanos() as f64).max(1.0);
        let share = numbers.busy.as_nanos() as f64 / present;
        let told = scheduler.utilization(self.now);
        ensure!((0.0..=1.0).contains(&told), "a utilization of {told}");
        let differs = (told - share).abs() > 1e-9;
        ensure!(!differs, "a utilization of {told}, not {share}");
        Ok(())
    }

    /// It runs on, or was not waited for any longer.
    fn is_left_to_itself(&self, process: &Process) -> bool {
        let abandoned = self.scheduler.crew[process.id.slot].abandoned;
        process.killed_at.is_some() && (process.runs_on || abandoned)
    }

    fn check_workers(&self) -> Result<(), Violation> {
        let mut running = 0;
        let mut slots = 0..self.scheduler.crew.slots().end;
        for view in self.scheduler.workers() {
            let slot = view.worker.slot;
            ensure!(slots.next() == Some(slot), "slot {slot} is told out of order");
            let done = self.numbers.done.get(&slot).copied().unwrap_or_default();
            ensure!(
                view.done == done,
                "slot {slot}: {done} attempts have ended, not {}",
                view.done
            );
            let process = match self.scheduler.crew[slot].stage {
                Stage::Gone => None,
                _ => self.find(view.worker).map(|at| &self.processes[at]),
            };
            let state = match process {
                None => WorkerState::Gone,
                Some(process) if self.is_left_to_itself(process) => WorkerState::Busy,
                Some(process) if process.killed_at.is_some() => WorkerState::Stopping,
                Some(process) => match process.life {
                    Life::Starting => WorkerState::Starting,
                    Life::Leaving => WorkerState::Stopping,
                    Life::Running if process.window.is_empty() => WorkerState::Idle,
                    Life::Running => WorkerState::Busy,
                },
            };
            ensure!(view.state == state, "slot {slot} is {state:?}, not {:?}", view.state);
            let process = process.filter(|process| !process.holds_early());
            let head = process.and_then(|process| Some((process, *process.window.front()?)));
            let head =
                head.map(|(p, number)| (number as u64, self.jobs[number].attempt, p.head_since));
            let told = view.head.map(|(&job, attempt, since)| (job, attempt, since));
            ensure!(told == head, "slot {slot} runs {head:?}, not {told:?}");
            running += usize::from(head.is_some());
        }
        ensure!(slots.next().is_none(), "a slot is missing");
        let told = self.scheduler.running();
        ensure!(told == running, "{running} jobs are running, not {told}");
        Ok(())
    }

    fn check_oldest(&self) -> Result<(), Violation> {
        let running = self.processes.iter().filter(|process| !process.holds_early());
        let heads = running.filter_map(|process| process.window.front());
        let heads: Vec<_> = heads.collect();
        let waiting = self.open.iter().filter(|number| !heads.contains(number));
        let since = waiting.map(|&number| self.jobs[number].waits_since).min();
        let oldest = since.map(|since| self.now.since(since));
        let told = self.scheduler.oldest_queued(self.now);
        let close = match (told, oldest) {
            (Some(told), Some(oldest)) => told.abs_diff(oldest) <= TOLERANCE,
            (told, oldest) => told == oldest,
        };
        ensure!(close, "the oldest has waited for {oldest:?}, not {told:?}");
        Ok(())
    }
}
