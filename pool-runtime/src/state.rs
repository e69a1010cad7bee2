//! What a worker keeps for its jobs: the values that `#[pool::state]` functions make.
//!
//! A worker owns one [`StateStore`] and asks it from its one thread. It lies below both houses,
//! since jobs on threads have states too. Each value is made when the first job asks for it, by
//! the one maker of its type; a maker that failed or panicked leaves its place empty, so that
//! the next job that asks calls it again. A maker takes no parameters and so cannot ask for
//! another state: there is no order among makers, and no circle.
//!
//! No lock is held, and no value borrowed, while a maker runs. Nobody takes a value back: the jobs
//! hold references to it. A worker process ends without dropping them.

use std::any::{Any, TypeId};
use std::cell::OnceCell;
use std::fmt;

use crate::registry::{self, Fault, JobEntry, StateEntry, Wanted};

/// Runs a maker, and says what it said if it panicked.
pub(crate) type Catch<'a> = &'a dyn Fn(&mut dyn FnMut()) -> Result<(), String>;

/// The states of one worker.
#[derive(Default)]
pub(crate) struct StateStore {
    /// Sorted by type; set up when the first job asks.
    places: OnceCell<Vec<Place>>,
}

/// All that is known of one type.
struct Place {
    type_id: TypeId,
    type_name: &'static str,
    /// One, or there is no telling which is meant.
    makers: Vec<&'static StateEntry>,
    value: OnceCell<Box<dyn Any>>,
}

impl StateStore {
    /// The value of the type that `job` asks for, made now if it is not there.
    pub(crate) fn get(
        &self,
        wanted: Wanted,
        job: &JobEntry,
        catch: Catch<'_>,
    ) -> Result<&dyn Any, Fault> {
        let places = self.places.get_or_init(|| all_places(registry::state_makers()));
        let place = places.binary_search_by_key(&wanted.type_id, |place| place.type_id);
        let found = match place {
            Ok(n) => places[n].get(catch),
            Err(_) => Err(missing(wanted.type_name, places)),
        };
        found.map_err(|reason| {
            Fault::State(format!(
                "`{}`, which job `{}` ({}:{}) asks for, {reason}",
                wanted.type_name,
                job.name(),
                job.file(),
                job.line(),
            ))
        })
    }
}

impl fmt::Debug for StateStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = self.places.get().into_iter().flatten();
        let made = places.filter(|place| place.value.get().is_some());
        f.debug_set().entries(made.map(|place| place.type_name)).finish()
    }
}

fn all_places(makers: impl Iterator<Item = &'static StateEntry>) -> Vec<Place> {
    let mut makers: Vec<(Wanted, &StateEntry)> =
        makers.map(|maker| ((maker.made)(), maker)).collect();
    makers.sort_by_key(|(made, maker)| (made.type_id, maker.name, maker.file, maker.line));
    let mut places: Vec<Place> = Vec::new();
    for (Wanted { type_id, type_name }, maker) in makers {
        match places.last_mut() {
            Some(place) if place.type_id == type_id => place.makers.push(maker),
            _ => {
                let makers = vec![maker];
                places.push(Place { type_id, type_name, makers, value: OnceCell::new() });
            }
        }
    }
    places
}

impl Place {
    /// The value, or why it could not be had.
    fn get(&self, catch: Catch<'_>) -> Result<&dyn Any, String> {
        if let Some(value) = self.value.get() {
            return Ok(&**value);
        }
        let [maker] = self.makers[..] else {
            return Err(too_many(&self.makers));
        };
        let mut made = None;
        let reason = match (catch(&mut || made = Some((maker.make)())), made) {
            (Ok(()), Some(Ok(value))) => return Ok(&**self.value.get_or_init(|| value)),
            (Ok(()), Some(Err(text))) => format!("failed: {text}"),
            (Ok(()), None) => "did not run".to_owned(),
            (Err(text), _) => format!("panicked{text}"),
        };
        let place = place_of(maker);
        Err(format!("is made by {place}, which {reason}; the next job that asks calls it again"))
    }
}

fn too_many(makers: &[&StateEntry]) -> String {
    let places: Vec<String> = makers.iter().map(|maker| place_of(maker)).collect();
    format!(
        "is made by {} functions, {}; remove `#[pool::state]` from all but one, or give each its \
         own type to make",
        places.len(),
        places.join(" and "),
    )
}

fn missing(wanted: &str, places: &[Place]) -> String {
    let nearest = registry::nearest(wanted, places.iter().map(|place| place.type_name));
    let (count, plural) = (places.len(), if places.len() == 1 { "" } else { "s" });
    format!(
        "is made by no function; write one: `#[pool::state] fn …() -> {wanted}`{nearest} ({count} \
         type{plural} made by others; a crate that no code mentions is not linked: \
         `use that_crate as _;`)"
    )
}

fn place_of(maker: &StateEntry) -> String {
    format!("`{}` ({}:{})", maker.name, maker.file, maker.line)
}
