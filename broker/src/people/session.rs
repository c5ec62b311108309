//! Sessions of the pages, tokens of the HTTP API: 256 random bits, kept only as digests.

use bulla_attestation::hash::labelled;
use bulla_wire::ids::Digest;
use bulla_wire::labels;
use bulla_wire::units::UnixSeconds;
use data_encoding::BASE64URL_NOPAD;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::Role;
use crate::ledger::AccountNumber;

/// A session ends when nothing was asked for so long, in seconds.
pub const IDLE_SECONDS: u64 = 30 * 60;
/// A session ends so long after signing in, in seconds.
pub const MAX_SESSION_SECONDS: u64 = 12 * 3600;
/// A session's last use is written down this often at most, in seconds.
pub const TOUCH_SECONDS: u64 = 60;
/// What every API token begins with, so that leaked ones can be searched for.
pub const TOKEN_PREFIX: &str = "bulla_api_";
/// Length of a secret in base64url.
const SECRET_CHARS: usize = 43;

/// A secret shown or sent once: a session's id or an API token. No `Debug`.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// A session's id.
    pub fn session(rng: &mut dyn CryptoRng) -> Secret {
        Secret::with_prefix("", rng)
    }

    /// A token for the HTTP API.
    pub fn token(rng: &mut dyn CryptoRng) -> Secret {
        Secret::with_prefix(TOKEN_PREFIX, rng)
    }

    fn with_prefix(prefix: &str, rng: &mut dyn CryptoRng) -> Secret {
        let mut bytes = Zeroizing::new([0u8; 32]);
        rng.fill_bytes(bytes.as_mut());
        Secret(Zeroizing::new(format!("{prefix}{}", BASE64URL_NOPAD.encode(bytes.as_ref()))))
    }

    /// A session's id as a browser sent it, if it has the right form.
    pub fn parse_session(text: &str) -> Option<Secret> {
        is_secret(text).then(|| Secret(Zeroizing::new(text.to_owned())))
    }

    /// An API token as sent, if it has the right form.
    pub fn parse_token(text: &str) -> Option<Secret> {
        let secret = text.strip_prefix(TOKEN_PREFIX)?;
        is_secret(secret).then(|| Secret(Zeroizing::new(text.to_owned())))
    }

    /// The secret itself, for its owner alone.
    pub fn dangerous_text(&self) -> &str {
        &self.0
    }

    /// What is kept of a session.
    pub fn session_digest(&self) -> Digest {
        labelled(labels::SESSION, self.0.as_bytes())
    }

    /// What is kept of an API token.
    pub fn token_digest(&self) -> Digest {
        labelled(labels::API_TOKEN, self.0.as_bytes())
    }

    /// What every form of this session carries, so that no other site can send one. It tells
    /// nothing about the session's id, and what is kept of the session does not tell it.
    pub fn form_token(&self) -> String {
        labelled(labels::SESSION_FORM, self.0.as_bytes()).to_string()
    }

    /// Whether a form came from one of this session's pages; takes the same time for every text of
    /// the right length.
    pub fn is_form_token(&self, got: &str) -> bool {
        let expected = self.form_token();
        let differing = expected.bytes().zip(got.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
        expected.len() == got.len() && differing == 0
    }
}

fn is_secret(text: &str) -> bool {
    text.len() == SECRET_CHARS && BASE64URL_NOPAD.decode(text.as_bytes()).is_ok()
}

/// A session as kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Whose it is.
    pub user: String,
    /// When it began.
    pub made_at: UnixSeconds,
    /// Its last use, to [`TOUCH_SECONDS`].
    pub seen_at: UnixSeconds,
}

impl Session {
    /// Whether it still holds. A clock that was set back does not make it live longer.
    pub fn is_live(&self, now: UnixSeconds) -> bool {
        let within = |since: UnixSeconds, most| now.saturating_sub(since).0 < most;
        within(self.made_at, MAX_SESSION_SECONDS)
            && within(self.seen_at, IDLE_SECONDS)
            && now.0.saturating_add(TOUCH_SECONDS) >= self.made_at.0
    }

