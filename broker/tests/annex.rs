//! What stands beside the ledger, on every store: users, sessions, tokens, webhooks.

mod support;

use bulla_broker::io::store::annex::{Annex, DeliveryState, hooks, people};
use bulla_broker::io::store::annex::{Hook, RaisedAlert};
use bulla_broker::io::store::{PostgresStore, SqliteStore};
use bulla_broker::ledger::AccountNumber;
use bulla_broker::people::session::{ApiToken, IDLE_SECONDS, MAX_SESSION_SECONDS, Session};
use bulla_broker::people::throttle::Attempts;
use bulla_broker::people::{Role, User};
use bulla_wire::ids::Digest;
use bulla_wire::units::UnixSeconds;

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

fn user(name: &str, account: Option<u64>) -> User {
    User {
        name: name.into(),
        password: "hash".into(),
        role: if account.is_some() { Role::CustomerAdmin } else { Role::OperatorAdmin },
        account: account.map(AccountNumber),
        made_at: NOW,
        disabled_at: None,
    }
}

fn users_are_kept_once(annex: &dyn Annex) {
    assert!(people::add_user(annex, &user("anna", Some(1))).unwrap());
    assert!(!people::add_user(annex, &user("anna", Some(2))).unwrap(), "the name is taken");
    assert!(people::add_user(annex, &user("root", None)).unwrap());
    assert_eq!(people::find_user(annex, "anna").unwrap(), Some(user("anna", Some(1))));
    assert_eq!(people::find_user(annex, "nobody").unwrap(), None);
    assert_eq!(people::users(annex, Some(AccountNumber(1))).unwrap(), [user("anna", Some(1))]);
    assert_eq!(people::users(annex, None).unwrap(), [user("root", None)]);
    assert_eq!(people::all_users(annex).unwrap().len(), 2);
}

fn sessions_end(annex: &dyn Annex) {
    people::add_user(annex, &user("anna", Some(1))).unwrap();
    let begin = |name: u8, made: u64, seen: u64| {
        let session =
            Session { user: "anna".into(), made_at: UnixSeconds(made), seen_at: UnixSeconds(seen) };
        people::begin_session(annex, &Digest([name; 32]), &session).unwrap();
        session
    };
    let old = begin(1, NOW.0 - MAX_SESSION_SECONDS - 1, NOW.0 - 2);
    assert_eq!(old.seen_at.0, NOW.0 - 2);
    begin(2, NOW.0 - IDLE_SECONDS - 5, NOW.0 - IDLE_SECONDS - 4);
    let live = begin(3, NOW.0, NOW.0);
    for gone in [1, 2] {
        assert_eq!(people::session(annex, &Digest([gone; 32])).unwrap(), None, "swept");
    }
    let found = people::session(annex, &Digest([3; 32])).unwrap();
    assert_eq!(found, Some((live.clone(), user("anna", Some(1)))));
    let later = UnixSeconds(NOW.0 + 90);
    people::touch_session(annex, &Digest([3; 32]), later).unwrap();
    people::touch_session(annex, &Digest([3; 32]), NOW).unwrap();
    let (touched, _) = people::session(annex, &Digest([3; 32])).unwrap().unwrap();
    assert_eq!(touched.seen_at, later, "never set back");
    people::end_session(annex, &Digest([3; 32])).unwrap();
    assert_eq!(people::session(annex, &Digest([3; 32])).unwrap(), None);
    begin(4, NOW.0, NOW.0);
    assert!(people::set_password(annex, "anna", "other").unwrap());
    assert_eq!(people::session(annex, &Digest([4; 32])).unwrap(), None, "a new password ends all");
    begin(5, NOW.0, NOW.0);
    assert!(people::disable_user(annex, "anna", Some(NOW)).unwrap());
    assert_eq!(people::session(annex, &Digest([5; 32])).unwrap(), None);
    let kept = people::find_user(annex, "anna").unwrap().unwrap();
    assert_eq!((kept.password.as_str(), kept.disabled_at), ("other", Some(NOW)));
}

fn tokens_are_revoked_by_their_owner(annex: &dyn Annex) {
    let token = |id: &str, account: Option<u64>| ApiToken {
        id: id.into(),
        label: "ci".into(),
        role: Role::CustomerViewer,
        account: account.map(AccountNumber),
        made_by: "anna".into(),
        made_at: NOW,
        expires_at: Some(UnixSeconds(NOW.0 + 60)),
        revoked_at: None,
    };
    let (mine, other) = (token("t1", Some(1)), token("t2", None));
    assert!(people::add_token(annex, &Digest([1; 32]), &mine).unwrap());
    assert!(!people::add_token(annex, &Digest([1; 32]), &other).unwrap());
    assert!(people::add_token(annex, &Digest([2; 32]), &other).unwrap());
    assert_eq!(people::find_token(annex, &Digest([1; 32])).unwrap(), Some(mine.clone()));
    assert_eq!(people::tokens(annex, Some(AccountNumber(1))).unwrap(), [mine]);
    assert_eq!(people::tokens(annex, None).unwrap(), [other]);
    assert!(!people::revoke_token(annex, Some(AccountNumber(2)), "t1", NOW).unwrap(), "not theirs");
    assert!(people::revoke_token(annex, Some(AccountNumber(1)), "t1", NOW).unwrap());
    assert!(!people::revoke_token(annex, Some(AccountNumber(1)), "t1", NOW).unwrap(), "once");
    let revoked = people::find_token(annex, &Digest([1; 32])).unwrap().unwrap();
    assert!(!revoked.is_live(NOW));
}

