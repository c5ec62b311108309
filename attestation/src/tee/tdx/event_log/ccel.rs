//! The firmware's log: a crypto-agile event log (TCG, *PC Client Platform Firmware Profile*, §10) in
//! the memory that the ACPI table CCEL points to. Its register 0 is MRTD, which no event extends;
//! registers 1 to 4 are RTMR 0 to 3 (UEFI 2.10, §38.4.1).

use super::{Event, MAX_EVENTS, REGISTER_BYTES, REGISTERS};

/// First event, in the older format: register, type, SHA-1 digest, length of what follows.
const HEADER_BYTES: usize = 32;
const LENGTH_AT: usize = 28;
/// What it carries begins with this.
const SIGNATURE: &[u8; 16] = b"Spec ID Event03\0";
/// Type of an event that extends nothing.
const EV_NO_ACTION: u32 = 3;
/// TPM_ALG_SHA384.
const SHA384: u16 = 0x000c;
/// Most digest algorithms (ours; the TPM library names five hashes of use).
const MAX_ALGORITHMS: u32 = 16;
/// Largest digest (SHA-512).
const MAX_DIGEST_BYTES: u16 = 64;
/// Registers before RTMR 0: MRTD.
const BEFORE_RTMRS: u32 = 1;

/// Why bytes are not such a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CcelError {
    /// It ends inside an event.
    #[error("the log ends inside event {event}")]
    Truncated {
        /// Which, from 0.
        event: usize,
    },
    /// Its first event is not the one that says how to read the others.
    #[error("the log does not begin with a \"Spec ID Event03\"")]
    NoHeader,
    /// An algorithm count or digest length beyond reason.
    #[error("the log's list of digest algorithms is malformed")]
    Algorithms,
    /// An event with a digest of an algorithm that was not announced, or without SHA-384.
    #[error("event {event} has no SHA-384 digest, or one that was not announced")]
    Digests {
        /// Which.
        event: usize,
    },
    /// A register a TD does not have.
    #[error("event {event} is about register {got}, a TD has 1 to 4")]
    Register {
        /// Which.
        event: usize,
        /// The register.
        got: u32,
    },
    /// Too many.
    #[error("more than {MAX_EVENTS} events")]
    TooMany,
}

/// Whether `bytes` begin like such a log.
pub fn is_log(bytes: &[u8]) -> bool {
    bytes.get(HEADER_BYTES..).is_some_and(|rest| rest.starts_with(SIGNATURE))
}

/// The events that extend RTMR 0 to 3. What follows the last event must be unused memory: all 0xff,
/// or all zero.
pub fn events(log: &[u8]) -> Result<Vec<Event>, CcelError> {
    if !is_log(log) {
        return Err(CcelError::NoHeader);
    }
    let mut rest = Reader(log);
    let truncated = |event| CcelError::Truncated { event };
    let header = rest.take(HEADER_BYTES).ok_or(truncated(0))?;
    let mut length = Reader(header.get(LENGTH_AT..).unwrap_or_default());
    let length = length.length().ok_or(truncated(0))?;
    let sizes = algorithms(Reader(rest.take(length).ok_or(truncated(0))?))?;
    let mut events = Vec::new();
    for number in 1.. {
        if is_unused(rest.0) {
            break;
        }
        if number > MAX_EVENTS {
            return Err(CcelError::TooMany);
        }
        events.extend(event(&mut rest, &sizes, number)?);
    }
    Ok(events)
}

/// Digest lengths by algorithm, from the first event.
fn algorithms(mut spec: Reader<'_>) -> Result<Vec<(u16, u16)>, CcelError> {
    // Signature, platform class, version (minor, major, errata), size of an unsigned integer.
    spec.take(SIGNATURE.len() + 8).ok_or(CcelError::Algorithms)?;
    let count = spec.u32().filter(|count| *count <= MAX_ALGORITHMS);
    let mut sizes = Vec::new();
    for _ in 0..count.ok_or(CcelError::Algorithms)? {
        match (spec.u16(), spec.u16()) {
            (Some(algorithm), Some(size)) if size <= MAX_DIGEST_BYTES => {
                sizes.push((algorithm, size));
            }
            _ => return Err(CcelError::Algorithms),
        }
    }
    Ok(sizes)
}

