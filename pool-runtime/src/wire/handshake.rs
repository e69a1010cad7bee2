//! The first word of each side. Laid out by hand and of known length, so that two versions
//! that differ can still tell each other so.

use super::PROTOCOL_VERSION;
use super::frame::{Flags, HEADER_LEN, Header, ToHost, ToWorker, WireFault};

/// Bytes of a whole [`Welcome`] frame.
pub(crate) const WELCOME_LEN: usize = HEADER_LEN + WELCOME_BODY;
const WELCOME_BODY: usize = 40;
/// `pool-hi` and a version of the greeting itself.
const MAGIC: u64 = u64::from_le_bytes(*b"pool-hi\x01");
/// What a worker may say about its failed start.
const TROUBLE_LIMIT: usize = 16 * 1024;

/// Host to worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Welcome {
    pub(crate) protocol: u32,
    /// The worker's slot.
    pub(crate) slot: u32,
    /// Of the sorted job table.
    pub(crate) fingerprint: u64,
    /// Larger payloads are refused.
    pub(crate) max_payload: u64,
    /// How many descriptors travel with the first byte: the recorder, then perhaps stdout.
    pub(crate) descriptors: u32,
    /// Whether it looks for the next job for a moment before it sleeps.
    pub(crate) spins: bool,
}

impl Welcome {
    pub(crate) fn encode(&self) -> [u8; WELCOME_LEN] {
        let header = Header {
            len: WELCOME_BODY as u32,
            kind: ToWorker::Welcome,
            flags: Flags::NONE,
            job: 0,
            seq: 0,
        };
        let mut bytes = [0; WELCOME_LEN];
        bytes[..16].copy_from_slice(&header.encode());
        bytes[16..24].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.protocol.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.slot.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.fingerprint.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.max_payload.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.descriptors.to_le_bytes());
        bytes[52] = u8::from(self.spins);
        bytes
    }

    /// `None` if this is no welcome at all.
    pub(crate) fn decode(bytes: &[u8; WELCOME_LEN]) -> Option<Welcome> {
        let mut fields = Fields(bytes);
        let header = Header::<ToWorker>::decode(fields.take()?, WELCOME_BODY as u64).ok()?;
        let magic = fields.u64()?;
        (header.kind == ToWorker::Welcome && magic == MAGIC).then_some(())?;
        Some(Welcome {
            protocol: fields.u32()?,
            slot: fields.u32()?,
            fingerprint: fields.u64()?,
            max_payload: fields.u64()?,
            descriptors: fields.u32()?,
            spins: fields.u8()? != 0,
        })
    }
}

/// Worker to host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) protocol: u32,
    pub(crate) pid: u32,
    pub(crate) fingerprint: u64,
    /// Why this worker cannot serve, for example what a start hook said.
    pub(crate) trouble: Option<String>,
}

impl Hello {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let trouble = self.trouble.as_deref().unwrap_or_default();
        let trouble = &trouble.as_bytes()[..trouble.len().min(TROUBLE_LIMIT)];
        let len = (24 + trouble.len()) as u32;
        let header = Header { len, kind: ToHost::Hello, flags: Flags::NONE, job: 0, seq: 0 };
        let mut bytes = header.encode().to_vec();
        bytes.extend_from_slice(&MAGIC.to_le_bytes());
        bytes.extend_from_slice(&self.protocol.to_le_bytes());
        bytes.extend_from_slice(&self.pid.to_le_bytes());
        bytes.extend_from_slice(&self.fingerprint.to_le_bytes());
        bytes.extend_from_slice(trouble);
        bytes
    }

    /// Whether the header of a worker's first frame can be a greeting.
    pub(crate) fn check(header: &Header<ToHost>) -> Result<(), WireFault> {
        let len = header.len as usize;
        if header.kind != ToHost::Hello || !(24..=24 + TROUBLE_LIMIT).contains(&len) {
            return Err(WireFault::Unexpected("its first words were no greeting"));
        }
        Ok(())
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Hello, WireFault> {
        const NO_HELLO: WireFault = WireFault::Body("greeting");
        let mut fields = Fields(body);
        if fields.u64() != Some(MAGIC) {
            return Err(NO_HELLO);
        }
        let protocol = fields.u32().ok_or(NO_HELLO)?;
        let pid = fields.u32().ok_or(NO_HELLO)?;
        let fingerprint = fields.u64().ok_or(NO_HELLO)?;
        let trouble =
            (!fields.0.is_empty()).then(|| String::from_utf8_lossy(fields.0).into_owned());
        Ok(Hello { protocol, pid, fingerprint, trouble })
    }

    /// Why this worker cannot work for a host that said `welcome`.
    pub(crate) fn objection(&self, welcome: &Welcome) -> Option<String> {
        if self.protocol != welcome.protocol {
            return Some(format!(
                "the worker speaks protocol {}, this program {}: the executable was built with \
                 another version of pool-runtime",
                self.protocol, PROTOCOL_VERSION
            ));
        }
        if let Some(trouble) = &self.trouble {
            return Some(trouble.clone());
        }
        (self.fingerprint != welcome.fingerprint).then(|| {
            "the worker's executable has other jobs than this program: if it was rebuilt \
             or replaced, restart the program"
                .to_owned()
        })
    }
}

/// Takes fixed-size fields off the front of a byte string.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn take<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(field)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take().map(|&[byte]| byte)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take().map(|bytes| u32::from_le_bytes(*bytes))
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take().map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// A text with its length before it.
    pub(super) fn text(&mut self) -> Option<String> {
        let len = self.u32()? as usize;
        let (text, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(String::from_utf8_lossy(text).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELCOME: Welcome = Welcome {
        protocol: PROTOCOL_VERSION,
        slot: 7,
        fingerprint: 0x1234_5678_9abc_def0,
        max_payload: 1 << 30,
        descriptors: 2,
        spins: true,
    };

    fn hello() -> Hello {
        let Welcome { protocol, fingerprint, .. } = WELCOME;
        Hello { protocol, pid: 4711, fingerprint, trouble: None }
    }

    #[test]
    fn both_greetings_survive_the_journey() {
        assert_eq!(Welcome::decode(&WELCOME.encode()), Some(WELCOME));
        for trouble in [None, Some("no licence file".to_owned())] {
            let hello = Hello { trouble, ..hello() };
            let bytes = hello.encode();
            assert_eq!(Hello::decode(&bytes[HEADER_LEN..]), Ok(hello));
        }
    }

    #[test]
    fn rubbish_is_no_greeting() {
        assert_eq!(Welcome::decode(&[1; WELCOME_LEN]), None);
        assert!(Hello::decode(&[0; 24]).is_err());
        assert!(Hello::decode(&[]).is_err());
        let done = Header { len: 24, kind: ToHost::Done, flags: Flags::NONE, job: 0, seq: 0 };
        assert!(Hello::check(&done).is_err());
    }

    #[test]
    fn a_mismatch_is_told_in_words() {
        assert_eq!(hello().objection(&WELCOME), None);
        let other = Hello { fingerprint: 1, ..hello() };
        assert!(other.objection(&WELCOME).unwrap().contains("rebuilt"));
        let old = Hello { protocol: 99, ..hello() };
        assert!(old.objection(&WELCOME).unwrap().contains("protocol 99"));
    }
}