    /// Whether its use is to be written down.
    pub fn wants_touch(&self, now: UnixSeconds) -> bool {
        now.saturating_sub(self.seen_at).0 >= TOUCH_SECONDS
    }
}

/// An API token as kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// Its public name, for lists and for revoking.
    pub id: String,
    /// What it is for.
    pub label: String,
    /// What it may do.
    pub role: Role,
    /// The account a customer's role is bound to.
    pub account: Option<AccountNumber>,
    /// Who made it.
    pub made_by: String,
    /// When.
    pub made_at: UnixSeconds,
    /// From then on it is refused.
    pub expires_at: Option<UnixSeconds>,
    /// Refused since then.
    pub revoked_at: Option<UnixSeconds>,
}

impl ApiToken {
    /// Whether it is accepted.
    pub fn is_live(&self, now: UnixSeconds) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    #[test]
    fn secrets_read_back_and_their_digests_differ_by_purpose() {
        let mut rng = ChaCha20Rng::from_seed([3; 32]);
        let session = Secret::session(&mut rng);
        let again = Secret::parse_session(session.dangerous_text()).unwrap();
        assert_eq!(again.session_digest(), session.session_digest());
        assert_ne!(session.session_digest(), session.token_digest());
        assert_ne!(session.form_token(), session.session_digest().to_string());
        let token = Secret::token(&mut rng);
        assert!(Secret::parse_token(token.dangerous_text()).is_some());
        assert!(Secret::parse_session(token.dangerous_text()).is_none());
        for bad in ["", "abc", &"!".repeat(43), &"A".repeat(44)] {
            assert!(Secret::parse_session(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_form_of_another_session_is_refused() {
        let mut rng = ChaCha20Rng::from_seed([4; 32]);
        let (mine, other) = (Secret::session(&mut rng), Secret::session(&mut rng));
        assert!(mine.is_form_token(&mine.form_token()));
        let token = mine.form_token();
        for bad in ["", &token[1..], &format!("{token}0"), &other.form_token()] {
            assert!(!mine.is_form_token(bad), "{bad}");
        }
    }

    #[test]
    fn a_session_ends_idle_or_old() {
        let session = |made, seen| Session {
            user: "a".into(),
            made_at: UnixSeconds(made),
            seen_at: UnixSeconds(seen),
        };
        let now = UnixSeconds(1_000_000);
        assert!(session(now.0 - 60, now.0 - 60).is_live(now));
        assert!(!session(now.0 - IDLE_SECONDS, now.0 - IDLE_SECONDS).is_live(now));
        assert!(session(now.0 - IDLE_SECONDS, now.0 - IDLE_SECONDS + 1).is_live(now));
        assert!(!session(now.0 - MAX_SESSION_SECONDS, now.0).is_live(now));
        assert!(!session(now.0 + 3600, now.0 + 3600).is_live(now), "made in the future");
        assert!(session(now.0, now.0 - TOUCH_SECONDS).wants_touch(now));
        assert!(!session(now.0, now.0 - TOUCH_SECONDS + 1).wants_touch(now));
    }

    #[test]
    fn a_token_ends_by_date_or_by_hand() {
        let token = ApiToken {
            id: "1".into(),
            label: "ci".into(),
            role: Role::CustomerViewer,
            account: Some(AccountNumber(1)),
            made_by: "a".into(),
            made_at: UnixSeconds(0),
            expires_at: Some(UnixSeconds(10)),
            revoked_at: None,
        };
        assert!(token.is_live(UnixSeconds(9)) && !token.is_live(UnixSeconds(10)));
        let revoked = ApiToken { revoked_at: Some(UnixSeconds(1)), ..token };
        assert!(!revoked.is_live(UnixSeconds(2)));
    }
}
