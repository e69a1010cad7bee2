//! A call becomes a job that a host has, or one that has ended before.

use std::sync::Arc;
use std::task::Waker;

use crate::call::{Call, CallParts, UnknownName};
use crate::error::JobErrorKind;
use crate::handle::JobHandle;
use crate::host::{Cell, Host, Order, RoomPlace};
use crate::policy::JobOptions;
use crate::registry::{Encoded, Job};
use crate::wire::Payload;

/// What a pool or a queue needs to know of a call; and why it cannot be accepted as it is.
pub(crate) fn order_of(parts: CallParts) -> (Order, Option<JobErrorKind>) {
    let CallParts { job, payload, options, label } = parts;
    let (number, options, unknown) = match job {
        Ok(known) => (known.number, merged(options, &known.entry.options), None),
        Err(unknown) => (0, options, Some(unknown)),
    };
    let (encoded, refused) = match payload {
        Ok(encoded) => (encoded, None),
        Err(text) => (Encoded::default(), Some(JobErrorKind::Encode(text))),
    };
    let (unknown, refused) = match unknown {
        Some(UnknownName { name, text }) => (Some(name), Some(JobErrorKind::UnknownJob(text))),
        None => (None, refused),
    };
    let (arguments, raw) = (Payload::from(encoded.bytes), encoded.raw);
    (Order { number, unknown, label, arguments, raw, options }, refused)
}

/// What the call asks for where it says something, else what its function does.
fn merged(own: Option<Box<JobOptions>>, entry: &JobOptions) -> Option<Box<JobOptions>> {
    match own {
        own if entry.is_empty() => own,
        Some(own) => Some(Box::new(own.or(*entry))),
        None => Some(Box::new(*entry)),
    }
}

/// The handle of a job that has ended before it was anywhere.
pub(crate) fn refuse<J: Job>(order: Order, kind: JobErrorKind) -> JobHandle<J::Output> {
    match order.unknown.clone() {
        Some(name) => JobHandle::unknown(Cell::refused(order, kind), name),
        None => JobHandle::new::<J>(Cell::refused(order, kind)),
    }
}

/// Takes in a job that has a place in the queue.
pub(crate) fn accept<J: Job>(
    host: &Arc<Host>,
    call: Call<J>,
    place: RoomPlace<'_>,
) -> JobHandle<J::Output> {
    let (order, refusal) = order_of(call.into_parts());
    if let Some(kind) = refusal.or_else(|| too_large(host, &order)) {
        return refuse::<J>(order, kind);
    }
    let cell = Cell::new(order, host.place());
    place.keep();
    host.submit(cell.clone());
    JobHandle::new::<J>(cell)
}

/// The same for one of many, whose maker looks for their replies. `spare` is the handle of an earlier
/// one, and `bell` is rung when it ends.
pub(crate) fn accept_followed<J: Job>(
    host: &Arc<Host>,
    call: Call<J>,
    place: RoomPlace<'_>,
    spare: Option<JobHandle<J::Output>>,
    bell: Option<&Waker>,
) -> JobHandle<J::Output> {
    let (order, refusal) = order_of(call.into_parts());
    if let Some(kind) = refusal.or_else(|| too_large(host, &order)) {
        return refuse::<J>(order, kind);
    }
    let handle = JobHandle::followed::<J>(spare, order, host.place(), bell);
    place.keep();
    host.submit_behind(handle.cell().clone());
    handle
}

fn too_large(host: &Host, order: &Order) -> Option<JobErrorKind> {
    let size = order.arguments.as_slice().len() as u64;
    let limit = host.max_payload();
    (size > limit).then_some(JobErrorKind::PayloadTooLarge { size, limit })
}

/// Puts a waiting job into the pool. If it has ended meanwhile, it goes nowhere.
pub(crate) fn enter(host: &Arc<Host>, cell: &Arc<Cell>, place: RoomPlace<'_>) {
    if cell.put(host.place()) {
        place.keep();
        cell.hold_permit();
        host.submit(cell.clone());
    }
}
