//! An ECDSA signature as X.509 carries it (RFC 3279 §2.2.3): a DER sequence of two integers.

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;

/// r and s of `signature`, big-endian, padded on the left to `N` bytes (at most 60, so that every
/// length is one byte). `None` for anything but DER's one way to write two positive numbers that
/// fit, with nothing before, between or after.
pub(super) fn fixed_of_der<const N: usize>(signature: &[u8]) -> Option<[[u8; N]; 2]> {
    let (content, []) = element(SEQUENCE, signature)? else { return None };
    let (r, rest) = element(INTEGER, content)?;
    let (s, []) = element(INTEGER, rest)? else { return None };
    Some([padded(r)?, padded(s)?])
}

/// The content of the first element of `bytes`, which must carry `tag`, and what follows it.
fn element(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    match bytes {
        [first, length @ 0..=0x7f, rest @ ..] if *first == tag => {
            rest.split_at_checked(usize::from(*length))
        }
        _ => None,
    }
}

/// A DER INTEGER's content, which must be positive and in its shortest form.
fn padded<const N: usize>(content: &[u8]) -> Option<[u8; N]> {
    let magnitude = match content {
        [0, magnitude @ ..] if magnitude.first() >= Some(&0x80) => magnitude,
        [1..=0x7f, ..] => content,
        _ => return None,
    };
    let mut fixed = [0; N];
    let start = N.checked_sub(magnitude.len())?;
    fixed.get_mut(start..)?.copy_from_slice(magnitude);
    Some(fixed)
}
