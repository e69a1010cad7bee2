//! Shows that the simulation notices: schedulers that break one rule each, all to be caught.
//!
//! A mutant is made from outside, so that the scheduler itself stays as it is read: what it
//! is told, what it remembers and what it says is tampered with at the moment at which the
//! broken rule would have acted.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::policy::{Priority, RetryPolicy, Terms};

use super::super::config::Config;
use super::super::event::{Action, Assignment, Ending, Event, Time};
use super::super::job::{Doom, Place};
use super::super::machine::Alarm;
use super::super::worker::Stage;
use super::Counters;
use super::world::World;

macro_rules! mutants {
    ($($name:ident,)+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Mutant {
            $($name,)+
        }

        const ALL: &[Mutant] = &[$(Mutant::$name,)+];
    };
}

mutants! {
    // The queue.
    IgnoresPriority,
    ForgetsDeadlines,
    ForgetsDeadlinesInTheQueue,
    LosesAPermit,
    FreesAPermitTwice,
    NeverHurries,
    NeverAsksAgain,
    AlwaysHurries,
    CallsAnyQueueBackedUp,
    // Windows.
    OverfillsWindows,
    OverloadsWindows,
    TakesWhatNobodyTakes,
    NeverFindsTheStuck,
    LetsTheIdleWait,
    HandsOutBehindTheDoomed,
    RunsClaimedJobsAgain,
    LosesRecalledJobs,
    PutsRecalledJobsToTheBack,
    PutsRecalledJobsInReverse,
    CountsUnclaimedAttempts,
    ResolvesLast,
    // Timeouts.
    ForgetsTimeouts,
    CountsTimeoutsFromSubmit,
    LeavesTimeoutsArmed,
    ForgetsStallTimeouts,
    IgnoresProgress,
    // Memory.
    IgnoresMemory,
    AsksTheGreedy,
    KeepsTheGreedy,
    CallsGreedATimeout,
    ForgetsTheMemoryFactor,
    HandsOutBehindTheLimited,
    // Retries.
    SkipsBackOff,
    BacksOffTooLong,
    RetriesOnceTooOften,
    RetriesEveryPanic,
    NeverRetriesCrashes,
    NeverRetriesTimeouts,
    RetriesTheCancelled,
    CancelIgnoresBackOff,
    CloseForgetsRetries,
    // Asking and killing.
    KillsWithoutRecall,
    KillsWithoutGrace,
    ForgetsTheGracePeriod,
    KillWaitsForTheGracePeriod,
    TheFirstReasonWins,
    AcceptsRepliesAfterKill,
    // Deaths.
    CallsADoomedDeathACrash,
    ChargesTwice,
    ChargesTheUnclaimed,
    ChargesNobody,
    LetsPoisonCircle,
    LosesJobsOnDeath,
    // What was written and not read.
    BuriesUnread,
    CancelsUnread,
    HearsOneAtATime,
    LooksUnread,
    RecallsUnread,
    ShutsDownUnread,
    // Workers that are not up yet.
    HandsOutBeforeItCanSend,
    BeginsWhatOnlyLiesThere,
    LetsThemWaitForTheUnborn,
    // Silent workers.
    NeverLooksForSilence,
    FeedsTheSilent,
    // Workers.
    LaunchesTooMany,
    LaunchesWithoutBackOff,
    ForgetsToLaunch,
    ForgetsTheStartTimeout,
    WaitsForTheUnkillable,
    WaitsForTheStubborn,
    NeverRecycles,
    NeverSendsHome,
    // Workers that cannot be killed.
    BelievesInKills,
    CallsWhatRunsOnOver,
    WaitsForTheAbandoned,
    LaunchesBesideTheAbandoned,
    // Launches.
    NeverGivesUpLaunching,
    GivesUpLaunchingAtOnce,
    // Numbers.
    MiscountsAttempts,
    CountsEveryWait,
    MeasuresRunsFromTheLaunch,
    RejuvenatesTheResting,
    LosesWorkerTime,
    // The end.
    ForgetsToClose,
    ForgetsToShutDown,
    ShutdownForgetsBackOff,
}

