//! Lists of numbers: doubly linked, through links that lie with whatever the numbers stand for.
//!
//! Everything is O(1): who stands in the middle of a list leaves it as cheaply as it came.

const NIL: u32 = u32::MAX;

/// The neighbours of one who stands in a list. What is before the first means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) previous: u32,
    pub(super) next: u32,
}

impl Link {
    /// Of one who stands alone.
    pub(super) const NONE: Link = Link { previous: NIL, next: NIL };
}

/// Where the links of some lists lie. A number is in at most one of these lists at a time.
pub(super) trait Links {
    fn link(&self, number: u32) -> Link;

    fn link_mut(&mut self, number: u32) -> &mut Link;
}

impl Links for Vec<Link> {
    fn link(&self, number: u32) -> Link {
        self[number as usize]
    }

    fn link_mut(&mut self, number: u32) -> &mut Link {
        &mut self[number as usize]
    }
}

/// A list, by its ends.
pub(super) struct List {
    first: u32,
    last: u32,
}

impl List {
    pub(super) const EMPTY: List = List { first: NIL, last: NIL };

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.first == NIL
    }

    #[inline]
    pub(super) fn first(&self) -> Option<u32> {
        (self.first != NIL).then_some(self.first)
    }

    pub(super) fn last(&self) -> Option<u32> {
        (self.last != NIL).then_some(self.last)
    }

    pub(super) fn iter<'a>(&self, links: &'a impl Links) -> impl Iterator<Item = u32> + 'a {
        let some = |number: u32| (number != NIL).then_some(number);
        std::iter::successors(self.first(), move |&at| some(links.link(at).next))
    }

    pub(super) fn push_front(&mut self, links: &mut impl Links, number: u32) {
        self.insert_between(links, NIL, number, self.first);
    }

    pub(super) fn push_back(&mut self, links: &mut impl Links, number: u32) {
        self.insert_between(links, self.last, number, NIL);
    }

    /// Puts `number` behind the leading ones that are `earlier`.
    pub(super) fn insert_after_those<L: Links>(
        &mut self,
        links: &mut L,
        number: u32,
        earlier: impl Fn(&L, u32) -> bool,
    ) {
        let (mut previous, mut next) = (NIL, self.first);
        while next != NIL && earlier(links, next) {
            (previous, next) = (next, links.link(next).next);
        }
        self.insert_between(links, previous, number, next);
    }

    fn insert_between(&mut self, links: &mut impl Links, previous: u32, number: u32, next: u32) {
        *links.link_mut(number) = Link { previous, next };
        match previous {
            NIL => self.first = number,
            at => links.link_mut(at).next = number,
        }
        match next {
            NIL => self.last = number,
            at => links.link_mut(at).previous = number,
        }
    }

    #[inline]
    pub(super) fn pop_front(&mut self, links: &mut impl Links) -> Option<u32> {
        let number = self.first()?;
        self.remove(links, number);
        Some(number)
    }

    /// Takes out `number`, which is in this list.
    #[inline]
    pub(super) fn remove(&mut self, links: &mut impl Links, number: u32) {
        let Link { previous, next } = links.link(number);
        if number != self.first {
            self.remove_between(links, previous, next);
            return;
        }
        self.first = next;
        if next == NIL {
            self.last = NIL;
        }
    }

    fn remove_between(&mut self, links: &mut impl Links, previous: u32, next: u32) {
        links.link_mut(previous).next = next;
        match next {
            NIL => self.last = previous,
            at => links.link_mut(at).previous = previous,
        }
    }
}
