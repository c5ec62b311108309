//! The runtime data the paravisor has the hardware sign: the vTPM's keys, how the VM is configured,
//! and 64 bytes of the guest's own.

use data_encoding::{BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::signature::PublicKey;

/// Name of the key that signs quotes.
const ATTESTATION_KEY: &str = "HCLAkPub";
/// Largest RSA modulus in bytes: RSA-8192, the largest that is verified here.
const MAX_MODULUS_BYTES: usize = 1024;
/// Largest public exponent in bytes, as above.
const MAX_EXPONENT_BYTES: usize = 4;
/// Most keys (ours; there are two).
const MAX_KEYS: usize = 16;

/// Why runtime data is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeDataError {
    /// Not the JSON it should be.
    #[error("runtime data does not read: {reason}")]
    Syntax {
        /// What the reader says.
        reason: String,
    },
    /// None, or more than one: which one counts would be a guess.
    #[error("one key must be called {ATTESTATION_KEY}, {got} are")]
    AttestationKeys {
        /// How many are.
        got: usize,
    },
    /// The key is not one a quote can be verified with.
    #[error("{ATTESTATION_KEY} must be an RSA key for signing: {fault}")]
    AttestationKey {
        /// What is wrong with it.
        fault: &'static str,
    },
    /// The guest's own data is not 64 bytes of hex.
    #[error("user-data must be 128 hex digits, got {got_chars} characters")]
    UserData {
        /// How long it is.
        got_chars: usize,
    },
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Jwk>,
    #[serde(rename = "vm-configuration", default)]
    vm_configuration: Map<String, Value>,
    #[serde(rename = "user-data")]
    user_data: Option<String>,
}

/// A key (RFC 7517, RFC 7518 §6.3).
#[derive(Deserialize)]
struct Jwk {
    kid: Option<String>,
    kty: Option<String>,
    key_ops: Option<Vec<String>>,
    n: Option<String>,
    e: Option<String>,
}

/// Runtime data, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RuntimeData {
    /// The vTPM's attestation key.
    pub attestation_key: PublicKey,
    /// Names of all keys.
    pub key_names: Vec<String>,
    /// How the VM is configured, as the paravisor says.
    pub vm_configuration: Map<String, Value>,
    /// What the guest wrote beside it, where this paravisor carries any.
    pub user_data: Option<[u8; 64]>,
}

impl RuntimeData {
    /// Reads the JSON the paravisor wrote. Members not known are left aside: paravisors add some.
    pub fn parse(json: &[u8]) -> Result<RuntimeData, RuntimeDataError> {
        let document: Document = serde_json::from_slice(json)
            .map_err(|error| RuntimeDataError::Syntax { reason: error.to_string() })?;
        if document.keys.len() > MAX_KEYS {
            let reason = format!("at most {MAX_KEYS} keys, got {}", document.keys.len());
            return Err(RuntimeDataError::Syntax { reason });
        }
        let named = |key: &&Jwk| key.kid.as_deref() == Some(ATTESTATION_KEY);
        let keys: Vec<&Jwk> = document.keys.iter().filter(named).collect();
        let [key] = keys.as_slice() else {
            return Err(RuntimeDataError::AttestationKeys { got: keys.len() });
        };
        let attestation_key =
            rsa_key(key).map_err(|fault| RuntimeDataError::AttestationKey { fault })?;
        let key_names = document.keys.iter().filter_map(|key| key.kid.clone()).collect();
        let user_data = document.user_data.as_deref().map(user_data).transpose()?;
        let vm_configuration = document.vm_configuration;
        Ok(RuntimeData { attestation_key, key_names, vm_configuration, user_data })
    }

    /// A switch of the VM's configuration; `None` where the paravisor does not say.
    pub fn switch(&self, name: &str) -> Option<bool> {
        self.vm_configuration.get(name)?.as_bool()
    }

    /// The VM's unique id, as written.
    pub fn vm_unique_id(&self) -> Option<&str> {
        self.vm_configuration.get("vmUniqueId")?.as_str()
    }
}

fn user_data(hex: &str) -> Result<[u8; 64], RuntimeDataError> {
    let wrong = RuntimeDataError::UserData { got_chars: hex.chars().count() };
    let bytes = HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(wrong)
}