impl Mutant {
    pub(super) fn config(self, config: &Config) -> Config {
        let mut config = config.clone();
        match self {
            Mutant::OverfillsWindows => config.window += 1,
            Mutant::OverloadsWindows => config.horizon = config.horizon.saturating_mul(2),
            Mutant::LaunchesTooMany => config.workers += 1,
            Mutant::NeverRecycles => config.max_jobs_per_worker = None,
            Mutant::NeverSendsHome => config.idle_timeout = None,
            Mutant::BelievesInKills => config.killable = true,
            _ => {}
        }
        config
    }

    pub(super) fn terms(self, terms: &Terms) -> Arc<Terms> {
        let mut terms = *terms;
        match self {
            Mutant::IgnoresPriority => terms.priority = Priority::Normal,
            Mutant::KillsWithoutGrace => terms.grace = Duration::ZERO,
            Mutant::SkipsBackOff => terms.retry.initial = Duration::ZERO,
            Mutant::BacksOffTooLong => terms.retry.max *= 2,
            Mutant::RetriesOnceTooOften => terms.retry.attempts += 1,
            Mutant::RetriesEveryPanic => terms.retry.on_panic = true,
            Mutant::NeverRetriesCrashes => terms.retry.on_crash = false,
            Mutant::NeverRetriesTimeouts => terms.retry.on_timeout = false,
            Mutant::ForgetsTheMemoryFactor => terms.retry.memory_factor = 1.0,
            _ => {}
        }
        if self == Mutant::BacksOffTooLong {
            terms.retry.initial *= 2;
        }
        Arc::new(terms)
    }
}

impl World {
    pub(super) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Whether a queue of the user's would give this job to the scheduler now.
    pub(super) fn is_hungry_for(&self, kind: u16, terms: &Terms) -> bool {
        match self.mutant {
            Some(Mutant::TakesWhatNobodyTakes) => self.scheduler.is_hungry(),
            _ => self.scheduler.hungers_for(self.now, kind, terms.memory_limit.is_some()),
        }
    }

    pub(super) fn sabotage_submitted(&mut self, number: usize) {
        let key = self.jobs[number].key;
        let Some(index) = self.scheduler.jobs.find(key) else { return };
        let job = &self.scheduler.jobs[index];
        let forgets = self.is(Mutant::ForgetsDeadlines)
            || self.is(Mutant::ForgetsDeadlinesInTheQueue) && job.place() == Place::Queue;
        if let Some((at, _)) = job.deadline().filter(|_| forgets) {
            self.scheduler.timers.remove(&(at, key, Alarm::Deadline));
        }
        let timeout = self.jobs[number].terms.timeout;
        if let Some(timeout) = timeout.filter(|_| self.is(Mutant::CountsTimeoutsFromSubmit)) {
            self.scheduler.timers.insert((self.now + timeout, key, Alarm::Timeout));
        }
    }

