//! The queue: who waits, and in which order.
//!
//! It knows jobs only as numbers; their links lie with the jobs.

use crate::policy::Priority;

use super::list::{Links, List};

/// The waiting jobs: a list for each priority.
pub(super) struct Queue {
    /// Lowest priority first.
    lists: [List; 3],
    len: usize,
    /// Those in back-off, which are not counted here; the one that came first is the first.
    resting: List,
}

impl Queue {
    pub(super) fn new() -> Self {
        Queue { lists: [List::EMPTY, List::EMPTY, List::EMPTY], len: 0, resting: List::EMPTY }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether any job of this priority waits.
    pub(super) fn has(&self, priority: Priority) -> bool {
        !self.lists[priority as usize].is_empty()
    }

    pub(super) fn push_back(&mut self, links: &mut impl Links, priority: Priority, index: u32) {
        self.lists[priority as usize].push_back(links, index);
        self.len += 1;
    }

    /// Gives a job its old place back: at the front, behind those that were `earlier`.
    ///
    /// Only jobs that were themselves put back can be earlier than one that had already
    /// left, so the walk is as short as the windows are.
    pub(super) fn put_back<L: Links>(
        &mut self,
        links: &mut L,
        priority: Priority,
        index: u32,
        earlier: impl Fn(&L, u32) -> bool,
    ) {
        self.lists[priority as usize].insert_after_those(links, index, earlier);
        self.len += 1;
    }

    /// Takes out a job that waits, from wherever it stands.
    #[inline]
    pub(super) fn remove(&mut self, links: &mut impl Links, priority: Priority, index: u32) {
        self.lists[priority as usize].remove(links, index);
        self.len -= 1;
    }

    /// The next job: higher priorities first, then first come, first served.
    #[inline]
    pub(super) fn first(&self) -> Option<u32> {
        self.lists.iter().rev().find_map(List::first)
    }

    /// Takes, of the first jobs of all priorities, the one with the smallest number.
    pub(super) fn pop_by<L: Links>(
        &mut self,
        links: &mut L,
        number: impl Fn(&L, u32) -> u64,
    ) -> Option<u32> {
        let list = self
            .lists
            .iter_mut()
            .filter(|list| !list.is_empty())
            .min_by_key(|list| list.first().map(|index| number(links, index)))?;
        let index = list.pop_front(links)?;
        self.len -= 1;
        Some(index)
    }

    /// A job goes into back-off.
    pub(super) fn rest(&mut self, links: &mut impl Links, index: u32) {
        self.resting.push_back(links, index);
    }

    /// A job leaves its back-off.
    pub(super) fn end_rest(&mut self, links: &mut impl Links, index: u32) {
        self.resting.remove(links, index);
    }

    /// The first job of each priority, and of those in back-off.
    pub(super) fn firsts(&self) -> impl Iterator<Item = u32> {
        self.lists.iter().chain([&self.resting]).filter_map(List::first)
    }

    /// The jobs of one priority in their order, for checks.
    #[cfg(test)]
    pub(super) fn of(&self, links: &impl Links, priority: Priority) -> Vec<u32> {
        self.lists[priority as usize].iter(links).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::list::Link;
    use super::*;

    fn links() -> Vec<Link> {
        vec![Link::NONE; 8]
    }

    #[test]
    fn a_list_is_left_from_anywhere() {
        let (mut queue, mut links) = (Queue::new(), links());
        for index in 0..5 {
            queue.push_back(&mut links, Priority::Normal, index);
        }
        for index in [2, 0, 4] {
            queue.remove(&mut links, Priority::Normal, index);
        }
        assert_eq!(queue.of(&links, Priority::Normal), [1, 3]);
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn higher_priorities_come_first_and_each_is_in_order() {
        let (mut queue, mut links) = (Queue::new(), links());
        let priorities = [Priority::Low, Priority::High, Priority::Normal, Priority::High];
        for (index, priority) in (0..).zip(priorities) {
            queue.push_back(&mut links, priority, index);
        }
        for (index, priority) in [1, 3, 2, 0].into_iter().zip([2, 2, 1, 0]) {
            assert_eq!(queue.first(), Some(index));
            queue.remove(
                &mut links,
                [Priority::Low, Priority::Normal, Priority::High][priority],
                index,
            );
        }
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn what_is_put_back_stands_where_it_stood() {
        let (mut queue, mut links) = (Queue::new(), links());
        for index in 0..6 {
            queue.push_back(&mut links, Priority::Normal, index);
        }
        for index in 0..4 {
            queue.remove(&mut links, Priority::Normal, index);
        }
        for index in [3, 1, 2] {
            queue.put_back(&mut links, Priority::Normal, index, |_, other| other < index);
        }
        assert_eq!(queue.of(&links, Priority::Normal), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn pop_by_ignores_the_priorities() {
        let (mut queue, mut links) = (Queue::new(), links());
        let priorities = [Priority::Low, Priority::High, Priority::Normal, Priority::Low];
        for (index, priority) in (0..).zip(priorities) {
            queue.push_back(&mut links, priority, index);
        }
        let order: Vec<u32> =
            std::iter::from_fn(|| queue.pop_by(&mut links, |_, index| u64::from(index))).collect();
        assert_eq!(order, [0, 1, 2, 3]);
    }
}
