//! Which link sits in which slot, and what each worker was given: the windows of cells.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use super::cell::CellRef;
use super::link::Link;
use super::news::Around;
use crate::happening::PoolEvent;
use crate::scheduler::{JobKey, WorkerId};
use crate::trace;
use crate::wire::WireFault;

/// Jobs of one worker.
const FEW: usize = 128;

/// What the scheduler moves: a job.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) cell: CellRef,
}

/// The place of one worker, from its launch to its end.
pub(super) struct Seat {
    pub(super) worker: WorkerId,
    /// `None` until its process exists.
    pub(super) link: Option<Arc<Link>>,
    /// Jobs handed over and not answered, in order, with their seq. The scheduler has them.
    pub(super) window: VecDeque<(u64, JobKey)>,
    /// The job at the front of the window has not heard yet that it can run.
    pub(super) has_new_head: bool,
    /// Frames for it that are not in its link's out-buffer yet.
    pub(super) frames: Vec<u8>,
    /// The last job in these whose reply somebody is going to look for.
    pub(super) watched: Option<u64>,
    /// The job that it was given last is expected to end soon.
    pub(super) is_brief: bool,
    /// Replies to jobs below this seq are booked, whether they have come over the channel or not.
    pub(super) booked: u64,
    /// It has greeted, or is known to have begun a job: what it was given may run.
    pub(super) is_up: bool,
    /// It was told to die: whatever it says from here on is not heard.
    pub(super) killed: bool,
}

pub(super) struct Seats(Vec<Option<Seat>>);

impl Seats {
    pub(super) fn new(workers: u32) -> Seats {
        Seats((0..workers).map(|_| None).collect())
    }

    /// Makes a place for a new life.
    pub(super) fn launch(&mut self, worker: WorkerId) {
        let (window, frames) = (VecDeque::new(), Vec::new());
        let (link, watched, booked) = (None, None, 0);
        let seat = Seat {
            worker,
            link,
            window,
            has_new_head: false,
            frames,
            watched,
            is_brief: false,
            booked,
            is_up: false,
            killed: false,
        };
        if let Some(place) = self.0.get_mut(worker.slot as usize) {
            *place = Some(seat);
        }
    }

    /// The seat of this very life.
    pub(super) fn get(&mut self, worker: WorkerId) -> Option<&mut Seat> {
        self.0.get_mut(worker.slot as usize)?.as_mut().filter(|seat| seat.worker == worker)
    }

    /// The link of this very life.
    pub(super) fn link(&self, worker: WorkerId) -> Option<&Arc<Link>> {
        let seat = self.0.get(worker.slot as usize)?.as_ref();
        seat.filter(|seat| seat.worker == worker)?.link.as_ref()
    }

    /// Of workers that have something to do.
    pub(super) fn links_with_jobs(&self) -> Vec<Arc<Link>> {
        let busy = self.0.iter().flatten().filter(|seat| !seat.window.is_empty());
        busy.filter_map(|seat| seat.live_link().cloned()).collect()
    }

    /// Of workers that may have begun to work before their greeting was read.
    pub(super) fn links_not_up(&self) -> Vec<Arc<Link>> {
        let early = self.0.iter().flatten().filter(|seat| !seat.is_up && !seat.window.is_empty());
        early.filter_map(|seat| seat.live_link().cloned()).collect()
    }

    /// Of workers whose replies are looked for.
    pub(super) fn links_looked_for(&self) -> Vec<Arc<Link>> {
        let busy = self.0.iter().flatten().filter(|seat| !seat.window.is_empty());
        let links = busy.filter_map(Seat::live_link);
        links.filter(|link| link.recorder.is_being_watched()).cloned().collect()
    }

    /// Of workers that have few jobs, and were given a short one last. They are told that somebody looks
    /// for their replies from here on.
    pub(super) fn begin_to_look(&self) -> Vec<Arc<Link>> {
        let mut links = Vec::new();
        for seat in self.0.iter().flatten().filter(|seat| seat.is_brief && seat.has_few()) {
            if let (Some(link), Some(&(seq, _))) = (seat.live_link(), seat.window.back()) {
                link.look_at_up_to(seq);
                links.push(link.clone());
            }
        }
        links
    }

    /// Ends this very life.
    pub(super) fn remove(&mut self, worker: WorkerId) {
        let place = self.0.get_mut(worker.slot as usize);
        let is_this = |seat: &Option<Seat>| seat.as_ref().is_some_and(|seat| seat.worker == worker);
        if let Some(place) = place.filter(|place| is_this(place)) {
            *place = None;
        }
    }
}

/// The first job of a window, if an answer to number `seq` is due: answers come in the order of
/// their jobs.
pub(crate) fn take_due<T>(window: &mut VecDeque<(u64, T)>, seq: u64) -> Result<T, WireFault> {
    let is_due = window.front().is_some_and(|(due, _)| *due == seq);
    let first = if is_due { window.pop_front() } else { None };
    first.map(|(_, job)| job).ok_or(WireFault::Seq { seq })
}

impl Seat {
    /// The job at the front of the window, if there is one, is what the worker can run now: `head`.
    /// Nothing is before it is up.
    pub(super) fn begin_head(
        &self,
        head: Option<&Task>,
        around: &Around,
        wakers: &mut Vec<Waker>,
        trace: &mut trace::Pending,
    ) {
        if !self.is_up {
            return;
        }
        let head = head.map(|task| &task.cell);
        if let Some(journal) = self.link.as_ref().and_then(|link| link.journal.as_ref()) {
            journal.begin(head.map(|cell| cell.id()));
        }
        if let Some(cell) = head {
            cell.set_running(true);
            let (id, attempt) = (cell.id(), cell.attempt());
            let slot = self.worker.slot as usize;
            around.hub.publish(wakers, || PoolEvent::JobStarted { id, slot, attempt });
            trace.started(cell.span(), attempt, self.worker.slot);
        }
    }

    /// Tells the worker to die. What a thread runs on with is nobody's from here on, and may listen.
    pub(super) fn kill(&mut self, wakers: &mut Vec<Waker>) {
        self.killed = true;
        let Some(link) = &self.link else { return };
        if link.process.is_thread() {
            if let Some(&(seq, _)) = self.window.front() {
                wakers.extend(link.ask(seq));
            }
            self.window.clear();
        }
        link.kill();
    }

    /// Puts what is to be written into the link's out-buffer. Before the worker has it, it is told for
    /// whose replies somebody comes.
    pub(super) fn hand_over(&mut self) {
        if let Some(link) = &self.link {
            if let Some(seq) = self.watched.take() {
                link.recorder.watch(seq);
            }
            link.hand_over(&mut self.frames);
        }
    }

    /// So few that waking somebody for their replies would be much for each of them.
    pub(super) fn has_few(&self) -> bool {
        self.window.len() <= FEW
    }

    /// The link, unless the worker is on its way out.
    pub(super) fn live_link(&self) -> Option<&Arc<Link>> {
        self.link.as_ref().filter(|_| !self.killed)
    }

    /// Job `seq`, and whether it is at the front of the window.
    pub(super) fn find(&self, seq: u64) -> Option<(JobKey, bool)> {
        let place = self.window.iter().position(|&(other, _)| other == seq)?;
        Some((self.window[place].1, place == 0))
    }
}