fn rsa_key(key: &Jwk) -> Result<PublicKey, &'static str> {
    if key.kty.as_deref() != Some("RSA") {
        return Err("kty is not RSA");
    }
    let signs = |operations: &Vec<String>| operations.iter().any(|name| name == "sign");
    if !key.key_ops.as_ref().is_none_or(signs) {
        return Err("key_ops does not say sign");
    }
    let number = |text: &Option<String>, max_bytes| {
        let bytes = BASE64URL_NOPAD.decode(text.as_deref()?.as_bytes()).ok()?;
        let first = bytes.iter().position(|byte| *byte != 0)?;
        let digits = bytes.get(first..)?.to_vec();
        (digits.len() <= max_bytes).then_some(digits)
    };
    let modulus = number(&key.n, MAX_MODULUS_BYTES).ok_or("n is no modulus")?;
    let exponent = number(&key.e, MAX_EXPONENT_BYTES).ok_or("e is no exponent")?;
    Ok(PublicKey::Rsa(rsa_public_key(&modulus, &exponent).into()))
}

/// DER of an RSAPublicKey (RFC 8017, appendix A.1.1).
fn rsa_public_key(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    element(0x30, &[integer(modulus), integer(exponent)].concat())
}

/// A positive INTEGER from big-endian digits without leading zeros.
fn integer(digits: &[u8]) -> Vec<u8> {
    let sign = if digits.first().is_some_and(|first| *first >= 0x80) { &[0][..] } else { &[] };
    element(0x02, &[sign, digits].concat())
}

/// Tag, length in its shortest form (contents here are under 64 KiB), content.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes();
    let header = match (high, low) {
        (0, 0..=0x7f) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        (..) => vec![tag, 0x82, high, low],
    };
    [&header, content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(keys: &str, rest: &str) -> Result<RuntimeData, RuntimeDataError> {
        RuntimeData::parse(format!("{{\"keys\":[{keys}]{rest}}}").as_bytes())
    }

    const KEY: &str = r#"{"kid":"HCLAkPub","key_ops":["sign"],"kty":"RSA","e":"AQAB","n":"gAEC"}"#;

    #[test]
    fn reads_the_attestation_key_as_der() {
        let data = parse(KEY, r#","vm-configuration":{"secure-boot":true}"#).unwrap();
        let der = [0x30, 11, 2, 4, 0, 0x80, 1, 2, 2, 3, 1, 0, 1];
        assert_eq!(data.attestation_key, PublicKey::Rsa(der.to_vec().into()));
        assert_eq!(
            (data.switch("secure-boot"), data.switch("console-enabled")),
            (Some(true), None)
        );
    }

    #[test]
    fn there_are_at_most_16_keys() {
        let others = |count: usize| {
            let other = KEY.replace("HCLAkPub", "other");
            parse(&[vec![KEY.to_owned()], vec![other; count]].concat().join(","), "")
        };
        assert_eq!(others(15).unwrap().key_names.len(), 16);
        assert!(matches!(others(16), Err(RuntimeDataError::Syntax { .. })));
    }

    #[test]
    fn a_vm_has_an_id_where_the_paravisor_says_so() {
        let id = |text: &str| parse(KEY, text).unwrap().vm_unique_id().map(str::to_owned);
        assert_eq!(id(r#","vm-configuration":{"vmUniqueId":"one"}"#).as_deref(), Some("one"));
        assert_eq!(id(r#","vm-configuration":{"vmUniqueId":1}"#), None);
    }

    #[test]
    fn writes_lengths_in_the_shortest_form() {
        assert_eq!(element(4, &[0; 0x7f])[..2], [4, 0x7f]);
        assert_eq!(element(4, &[0; 0x80])[..3], [4, 0x81, 0x80]);
        assert_eq!(element(4, &[0; 0x101])[..4], [4, 0x82, 1, 1]);
    }

    #[test]
    fn refuses_no_key_two_keys_and_keys_of_another_kind() {
        assert_eq!(parse("", ""), Err(RuntimeDataError::AttestationKeys { got: 0 }));
        let two = format!("{KEY},{KEY}");
        assert_eq!(parse(&two, ""), Err(RuntimeDataError::AttestationKeys { got: 2 }));
        for (from, to) in [
            ("RSA", "EC"),
            ("sign", "encrypt"),
            ("AQAB", "AAAA"),
            ("gAEC", "!"),
            ("\"e\"", "\"f\""),
        ] {
            let got = parse(&KEY.replacen(from, to, 1), "");
            assert!(matches!(got, Err(RuntimeDataError::AttestationKey { .. })), "{from} {got:?}");
        }
    }

    #[test]
    fn refuses_a_member_given_twice_and_user_data_of_another_length() {
        assert!(parse(KEY, r#","keys":[]"#).is_err());
        assert!(parse(KEY, &format!(r#","user-data":"{}""#, "AB".repeat(64))).is_ok());
        let short = parse(KEY, r#","user-data":"AB""#);
        assert_eq!(short, Err(RuntimeDataError::UserData { got_chars: 2 }));
    }
}
