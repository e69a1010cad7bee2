//! Records in the host: metadata that live for ever, made once for each place in the program, and
//! events under them.
//!
//! A subscriber wants metadata that are static. The places of a program are few, so theirs are
//! leaked, at most [`BUDGET`] bytes of them: workers are not trusted. Beyond that an event comes
//! under metadata of its level alone and has its origin in fields, named as the crate
//! `tracing-log` does it.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing::callsite::Identifier;
use tracing::field::{DisplayValue, Field, FieldSet, display};
use tracing::metadata::Kind;
use tracing::subscriber::Interest;
use tracing::{Callsite, Dispatch, Event, Level, Metadata, Value as Recorded};

use super::record::{FIELDS, Parts, RECORD_LIMIT, Tag, level_of};

/// What all leaked places together may take, in bytes.
const BUDGET: usize = 1 << 20;
/// What a place takes besides its texts: metadata, fields, its entry in the table.
const OVERHEAD: usize = 512;

/// One place in a program.
struct Site {
    metadata: OnceLock<Metadata<'static>>,
    fields: OnceLock<Vec<Field>>,
}

impl Site {
    const fn new() -> Site {
        Site { metadata: OnceLock::new(), fields: OnceLock::new() }
    }

    /// Gives a new site its metadata.
    fn describe(&'static self, origin: &Described<&'static str>, names: &'static [&'static str]) {
        let fields = FieldSet::new(names, Identifier(self));
        let Described { level, line, name, target, module, file } = *origin;
        let metadata = Metadata::new(name, target, level, file, line, module, fields, Kind::EVENT);
        // Whoever was first said the same.
        let _ = self.fields.set(metadata.fields().iter().collect());
        let _ = self.metadata.set(metadata);
    }
}

impl Callsite for Site {
    // Subscribers are asked each time.
    fn set_interest(&self, _: Interest) {}

    fn metadata(&self) -> &Metadata<'_> {
        self.metadata.get().expect("a site is described before anybody is shown it")
    }
}

/// What a record says of its origin.
#[derive(Clone, Copy, Debug)]
struct Described<T> {
    level: Level,
    line: Option<u32>,
    name: T,
    target: T,
    module: Option<T>,
    file: Option<T>,
}

impl<T: AsRef<str>> Described<T> {
    fn map<'a, U>(&'a self, convert: impl Fn(&'a str) -> U) -> Described<U> {
        Described {
            level: self.level,
            line: self.line,
            name: convert(self.name.as_ref()),
            target: convert(self.target.as_ref()),
            module: self.module.as_ref().map(|text| convert(text.as_ref())),
            file: self.file.as_ref().map(|text| convert(text.as_ref())),
        }
    }
}

impl<'a> Described<&'a str> {
    /// The site of a record, and the names of its fields; at least one.
    fn read(site: &'a [u8]) -> Option<(Self, Vec<&'a str>)> {
        let mut parts = Parts(site);
        let [level] = parts.take()?;
        let level = level_of(level)?;
        let line = Some(u32::from_le_bytes(parts.take()?)).filter(|line| *line > 0);
        let (name, target) = (parts.text()?, parts.text()?);
        let module = Some(parts.text()?).filter(|text| !text.is_empty());
        let file = Some(parts.text()?).filter(|text| !text.is_empty());
        let mut names = Vec::new();
        while !parts.is_empty() {
            names.push(parts.text()?);
        }
        if !(1..=FIELDS).contains(&names.len()) {
            return None;
        }
        Some((Described { level, line, name, target, module, file }, names))
    }
}

/// One event that came from a worker.
#[derive(Debug)]
pub(crate) struct Record {
    place: Place,
    /// For each field whether it has one, and which.
    values: Vec<Option<Value>>,
}

enum Place {
    Known(&'static Site),
    /// There is no room for another one. With the names of its fields.
    Surplus(Box<Described<String>>, Vec<String>),
}

#[derive(Debug)]
enum Value {
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Bool(bool),
    Text(String),
    Shown(DisplayValue<String>),
}

impl Record {
    /// `None`: it is malformed.
    pub(crate) fn read(body: &[u8]) -> Option<Record> {
        if body.len() > RECORD_LIMIT as usize {
            return None;
        }
        let mut parts = Parts(body);
        let (place, count) = Place::find(parts.bytes()?)?;
        let mut values: Vec<_> = (0..count).map(|_| None).collect();
        while !parts.is_empty() {
            let [index] = parts.take()?;
            *values.get_mut(usize::from(index))? = Some(Value::read(&mut parts)?);
        }
        Some(Record { place, values })
    }

