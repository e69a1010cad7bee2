//! Waking tasks without growing the stack.
//!
//! A waker may itself submit a job or end a pool, and so wake others. Those are appended to the
//! list that this thread is waking, so the depth does not grow with the number of wakers that do.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::task::Waker;

thread_local! {
    static PENDING: RefCell<Pending> =
        const { RefCell::new(Pending { is_waking: false, next: VecDeque::new() }) };
}

/// What this thread wakes.
struct Pending {
    /// It is at it, and comes to what is put behind the rest.
    is_waking: bool,
    next: VecDeque<Waker>,
}

/// Wakes them one after the other, flat even if they cause further ones. A waker that panics has
/// said so by the panic hook; it ends neither the driver, nor a task of it, nor the waking of the
/// others.
pub(crate) fn wake_all(wakers: &mut Vec<Waker>) {
    if wakers.is_empty() {
        return;
    }
    let nested = PENDING.try_with(|pending| {
        let mut pending = pending.borrow_mut();
        match pending.is_waking {
            true => pending.next.extend(wakers.drain(..)),
            false => pending.is_waking = true,
        }
        wakers.is_empty()
    });
    // What is in the list is not dropped while it is looked at: only moved.
    wakers.drain(..).for_each(|waker| shield(|| waker.wake()));
    if let Ok(false) = nested {
        let next = || {
            PENDING.with_borrow_mut(|pending| {
                let next = pending.next.pop_front();
                pending.is_waking = next.is_some();
                next
            })
        };
        while let Some(waker) = next() {
            shield(|| waker.wake());
        }
    }
}

/// Runs what may wake a task; a panic of its waker ends here.
pub(crate) fn shield(wakes: impl FnOnce()) {
    if let Err(payload) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(wakes)) {
        // The payload is the user's too, and may panic when it is dropped.
        std::mem::forget(payload);
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
                wake_all(&mut vec![Arc::new(Chain(self.0 - 1)).into()]);
            }
            DEPTH.fetch_sub(1, Ordering::SeqCst);
        }
    }

    struct Panics;

    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            std::panic::resume_unwind(Box::new(()));
        }
    }

    #[test]
    fn a_waker_that_panics_does_not_hide_the_others() {
        let count = Arc::new(());
        struct Counts(#[expect(dead_code, reason = "counted")] Arc<()>);
        impl Wake for Counts {
            fn wake(self: Arc<Self>) {}
        }
        let others = (0..3).map(|_| Waker::from(Arc::new(Counts(count.clone()))));
        wake_all(&mut std::iter::once(Arc::new(Panics).into()).chain(others).collect());
        assert_eq!(Arc::strong_count(&count), 1);
        assert!(!PENDING.with_borrow(|pending| pending.is_waking));
    }

    #[test]
    fn wakers_that_wake_do_not_grow_the_stack() {
        wake_all(&mut vec![Arc::new(Chain(100_000)).into()]);
        assert_eq!(WOKEN.load(Ordering::SeqCst), 100_001);
    }
}
