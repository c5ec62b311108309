//! Protocol buffers without their schema: Oak's bundles, go-sev-guest's and go-tpm-tools'
//! attestations. The wire format says where the fields are; what is in them is found by looking.

use super::reader::Reader;
use super::{quote_fields, snp_fields};

/// Deepest nesting of messages followed (ours; Oak's is eight).
const MAX_DEPTH: usize = 12;
/// Shortest field that can hold anything, in bytes.
const MIN_BYTES: usize = 64;

/// A field's value.
pub(super) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Looks at a message; false where it is none, or nothing in it is known.
pub(super) fn look(reader: &mut Reader<'_>, bytes: &[u8]) -> bool {
    match fields(bytes) {
        Some(fields) => reader.inside("protobuf", |reader| look_at_fields(reader, &fields, 0)),
        None => false,
    }
}

fn look_at_fields(reader: &mut Reader<'_>, fields: &[(u64, Value<'_>)], depth: usize) -> bool {
    if let Some(report) = spelled_out(fields) {
        let how = "written field by field";
        if reader.inside(how, |reader| reader.look(&report)) {
            return true;
        }
    }
    let mut said = false;
    for (number, value) in fields {
        let Value::Bytes(bytes) = value else { continue };
        if bytes.len() < MIN_BYTES || !reader.may_go_on() {
            continue;
        }
        let place = format!("field {number}");
        said |= reader.at(&place, |reader| look_at_field(reader, bytes, depth));
    }
    said
}

fn look_at_field(reader: &mut Reader<'_>, bytes: &[u8], depth: usize) -> bool {
    if let Some(said) = reader.look_at_binary(bytes) {
        return said;
    }
    if let Some(fields) = fields(bytes).filter(|_| depth < MAX_DEPTH) {
        return look_at_fields(reader, &fields, depth + 1);
    }
    // A message is often text, too: text is asked last.
    bytes.starts_with(b"-----BEGIN ") && reader.look(bytes)
}

/// The report or quote whose fields these are.
fn spelled_out(fields: &[(u64, Value<'_>)]) -> Option<Vec<u8>> {
    quote_fields::from_proto(fields).or_else(|| report(fields))
}

fn report(fields: &[(u64, Value<'_>)]) -> Option<Vec<u8>> {
    let numbers = fields.iter().filter_map(|(number, value)| match value {
        Value::Number(value) => Some((*number, *value)),
        Value::Bytes(_) => None,
    });
    let texts = fields.iter().filter_map(|(number, value)| match value {
        Value::Bytes(bytes) => Some((*number, *bytes)),
        Value::Number(_) => None,
    });
    snp_fields::from_proto(numbers, texts)
}

/// Every field of a message; `None` where the bytes are not one to the end.
pub(super) fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Value<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let (key, rest) = varint(bytes)?;
        let (value, rest) = match key & 7 {
            0 => varint(rest).map(|(number, rest)| (Value::Number(number), rest))?,
            1 => rest.split_at_checked(8).map(|(bytes, rest)| (Value::Bytes(bytes), rest))?,
            2 => {
                let (length, rest) = varint(rest)?;
                let (bytes, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                (Value::Bytes(bytes), rest)
            }
            5 => rest.split_at_checked(4).map(|(bytes, rest)| (Value::Bytes(bytes), rest))?,
            _ => return None,
        };
        if key >> 3 == 0 {
            return None;
        }
        fields.push((key >> 3, value));
        bytes = rest;
    }
    (!fields.is_empty()).then_some(fields)
}

/// A number in groups of seven bits, low ones first, at most ten.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(7 * index as u32)?;
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(index + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Number and length of every field; 0 for a field that is a number itself.
    fn read(bytes: &[u8]) -> Option<Vec<(u64, usize)>> {
        let length = |value: &Value<'_>| match value {
            Value::Number(_) => 0,
            Value::Bytes(bytes) => bytes.len(),
        };
        let fields = fields(bytes)?;
        Some(fields.iter().map(|(number, value)| (*number, length(value))).collect())
    }

    #[test]
    fn a_message_has_fields_of_every_wire_type() {
        let number = &[1 << 3, 0x96, 1][..];
        let eight = &[2 << 3 | 1, 1, 2, 3, 4, 5, 6, 7, 8][..];
        let text = &[3 << 3 | 2, 2, 1, 2][..];
        let four = &[4 << 3 | 5, 1, 2, 3, 4][..];
        let message = [number, eight, text, four].concat();
        assert_eq!(read(&message), Some(vec![(1, 0), (2, 8), (3, 2), (4, 4)]));
        for cut in [&number[..2], &eight[..8], &text[..3], &four[..4]] {
            assert_eq!(read(cut), None, "{cut:?}");
        }
    }

    #[test]
    fn no_field_has_the_number_0() {
        for field in [&[0, 5][..], &[1, 1, 2, 3, 4, 5, 6, 7, 8], &[2, 1, 7], &[5, 1, 2, 3, 4]] {
            assert_eq!(read(field), None, "{field:?}");
        }
    }

    #[test]
    fn groups_are_of_no_message() {
        for field in [&[1 << 3 | 3][..], &[1 << 3 | 4], &[1 << 3 | 6], &[1 << 3 | 7]] {
            assert_eq!(read(field), None, "{field:?}");
        }
    }
}
