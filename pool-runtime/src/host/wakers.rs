//! Waking tasks without growing the stack.
//!
//! A waker may itself submit a job or end a pool, and so wake others. Those are appended to the
//! list that this thread is waking, so the depth does not grow with the number of wakers that do.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::task::Waker;

thread_local! {
    /// `Some` while this thread settles: what is to be settled next.
    static PENDING: RefCell<Option<VecDeque<Waker>>> = const { RefCell::new(None) };
}

/// Wakes them one after the other, flat even if they cause further ones.
pub(crate) fn wake_all(wakers: Vec<Waker>) {
    if wakers.is_empty() {
        return;
    }
    let nested = PENDING.with_borrow_mut(|pending| match pending {
        Some(pending) => {
            pending.extend(wakers);
            true
        }
        none => {
            *none = Some(wakers.into());
            false
        }
    });
    if nested {
        return;
    }
    // If a waker panics, the rest must still be woken, and the next call must find the list empty.
    let settling = Settling;
    while let Some(waker) = settling.next() {
        waker.wake();
    }
}

struct Settling;

impl Settling {
    fn next(&self) -> Option<Waker> {
        PENDING.with_borrow_mut(|pending| pending.as_mut()?.pop_front())
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        while let Some(waker) = self.next() {
            // Only reached while a panic of another waker unwinds.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| waker.wake()));
        }
        PENDING.set(None);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    static DEPTH: AtomicUsize = AtomicUsize::new(0);
    static WOKEN: AtomicUsize = AtomicUsize::new(0);

    struct Chain(usize);

    impl Wake for Chain {
        fn wake(self: Arc<Self>) {
            assert_eq!(DEPTH.fetch_add(1, Ordering::SeqCst), 0, "nested");
            WOKEN.fetch_add(1, Ordering::SeqCst);
            if self.0 > 0 {
                wake_all(vec![Arc::new(Chain(self.0 - 1)).into()]);
            }
            DEPTH.fetch_sub(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn wakers_that_wake_do_not_grow_the_stack() {
        wake_all(vec![Arc::new(Chain(100_000)).into()]);
        assert_eq!(WOKEN.load(Ordering::SeqCst), 100_001);
    }
}
