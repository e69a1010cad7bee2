//! A call becomes a job that a host has, or one that has ended before.

use std::sync::Arc;

use crate::call::{Call, CallParts, UnknownName};
use crate::error::JobErrorKind;
use crate::handle::JobHandle;
use crate::host::{Bell, Cell, CellRef, Host, Order, Plain, RoomPlace};
use crate::policy::JobOptions;
use crate::registry::{Encoded, Job, JobEntry, Known};
use crate::wire::Payload;

/// What a pool or a queue needs to know of a call; or why it cannot be accepted as it is.
pub(crate) fn order_of(parts: CallParts) -> Result<Order, Box<Refused>> {
    let CallParts { known, unknown, arguments, options, label } = parts;
    let Some(Known { number, entry }) = known else {
        let UnknownName { name, text } = unknown.map(|unknown| *unknown).unwrap_or_default();
        return Err(Refused::new(0, Some(name), label, JobErrorKind::UnknownJob(text)));
    };
    let Encoded { bytes, raw } = match arguments.finish() {
        Ok(encoded) => encoded,
        Err(text) => return Err(Refused::new(number, None, label, JobErrorKind::Encode(text))),
    };
    let (arguments, options) = (Payload::from(bytes), merged(options, entry));
    Ok(Order { number, label, arguments, raw, options })
}

/// What the call asks for where it says something, else what its function does.
fn merged(own: Option<Box<JobOptions>>, entry: &JobEntry) -> Option<Box<JobOptions>> {
    match own {
        own if !entry.has_options => own,
        Some(own) => Some(Box::new(own.or(entry.options))),
        None => Some(Box::new(entry.options)),
    }
}

/// A call that is no job, and why.
pub(crate) struct Refused {
    number: u16,
    /// Its name, if that is not in the table.
    unknown: Option<String>,
    label: Option<Arc<str>>,
    kind: JobErrorKind,
}

impl Refused {
    #[cold]
    fn new(
        number: u16,
        unknown: Option<String>,
        label: Option<Arc<str>>,
        kind: JobErrorKind,
    ) -> Box<Refused> {
        Box::new(Refused { number, unknown, label, kind })
    }

    /// The handle of a job that has ended before it was anywhere.
    pub(crate) fn handle<J: Job>(self) -> JobHandle<J::Output> {
        let Refused { number, unknown, label, kind } = self;
        let cell = Cell::refused(number, unknown.clone(), label, kind);
        match unknown {
            Some(name) => JobHandle::unknown(cell, name),
            None => JobHandle::new::<J>(cell),
        }
    }
}

/// The handle of a call that comes to a pool which takes no jobs, for that reason.
pub(crate) fn refuse<J: Job>(mut call: Call<J>, kind: JobErrorKind) -> JobHandle<J::Output> {
    let label = call.parts().label.take();
    let (number, unknown) = match call.parts().known {
        Some(known) => (known.number, None),
        None => (0, Some(call.name().to_owned())),
    };
    Refused::new(number, unknown, label, kind).handle::<J>()
}

/// Takes in a job that has a place in the queue.
#[inline]
pub(crate) fn accept<J: Job>(
    host: &Arc<Host>,
    call: &mut Call<J>,
    place: RoomPlace<'_>,
) -> JobHandle<J::Output> {
    match take_in(host, call.parts(), place) {
        Ok(cell) => JobHandle::new::<J>(cell),
        Err(refused) => refused.handle::<J>(),
    }
}

fn take_in(
    host: &Arc<Host>,
    parts: &mut CallParts,
    place: RoomPlace<'_>,
) -> Result<CellRef, Box<Refused>> {
    let cell = match plain(host, parts) {
        Some(plain) => Cell::share(|| plain.cell()),
        None => {
            let cell = waiting(host, parts)?;
            Cell::share(|| cell)
        }
    };
    place.keep();
    host.submit(cell.clone());
    Ok(cell)
}

/// What is in the cell of a call that has few arguments, and of which nothing in particular is asked.
#[inline(always)]
fn plain(host: &Host, parts: &CallParts) -> Option<Plain> {
    let CallParts { known: Some(known), arguments, options: None, label: None, .. } = parts else {
        return None;
    };
    let encoded = arguments.encoded()?;
    let fits = encoded.bytes.len() as u64 <= host.max_payload();
    match host.pool_number() {
        Some(pool) if fits && !known.entry.has_options => Cell::plain(known.number, encoded, pool),
        _ => None,
    }
}

/// The same for one of many, whose maker looks for their replies. `spare` is the handle of an earlier
/// one, and `bell` makes what is rung when it ends.
#[inline]
pub(crate) fn accept_followed<J: Job>(
    host: &Arc<Host>,
    call: &mut Call<J>,
    place: RoomPlace<'_>,
    spare: Option<JobHandle<J::Output>>,
    bell: Option<impl FnOnce() -> Bell>,
) -> JobHandle<J::Output> {
    let handle = match spare {
        Some(mut handle) => {
            let renewed = renew(host, call.parts(), place, handle.claim_for::<J>(), bell);
            renewed.map(|()| handle)
        }
        None => follow(host, call.parts(), place, bell).map(JobHandle::new::<J>),
    };
    handle.unwrap_or_else(|refused| refused.handle::<J>())
}

fn follow(
    host: &Arc<Host>,
    parts: &mut CallParts,
    place: RoomPlace<'_>,
    bell: Option<impl FnOnce() -> Bell>,
) -> Result<CellRef, Box<Refused>> {
    let cell = match plain(host, parts) {
        Some(plain) => Cell::followed(|| plain.cell(), bell),
        None => {
            let cell = waiting(host, parts)?;
            Cell::followed(|| cell, bell)
        }
    };
    place.keep();
    host.submit_behind(cell.clone());
    Ok(cell)
}

fn renew(
    host: &Arc<Host>,
    parts: &mut CallParts,
    place: RoomPlace<'_>,
    old: &mut CellRef,
    bell: Option<impl FnOnce() -> Bell>,
) -> Result<(), Box<Refused>> {
    match plain(host, parts) {
        Some(plain) => Cell::renew(old, || plain.cell(), bell),
        None => {
            let cell = waiting(host, parts)?;
            Cell::renew(old, || cell, bell);
        }
    }
    place.keep();
    host.submit_behind(old.clone());
    Ok(())
}

fn waiting(host: &Host, parts: &mut CallParts) -> Result<Cell, Box<Refused>> {
    Ok(Cell::waiting(order_for(host, std::mem::take(parts))?, host.place()))
}

fn order_for(host: &Host, parts: CallParts) -> Result<Order, Box<Refused>> {
    let order = order_of(parts)?;
    let size = order.arguments.as_slice().len() as u64;
    let limit = host.max_payload();
    match size > limit {
        true => {
            let kind = JobErrorKind::PayloadTooLarge { size, limit };
            Err(Refused::new(order.number, None, order.label, kind))
        }
        false => Ok(order),
    }
}

/// Puts a waiting job into the pool. If it has ended meanwhile, it goes nowhere.
pub(crate) fn enter(host: &Arc<Host>, cell: &CellRef, place: RoomPlace<'_>) {
    if cell.put(host.place()) {
        place.keep();
        cell.hold_permit();
        host.submit(cell.clone());
    }
}
