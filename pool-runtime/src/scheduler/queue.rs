//! Lists of numbers, and the queue made of them.
//!
//! Owns the order in which jobs wait. It knows jobs only as indices, so everything here is
//! O(1): a job that is cancelled leaves the middle of its list as cheaply as it came.

use crate::policy::Priority;

const NIL: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Link {
    previous: u32,
    next: u32,
}

/// The links of some lists. An index is in at most one of them at a time.
#[derive(Default)]
pub(super) struct Links(Vec<Link>);

impl Links {
    fn reach(&mut self, index: u32) {
        let needed = index as usize + 1;
        if self.0.len() < needed {
            self.0.resize(needed, Link { previous: NIL, next: NIL });
        }
    }

    fn after(&self, index: u32) -> u32 {
        self.0[index as usize].next
    }
}

/// A doubly linked list whose links lie in [`Links`].
pub(super) struct List {
    first: u32,
    last: u32,
}

impl List {
    pub(super) const EMPTY: List = List { first: NIL, last: NIL };

    pub(super) fn first(&self) -> Option<u32> {
        (self.first != NIL).then_some(self.first)
    }

    pub(super) fn last(&self) -> Option<u32> {
        (self.last != NIL).then_some(self.last)
    }

    pub(super) fn iter<'a>(&self, links: &'a Links) -> impl Iterator<Item = u32> + use<'a> {
        std::iter::successors(self.first(), |&at| Some(links.after(at)).filter(|&at| at != NIL))
    }

    pub(super) fn push_front(&mut self, links: &mut Links, index: u32) {
        self.insert_between(links, NIL, index, self.first);
    }

    pub(super) fn push_back(&mut self, links: &mut Links, index: u32) {
        self.insert_between(links, self.last, index, NIL);
    }

    /// Puts `index` behind the leading entries that are `earlier`.
    fn insert_after_those(&mut self, links: &mut Links, index: u32, earlier: impl Fn(u32) -> bool) {
        let (mut previous, mut next) = (NIL, self.first);
        while next != NIL && earlier(next) {
            (previous, next) = (next, links.after(next));
        }
        self.insert_between(links, previous, index, next);
    }

    fn insert_between(&mut self, links: &mut Links, previous: u32, index: u32, next: u32) {
        links.reach(index);
        links.0[index as usize] = Link { previous, next };
        match previous {
            NIL => self.first = index,
            at => links.0[at as usize].next = index,
        }
        match next {
            NIL => self.last = index,
            at => links.0[at as usize].previous = index,
        }
    }

    /// Takes out `index`, which is in this list.
    pub(super) fn remove(&mut self, links: &mut Links, index: u32) {
        let Link { previous, next } = links.0[index as usize];
        match previous {
            NIL => self.first = next,
            at => links.0[at as usize].next = next,
        }
        match next {
            NIL => self.last = previous,
            at => links.0[at as usize].previous = previous,
        }
    }
}

/// The waiting jobs: a list for each priority.
pub(super) struct Queue {
    links: Links,
    /// Lowest priority first.
    lists: [List; 3],
    len: usize,
    /// Those in back-off, which are not counted here; the one that came first is the first.
    resting: List,
}

impl Queue {
    pub(super) fn new() -> Self {
        Queue {
            links: Links::default(),
            lists: [List::EMPTY, List::EMPTY, List::EMPTY],
            len: 0,
            resting: List::EMPTY,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push_back(&mut self, priority: Priority, index: u32) {
        self.lists[priority as usize].push_back(&mut self.links, index);
        self.len += 1;
    }

    /// Gives a job its old place back: at the front, behind those that were `earlier`.
    ///
    /// Only jobs that were themselves put back can be earlier than one that had already
    /// left, so the walk is as short as the windows are.
    pub(super) fn put_back(
        &mut self,
        priority: Priority,
        index: u32,
        earlier: impl Fn(u32) -> bool,
    ) {
        self.lists[priority as usize].insert_after_those(&mut self.links, index, earlier);
        self.len += 1;
    }

    /// Takes out a job that waits, from wherever it stands.
    pub(super) fn remove(&mut self, priority: Priority, index: u32) {
        self.lists[priority as usize].remove(&mut self.links, index);
        self.len -= 1;
    }

    /// The next job: higher priorities first, then first come, first served.
    pub(super) fn first(&self) -> Option<u32> {
        self.lists.iter().rev().find_map(List::first)
    }

    /// Takes, of the first jobs of all priorities, the one with the smallest number.
    pub(super) fn pop_by(&mut self, number: impl Fn(u32) -> u64) -> Option<u32> {
        let list = self
            .lists
            .iter_mut()
            .filter(|list| list.first().is_some())
            .min_by_key(|list| list.first().map(&number))?;
        let index = list.first()?;
        list.remove(&mut self.links, index);
        self.len -= 1;
        Some(index)
    }

    /// A job goes into back-off.
    pub(super) fn rest(&mut self, index: u32) {
        self.resting.push_back(&mut self.links, index);
    }

    /// A job leaves its back-off.
    pub(super) fn end_rest(&mut self, index: u32) {
        self.resting.remove(&mut self.links, index);
    }

    /// The first job of each priority, and of those in back-off.
    pub(super) fn firsts(&self) -> impl Iterator<Item = u32> {
        self.lists.iter().chain([&self.resting]).filter_map(List::first)
    }

    /// The jobs of one priority in their order, for checks.
    #[cfg(test)]
    pub(super) fn of(&self, priority: Priority) -> Vec<u32> {
        let mut found = Vec::new();
        let mut at = self.lists[priority as usize].first;
        while at != NIL {
            found.push(at);
            at = self.links.after(at);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_left_from_anywhere() {
        let mut queue = Queue::new();
        for index in 0..5 {
            queue.push_back(Priority::Normal, index);
        }
        for index in [2, 0, 4] {
            queue.remove(Priority::Normal, index);
        }
        assert_eq!(queue.of(Priority::Normal), [1, 3]);
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn higher_priorities_come_first_and_each_is_in_order() {
        let mut queue = Queue::new();
        let priorities = [Priority::Low, Priority::High, Priority::Normal, Priority::High];
        for (index, priority) in (0..).zip(priorities) {
            queue.push_back(priority, index);
        }
        for (index, priority) in [1, 3, 2, 0].into_iter().zip([2, 2, 1, 0]) {
            assert_eq!(queue.first(), Some(index));
            queue.remove([Priority::Low, Priority::Normal, Priority::High][priority], index);
        }
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn what_is_put_back_stands_where_it_stood() {
        let mut queue = Queue::new();
        for index in 0..6 {
            queue.push_back(Priority::Normal, index);
        }
        for index in 0..4 {
            queue.remove(Priority::Normal, index);
        }
        for index in [3, 1, 2] {
            queue.put_back(Priority::Normal, index, |other| other < index);
        }
        assert_eq!(queue.of(Priority::Normal), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn pop_by_ignores_the_priorities() {
        let mut queue = Queue::new();
        let priorities = [Priority::Low, Priority::High, Priority::Normal, Priority::Low];
        for (index, priority) in (0..).zip(priorities) {
            queue.push_back(priority, index);
        }
        let order: Vec<u32> = std::iter::from_fn(|| queue.pop_by(u64::from)).collect();
        assert_eq!(order, [0, 1, 2, 3]);
    }
}
