//! JSON, walked without building a tree: what is signed inside keeps its exact text.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::document::{self, Whole};
use super::reader::Reader;
use super::{encoding, snp_fields};
use crate::tee::TeeKind;

/// Deepest nesting of objects and arrays followed (ours; each level is read once per level above).
const MAX_DEPTH: usize = 16;
/// Shortest text or list of numbers that can hold anything, in characters.
const MIN_CHARS: usize = 32;

/// Looks at a JSON text; `None` where it is none.
pub(super) fn look(reader: &mut Reader<'_>, text: &str) -> Option<bool> {
    let value: &RawValue = serde_json::from_str(text).ok()?;
    Some(look_at(reader, value, 0))
}

fn look_at(reader: &mut Reader<'_>, value: &RawValue, depth: usize) -> bool {
    if value.get().len() < MIN_CHARS {
        return false;
    }
    if depth > MAX_DEPTH || !reader.may_go_on() {
        return reader.leave_aside("a JSON document too deep or too wide to look at whole");
    }
    match value.get().as_bytes().first() {
        Some(b'"') => look_at_string(reader, value),
        Some(b'[') => match bytes_of_numbers(value) {
            Some(bytes) => reader.inside("list of numbers", |reader| reader.look(&bytes)),
            None => look_at_array(reader, value, depth),
        },
        Some(b'{') => look_at_object(reader, value, depth),
        _ => false,
    }
}

fn look_at_string(reader: &mut Reader<'_>, value: &RawValue) -> bool {
    let Ok(text) = serde_json::from_str::<String>(value.get()) else { return false };
    match text.trim_start().as_bytes().first() {
        Some(b'{' | b'[' | b'"') => {
            reader.inside("text", |reader| look(reader, text.trim()).unwrap_or(false))
        }
        _ => reader.look_at_text(&text),
    }
}

fn look_at_array(reader: &mut Reader<'_>, value: &RawValue, depth: usize) -> bool {
    let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(value.get()) else { return false };
    if let Some(whole) = document::whole_array(&elements) {
        return take(reader, whole, value);
    }
    elements.into_iter().fold(false, |said, element| look_at(reader, element, depth + 1) | said)
}

fn look_at_object(reader: &mut Reader<'_>, value: &RawValue, depth: usize) -> bool {
    let Some(object) = Object::of(value) else { return false };
    match document::whole_object(&object) {
        Some(Whole::Evidence(kind, _)) if is_opened(reader, kind) => {}
        // Its reader takes the chains out itself.
        Some(whole @ Whole::Evidence(TeeKind::Nvidia, _)) => return take(reader, whole, value),
        Some(whole @ Whole::Evidence(..)) => {
            take(reader, whole, value);
            reader.only_endorsements(|reader| look_at_members(reader, &object, depth));
            return true;
        }
        Some(whole) => return take(reader, whole, value),
        None => {}
    }
    let report = snp_fields::from_json(&object);
    if let Some(report) = &report {
        let how = "written field by field";
        if reader.inside(how, |reader| reader.look(report)) {
            return true;
        }
    }
    look_at_members(reader, &object, depth)
}

/// Whether a document is opened for the CPU evidence inside, because that was asked for.
fn is_opened(reader: &Reader<'_>, kind: TeeKind) -> bool {
    matches!(
        (reader.wanted, kind),
        (Some(TeeKind::Snp), TeeKind::AzureSnp) | (Some(TeeKind::Tdx), TeeKind::AzureTdx)
    )
}

fn look_at_members(reader: &mut Reader<'_>, object: &Object<'_>, depth: usize) -> bool {
    object.members.iter().fold(false, |said, (name, value)| {
        reader.at(name, |reader| look_at(reader, value, depth + 1)) | said
    })
}

fn take(reader: &mut Reader<'_>, whole: Whole, value: &RawValue) -> bool {
    let bytes = value.get().as_bytes();
    reader.inside("JSON", |reader| match whole {
        Whole::Evidence(kind, what) => reader.evidence(kind, what, bytes),
        Whole::Endorsement(kind) => reader.endorsement(kind, bytes),
    })
}

/// The members of an object, in order, their values unread.
pub(super) struct Object<'a> {
    pub members: Vec<(String, &'a RawValue)>,
}

impl<'a> Object<'a> {
    /// Reads an object; `None` for anything else.
    pub fn of(value: &'a RawValue) -> Option<Object<'a>> {
        serde_json::from_str(value.get()).ok()
    }

    /// The first member with one of these names.
    pub fn member(&self, names: &[&str]) -> Option<&'a RawValue> {
        let found = self.members.iter().find(|(name, _)| names.contains(&name.as_str()));
        found.map(|(_, value)| *value)
    }

    /// Whether there is a member with one of these names.
    pub fn has(&self, names: &[&str]) -> bool {
        self.member(names).is_some()
    }

    /// The object that is the value of a member.
    pub fn object(&self, names: &[&str]) -> Option<Object<'a>> {
        Object::of(self.member(names)?)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        Ok(Object { members: deserializer.deserialize_map(Members)? })
    }
}

/// Bytes written as a list of numbers.
pub(super) fn bytes_of_numbers(value: &RawValue) -> Option<Vec<u8>> {
    serde_json::from_str(value.get()).ok()
}

/// Bytes written as a list of numbers, hex or base64.
pub(super) fn bytes_of(value: &RawValue) -> Option<Vec<u8>> {
    match serde_json::from_str::<String>(value.get()) {
        Ok(text) => encoding::hex(&text).or_else(|| encoding::base64(&text)),
        Err(_) => bytes_of_numbers(value),
    }
}

/// The text of a member that is one.
pub(super) fn text_of(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}
