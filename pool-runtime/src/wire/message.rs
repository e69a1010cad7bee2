//! Bodies that are not a payload of the user: what a job is told about itself, and what is
//! said in place of an output.

use std::time::Duration;

use super::frame::{WireFault, part};
use super::handshake::Fields;
use crate::id::JobId;
use crate::stats::Progress;

/// Bytes of a [`Prelude`].
pub(crate) const PRELUDE_LEN: usize = 32;
/// Texts in a report are cut here: a panic message may be of any length.
const TEXT_LIMIT: usize = 64 * 1024;
/// Bytes of a job's message; longer ones are cut.
pub(crate) const MESSAGE_ROOM: usize = 1024;
/// What a job said last of its progress has at most so many bytes.
pub(crate) const PROGRESS_ROOM: u64 = 21 + MESSAGE_ROOM as u64;

/// What a worker is told of one attempt, before the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prelude {
    pub(crate) id: JobId,
    pub(crate) attempt: u32,
    /// To the timeout or the deadline, whichever is first.
    pub(crate) remaining: Option<Duration>,
}

impl Prelude {
    /// It is written in words, little endian.
    #[inline]
    pub(crate) fn words(&self) -> [u64; PRELUDE_LEN / 8] {
        let [high, low] = self.id.words();
        let nanos = |left: Duration| u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
        [high, low, self.remaining.map_or(u64::MAX, nanos), self.attempt.into()]
    }

    pub(crate) fn decode(bytes: &[u8; PRELUDE_LEN]) -> Prelude {
        let word = |at| u64::from_le_bytes(part(bytes, at));
        let nanos = word(16);
        Prelude {
            id: JobId::from_words([word(0), word(8)]),
            attempt: u32::from_le_bytes(part(bytes, 24)),
            remaining: (nanos != u64::MAX).then(|| Duration::from_nanos(nanos)),
        }
    }
}

/// A caught panic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PanicReport {
    pub(crate) message: String,
    pub(crate) location: Option<(String, u32, u32)>,
    pub(crate) backtrace: Option<String>,
}

impl PanicReport {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_text(&mut bytes, &self.message);
        bytes.push(u8::from(self.location.is_some()));
        if let Some((file, line, column)) = &self.location {
            put_text(&mut bytes, file);
            bytes.extend_from_slice(&line.to_le_bytes());
            bytes.extend_from_slice(&column.to_le_bytes());
        }
        bytes.push(u8::from(self.backtrace.is_some()));
        if let Some(backtrace) = &self.backtrace {
            put_text(&mut bytes, backtrace);
        }
        bytes
    }

    pub(crate) fn decode(body: &[u8]) -> Result<PanicReport, WireFault> {
        Self::parse(Fields(body)).ok_or(WireFault::Body("panic report"))
    }

    fn parse(mut fields: Fields<'_>) -> Option<PanicReport> {
        let message = fields.text()?;
        let location = match fields.u8()? {
            0 => None,
            _ => Some((fields.text()?, fields.u32()?, fields.u32()?)),
        };
        let backtrace = match fields.u8()? {
            0 => None,
            _ => Some(fields.text()?),
        };
        Some(PanicReport { message, location, backtrace })
    }
}

/// Why a worker gave neither an output nor a panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Decode(String),
    Encode(String),
    State(String),
    TooLarge { size: u64, limit: u64 },
}

impl Refusal {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Refusal::Decode(text) => put_tagged(&mut bytes, 1, text),
            Refusal::Encode(text) => put_tagged(&mut bytes, 2, text),
            Refusal::State(text) => put_tagged(&mut bytes, 3, text),
            Refusal::TooLarge { size, limit } => {
                bytes.push(4);
                bytes.extend_from_slice(&size.to_le_bytes());
                bytes.extend_from_slice(&limit.to_le_bytes());
            }
        }
        bytes
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Refusal, WireFault> {
        Self::parse(Fields(body)).ok_or(WireFault::Body("refusal"))
    }

    fn parse(mut fields: Fields<'_>) -> Option<Refusal> {
        Some(match fields.u8()? {
            1 => Refusal::Decode(fields.text()?),
            2 => Refusal::Encode(fields.text()?),
            3 => Refusal::State(fields.text()?),
            4 => Refusal::TooLarge { size: fields.u64()?, limit: fields.u64()? },
            _ => return None,
        })
    }
}