    /// Gives it to a subscriber that wants it.
    pub(super) fn emit(&self, subscriber: &Dispatch) {
        match &self.place {
            Place::Known(site) => {
                let values = self.values.iter().map(|value| value.as_ref().map(Value::as_recorded));
                site.emit(subscriber, site.metadata(), values);
            }
            Place::Surplus(origin, names) => {
                let site = surplus_site(origin.level);
                let named = |name: &str| names.iter().position(|other| other == name);
                let message = named("message");
                let rest: Vec<_> = names
                    .iter()
                    .zip(&self.values)
                    .enumerate()
                    .filter(|(n, _)| Some(*n) != message)
                    .filter_map(|(_, (name, value))| Some(format!("{name}={}", value.as_ref()?)))
                    .collect();
                let rest = rest.join(" ");
                let line = origin.line;
                let values: [Option<&dyn Recorded>; SURPLUS_FIELDS.len()] = [
                    message.and_then(|n| self.values[n].as_ref()).map(Value::as_recorded),
                    Some(&origin.target),
                    origin.module.as_ref().map(|text| text as &dyn Recorded),
                    origin.file.as_ref().map(|text| text as &dyn Recorded),
                    line.as_ref().map(|line| line as &dyn Recorded),
                    (!rest.is_empty()).then_some(&rest as &dyn Recorded),
                ];
                // Filters see where it comes from.
                let fields = FieldSet::new(SURPLUS_FIELDS, Identifier(site));
                let Described { level, line, target, module, file, .. } = origin.map(|text| text);
                let filtered =
                    Metadata::new("event", target, level, file, line, module, fields, Kind::EVENT);
                site.emit(subscriber, &filtered, values.into_iter());
            }
        }
    }
}

impl Site {
    fn emit<'a>(
        &'static self,
        subscriber: &Dispatch,
        filtered: &Metadata<'_>,
        values: impl Iterator<Item = Option<&'a dyn Recorded>>,
    ) {
        let (Some(metadata), Some(fields)) = (self.metadata.get(), self.fields.get()) else {
            return;
        };
        let Some(first) = fields.first() else { return };
        if !subscriber.enabled(filtered) {
            return;
        }
        let mut set: [(&Field, Option<&dyn Recorded>); FIELDS] = [(first, None); FIELDS];
        for (place, pair) in set.iter_mut().zip(fields.iter().zip(values)) {
            *place = pair;
        }
        subscriber.event(&Event::new(metadata, &metadata.fields().value_set(&set)));
    }
}

impl Place {
    /// The place of this description, and how many fields it has.
    fn find(site: &[u8]) -> Option<(Place, usize)> {
        static KNOWN: OnceLock<Mutex<Known>> = OnceLock::new();
        let known = KNOWN.get_or_init(Mutex::default);
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&site) = known.sites.get(site) {
            return Some((Place::Known(site), site.fields.get()?.len()));
        }
        let (origin, names) = Described::read(site)?;
        let count = names.len();
        let price = OVERHEAD + 2 * site.len() + count * size_of::<(Field, &str)>();
        if known.spent + price > BUDGET {
            let names = names.into_iter().map(str::to_owned).collect();
            return Some((Place::Surplus(Box::new(origin.map(str::to_owned)), names), count));
        }
        known.spent += price;
        let leak = |text: &str| -> &'static str { text.to_owned().leak() };
        let names: Vec<&'static str> = names.into_iter().map(leak).collect();
        let new: &'static Site = Box::leak(Box::new(Site::new()));
        new.describe(&origin.map(leak), names.leak());
        known.sites.insert(site.into(), new);
        Some((Place::Known(new), count))
    }
}

/// All places that have metadata of their own.
#[derive(Default)]
struct Known {
    sites: HashMap<Box<[u8]>, &'static Site>,
    spent: usize,
}

/// The fields of an event whose place has no metadata of its own.
const SURPLUS_FIELDS: &[&str] =
    &["message", "log.target", "log.module_path", "log.file", "log.line", "fields"];

fn surplus_site(level: Level) -> &'static Site {
    static SITES: [Site; 5] = [const { Site::new() }; 5];
    let number = super::record::level_number(&level) as usize;
    let site = &SITES[number - 1];
    let (name, target) = ("event", "pool");
    let origin = Described { level, line: None, name, target, module: None, file: None };
    if site.metadata.get().is_none() {
        site.describe(&origin, SURPLUS_FIELDS);
    }
    site
}