    /// What the scheduler is told in place of `event`.
    pub(super) fn sabotage_event(&mut self, mut event: Event) -> Option<Event> {
        let Some(mutant) = self.mutant else { return Some(event) };
        self.sabotage_before();
        let scheduler = &mut self.scheduler;
        match (&mut event, mutant) {
            (Event::Close, Mutant::ForgetsToClose) => return None,
            (Event::Shutdown, Mutant::ForgetsToShutDown) => return None,
            (Event::Shutdown, Mutant::ShutdownForgetsBackOff) => {
                scheduler.timers.retain(|&(.., alarm)| alarm != Alarm::BackOff);
            }
            (Event::Kill { job }, Mutant::KillWaitsForTheGracePeriod) => {
                return Some(Event::Cancel { job: *job });
            }
            (Event::Cancel { job } | Event::Kill { job }, _) => {
                let index = scheduler.jobs.find(*job);
                let known = index.map(|index| &scheduler.jobs[index]);
                let ignored = known.is_some_and(|job| match mutant {
                    Mutant::CancelIgnoresBackOff => job.place() == Place::BackOff,
                    Mutant::TheFirstReasonWins => job.doom.is_some(),
                    _ => false,
                });
                if ignored {
                    return None;
                }
            }
            (Event::Progressed { .. }, Mutant::IgnoresProgress) => return None,
            (Event::OverMemory { .. }, Mutant::IgnoresMemory) => return None,
            (Event::Recalled { worker, .. }, Mutant::AsksTheGreedy) => {
                if let Some(slot) = scheduler.crew.find(*worker) {
                    scheduler.crew[slot].over_memory = false;
                }
            }
            (Event::Bloated { .. }, Mutant::KeepsTheGreedy) => return None,
            (Event::Replied { worker, .. }, Mutant::MiscountsAttempts) => {
                if let Some(slot) = scheduler.crew.find(*worker) {
                    let done = &mut scheduler.crew[slot].done;
                    *done = done.saturating_sub(1);
                }
            }
            (Event::Replied { took, .. }, Mutant::MeasuresRunsFromTheLaunch) => {
                *took = self.now.since_start();
            }
            (Event::Recalled { worker, kept }, Mutant::LosesRecalledJobs) => {
                if let Some(slot) = scheduler.crew.find(*worker) {
                    *kept = scheduler.crew[slot].window.len();
                }
            }
            (Event::Recalled { kept, .. }, Mutant::RunsClaimedJobsAgain) => *kept = 0,
            (Event::WorkerGone { claimed, .. }, Mutant::ChargesTheUnclaimed) => *claimed = true,
            (Event::WorkerGone { claimed, worker, .. }, Mutant::ChargesNobody) => {
                *claimed = false;
                if let Some(slot) = scheduler.crew.find(*worker) {
                    scheduler.crew[slot].claimed = 0;
                }
            }
            (Event::Replied { worker, .. }, Mutant::AcceptsRepliesAfterKill) => {
                if let Some(slot) = scheduler.crew.find(*worker) {
                    scheduler.crew[slot].stage = Stage::Ready;
                    scheduler.crew.settle(slot, self.now);
                }
            }
            (Event::Replied { worker, .. }, Mutant::LeavesTimeoutsArmed) => {
                if let Some(slot) = scheduler.crew.find(*worker) {
                    scheduler.crew[slot].timeout_at = None;
                }
            }
            _ => {}
        }
        if let Event::WorkerGone { worker, .. } | Event::Recalled { worker, .. } = event {
            if let Some(slot) = self.scheduler.crew.find(worker) {
                self.sabotage_window(slot, matches!(event, Event::WorkerGone { .. }));
            }
        }
        Some(event)
    }

    /// Before jobs come back from a worker.
    fn sabotage_window(&mut self, slot: u32, death: bool) {
        let Some(mutant) = self.mutant else { return };
        let scheduler = &mut self.scheduler;
        let window: Vec<u32> = scheduler.crew[slot].window.iter().collect();
        match mutant {
            Mutant::LosesJobsOnDeath if death => drop(scheduler.crew[slot].window.take()),
            Mutant::PutsRecalledJobsInReverse => {
                let orders: Vec<u64> = window.iter().map(|&i| scheduler.jobs[i].order).collect();
                for (&index, order) in window.iter().zip(orders.into_iter().rev()) {
                    scheduler.jobs[index].order = order;
                }
            }
            _ => {}
        }
        for index in window {
            let job = &mut scheduler.jobs[index];
            match mutant {
                Mutant::CallsADoomedDeathACrash if death => job.doom = None,
                Mutant::RetriesTheCancelled if job.doom > Some(Doom::Deadline) => {
                    job.doom = Some(Doom::Timeout);
                }
                Mutant::CallsGreedATimeout if job.doom == Some(Doom::Memory) => {
                    job.doom = Some(Doom::Timeout);
                }
                Mutant::CountsEveryWait => job.forget_begun(),
                Mutant::LetsPoisonCircle => job.set_moves(0),
                Mutant::CountsUnclaimedAttempts if !death => job.count_attempt(),
                Mutant::ChargesTwice if death => job.count_attempt(),
                Mutant::CloseForgetsRetries if death && self.closing => {
                    let retry = RetryPolicy::attempts(1);
                    if let Some(&terms) = job.terms() {
                        job.set_terms(Terms { retry, ..terms });
                    }
                }
                _ => {}
            }
        }
    }

