//! TDX quotes written field by field: go-tdx-guest's protobuf. The quote's bytes are put together
//! again in the order of Intel's layout; the signatures say whether they are the signed ones.

use super::proto::{Value, fields};

/// What stands next in the quote, and under which number in the message.
enum Part {
    /// A number of so many bytes, little-endian; absent means zero.
    Number(u64, usize),
    /// Exactly so many bytes.
    Bytes(u64, usize),
    /// Bytes of any length, perhaps none.
    Rest(u64),
    /// So many bytes each, repeated.
    Repeated(u64, usize, usize),
    /// Another message.
    Message(u64, &'static [Part]),
}

use Part::{Bytes, Message, Number, Repeated, Rest};

const HEADER: &[Part] = &[
    Number(1, 2),
    Number(2, 2),
    Number(3, 4),
    Bytes(5, 2),
    Bytes(4, 2),
    Bytes(6, 16),
    Bytes(7, 20),
];
const BODY: &[Part] = &[
    Bytes(1, 16),
    Bytes(2, 48),
    Bytes(3, 48),
    Bytes(4, 8),
    Bytes(5, 8),
    Bytes(6, 8),
    Bytes(7, 48),
    Bytes(8, 48),
    Bytes(9, 48),
    Bytes(10, 48),
    Repeated(11, 48, 4),
    Bytes(12, 64),
];
const BODY_1_5: &[Part] = &[Message(0, BODY), Bytes(13, 16), Bytes(14, 48)];
const DESCRIPTOR: &[Part] = &[Number(1, 2), Number(2, 4), Message(3, BODY_1_5)];
const DESCRIPTOR_1_0: &[Part] = &[Number(1, 2), Number(2, 4), Message(3, BODY)];
const ENCLAVE_REPORT: &[Part] = &[
    Bytes(1, 16),
    Number(2, 4),
    Bytes(3, 28),
    Bytes(4, 16),
    Bytes(5, 32),
    Bytes(6, 32),
    Bytes(7, 32),
    Bytes(8, 96),
    Number(9, 2),
    Number(10, 2),
    Bytes(11, 60),
    Bytes(12, 64),
];
const QE_REPORT: &[Part] = &[
    Message(1, ENCLAVE_REPORT),
    Bytes(2, 64),
    Message(3, &[Number(1, 2), Rest(2)]),
    Message(4, &[Number(1, 2), Number(2, 4), Rest(3)]),
];
const SIGNED_DATA: &[Part] =
    &[Bytes(1, 64), Bytes(2, 64), Message(3, &[Number(1, 2), Number(2, 4), Message(3, QE_REPORT)])];
/// `QuoteV4`, then `QuoteV5` around each kind of body.
const QUOTES: [&[Part]; 3] = [
    &[Message(1, HEADER), Message(2, BODY), Number(3, 4), Message(4, SIGNED_DATA), Rest(5)],
    &[Message(1, HEADER), Message(2, DESCRIPTOR), Number(3, 4), Message(4, SIGNED_DATA), Rest(5)],
    &[
        Message(1, HEADER),
        Message(2, DESCRIPTOR_1_0),
        Number(3, 4),
        Message(4, SIGNED_DATA),
        Rest(5),
    ],
];

/// The quote that a message spells out; `None` where it spells out none.
pub(super) fn from_proto(message: &[(u64, Value<'_>)]) -> Option<Vec<u8>> {
    QUOTES.iter().find_map(|layout| {
        let mut quote = Vec::new();
        write(&mut quote, layout, message)?;
        Some(quote)
    })
}

fn write(out: &mut Vec<u8>, layout: &[Part], message: &[(u64, Value<'_>)]) -> Option<()> {
    let texts = |number: u64| {
        message.iter().filter_map(move |(found, value)| match value {
            Value::Bytes(bytes) if *found == number => Some(*bytes),
            _ => None,
        })
    };
    for part in layout {
        match part {
            Number(number, length) => {
                let found = message.iter().find_map(|(found, value)| match value {
                    Value::Number(value) if found == number => Some(*value),
                    _ => None,
                });
                out.extend(found.unwrap_or(0).to_le_bytes().get(..*length)?);
            }
            Bytes(number, length) => {
                out.extend(texts(*number).next().filter(|bytes| bytes.len() == *length)?);
            }
            Rest(number) => out.extend(texts(*number).next().unwrap_or_default()),
            Repeated(number, length, count) => {
                let all: Vec<&[u8]> = texts(*number).collect();
                let fits = all.len() == *count && all.iter().all(|bytes| bytes.len() == *length);
                fits.then(|| all.iter().for_each(|bytes| out.extend(*bytes)))?;
            }
            // Number 0: the same message goes on.
            Message(0, layout) => write(out, layout, message)?,
            Message(number, layout) => write(out, layout, &fields(texts(*number).next()?)?)?,
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repeated_has_its_number_and_its_length() {
        let written = |values: &[&'static [u8]]| {
            let message: Vec<_> = values.iter().map(|value| (1, Value::Bytes(value))).collect();
            let mut out = Vec::new();
            write(&mut out, &[Repeated(1, 2, 2)], &message).map(|()| out)
        };
        assert_eq!(written(&[&[1, 2], &[3, 4]]), Some(vec![1, 2, 3, 4]));
        for wrong in [&[&[1, 2][..]][..], &[&[1, 2], &[3]], &[&[1, 2], &[3, 4], &[5, 6]]] {
            assert_eq!(written(wrong), None, "{wrong:?}");
        }
    }
}
