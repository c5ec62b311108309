//! Lists that accept nothing unless told.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// Most entries of one list (ours; a fleet's chip ids).
const MAX_ENTRIES: usize = 10_000;

/// `"any"`, or a list of accepted values. An empty list accepts nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accept<T> {
    /// Not asked.
    Any,
    /// Only these.
    Only(Vec<T>),
}

impl<T: PartialEq> Accept<T> {
    /// Whether `value` is accepted.
    pub fn accepts(&self, value: &T) -> bool {
        match self {
            Accept::Any => true,
            Accept::Only(values) => values.contains(value),
        }
    }

    /// Takes `more` besides; `"any"` already does.
    pub(crate) fn extend(&mut self, more: impl IntoIterator<Item = T>) {
        if let Accept::Only(values) = self {
            values.extend(more);
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Accept<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(AcceptVisitor(PhantomData))
    }
}

struct AcceptVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for AcceptVisitor<T> {
    type Value = Accept<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"any\" or a list of accepted values")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Accept<T>, E> {
        match text {
            "any" => Ok(Accept::Any),
            other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Accept<T>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element()? {
            if values.len() == MAX_ENTRIES {
                return Err(A::Error::custom(format!("a list has at most {MAX_ENTRIES} entries")));
            }
            values.push(value);
        }
        Ok(Accept::Only(values))
    }
}