impl Value {
    fn read(parts: &mut Parts<'_>) -> Option<Value> {
        const SIGNED: u8 = Tag::Signed as u8;
        const UNSIGNED: u8 = Tag::Unsigned as u8;
        const FLOAT: u8 = Tag::Float as u8;
        const BOOL: u8 = Tag::Bool as u8;
        const TEXT: u8 = Tag::Text as u8;
        const SHOWN: u8 = Tag::Shown as u8;
        let [tag] = parts.take()?;
        Some(match tag {
            SIGNED => Value::Signed(i64::from_le_bytes(parts.take()?)),
            UNSIGNED => Value::Unsigned(u64::from_le_bytes(parts.take()?)),
            FLOAT => Value::Float(f64::from_le_bytes(parts.take()?)),
            BOOL => Value::Bool(parts.take()? != [0]),
            TEXT => Value::Text(parts.text()?.to_owned()),
            SHOWN => Value::Shown(display(parts.text()?.to_owned())),
            _ => return None,
        })
    }

    fn as_recorded(&self) -> &dyn Recorded {
        match self {
            Value::Signed(value) => value,
            Value::Unsigned(value) => value,
            Value::Float(value) => value,
            Value::Bool(value) => value,
            Value::Text(text) => text,
            Value::Shown(text) => text,
        }
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Signed(value) => value.fmt(f),
            Value::Unsigned(value) => value.fmt(f),
            Value::Float(value) => value.fmt(f),
            Value::Bool(value) => value.fmt(f),
            Value::Text(text) => write!(f, "{text:?}"),
            Value::Shown(text) => write!(f, "{text}"),
        }
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Known(site) => site.metadata.fmt(f),
            Place::Surplus(origin, names) => {
                f.debug_tuple("Surplus").field(origin).field(names).finish()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{Draft, Origin};
    use super::*;

    fn draft(target: &str) -> Draft {
        let origin = Origin {
            level: Level::DEBUG,
            line: Some(7),
            name: "event",
            target,
            module: None,
            file: Some("a.rs"),
        };
        Draft::new(&origin, [Some("message"), None, Some("n")].into_iter(), "outer:inner")
    }

    #[test]
    fn a_record_survives_the_journey() {
        let bytes = draft("journey").with_text(0, "hello").with_number(1, 9).into_bytes();
        let record = Record::read(&bytes).unwrap();
        let Place::Known(site) = record.place else { panic!("the first ones are known") };
        let metadata = site.metadata.get().unwrap();
        assert_eq!((*metadata.level(), metadata.target()), (Level::DEBUG, "journey"));
        assert_eq!((metadata.line(), metadata.file()), (Some(7), Some("a.rs")));
        assert_eq!(metadata.module_path(), None);
        let names: Vec<_> = metadata.fields().iter().map(|field| field.name()).collect();
        assert_eq!(names, ["message", "n", "span"]);
        let values = record.values.iter().map(|value| value.as_ref().unwrap().to_string());
        assert_eq!(values.collect::<Vec<_>>(), ["hello", "9", "\"outer:inner\""]);
        let Place::Known(again) = Record::read(&bytes).unwrap().place else { panic!() };
        assert!(std::ptr::eq(site, again), "one place, once");
    }

    #[test]
    fn cut_off_records_are_malformed_or_short_of_values() {
        let empty = draft("torn").into_bytes().len();
        let bytes = draft("torn").with_text(0, "hello").into_bytes();
        let whole: Vec<_> =
            (0..bytes.len()).filter(|n| Record::read(&bytes[..*n]).is_some()).collect();
        let site_end = 2 + usize::from(u16::from_le_bytes([bytes[0], bytes[1]]));
        assert_eq!(whole, [site_end, empty]);
    }

    #[test]
    fn rubbish_is_malformed() {
        let good = draft("rubbish").into_bytes();
        for (at, byte) in [(2, 0), (2, 6), (good.len() - 1, 0xff)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert!(Record::read(&bad).is_none(), "{byte} at {at}");
        }
        for value in [[3, 4, 1], [255, 4, 1], [0, 0, 0], [0, 7, 0]] {
            assert!(Record::read(&[&good[..], &value].concat()).is_none(), "{value:?}");
        }
        assert!(Record::read(&[good, vec![0; RECORD_LIMIT as usize]].concat()).is_none());
    }

    #[test]
    fn no_record_is_longer_than_the_limit() {
        let text = "é".repeat(10_000);
        let names = (0..40).map(|_| Some(&*text));
        let origin = Origin {
            level: Level::ERROR,
            line: None,
            name: &text,
            target: &text,
            module: Some(&text),
            file: Some(&text),
        };
        let mut draft = Draft::new(&origin, names, &text);
        for n in 0..32 {
            draft = draft.with_text(n, &text).with_number(n, 1);
        }
        let bytes = draft.into_bytes();
        assert!(bytes.len() <= RECORD_LIMIT as usize);
        assert!(Record::read(&bytes).is_some());
    }
}
