//! Large payloads are read and written by threads of their own.
//!
//! Each page of memory that is touched for the first time costs time, and a huge one milliseconds on
//! some machines. Meanwhile the driver hears of the replies of others.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::link::Link;
use crate::wire::{FrameReader, ToHost};

/// How often a thread that waits for its worker looks whether that is still wanted.
const LOOK: Duration = Duration::from_millis(10);

/// A thread has something of a worker's task.
pub(super) struct Offload<T> {
    is_over: Arc<AtomicBool>,
    done: oneshot::Receiver<T>,
}

/// What it does with that, until it is done or the flag is set.
type Work<T> = fn(&mut T, &Link, &AtomicBool);

impl<T: Send + 'static> Offload<T> {
    /// Lends `thing` to a new thread. Gives it back if there can be none.
    pub(super) fn begin(thing: T, link: &Arc<Link>, work: Work<T>) -> Result<Offload<T>, T> {
        let lent = Arc::new(Mutex::new(Some(thing)));
        let is_over = Arc::new(AtomicBool::new(false));
        let (tell, done) = oneshot::channel();
        let (borrowed, link, is_not_wanted) = (lent.clone(), link.clone(), is_over.clone());
        let thread = std::thread::Builder::new().name("pool-large".to_owned());
        let started = thread.spawn(move || {
            if let Some(mut thing) = take(&borrowed) {
                work(&mut thing, &link, &is_not_wanted);
                drop(link);
                let _ = tell.send(thing);
            }
        });
        match started.err().and_then(|_| take(&lent)) {
            Some(thing) => Err(thing),
            None => Ok(Offload { is_over, done }),
        }
    }

    /// What was lent, when the work is done. May be dropped and asked again. `None`: it is lost.
    pub(super) async fn done(&mut self) -> Option<T> {
        (&mut self.done).await.ok()
    }

    /// The same soon.
    pub(super) async fn stop(mut self) -> Option<T> {
        self.is_over.store(true, Ordering::Relaxed);
        self.done().await
    }
}

impl<T> Drop for Offload<T> {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// Reads until the body is whole. What else there is to be found in the channel, its end or an
/// error, the driver finds again.
pub(super) fn read_body(reader: &mut FrameReader<ToHost>, link: &Link, is_over: &AtomicBool) {
    while reader.missing() > 0 && !is_over.load(Ordering::Relaxed) && !link.is_condemned() {
        match reader.fill(&mut &link.channel) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => link.channel.wait(LOOK),
            Err(_) => return,
        }
    }
}

/// Writes until nothing is left to be written.
pub(super) fn write_all(_: &mut (), link: &Link, is_over: &AtomicBool) {
    while link.is_blocked() && !is_over.load(Ordering::Relaxed) && !link.is_closed() {
        if link.write_on() {
            link.channel.wait_for_room(LOOK);
        }
    }
}

fn take<T>(place: &Mutex<Option<T>>) -> Option<T> {
    place.lock().unwrap_or_else(PoisonError::into_inner).take()
}
