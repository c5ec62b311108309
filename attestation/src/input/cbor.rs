//! CBOR without its schema: an EAT, a conceptual message wrapper, a bundle. Byte and text strings
//! are looked at; what holds them is not read.

use minicbor::data::Type;
use minicbor::decode::Decoder;

use super::reader::Reader;

/// Shortest string that can hold anything, in bytes.
const MIN_BYTES: usize = 64;

/// Looks at CBOR; false where it is none to the end, or nothing in it is known.
pub(super) fn look(reader: &mut Reader<'_>, bytes: &[u8]) -> bool {
    let Some(strings) = strings(bytes) else { return false };
    strings.into_iter().fold(false, |said, string| {
        let looked = reader.may_go_on() && reader.inside("CBOR", |reader| reader.look(string));
        looked | said
    })
}

/// Every string of a sequence of items, however deep, in order.
fn strings(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut decoder = Decoder::new(bytes);
    let mut found = Vec::new();
    while decoder.position() < bytes.len() {
        let string = match decoder.datatype().ok()? {
            Type::Bytes => decoder.bytes().ok(),
            Type::String => decoder.str().ok().map(str::as_bytes),
            Type::Array | Type::ArrayIndef => {
                decoder.array().ok()?;
                continue;
            }
            Type::Map | Type::MapIndef => {
                decoder.map().ok()?;
                continue;
            }
            Type::Tag => {
                decoder.tag().ok()?;
                continue;
            }
            // Chunked strings are opened by skipping their head; the chunks follow, then a break.
            Type::BytesIndef | Type::StringIndef | Type::Break => {
                decoder.set_position(decoder.position() + 1);
                continue;
            }
            _ => {
                decoder.skip().ok()?;
                continue;
            }
        };
        found.extend(Some(string?).filter(|string| string.len() >= MIN_BYTES));
    }
    (!found.is_empty()).then_some(found)
}