    pub(super) fn sabotage_told(&mut self, event: &Event) {
        let actions = &mut self.scheduler.actions;
        let is_reply = matches!(event, Event::Replied { .. });
        if self.mutant == Some(Mutant::ResolvesLast) && is_reply && actions.len() > 1 {
            actions.pop().into_iter().for_each(|action| actions.push(action));
        }
        let (Some(mutant), Event::Recalled { worker, .. }) = (self.mutant, event) else { return };
        let (scheduler, slot) = (&mut self.scheduler, worker.slot);
        if scheduler.crew.find(*worker).is_none() {
            return;
        }
        match mutant {
            Mutant::HandsOutBehindTheDoomed => scheduler.crew[slot].claimed = 0,
            Mutant::FeedsTheSilent => scheduler.crew[slot].unresponsive = false,
            Mutant::PutsRecalledJobsToTheBack => {
                for job in self.jobs.iter().filter(|job| job.touched && job.ending.is_none()) {
                    let Some(index) = scheduler.jobs.find(job.key) else { continue };
                    if scheduler.jobs[index].place() == Place::Queue && job.worker.is_none() {
                        scheduler.queue.remove(&mut scheduler.jobs, job.terms.priority, index);
                        scheduler.enqueue(self.now, index);
                    }
                }
            }
            _ => {}
        }
        scheduler.crew.settle(slot, self.now);
        scheduler.dispatch(self.now);
    }

    pub(super) fn sabotage_before(&mut self) {
        let scheduler = &mut self.scheduler;
        match self.mutant {
            Some(Mutant::LaunchesWithoutBackOff) => {
                scheduler.launches.not_before = Time::default();
            }
            Some(Mutant::NeverGivesUpLaunching) => scheduler.launches.failed = 0,
            Some(Mutant::GivesUpLaunchingAtOnce) => scheduler.launches.failed = 99,
            _ => {}
        }
    }

    /// What those are told who submit a job on the pool's terms.
    pub(super) fn is_backed_up(&self) -> bool {
        match self.mutant {
            Some(Mutant::CallsAnyQueueBackedUp) => self.scheduler.queue.len() > 0,
            _ => self.scheduler.is_backed_up(),
        }
    }

    pub(super) fn sabotage_after(&mut self) {
        let scheduler = &mut self.scheduler;
        match self.mutant {
            Some(Mutant::NeverLooksForSilence) => scheduler.check_at = None,
            Some(Mutant::RejuvenatesTheResting) => {
                for job in &self.jobs {
                    let Some(index) = scheduler.jobs.find(job.key) else { continue };
                    if scheduler.jobs[index].place() == Place::BackOff {
                        scheduler.jobs[index].order = self.now.nanos();
                    }
                }
            }
            Some(Mutant::NeverAsksAgain) => scheduler.crew.forget_refused(),
            Some(Mutant::LosesWorkerTime) => scheduler.crew.times = Default::default(),
            Some(Mutant::NeverFindsTheStuck) => scheduler.tick_at = None,
            Some(Mutant::LetsTheIdleWait) if scheduler.crew.has_idle() => {
                let crew = &scheduler.crew;
                let crowded = crew.slots().filter(|slot| crew[*slot].is_crowded());
                let heads = crowded.map(|slot| crew[slot].head_since + Duration::from_millis(8));
                scheduler.tick_at = scheduler.tick_at.max(heads.min());
            }
            Some(Mutant::ForgetsToLaunch) => scheduler.launches.due = None,
            Some(Mutant::ForgetsTimeouts) => {
                scheduler.timers.retain(|&(.., alarm)| alarm != Alarm::Timeout);
            }
            Some(Mutant::ForgetsStallTimeouts) => {
                scheduler.timers.retain(|&(.., alarm)| alarm != Alarm::Stall);
            }
            _ => {}
        }
    }