fn attempts_are_counted_and_forgotten(annex: &dyn Annex) {
    let subject = Digest([9; 32]);
    assert_eq!(people::attempts(annex, &subject).unwrap(), Attempts::default());
    let failed = Attempts::default().failed(NOW).failed(NOW);
    people::put_attempts(annex, &subject, failed).unwrap();
    assert_eq!(people::attempts(annex, &subject).unwrap(), failed);
    people::clear_attempts(annex, &subject).unwrap();
    assert_eq!(people::attempts(annex, &subject).unwrap(), Attempts::default());
}

fn an_alert_and_its_messages_happen_once(annex: &dyn Annex) {
    let hook = |id: &str, account: Option<u64>| Hook {
        id: id.into(),
        account: account.map(AccountNumber),
        url: "https://example.org/".into(),
        secret: vec![0, 255, 7],
        made_at: NOW,
    };
    let (mine, all) = (hook("h1", Some(1)), hook("h2", None));
    for hook in [&mine, &all] {
        assert!(hooks::add_hook(annex, hook).unwrap());
    }
    assert_eq!(hooks::hooks(annex, Some(AccountNumber(1))).unwrap(), std::slice::from_ref(&mine));
    let alert = RaisedAlert {
        mark: "package 1 at 50 %".into(),
        id: "a1".into(),
        account: AccountNumber(1),
        kind: "package.threshold".into(),
        body: "{}".into(),
        at: NOW,
    };
    let both = [mine.clone(), all];
    assert!(hooks::raise(annex, &alert, &both).unwrap());
    assert!(
        !hooks::raise(annex, &RaisedAlert { id: "a2".into(), ..alert.clone() }, &both).unwrap()
    );
    assert!(hooks::is_raised(annex, &alert.mark).unwrap());
    assert_eq!(hooks::alerts(annex, Some(AccountNumber(1))).unwrap(), std::slice::from_ref(&alert));
    assert_eq!(hooks::alerts(annex, Some(AccountNumber(2))).unwrap(), []);
    assert_eq!(hooks::alerts(annex, None).unwrap(), [alert]);

    let lease = UnixSeconds(NOW.0 + 60);
    let due = hooks::take_due(annex, NOW, lease, 10).unwrap();
    assert_eq!(due.iter().map(|d| d.id.as_str()).collect::<Vec<_>>(), ["a1.h1", "a1.h2"]);
    assert!(hooks::take_due(annex, NOW, lease, 10).unwrap().is_empty(), "taken");
    let none = UnixSeconds(0);
    hooks::finish(annex, "a1.h1", DeliveryState::Delivered, none, "200").unwrap();
    hooks::finish(annex, "a1.h2", DeliveryState::Waiting, lease, "503").unwrap();
    let again = hooks::take_due(annex, lease, UnixSeconds(lease.0 + 60), 10).unwrap();
    assert_eq!(again.iter().map(|d| d.attempts).collect::<Vec<_>>(), [2]);
    hooks::finish(annex, "a1.h2", DeliveryState::Dead, none, "503").unwrap();
    let dead = hooks::deliveries(annex, DeliveryState::Dead).unwrap();
    assert_eq!(dead.iter().map(|d| d.answer.as_str()).collect::<Vec<_>>(), ["503"]);
    assert!(!hooks::retry(annex, "a1.h1", NOW).unwrap(), "delivered");
    assert!(hooks::retry(annex, "a1.h2", NOW).unwrap());
    assert_eq!(hooks::take_due(annex, NOW, lease, 10).unwrap().len(), 1);

    assert!(!hooks::remove_hook(annex, None, "h1", NOW).unwrap(), "not theirs");
    assert!(hooks::remove_hook(annex, Some(AccountNumber(1)), "h1", NOW).unwrap());
    assert_eq!(hooks::find_hook(annex, "h1").unwrap(), None);
    assert_eq!(hooks::hooks(annex, Some(AccountNumber(1))).unwrap(), []);
}

macro_rules! on_every_annex {
    ($($name:ident,)*) => {
        mod sqlite {
            use super::*;
            $(#[test]
            fn $name() {
                super::$name(&SqliteStore::in_memory().unwrap());
            })*
        }
        mod postgres {
            use super::*;
            $(#[test]
            fn $name() {
                if let Some(database) = support::postgres() {
                    super::$name(&PostgresStore::open(&database.place()).unwrap());
                }
            })*
        }
    };
}

on_every_annex! {
    users_are_kept_once,
    sessions_end,
    tokens_are_revoked_by_their_owner,
    attempts_are_counted_and_forgotten,
    an_alert_and_its_messages_happen_once,
}
