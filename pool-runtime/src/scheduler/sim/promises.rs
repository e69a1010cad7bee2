//! The promises, checked after each step: nothing is lost, nobody waits without need, and nothing is
//! overdue.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::Time;
use super::super::job::Place;
use super::super::machine::Alarm;
use super::super::worker::Stage;
use super::checks::{PATIENCE, PRIORITIES, SILENCE};
use super::model::{Life, Process, Silent};
use super::world::World;
use super::{Violation, ensure};

impl World {
    pub(super) fn check(&self) -> Result<(), Violation> {
        let scheduler = &self.scheduler;
        ensure!(scheduler.actions.is_empty(), "actions are left");
        let waiting = self.check_queue()?;
        let handed_out = self.check_windows()?;
        let in_back_off = self.check_timers()?;
        let held = scheduler.jobs.len();
        ensure!(held == self.open.len(), "{held} jobs are held, {} are open", self.open.len());
        ensure!(
            waiting + handed_out + in_back_off == held,
            "{waiting} jobs wait, {handed_out} are handed out, {in_back_off} in back-off: not {held}"
        );
        ensure!(scheduler.queued() + scheduler.running() == held, "the numbers do not add up");
        let sums = scheduler.crew.recount();
        ensure!(*scheduler.crew.sums() == sums, "the sums are wrong");
        self.check_numbers()?;
        let hungers = (0..4).any(|kind| scheduler.hungers_for(self.now, kind, false));
        ensure!(scheduler.is_hungry() || !hungers, "nobody knows of the hunger");
        if self.shut {
            ensure!(waiting + in_back_off == 0, "jobs wait after the shutdown");
            ensure!(!scheduler.is_hungry(), "there is hunger after the end");
            return Ok(());
        }
        self.check_nobody_is_overlooked()?;
        self.check_staff(waiting)
    }

    /// Everything in the queue waits there, in order; how many?
    fn check_queue(&self) -> Result<usize, Violation> {
        let scheduler = &self.scheduler;
        let mut waiting = 0;
        for priority in PRIORITIES {
            let (mut last_order, mut last_untouched) = (None, None);
            for index in scheduler.queue.of(&scheduler.jobs, priority) {
                let job = &scheduler.jobs[index];
                let number = *job.payload() as usize;
                let model = &self.jobs[number];
                ensure!(model.terms.priority == priority, "job {number} waits in the wrong line");
                ensure!(job.place() == Place::Queue, "job {number} waits, and thinks otherwise");
                ensure!(model.worker.is_none(), "job {number} waits, and is in a window");
                ensure!(job.doom.is_none(), "job {number} waits, doomed");
                ensure!(last_order < Some(job.order), "job {number} is out of order");
                last_order = Some(job.order);
                if !model.touched {
                    ensure!(last_untouched < Some(number), "job {number} is behind a later one");
                    last_untouched = Some(number);
                } else if model.order_at == model.counted() {
                    ensure!(job.order == model.order, "job {number} lost its place in line");
                }
                waiting += 1;
            }
        }
        ensure!(waiting == scheduler.queue.len(), "the queue is {waiting} long");
        Ok(waiting)
    }

    /// Windows are what the hands know them to be; how many jobs are in them?
    fn check_windows(&self) -> Result<usize, Violation> {
        let scheduler = &self.scheduler;
        let mut handed_out = 0;
        for slot in scheduler.crew.slots() {
            let worker = &scheduler.crew[slot];
            let empty = VecDeque::new();
            let known = match worker.stage {
                Stage::Gone => &empty,
                _ => match self.find(scheduler.crew.id(slot)) {
                    Some(at) => &self.processes[at].window,
                    None => return Err(format!("slot {slot} has no process")),
                },
            };
            let window =
                worker.window.iter().map(|index| *scheduler.jobs[index].payload() as usize);
            ensure!(window.eq(known.iter().copied()), "slot {slot} has another window: {known:?}");
            for index in worker.window.iter() {
                let job = &scheduler.jobs[index];
                let number = *job.payload();
                ensure!(job.place() == Place::Window(slot), "job {number} thinks it is elsewhere");
            }
            ensure!(worker.claimed == 0 || worker.claimed == known.len(), "slot {slot}: claims");
            let looked = worker.claimed <= 1 || worker.stage != Stage::Ready;
            ensure!(looked, "slot {slot} claims several, and nobody has looked");
            handed_out += known.len();
        }
        Ok(handed_out)
    }

