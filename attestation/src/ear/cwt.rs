//! The CBOR form, as a CWT in COSE_Sign1: deterministic (RFC 8949 §4.2.1), keys in the order of
//! their encodings.

use minicbor::Encoder;
use serde_json::{Map, Value};

use bulla_wire::cose::{self, KeyId};

use super::{Ear, EarError, PROFILE, TrustVector};
use crate::sign::SigningKey;

/// COSE algorithm identifier of EdDSA (RFC 9053 §2.2).
const ALG_EDDSA: i8 = -8;
/// Deepest nesting of a claim written (ours; a verdict has four levels).
const MAX_DEPTH: usize = 16;

// Claim keys: RFC 8392 §3.1, RFC 9711, draft-ietf-rats-ear-04 appendix A.
const EXPIRES: u16 = 4;
const ISSUED_AT: u16 = 6;
const NONCE: u16 = 10;
const EAT_PROFILE: u16 = 265;
const SUBMODS: u16 = 266;
const STATUS: u16 = 1000;
const VECTOR: u16 = 1001;
const POLICY_IDS: u16 = 1003;
const VERIFIER_ID: u16 = 1004;
const ATTESTER_CLAIMS: u16 = 1005;
const VERIFIER_CLAIMS: u16 = 1006;

type Bytes = Encoder<Vec<u8>>;
type Written = Result<(), EarError>;

fn refused(error: impl std::fmt::Display) -> EarError {
    EarError::Claims { reason: error.to_string() }
}

impl Ear<'_> {
    /// The claims set in CBOR.
    pub fn to_cbor(&self) -> Result<Vec<u8>, EarError> {
        let mut e = Encoder::new(Vec::new());
        let optional = usize::from(self.expires.is_some()) + usize::from(self.nonce.is_some());
        e.map(4 + optional as u64).map_err(refused)?;
        if let Some(expires) = self.expires {
            e.u16(EXPIRES).and_then(|e| e.u64(expires.0)).map_err(refused)?;
        }
        e.u16(ISSUED_AT).and_then(|e| e.u64(self.issued_at.0)).map_err(refused)?;
        if let Some(nonce) = &self.nonce {
            e.u16(NONCE).and_then(|e| e.bytes(nonce)).map_err(refused)?;
        }
        e.u16(EAT_PROFILE).and_then(|e| e.str(PROFILE)).map_err(refused)?;
        e.u16(SUBMODS).and_then(|e| e.map(1)).map_err(refused)?;
        e.str(self.submodule()).map_err(refused)?;
        self.write_appraisal(&mut e)?;
        e.u16(VERIFIER_ID).and_then(|e| e.map(2)).map_err(refused)?;
        e.u8(0).and_then(|e| e.str(&self.verifier.developer)).map_err(refused)?;
        e.u8(1).and_then(|e| e.str(&self.verifier.build)).map_err(refused)?;
        Ok(e.into_writer())
    }

    fn write_appraisal(&self, e: &mut Bytes) -> Written {
        let attester_claims = self.attester_claims()?;
        let claims = if attester_claims.is_empty() { 4 } else { 5 };
        e.map(claims).map_err(refused)?;
        e.u16(STATUS).and_then(|e| e.i8(self.status().number())).map_err(refused)?;
        let vector = TrustVector::of(self.result);
        e.u16(VECTOR).and_then(|e| e.map(vector.claimed().count() as u64)).map_err(refused)?;
        for (key, _, value) in vector.claimed() {
            e.u8(key).and_then(|e| e.i8(value)).map_err(refused)?;
        }
        e.u16(POLICY_IDS).and_then(|e| e.array(1)).map_err(refused)?;
        e.str(&self.policy_id()).map_err(refused)?;
        if !attester_claims.is_empty() {
            e.u16(ATTESTER_CLAIMS).map_err(refused)?;
            write_map(e, &attester_claims, 0)?;
        }
        e.u16(VERIFIER_CLAIMS).map_err(refused)?;
        write_map(e, &self.verifier_claims()?, 0)
    }

    /// The CWT, signed with Ed25519. Its header has algorithm and key id only: readers in the field
    /// refuse a `typ` (RFC 9596). Messages of our own always have one, so neither passes for the other.
    pub fn cwt(&self, key: &SigningKey) -> Result<Vec<u8>, EarError> {
        let payload = self.to_cbor()?;
        let mut header = Encoder::new(Vec::new());
        header.map(2).and_then(|e| e.u8(1)?.i8(ALG_EDDSA)).map_err(refused)?;
        let key_id = KeyId::of(&key.public());
        header.u8(4).and_then(|e| e.bytes(&key_id.0)).map_err(refused)?;
        let protected = header.into_writer();
        let signature = key.sign_bytes(&cose::to_be_signed(&protected, &payload));
        Ok(cose::assemble(&protected, &payload, &signature))
    }
}

fn write(e: &mut Bytes, value: &Value, depth: usize) -> Written {
    if depth > MAX_DEPTH {
        return Err(refused("nested too deep"));
    }
    match value {
        Value::Null => e.null().map(drop).map_err(refused),
        Value::Bool(value) => e.bool(*value).map(drop).map_err(refused),
        Value::String(text) => e.str(text).map(drop).map_err(refused),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => e.u64(number).map(drop).map_err(refused),
            (None, Some(number)) => e.i64(number).map(drop).map_err(refused),
            (None, None) => Err(refused("a number that is not whole")),
        },
        Value::Array(values) => {
            e.array(values.len() as u64).map_err(refused)?;
            values.iter().try_for_each(|value| write(e, value, depth + 1))
        }
        Value::Object(members) => write_map(e, members, depth),
    }
}

/// Keys by length, then by bytes: the order of their encodings.
fn write_map(e: &mut Bytes, members: &Map<String, Value>, depth: usize) -> Written {
    let mut sorted: Vec<(&String, &Value)> = members.iter().collect();
    sorted.sort_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
    e.map(sorted.len() as u64).map_err(refused)?;
    for (name, value) in sorted {
        e.str(name).map_err(refused)?;
        write(e, value, depth + 1)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number inside so many objects or lists.
    fn nested(depth: usize, around: fn(Value) -> Value) -> Value {
        (0..depth).fold(Value::from(1), |inner, _| around(inner))
    }

    #[test]
    fn claims_nest_so_deep_and_no_deeper() {
        let wrapped: [fn(Value) -> Value; 2] = [
            |inner| Value::Array(vec![inner]),
            |inner| Value::Object(Map::from_iter([("a".to_owned(), inner)])),
        ];
        for around in wrapped {
            let written = |depth| {
                let mut e = Encoder::new(Vec::new());
                write(&mut e, &nested(depth, around), 0).map(|()| e.into_writer().len())
            };
            assert!(written(MAX_DEPTH).is_ok());
            assert_eq!(written(MAX_DEPTH + 1), Err(refused("nested too deep")));
        }
    }
}