/// One event; `None` where it extends nothing.
fn event(
    rest: &mut Reader<'_>,
    sizes: &[(u16, u16)],
    number: usize,
) -> Result<Option<Event>, CcelError> {
    let truncated = CcelError::Truncated { event: number };
    let register = rest.u32().ok_or(truncated.clone())?;
    let kind = rest.u32().ok_or(truncated.clone())?;
    let count = rest.u32().ok_or(truncated.clone())?;
    if count > MAX_ALGORITHMS {
        return Err(CcelError::Digests { event: number });
    }
    let mut sha384: Option<[u8; REGISTER_BYTES]> = None;
    for _ in 0..count {
        let algorithm = rest.u16().ok_or(truncated.clone())?;
        let announced = sizes.iter().find(|(announced, _)| *announced == algorithm);
        let (_, size) = announced.ok_or(CcelError::Digests { event: number })?;
        let digest = rest.take((*size).into()).ok_or(truncated.clone())?;
        if algorithm == SHA384 {
            sha384 = digest.try_into().ok();
        }
    }
    let length = rest.length().ok_or(truncated.clone())?;
    rest.take(length).ok_or(truncated)?;
    if kind == EV_NO_ACTION {
        return Ok(None);
    }
    let digest = sha384.ok_or(CcelError::Digests { event: number })?;
    let index = register.checked_sub(BEFORE_RTMRS).and_then(|index| usize::try_from(index).ok());
    match index.filter(|index| *index < REGISTERS) {
        Some(register) => Ok(Some(Event { register, digest })),
        None => Err(CcelError::Register { event: number, got: register }),
    }
}

fn is_unused(rest: &[u8]) -> bool {
    match rest.first() {
        None => true,
        Some(first @ (0 | 0xff)) => {
            // A real event begins with a register of at most 4, so a look at its first eight bytes
            // tells the common case without reading all that follows.
            rest.iter().take(8).all(|byte| byte == first) && rest.iter().all(|byte| byte == first)
        }
        Some(_) => false,
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.u32()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::replay;
    use super::*;

    fn log(events: &[(u32, u32, u8)]) -> Vec<u8> {
        let mut log = vec![0; HEADER_BYTES];
        log[4] = 3;
        log[LENGTH_AT] = 33;
        log.extend(SIGNATURE);
        log.extend([0, 0, 0, 0, 0, 2, 0, 2]);
        log.extend(1_u32.to_le_bytes());
        log.extend([0x0c, 0, 48, 0, 0]);
        for (register, kind, byte) in events {
            log.extend(register.to_le_bytes());
            log.extend(kind.to_le_bytes());
            log.extend(1_u32.to_le_bytes());
            log.extend(SHA384.to_le_bytes());
            log.extend([*byte; 48]);
            log.extend(2_u32.to_le_bytes());
            log.extend(b"hi");
        }
        log
    }

    #[test]
    fn register_1_is_rtmr_0_and_no_action_extends_nothing() {
        let mut bytes = log(&[(1, 8, 1), (3, 3, 2), (4, 8, 3)]);
        bytes.extend([0xff; 64]);
        let events = events(&bytes).unwrap();
        assert_eq!(events.iter().map(|event| event.register).collect::<Vec<_>>(), [0, 3]);
        assert_eq!(replay(&events)[1], [0; 48]);
    }

    #[test]
    fn events_and_digests_have_their_limits() {
        let many = |count: usize| events(&log(&vec![(1, 8, 1); count])).map(|events| events.len());
        assert_eq!((many(MAX_EVENTS), many(MAX_EVENTS + 1)), (Ok(8192), Err(CcelError::TooMany)));
        // One event with so many digests of the one algorithm there is.
        let digests = |count: u32| {
            let mut bytes = log(&[]);
            bytes.extend([1_u32, 8, count].iter().flat_map(|number| number.to_le_bytes()));
            for _ in 0..count {
                bytes.extend(SHA384.to_le_bytes());
                bytes.extend([1; 48]);
            }
            bytes.extend(0_u32.to_le_bytes());
            events(&bytes).map(|events| events.len())
        };
        assert_eq!((digests(16), digests(17)), (Ok(1), Err(CcelError::Digests { event: 1 })));
        let size = |bytes: u8| {
            let mut log = log(&[]);
            let at = log.len() - 3;
            log[at] = bytes;
            events(&log)
        };
        assert_eq!((size(64), size(65)), (Ok(Vec::new()), Err(CcelError::Algorithms)));
    }

    #[test]
    fn what_is_not_such_a_log_is_named() {
        let good = log(&[(1, 8, 1)]);
        for length in HEADER_BYTES + SIGNATURE.len()..good.len() {
            // Up to the end of the header there is no event to miss.
            if length != good.len() - 68 {
                assert!(events(&good[..length]).is_err(), "{length}");
            }
        }
        assert_eq!(events(&log(&[(0, 8, 1)])), Err(CcelError::Register { event: 1, got: 0 }));
        assert_eq!(events(&log(&[(5, 8, 1)])), Err(CcelError::Register { event: 1, got: 5 }));
        assert_eq!(events(b"no log"), Err(CcelError::NoHeader));
        let mut unannounced = good.clone();
        let at = good.len() - 6 - 48 - 2;
        unannounced[at] = 0x0b;
        assert_eq!(events(&unannounced), Err(CcelError::Digests { event: 1 }));
        let mut after = good;
        after.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]);
        assert!(events(&after).is_err());
    }
}