    /// Each timer belongs to something that waits for it; how many jobs are in back-off?
    fn check_timers(&self) -> Result<usize, Violation> {
        let scheduler = &self.scheduler;
        let mut in_back_off = 0;
        for &(at, key, alarm) in &scheduler.timers {
            let Some(index) = scheduler.jobs.find(key) else {
                if self.shut {
                    continue;
                }
                return Err(format!("a timer for {alarm:?} is left of an ended job"));
            };
            let job = &scheduler.jobs[index];
            let number = *job.payload();
            match alarm {
                Alarm::Timeout => {
                    let Place::Window(slot) = job.place() else {
                        return Err(format!("job {number} waits, and its timeout runs"));
                    };
                    let worker = &scheduler.crew[slot];
                    ensure!(worker.window.front() == Some(index), "job {number}: a timeout runs");
                    ensure!(worker.timeout_at == Some(at), "job {number}: the timeout differs");
                }
                Alarm::Stall => {
                    let Place::Window(slot) = job.place() else {
                        return Err(format!("job {number} waits, and its stall timeout runs"));
                    };
                    let worker = &scheduler.crew[slot];
                    ensure!(worker.window.front() == Some(index), "job {number}: a stall runs");
                    ensure!(worker.stall_at == Some(at), "job {number}: the stall timeout differs");
                }
                Alarm::Deadline => {
                    ensure!(job.deadline().is_some_and(|(due, _)| due == at), "a wrong deadline");
                }
                Alarm::BackOff => {
                    ensure!(job.place() == Place::BackOff, "job {number} is not in back-off");
                    ensure!(job.due() == Some(at), "job {number} waits for something else");
                    in_back_off += 1;
                }
            }
        }
        Ok(in_back_off)
    }

    /// Nobody waits for a worker that idles or could be launched.
    fn check_staff(&self, waiting: usize) -> Result<(), Violation> {
        let scheduler = &self.scheduler;
        let limit = self.config.workers as usize;
        let alive = self.processes.iter().filter(|process| process.killed_at.is_none());
        let serving = alive.filter(|process| process.life != Life::Leaving).count();
        let free = limit - self.processes.len();
        let outranked = (0..self.processes.len()).find(|at| self.is_outranked(*at));
        if let Some(at) = outranked {
            return Err(format!("{:?} is to begin with a less urgent job", self.processes[at].id));
        }
        if waiting > 0 {
            let idle = self.processes.iter().find(|process| {
                process.serves() && process.window.is_empty() && process.silent == Silent::No
            });
            if let Some(process) = idle {
                return Err(format!("{waiting} jobs wait, and {:?} idles", process.id));
            }
        }
        let starting = self
            .processes
            .iter()
            .filter(|p| p.killed_at.is_none() && p.life == Life::Starting)
            .count();
        let wanted = if self.closing {
            limit.min(self.open.len())
        } else if self.config.idle_timeout.is_none() {
            limit
        } else {
            let early = self.processes.iter().filter(|process| process.holds_early()).count();
            limit.min(serving + waiting.saturating_sub(starting - early))
        };
        if serving < wanted && free > 0 {
            let due = scheduler.launches.due;
            ensure!(due == Some(self.no_launch_before), "a launch is due at {due:?}");
            ensure!(due > Some(self.now) || self.is_unattended(), "a launch is overdue");
        }
        ensure!(!self.closing || serving <= wanted, "{serving} workers stay for {wanted} jobs");
        if waiting > 0 && serving == 0 && starting == 0 && self.failed >= 3 {
            // All that wait have come after the last failure, and the next launch decides.
            ensure!(scheduler.launches.due.is_some() || free == 0, "nothing will happen");
        }
        Ok(())
    }

