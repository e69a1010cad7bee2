//! One event on its way from a worker to its host: the body of a `Log` frame, laid out by hand.
//!
//! ```text
//! length of the site (u16), site, values
//!
//! site   level, line (u32; zero: unknown), then texts: name, target, module, file, fields…
//! text   length (u16), UTF-8
//! value  index of its field, tag, then eight bytes, one byte, or a text
//! ```
//!
//! The site is the same for all events of one place in the program, byte for byte. A record has a
//! limit, within which texts are cut and what does not fit is left out.

use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::{Level, Metadata};

/// Bytes of a whole record at most.
pub(crate) const RECORD_LIMIT: u32 = 8 * 1024;
/// Fields of one event, as many as its macros take.
pub(super) const FIELDS: usize = 32;
/// Bytes of the site's texts, each.
const SITE_TEXT: usize = 256;
/// Bytes of a field's name.
const NAME_TEXT: usize = 64;
/// The field that names the spans in which an event occurred.
pub(super) const SPAN_FIELD: &str = "span";

/// What kind a value is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    Signed = 1,
    Unsigned = 2,
    Float = 3,
    Bool = 4,
    /// A string.
    Text = 5,
    /// How the value shows itself.
    Shown = 6,
}

/// From 1, the fewest, to 5; zero is none at all.
pub(super) fn level_number(level: &Level) -> u64 {
    match *level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

pub(super) fn level_of(number: u8) -> Option<Level> {
    Some(match number {
        1 => Level::ERROR,
        2 => Level::WARN,
        3 => Level::INFO,
        4 => Level::DEBUG,
        5 => Level::TRACE,
        _ => return None,
    })
}

/// Where an event comes from, as far as its record says.
pub(super) struct Origin<'a> {
    pub(super) level: Level,
    pub(super) line: Option<u32>,
    pub(super) name: &'a str,
    pub(super) target: &'a str,
    pub(super) module: Option<&'a str>,
    pub(super) file: Option<&'a str>,
}

impl<'a> Origin<'a> {
    pub(super) fn of(metadata: &'a Metadata<'_>) -> Self {
        Origin {
            level: *metadata.level(),
            line: metadata.line(),
            name: metadata.name(),
            target: metadata.target(),
            module: metadata.module_path(),
            file: metadata.file(),
        }
    }
}

/// A record that is being written.
pub(super) struct Draft {
    bytes: Vec<u8>,
    /// For each field of the event, by its index: under which index it travels.
    places: [Option<u8>; FIELDS],
}

impl Draft {
    /// `fields`: the names of all that the event may have; the ones to be left out are `None`.
    /// The field of the spans is behind them unless the event has one of this name itself.
    pub(super) fn new<'a>(
        origin: &Origin<'_>,
        fields: impl Iterator<Item = Option<&'a str>>,
        spans: &str,
    ) -> Self {
        let mut draft = Draft { bytes: Vec::with_capacity(256), places: [None; FIELDS] };
        let bytes = &mut draft.bytes;
        bytes.extend([0, 0, level_number(&origin.level) as u8]);
        bytes.extend(origin.line.unwrap_or(0).to_le_bytes());
        let texts = [Some(origin.name), Some(origin.target), origin.module, origin.file];
        for text in texts {
            put_text(bytes, SITE_TEXT, text.unwrap_or_default());
        }
        let mut next = 0;
        let mut has_span_field = false;
        for (name, place) in fields.zip(&mut draft.places) {
            let Some(name) = name else { continue };
            has_span_field |= name == SPAN_FIELD;
            *place = Some(next);
            next += 1;
            put_text(bytes, NAME_TEXT, name);
        }
        let spans_follow = !has_span_field && usize::from(next) < FIELDS;
        if spans_follow {
            put_text(bytes, NAME_TEXT, SPAN_FIELD);
        }
        // Far below 64 KiB, by the limits above.
        let site_len = (bytes.len() - 2) as u16;
        bytes[..2].copy_from_slice(&site_len.to_le_bytes());
        if spans_follow && !spans.is_empty() {
            draft.put_shown(next, Tag::Text, format_args!("{spans}"));
        }
        draft
    }

    /// Adds a text without a [`Field`] of its own.
    pub(super) fn with_text(mut self, place: u8, text: &str) -> Self {
        self.put_shown(place, Tag::Shown, format_args!("{text}"));
        self
    }

    /// Adds a number without a [`Field`] of its own.
    pub(super) fn with_number(mut self, place: u8, number: u64) -> Self {
        self.put_at(place, Tag::Unsigned, &number.to_le_bytes());
        self
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn place(&self, field: &Field) -> Option<u8> {
        self.places.get(field.index()).copied().flatten()
    }

    fn put(&mut self, field: &Field, tag: Tag, value: &[u8]) {
        if let Some(place) = self.place(field) {
            self.put_at(place, tag, value);
        }
    }

    fn put_at(&mut self, place: u8, tag: Tag, value: &[u8]) {
        if self.bytes.len() + 2 + value.len() <= RECORD_LIMIT as usize {
            self.bytes.extend([place, tag as u8]);
            self.bytes.extend(value);
        }
    }

    fn put_shown(&mut self, place: u8, tag: Tag, value: fmt::Arguments<'_>) {
        let room = (RECORD_LIMIT as usize).saturating_sub(self.bytes.len() + 4);
        if room == 0 {
            return;
        }
        self.bytes.extend([place, tag as u8]);
        put_shown(&mut self.bytes, room, value);
    }
}

impl Visit for Draft {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Tag::Signed, &value.to_le_bytes());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Tag::Unsigned, &value.to_le_bytes());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Tag::Float, &value.to_le_bytes());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Tag::Bool, &[u8::from(value)]);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if let Some(place) = self.place(field) {
            self.put_shown(place, Tag::Text, format_args!("{value}"));
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        if let Some(place) = self.place(field) {
            self.put_shown(place, Tag::Shown, format_args!("{value}"));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if let Some(place) = self.place(field) {
            self.put_shown(place, Tag::Shown, format_args!("{value:?}"));
        }
    }
}

fn put_text(bytes: &mut Vec<u8>, limit: usize, text: &str) {
    put_shown(bytes, limit, format_args!("{text}"));
}

fn put_shown(bytes: &mut Vec<u8>, limit: usize, value: fmt::Arguments<'_>) {
    let start = bytes.len() + 2;
    bytes.extend([0, 0]);
    let mut text = Cut { end: start + limit, bytes, is_full: false };
    // What it says is the user's code, which may fail; so much of it as there is will do.
    let _ = text.write_fmt(value);
    let len = (bytes.len() - start) as u16;
    bytes[start - 2..start].copy_from_slice(&len.to_le_bytes());
}

/// Takes a text as far as there is room, and the rest of it to nowhere: an error could be one that
/// the user's code does not expect.
struct Cut<'a> {
    bytes: &'a mut Vec<u8>,
    end: usize,
    is_full: bool,
}

impl Write for Cut<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut len = text.len().min(self.end - self.bytes.len());
        while !text.is_char_boundary(len) {
            len -= 1;
        }
        if !self.is_full {
            self.bytes.extend_from_slice(&text.as_bytes()[..len]);
            self.is_full = len < text.len();
        }
        Ok(())
    }
}

/// Takes a record apart.
pub(super) struct Parts<'a>(pub(super) &'a [u8]);

impl<'a> Parts<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::from(u16::from_le_bytes(self.take()?));
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}
