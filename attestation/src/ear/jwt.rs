//! The JSON form, as a JWT (RFC 7519, JWS compact serialisation of RFC 7515).

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde_json::{Map, Value, json};

use bulla_wire::cose::KeyId;

use super::{Ear, EarError, PROFILE, PROFILE_2023, TrustVector};
use crate::sign::SigningKey;

/// How claims are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// draft-ietf-rats-ear-04.
    Draft04,
    /// draft-fv-rats-ear as Veraison and Trustee released it.
    Veraison2023,
}

/// The claims' names that differ between dialects.
struct Names {
    profile: &'static str,
    typ: &'static str,
    verifier_id: &'static str,
    status: &'static str,
    vector: &'static str,
    policy: &'static str,
    attester_claims: &'static str,
    verifier_claims: &'static str,
}

impl Dialect {
    fn names(self) -> Names {
        match self {
            Dialect::Draft04 => Names {
                profile: PROFILE,
                typ: "eat+jwt",
                verifier_id: "ear_verifier_id",
                status: "ear_status",
                vector: "ear_trustworthiness_vector",
                policy: "ear_appraisal_policy_ids",
                attester_claims: "ear_attester_claims",
                verifier_claims: "ear_verifier_claims",
            },
            Dialect::Veraison2023 => Names {
                profile: PROFILE_2023,
                typ: "JWT",
                verifier_id: "ear.verifier-id",
                status: "ear.status",
                vector: "ear.trustworthiness-vector",
                policy: "ear.appraisal-policy-id",
                attester_claims: "ear.veraison.annotated-evidence",
                verifier_claims: "ear.veraison.policy-claims",
            },
        }
    }
}

/// A JWT that only lacks its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsignedJwt {
    signing_input: String,
}

impl UnsignedJwt {
    /// The bytes to sign (RFC 7515 §5.1).
    pub fn signing_input(&self) -> &[u8] {
        self.signing_input.as_bytes()
    }

    /// The token, with a signature in the algorithm's JWS form (ES256: r || s).
    pub fn with_signature(&self, signature: &[u8]) -> String {
        format!("{}.{}", self.signing_input, BASE64URL_NOPAD.encode(signature))
    }
}

impl Ear<'_> {
    /// The claims set in JSON.
    pub fn to_json(&self, dialect: Dialect) -> Result<Value, EarError> {
        let names = dialect.names();
        let mut claims = Map::new();
        let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        put("eat_profile", names.profile.into());
        put("iat", self.issued_at.0.into());
        if let Some(expires) = self.expires {
            put("exp", expires.0.into());
        }
        if let Some(nonce) = &self.nonce {
            put("eat_nonce", BASE64URL_NOPAD.encode(nonce).into());
        }
        put(names.verifier_id, self.verifier_id());
        put("submods", json!({ self.submodule(): self.appraisal(&names, dialect)? }));
        Ok(Value::Object(claims))
    }

    fn appraisal(&self, names: &Names, dialect: Dialect) -> Result<Value, EarError> {
        let vector = TrustVector::of(self.result);
        let claimed = vector.claimed().map(|(_, name, value)| (name.to_owned(), value.into()));
        let policy = match dialect {
            Dialect::Draft04 => json!([self.policy_id()]),
            Dialect::Veraison2023 => self.policy_id().into(),
        };
        let mut claims = Map::new();
        claims.insert(names.status.to_owned(), self.status().as_str().into());
        claims.insert(names.vector.to_owned(), Value::Object(claimed.collect()));
        claims.insert(names.policy.to_owned(), policy);
        let attester_claims = self.attester_claims()?;
        if !attester_claims.is_empty() {
            claims.insert(names.attester_claims.to_owned(), Value::Object(attester_claims));
        }
        let verifier_claims = Value::Object(self.verifier_claims()?);
        claims.insert(names.verifier_claims.to_owned(), verifier_claims);
        Ok(Value::Object(claims))
    }

    /// Everything but the signature, for a key that is kept elsewhere; `algorithm` is its JWS name.
    pub fn unsigned_jwt(
        &self,
        dialect: Dialect,
        algorithm: &str,
        key_id: &str,
    ) -> Result<UnsignedJwt, EarError> {
        let header = json!({ "alg": algorithm, "kid": key_id, "typ": dialect.names().typ });
        let claims = self.to_json(dialect)?;
        let part = |value: Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        Ok(UnsignedJwt { signing_input: format!("{}.{}", part(header), part(claims)) })
    }

    /// The JWT, signed with Ed25519 (`EdDSA`).
    pub fn jwt(&self, dialect: Dialect, key: &SigningKey) -> Result<String, EarError> {
        let key_id = HEXLOWER.encode(&KeyId::of(&key.public()).0);
        let unsigned = self.unsigned_jwt(dialect, "EdDSA", &key_id)?;
        Ok(unsigned.with_signature(&key.sign_bytes(unsigned.signing_input()).0))
    }
}
