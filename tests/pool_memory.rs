//! What a waiting job costs: one allocation, and few bytes.

#![expect(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use pool::{JobHandle, Pool, submit};
use pool_tests::{isolated, jobs, pids, scratch, wait_until};

/// Counts what is allocated, and the bytes of what is there: with what an allocator needs for each
/// piece, and rounded as most do.
struct Counting;

static PIECES: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

fn cost(size: usize) -> usize {
    (size + 8).next_multiple_of(16)
}

// SAFETY: the system's allocator does it all.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PIECES.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(cost(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        BYTES.fetch_sub(cost(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(piece, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[pool::test]
fn a_waiting_job_and_its_handle_are_one_allocation_and_few_bytes() {
    isolated(|| {
        const JOBS: usize = 1 << 17;
        let pool = Pool::builder().workers(1).queue_capacity(JOBS + 1).build().unwrap();
        let (started, gate) = (scratch("started"), scratch("gate"));
        let held = submit!(pool => jobs::hold, &started, &gate);
        wait_until("the worker is busy", || !pids(&started).is_empty());
        let before = (PIECES.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed));
        let mut handles: Vec<JobHandle<u64>> = Vec::with_capacity(JOBS);
        handles.extend((0..JOBS as u64).map(|n| submit!(pool => jobs::echo, n)));
        let pieces = (PIECES.load(Ordering::Relaxed) - before.0) as f64 / JOBS as f64;
        let bytes = (BYTES.load(Ordering::Relaxed) - before.1) as f64 / JOBS as f64;
        assert!(pieces < 1.05, "{pieces} allocations a job");
        assert!(bytes <= 130.0, "{bytes} bytes a job");
        jobs::open(&gate);
        assert!(held.wait().is_ok());
        for (n, job) in handles.into_iter().enumerate() {
            assert_eq!(job.wait().unwrap(), n as u64);
        }
    });
}
