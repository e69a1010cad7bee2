//! What is to be done, in the order in which it has to be done.
//!
//! Jobs are handed out by the thousand. So that lies apart from the rest, and is copied word by word:
//! it owns nothing, hence need not be put together somewhere else first.

use std::collections::VecDeque;

use super::event::{Action, Assignment};

pub(super) struct Actions<T> {
    steps: VecDeque<Step>,
    /// All that hands out no job.
    others: VecDeque<Action<T>>,
}

#[derive(Clone, Copy)]
enum Step {
    Assign(Assignment),
    /// The next of the others.
    Other,
}

impl<T> Actions<T> {
    pub(super) fn new() -> Self {
        Actions { steps: VecDeque::new(), others: VecDeque::new() }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub(super) fn push(&mut self, action: Action<T>) {
        match action {
            Action::Assign(assignment) => self.assign(assignment),
            other => {
                self.steps.push_back(Step::Other);
                self.others.push_back(other);
            }
        }
    }

    #[inline]
    pub(super) fn assign(&mut self, assignment: Assignment) {
        self.steps.push_back(Step::Assign(assignment));
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<Action<T>> {
        match self.steps.pop_front()? {
            Step::Assign(assignment) => Some(Action::Assign(assignment)),
            Step::Other => self.others.pop_front(),
        }
    }

    /// The same if it hands out a job.
    #[inline]
    pub(super) fn pop_assignment(&mut self) -> Option<Assignment> {
        match *self.steps.front()? {
            Step::Assign(assignment) => {
                self.steps.pop_front();
                Some(assignment)
            }
            Step::Other => None,
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }

    /// All of them, for checks.
    #[cfg(test)]
    pub(super) fn list(&self) -> Vec<Action<T>>
    where
        T: Clone,
    {
        let mut others = self.others.iter();
        let steps = self.steps.iter().filter_map(|step| match step {
            Step::Assign(assignment) => Some(Action::Assign(*assignment)),
            Step::Other => others.next().cloned(),
        });
        steps.collect()
    }
}
