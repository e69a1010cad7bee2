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

/// Wakes them one after the other, flat even if they cause further ones. A waker that panics has
/// said so by the panic hook; it ends neither the driver, nor a task of it, nor the waking of the
/// others.
pub(crate) fn wake_all(wakers: Vec<Waker>) {
    if wakers.is_empty() {
        return;
    }
    let mut wakers = Some(VecDeque::from(wakers));
    let nested = PENDING.try_with(|pending| match &mut *pending.borrow_mut() {
        Some(pending) => {
            pending.extend(wakers.take().into_iter().flatten());
            true
        }
        none => {
            *none = wakers.take();
            false
        }
    });
    match nested {
        Ok(true) => {}
        Ok(false) => {
            let next = || PENDING.with_borrow_mut(|pending| pending.as_mut()?.pop_front());
            while let Some(waker) = next() {
                shield(|| waker.wake());
            }
            PENDING.set(None);
        }
        // This thread is ending, and its lists are gone.
        Err(_) => wakers.into_iter().flatten().for_each(|waker| shield(|| waker.wake())),
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
                wake_all(vec![Arc::new(Chain(self.0 - 1)).into()]);
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
        wake_all(std::iter::once(Arc::new(Panics).into()).chain(others).collect());
        assert_eq!(Arc::strong_count(&count), 1);
        assert!(PENDING.with_borrow(Option::is_none));
    }

    #[test]
    fn wakers_that_wake_do_not_grow_the_stack() {
        wake_all(vec![Arc::new(Chain(100_000)).into()]);
        assert_eq!(WOKEN.load(Ordering::SeqCst), 100_001);
    }
}