    /// Right after the driver was here.
    pub(super) fn check_nothing_is_overdue(&self) -> Result<(), Violation> {
        let now = self.now;
        let over = |at: Time, wait: Duration| at + wait <= now;
        for &number in &self.open {
            let job = &self.jobs[number];
            let claimed = job.worker.and_then(|id| self.find(id)).is_some_and(|at| {
                let process = &self.processes[at];
                process.window.iter().take(process.claimed).any(|&other| other == number)
            });
            ensure!(claimed || !job.is_past_deadline(now), "job {number} waits past its deadline");
            ensure!(
                !self.is_in_back_off(number) || job.not_after >= now,
                "job {number} is forgotten in its back-off"
            );
        }
        for process in &self.processes {
            let worker = process.id;
            if let Some(killed_at) = process.killed_at {
                let left = self.scheduler.crew[worker.slot].abandoned;
                ensure!(!over(killed_at, PATIENCE) || left, "{worker:?} is killed, and waited for");
                continue;
            }
            match process.life {
                Life::Starting => {
                    let late = over(process.since, self.config.start_timeout);
                    ensure!(!late, "{worker:?} has been starting for too long");
                    let waits = process.holds_early() && process.claimed == 0;
                    let due = waits && over(process.head_since, Duration::from_millis(50));
                    ensure!(
                        !due || !self.somebody_serves(),
                        "a job lies in {worker:?}, which starts, and somebody else is up"
                    );
                }
                Life::Leaving => {
                    ensure!(!over(process.since, PATIENCE), "{worker:?} does not stop");
                }
                Life::Running => self.check_head(process)?,
            }
        }
        Ok(())
    }

    fn check_head(&self, process: &Process) -> Result<(), Violation> {
        let now = self.now;
        let worker = process.id;
        let Some(&number) = process.window.front() else {
            let idle = self.config.idle_timeout.filter(|_| process.silent == Silent::No);
            let over = idle.is_some_and(|idle| process.idle_since + idle <= now);
            ensure!(!over, "{worker:?} has been idle for too long");
            return Ok(());
        };
        let head = &self.jobs[number];
        let since = process.head_since;
        let told = &self.scheduler.crew[worker.slot];
        if told.is_crowded() {
            // Twice, since one moment serves all; and the driver may be late.
            let late = Duration::from_millis(3);
            let latency = self.config.latency;
            // Somebody has nothing to do meanwhile.
            let idles = self.scheduler.crew.longest_idle().filter(|_| process.claimed > 0);
            if let Some(idle_since) = idles.map(|slot| self.scheduler.crew[slot].idle_since) {
                let until =
                    since.max(idle_since) + (latency / 10).saturating_mul(2 * (1 + told.slack));
                ensure!(until + late > now, "jobs are kept from the idle by {worker:?}");
            }
            let patience = latency.saturating_mul(2 * 2 * told.slack);
            ensure!(since + patience + late > now, "jobs are stuck in {worker:?}");
        }
        if process.claimed == 0 {
            ensure!(since + SILENCE > now, "job {number} lies unclaimed in {worker:?}");
        }
        if process.is_out_of_time(&head.terms, now) || head.is_past_deadline(now) {
            ensure!(process.claimed > 0, "job {number} is out of time, and was not recalled");
            let told = process.asked_at.is_some() || process.window.len() > 1;
            ensure!(told, "job {number} is out of time, and nobody told {worker:?}");
        }
        if let Some(asked_at) = process.asked_at {
            ensure!(asked_at + head.terms.grace > now, "{worker:?} outlives the grace period");
        }
        Ok(())
    }

    pub(super) fn check_rest(&self) -> Result<(), Violation> {
        ensure!(self.open.is_empty(), "jobs {:?} were never resolved", self.open);
        let runs_on = |process: &Process| process.killed_at.is_some() && !self.config.killable;
        ensure!(self.processes.iter().all(runs_on), "there are still processes");
        ensure!(self.scheduler.poll_timeout().is_none(), "a timer is armed at rest");
        ensure!(self.jobs.iter().all(|job| job.ending.is_some()), "a job has no ending");
        Ok(())
    }
}