    /// Whether the action is not to be performed.
    pub(super) fn sabotage_action(&mut self, action: &mut Action<u64>) -> bool {
        let Some(mutant) = self.mutant else { return false };
        let now = self.now;
        match (action, mutant) {
            (Action::Assign(Assignment { first, .. }), Mutant::FreesAPermitTwice) => *first = true,
            (Action::Assign(Assignment { prompt, .. }), Mutant::NeverHurries) => *prompt = false,
            (Action::Assign(Assignment { prompt, .. }), Mutant::AlwaysHurries) => *prompt = true,
            (Action::Assign(Assignment { worker, job, .. }), Mutant::HandsOutBehindTheLimited) => {
                let Some(number) = self.scheduler.get(*job) else { return false };
                let kind = self.jobs[*number as usize].kind;
                let scheduler = &mut self.scheduler;
                let weight = scheduler.estimates.of(kind);
                scheduler.crew[worker.slot].window.reweigh_last(weight);
                scheduler.crew.settle(worker.slot, now);
            }
            (Action::Launch { worker }, Mutant::HandsOutBeforeItCanSend) => {
                self.scheduler.crew[worker.slot].connected = true;
                self.scheduler.crew.settle(worker.slot, now);
            }
            (Action::Assign(Assignment { worker, .. }), Mutant::BeginsWhatOnlyLiesThere) => {
                self.scheduler.head_began(now, worker.slot);
            }
            (Action::Recall { worker, .. }, Mutant::LetsThemWaitForTheUnborn) => {
                let worker = &mut self.scheduler.crew[worker.slot];
                if worker.holds_early() {
                    worker.recalling = false;
                    return true;
                }
            }
            (Action::Resolve { unassigned, .. }, Mutant::LosesAPermit) => *unassigned = false,
            (Action::Resolve { ending, .. }, Mutant::CallsWhatRunsOnOver) => {
                if let Ending::Unsupported(instead_of) = ending {
                    *ending = (**instead_of).clone();
                }
            }
            (Action::Kill { worker }, Mutant::WaitsForTheAbandoned) => {
                self.scheduler.crew[worker.slot].abandoned = false;
                self.scheduler.crew.settle(worker.slot, now);
            }
            (Action::Kill { worker }, Mutant::LaunchesBesideTheAbandoned) => {
                let worker_of_slot = &mut self.scheduler.crew[worker.slot];
                let abandoned = std::mem::take(&mut worker_of_slot.abandoned);
                worker_of_slot.stage = if abandoned { Stage::Gone } else { worker_of_slot.stage };
                self.scheduler.crew.settle(worker.slot, now);
            }
            (Action::Launch { worker }, Mutant::ForgetsTheStartTimeout)
            | (Action::Ask { worker }, Mutant::ForgetsTheGracePeriod)
            | (Action::Kill { worker }, Mutant::WaitsForTheUnkillable)
            | (Action::Stop { worker }, Mutant::WaitsForTheStubborn) => {
                self.scheduler.crew.set_timer(worker.slot, None);
            }
            (Action::Recall { worker, .. }, Mutant::KillsWithoutRecall) => {
                self.scheduler.kill(now, worker.slot);
                return true;
            }
            _ => {}
        }
        false
    }
}

/// What catches the mutant, and in which world.
fn hunt(mutant: Mutant, worlds: u64) -> Option<(u64, String)> {
    (0..worlds).find_map(|seed| {
        let mut counters = Counters::new();
        let world = AssertUnwindSafe(|| super::run(seed, Some(mutant), &mut counters));
        // A panic shows a mistake in the mutant as easily as one that was noticed.
        let violation = catch_unwind(world).ok()?.err()?;
        Some((seed, violation))
    })
}

#[test]
fn no_mutant_survives() {
    let caught: BTreeMap<Mutant, _> =
        ALL.iter().map(|&mutant| (mutant, hunt(mutant, 2_000))).collect();
    for (mutant, found) in &caught {
        match found {
            Some((seed, violation)) => println!("{mutant:?}: {} worlds: {violation}", seed + 1),
            None => println!("{mutant:?} SURVIVES"),
        }
    }
    let survivors: Vec<_> = caught.iter().filter(|(_, found)| found.is_none()).collect();
    assert!(survivors.is_empty(), "the simulation does not notice {survivors:?}");
}
