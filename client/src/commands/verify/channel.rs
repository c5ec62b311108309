//! Which channel to the service the evidence vouches for (aci/1 §9.1, check 6).

use bulla_wire::keyset::{ALGO_OHTTP_CHUNKED, Keyset, TlsKey};

use super::target::Connection;

/// The channel, as far as the attested keyset binds one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    /// The connection ended at a key of the keyset, listed for this host or for any.
    Tls,
    /// Somebody else answered: a broker, a relay. What is sealed to the keyset stays closed to it.
    Sealed,
    /// Somebody else answered, and there is nothing to seal to: nothing sent here is protected.
    Unbound,
    /// There was no connection: a file.
    NotJudged,
}

impl Channel {
    /// What binds `connection` to a keyset that the evidence vouches for.
    pub fn of(keyset: &Keyset, connection: Option<&Connection>) -> Channel {
        let Some(connection) = connection else { return Channel::NotJudged };
        let is_for = |entry: &TlsKey| {
            entry.domain.as_deref().is_none_or(|domain| {
                let bare = |name: &str| name.trim_end_matches('.').to_ascii_lowercase();
                bare(domain) == bare(&connection.host)
            })
        };
        let is_listed = connection.tls_key.is_some_and(|key| {
            let mut entries = keyset.tls_public_keys.iter();
            entries.any(|entry| entry.spki_sha256 == key && is_for(entry))
        });
        let seals = keyset.e2ee_public_keys.iter().any(|key| key.algo == ALGO_OHTTP_CHUNKED);
        match (is_listed, seals) {
            (true, _) => Channel::Tls,
            (false, true) => Channel::Sealed,
            (false, false) => Channel::Unbound,
        }
    }

    /// The word in JSON: what became of the TLS key.
    pub fn tls_word(self, has_tls: bool) -> &'static str {
        match self {
            Channel::Tls => "attested",
            Channel::Sealed | Channel::Unbound if has_tls => "not_in_keyset",
            Channel::Sealed | Channel::Unbound | Channel::NotJudged => "none",
        }
    }

    /// The word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Channel::Tls => "tls",
            Channel::Sealed => "sealed",
            Channel::Unbound => "unbound",
            Channel::NotJudged => "not_judged",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Enclave;
    use bulla_wire::ids::Digest;

    fn connection(host: &str, key: Option<u8>) -> Connection {
        let tls_key = key.map(|byte| Digest([byte; 32]));
        Connection { host: host.to_owned(), tls_key }
    }

    fn entry(domain: Option<&str>) -> TlsKey {
        TlsKey { spki_sha256: Digest([7; 32]), domain: domain.map(str::to_owned) }
    }

    #[test]
    fn a_connection_is_bound_by_its_key_for_its_host_or_by_sealing() {
        let mut keyset = Enclave::new("one", 1).keyset;
        let rows = [
            (entry(None), connection("a.example", Some(7)), Channel::Tls),
            (entry(Some("a.example")), connection("a.example", Some(7)), Channel::Tls),
            (entry(Some("A.example.")), connection("a.example", Some(7)), Channel::Tls),
            (entry(Some("b.example")), connection("a.example", Some(7)), Channel::Sealed),
            (entry(None), connection("a.example", Some(8)), Channel::Sealed),
            (entry(None), connection("127.0.0.1", None), Channel::Sealed),
        ];
        for (listed, connection, expected) in rows {
            keyset.tls_public_keys = vec![listed.clone()];
            assert_eq!(Channel::of(&keyset, Some(&connection)), expected, "{listed:?}");
            let without_sealing = Keyset { e2ee_public_keys: Vec::new(), ..keyset.clone() };
            let expected = if expected == Channel::Sealed { Channel::Unbound } else { expected };
            assert_eq!(Channel::of(&without_sealing, Some(&connection)), expected);
        }
        assert_eq!(Channel::of(&keyset, None), Channel::NotJudged);
    }
}
