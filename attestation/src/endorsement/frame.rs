//! The frame around what a certificate or revocation list signs (RFC 5280 §4.1, §5.1): to-be-signed
//! part, algorithm, signature. The frame itself is signed by nobody, so it is read in the one way
//! DER allows; otherwise bytes could change under a signature that still holds.

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const EXPLICIT_VERSION: u8 = 0xa0;

/// The three parts, as received.
pub(super) struct Frame<'a> {
    /// What the signature covers, header included.
    pub signed: &'a [u8],
    /// The signature.
    pub signature: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Takes `der` apart; `None` where it is no such structure, has a byte too many anywhere, or
    /// names another algorithm outside the signed part than inside it.
    pub fn of(der: &'a [u8]) -> Option<Frame<'a>> {
        let (outer, rest) = Element::read(der)?;
        let (signed, after) = Element::read(outer.content_of(SEQUENCE)?)?;
        let (algorithm, after) = Element::read(after)?;
        let (signature, end) = Element::read(after)?;
        let ([], []) = (rest, end) else { return None };
        if algorithm.whole != inner_algorithm(signed.content_of(SEQUENCE)?)? {
            return None;
        }
        // The first byte counts unused bits of the last: a signature has none.
        let [0, signature @ ..] = signature.content_of(BIT_STRING)? else { return None };
        Some(Frame { signed: signed.whole, signature })
    }
}

/// The algorithm named inside the signed part: after version and serial number in a certificate,
/// after the version in a revocation list.
fn inner_algorithm(mut content: &[u8]) -> Option<&[u8]> {
    loop {
        let (element, rest) = Element::read(content)?;
        match element.tag {
            EXPLICIT_VERSION | INTEGER => content = rest,
            SEQUENCE => return Some(element.whole),
            _ => return None,
        }
    }
}

/// One tag, length and value.
pub(crate) struct Element<'a> {
    pub tag: u8,
    pub whole: &'a [u8],
    pub content: &'a [u8],
}

impl<'a> Element<'a> {
    /// Reads the first element of `bytes`, its length in the shortest form; returns what follows.
    pub fn read(bytes: &'a [u8]) -> Option<(Element<'a>, &'a [u8])> {
        let (&tag, after_tag) = bytes.split_first()?;
        let (&first, after_first) = after_tag.split_first()?;
        let (length, header) = match first {
            0..=0x7f => (usize::from(first), 2),
            0x81 => (number(after_first.get(..1)?, 0x80)?, 3),
            0x82 => (number(after_first.get(..2)?, 0x100)?, 4),
            0x83 => (number(after_first.get(..3)?, 0x1_0000)?, 5),
            _ => return None,
        };
        let end = header + length;
        let (whole, rest) = bytes.split_at_checked(end)?;
        Some((Element { tag, whole, content: whole.get(header..)? }, rest))
    }

    /// Its content, where it carries this tag.
    pub fn content_of(&self, tag: u8) -> Option<&'a [u8]> {
        (self.tag == tag).then_some(self.content)
    }
}

/// A length, which in its shortest form is at least `minimum`.
fn number(bytes: &[u8], minimum: usize) -> Option<usize> {
    let value = bytes.iter().fold(0, |value, byte| value << 8 | usize::from(*byte));
    (value >= minimum).then_some(value)
}

/// `tag` around `parts`, at most 255 bytes.
#[cfg(test)]
pub(crate) fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = u8::try_from(content.len()).expect("at most 255 bytes");
    let header = if length < 0x80 { vec![tag, length] } else { vec![tag, 0x81, length] };
    [header, content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARK_MILAN: &[u8] = include_bytes!("../tee/snp/roots/ark-milan.der");

    #[test]
    fn refuses_every_flipped_bit_of_the_frame_itself() {
        let frame = Frame::of(ARK_MILAN).unwrap();
        let signed_at = 4..4 + frame.signed.len();
        let signature_at = ARK_MILAN.len() - frame.signature.len()..ARK_MILAN.len();
        for at in 0..ARK_MILAN.len() {
            if signed_at.contains(&at) || signature_at.contains(&at) {
                continue;
            }
            for bit in 0..8 {
                let mut changed = ARK_MILAN.to_vec();
                changed[at] ^= 1 << bit;
                assert!(Frame::of(&changed).is_none(), "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn refuses_lengths_in_a_longer_form_than_needed() {
        assert!(Element::read(&[4, 0x81, 1, 0]).is_none());
        assert!(Element::read(&[4, 0x82, 0, 0x80]).is_none());
        assert!(Element::read(&[4, 0x80]).is_none());
        assert!(Element::read(&[4, 2, 0]).is_none());
        assert!(Element::read(&[4, 1, 0]).is_some());
    }

    #[test]
    fn reads_lengths_of_one_two_and_three_bytes() {
        let long = |length: &[u8], content: usize| [&[4], length, &vec![0; content]].concat();
        for (length, content) in [
            (&[0x7f][..], 0x7f),
            (&[0x81, 0x80], 0x80),
            (&[0x82, 1, 0], 0x100),
            (&[0x82, 0xff, 0xff], 0xffff),
            (&[0x83, 1, 0, 0], 0x1_0000),
            (&[0x83, 1, 2, 3], 0x1_0203),
        ] {
            let mut bytes = long(length, content);
            bytes.push(7);
            let (element, rest) = Element::read(&bytes).unwrap();
            assert_eq!((element.content.len(), rest), (content, &[7][..]));
            assert!(Element::read(&bytes[..bytes.len() - 2]).is_none(), "{content}");
        }
        assert!(Element::read(&long(&[0x83, 0, 0xff, 0xff], 0xffff)).is_none());
        assert!(Element::read(&long(&[0x84, 0, 1, 0, 0], 0x1_0000)).is_none());
    }
}