impl Progress {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&self.done.to_le_bytes());
        bytes.extend_from_slice(&self.total.to_le_bytes());
        bytes.push(u8::from(self.message.is_some()));
        if let Some(message) = &self.message {
            put_text(&mut bytes, message);
        }
        bytes
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Progress, WireFault> {
        Self::parse(Fields(body)).ok_or(WireFault::Body("progress"))
    }

    fn parse(mut fields: Fields<'_>) -> Option<Progress> {
        let (done, total) = (fields.u64()?, fields.u64()?);
        let message = match fields.u8()? {
            0 => None,
            _ => Some(fields.text()?),
        };
        Some(Progress { done, total, message })
    }
}

fn put_tagged(bytes: &mut Vec<u8>, tag: u8, text: &str) {
    bytes.push(tag);
    put_text(bytes, text);
}

/// Appends words, two at a time and straight from registers: what is put together on the stack and
/// then moved as a whole has to be waited for.
#[inline(always)]
pub(crate) fn put_words<const N: usize>(bytes: &mut Vec<u8>, words: [u64; N]) {
    const { assert!(N % 2 == 0) };
    for two in words.chunks_exact(2) {
        let both = u128::from(two[0]) | u128::from(two[1]) << 64;
        bytes.extend_from_slice(&both.to_le_bytes());
    }
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    let text = &text.as_bytes()[..text.len().min(TEXT_LIMIT)];
    bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
    bytes.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_survives_the_journey() {
        for remaining in [None, Some(Duration::ZERO), Some(Duration::from_millis(1500))] {
            let prelude = Prelude { id: JobId::from_words([1, 2]), attempt: 3, remaining };
            let mut bytes = Vec::new();
            put_words(&mut bytes, prelude.words());
            assert_eq!(bytes.first_chunk().map(Prelude::decode), Some(prelude));
        }
        let bare = PanicReport { message: "boom".into(), ..PanicReport::default() };
        let full = PanicReport {
            location: Some(("src/a.rs".into(), 3, 7)),
            backtrace: Some("0: main".into()),
            ..bare.clone()
        };
        for report in [bare, full] {
            assert_eq!(PanicReport::decode(&report.encode()), Ok(report));
        }
        for refusal in [
            Refusal::Decode("a".into()),
            Refusal::Encode("b".into()),
            Refusal::State(String::new()),
            Refusal::TooLarge { size: 5, limit: 4 },
        ] {
            assert_eq!(Refusal::decode(&refusal.encode()), Ok(refusal));
        }
        for message in [None, Some(String::new()), Some("é".repeat(MESSAGE_ROOM / 2))] {
            let progress = Progress { done: 3, total: u64::MAX, message };
            let bytes = progress.encode();
            assert!(bytes.len() as u64 <= PROGRESS_ROOM);
            assert_eq!(Progress::decode(&bytes), Ok(progress));
        }
    }

    #[test]
    fn cut_off_messages_are_faults() {
        let report = PanicReport {
            message: "boom".into(),
            location: Some(("src/a.rs".into(), 3, 7)),
            backtrace: Some("0: main".into()),
        };
        let bytes = report.encode();
        for len in 0..bytes.len() {
            assert!(PanicReport::decode(&bytes[..len]).is_err(), "{len}");
        }
        let progress = Progress { done: 1, total: 2, message: Some("half".into()) };
        let bytes = progress.encode();
        for len in 0..bytes.len() {
            assert!(Progress::decode(&bytes[..len]).is_err(), "{len}");
        }
        assert!(Refusal::decode(&[9]).is_err());
        assert!(Refusal::decode(&[1, 255, 255, 255, 255]).is_err());
    }

    #[test]
    fn a_text_of_any_length_is_cut() {
        let report = PanicReport { message: "é".repeat(TEXT_LIMIT), ..PanicReport::default() };
        assert!(report.encode().len() < TEXT_LIMIT + 100);
    }
}
