//! The one table of operations of the HTTP API: path, right, parameters, answer. The router is made
//! from it, access is decided by it, and [`super::openapi`] describes it.

use crate::people::Right;

/// What is to be done. Operations on one account are the same for its customer and for an operator,
/// who names the account in the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Deed {
    /// Say who is asking.
    Me,
    /// Balances by unit.
    Balance,
    /// Packages in burn order.
    Packages,
    /// Holds, oldest first.
    Holds,
    /// Transfers, oldest first.
    Transfers,
    /// Receipts, oldest first.
    Receipts,
    /// Why a receipt was charged.
    Charge,
    /// The inclusion proof of a receipt.
    Proof,
    /// The attestation report of an archived keyset.
    Evidence,
    /// Usage by day and model.
    Usage,
    /// Everything of a kind, as a file.
    Export,
    /// Alerts.
    Alerts,
    /// Users.
    Users,
    /// Add a user.
    AddUser,
    /// Let a user sign in no more, or again.
    SwitchUser,
    /// API tokens.
    Tokens,
    /// Make an API token.
    AddToken,
    /// Revoke an API token.
    RevokeToken,
    /// Webhooks.
    Hooks,
    /// Add a webhook.
    AddHook,
    /// Remove a webhook.
    RemoveHook,
    /// Send a webhook a test message.
    TestHook,
    /// All accounts.
    Accounts,
    /// Open an account.
    OpenAccount,
    /// Issue a package.
    Grant,
    /// Move spent value back into its package.
    Refund,
    /// The price book in force, and all versions.
    PriceBooks,
    /// Where all value is.
    Supply,
    /// The log's head.
    LogHead,
    /// Enclaves and their verdicts.
    Enclaves,
    /// Appraised keysets.
    Keysets,
    /// Compute every balance anew.
    Recompute,
    /// Messages given up or waiting.
    Deliveries,
    /// Try a message again.
    RetryDelivery,
    /// Metrics for a scraper.
    Metrics,
}

/// HTTP methods used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// Reads.
    Get,
    /// Makes or changes.
    Post,
    /// Ends.
    Delete,
}

/// A parameter of path or query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub about: &'static str,
}

/// One operation.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// Unique name.
    pub name: &'static str,
    /// Method.
    pub method: Method,
    /// Path, with `{parameter}`s.
    pub path: &'static str,
    /// What it needs.
    pub needs: Right,
    /// What it does.
    pub deed: Deed,
    /// In a sentence.
    pub about: &'static str,
    /// Parameters of the query.
    pub query: &'static [Parameter],
    /// Name of the body's schema.
    pub body: Option<&'static str>,
    /// Media type and name of the answer's schema, if it has one; a page of such items with `[]`.
    pub answer: (&'static str, &'static str),
}

const JSON: &str = "application/json";
const PAGE: &[Parameter] = &[
    Parameter { name: "after", about: "Cursor: what `next` of the page before says." },
    Parameter { name: "limit", about: "Most items, 1 to 1000; 100 when left out." },
];
const DAYS: &[Parameter] = &[
    Parameter { name: "from", about: "First day, YYYY-MM-DD; 29 days before `to` when left out." },
    Parameter { name: "to", about: "Last day, YYYY-MM-DD; today when left out." },
    Parameter {
        name: "zone",
        about: "Time zone days are counted in (IANA); the broker's when left out.",
    },
];
const EXPORT: &[Parameter] = &[
    Parameter {
        name: "what",
        about: "`transfers`, `receipts`, `usage`, or `focus` (FOCUS 1.2 columns).",
    },
    Parameter { name: "format", about: "`csv` or `json`." },
    Parameter { name: "from", about: "First day, YYYY-MM-DD, for `usage` and `focus`." },
    Parameter { name: "to", about: "Last day, YYYY-MM-DD, for `usage` and `focus`." },
    Parameter {
        name: "zone",
        about: "Time zone days are counted in (IANA), for `usage` and `focus`.",
    },
];
const STATE: &[Parameter] = &[Parameter {
    name: "state",
    about: "`waiting`, `delivered` or `dead`; `dead` when left out.",
}];

macro_rules! routes {
    ($($name:literal $method:ident $path:literal $needs:ident $deed:ident $query:expr, $body:expr, $answer:expr, $about:literal;)*) => {
        /// Every operation.
        pub const ROUTES: &[Route] = &[$(Route {
            name: $name,
            method: Method::$method,
            path: $path,
            needs: Right::$needs,
            deed: Deed::$deed,
            about: $about,
            query: $query,
            body: $body,
            answer: $answer,
        },)*];
    };
}

routes! {
    "account.me" Get "/account/v1/me" SeeOwn Me &[], None, (JSON, "MeView"), "Who is asking.";
    "account.balance" Get "/account/v1/balance" SeeOwn Balance &[], None, (JSON, "BalanceView[]"), "Balances, one per unit of account.";
    "account.packages" Get "/account/v1/packages" SeeOwn Packages &[], None, (JSON, "PackageView[]"), "Packages in burn order.";
    "account.holds" Get "/account/v1/holds" SeeOwn Holds PAGE, None, (JSON, "HoldView[]"), "Holds, oldest first.";
    "account.transfers" Get "/account/v1/transfers" SeeOwn Transfers PAGE, None, (JSON, "TransferView[]"), "Transfers, oldest first.";
    "account.receipts" Get "/account/v1/receipts" SeeOwn Receipts PAGE, None, (JSON, "ReceiptView[]"), "Usage receipts, oldest first.";
    "account.charge" Get "/account/v1/receipts/{digest}" SeeOwn Charge &[], None, (JSON, "ChargeView"), "Why a receipt was charged as it was.";
    "account.proof" Get "/account/v1/receipts/{digest}/proof" SeeOwn Proof &[], None, ("text/plain", ""), "Inclusion proof of a receipt (C2SP tlog-proof).";
    "account.evidence" Get "/account/v1/evidence/{keyset}" SeeOwn Evidence &[], None, (JSON, ""), "The attestation report a keyset was appraised from, exactly as served.";
    "account.usage" Get "/account/v1/usage" SeeOwn Usage DAYS, None, (JSON, "UsageAnswer"), "Usage by day and model; the answer names its time zone.";
    "account.export" Get "/account/v1/export" SeeOwn Export EXPORT, None, ("text/csv", ""), "Everything of a kind as a file, streamed.";
    "account.alerts" Get "/account/v1/alerts" SeeOwn Alerts &[], None, (JSON, "AlertView[]"), "The newest alerts.";
    "account.prices" Get "/account/v1/price-books" SeeOwn PriceBooks &[], None, (JSON, "PriceBookView[]"), "Price books, newest first.";
    "account.users" Get "/account/v1/users" ChangeOwn Users &[], None, (JSON, "UserView[]"), "The account's users.";
    "account.add-user" Post "/account/v1/users" ChangeOwn AddUser &[], Some("NewUser"), (JSON, "MadeUser"), "Add a user; a password that is not given is made and shown once.";
    "account.switch-user" Post "/account/v1/users/{name}" ChangeOwn SwitchUser &[], Some("Switch"), (JSON, "Done"), "Let a user sign in no more, or again.";
    "account.tokens" Get "/account/v1/tokens" ChangeOwn Tokens &[], None, (JSON, "TokenView[]"), "The account's API tokens.";
    "account.add-token" Post "/account/v1/tokens" ChangeOwn AddToken &[], Some("NewToken"), (JSON, "MadeToken"), "Make an API token; it is shown once.";
    "account.revoke-token" Delete "/account/v1/tokens/{id}" ChangeOwn RevokeToken &[], None, (JSON, "Done"), "Revoke an API token at once.";
    "account.hooks" Get "/account/v1/webhooks" ChangeOwn Hooks &[], None, (JSON, "HookView[]"), "The account's webhooks.";
    "account.add-hook" Post "/account/v1/webhooks" ChangeOwn AddHook &[], Some("NewHook"), (JSON, "MadeHook"), "Add a webhook; its secret is shown once.";
    "account.remove-hook" Delete "/account/v1/webhooks/{id}" ChangeOwn RemoveHook &[], None, (JSON, "Done"), "Remove a webhook.";
    "account.test-hook" Post "/account/v1/webhooks/{id}/test" ChangeOwn TestHook &[], None, (JSON, "Done"), "Send a webhook a test message.";

    "admin.me" Get "/admin/v1/me" SeeAll Me &[], None, (JSON, "MeView"), "Who is asking.";
    "admin.accounts" Get "/admin/v1/accounts" SeeAll Accounts PAGE, None, (JSON, "AccountView[]"), "Accounts, by number.";
    "admin.open-account" Post "/admin/v1/accounts" ChangeAll OpenAccount &[], Some("NewAccount"), (JSON, "AccountView"), "Open an account.";
    "admin.balance" Get "/admin/v1/accounts/{account}/balance" SeeAll Balance &[], None, (JSON, "BalanceView[]"), "An account's balances.";
    "admin.packages" Get "/admin/v1/accounts/{account}/packages" SeeAll Packages &[], None, (JSON, "PackageView[]"), "An account's packages in burn order.";
    "admin.grant" Post "/admin/v1/accounts/{account}/packages" ChangeAll Grant &[], Some("NewPackage"), (JSON, "MadePackage"), "Issue a package.";
    "admin.refund" Post "/admin/v1/packages/{package}/refunds" ChangeAll Refund &[], Some("NewRefund"), (JSON, "Done"), "Move spent value back into its package, as a new transfer.";
    "admin.account-holds" Get "/admin/v1/accounts/{account}/holds" SeeAll Holds PAGE, None, (JSON, "HoldView[]"), "An account's holds, oldest first.";
    "admin.account-transfers" Get "/admin/v1/accounts/{account}/transfers" SeeAll Transfers PAGE, None, (JSON, "TransferView[]"), "An account's transfers, oldest first.";
    "admin.account-receipts" Get "/admin/v1/accounts/{account}/receipts" SeeAll Receipts PAGE, None, (JSON, "ReceiptView[]"), "An account's receipts, oldest first.";
    "admin.account-usage" Get "/admin/v1/accounts/{account}/usage" SeeAll Usage DAYS, None, (JSON, "UsageAnswer"), "An account's usage by day and model.";
    "admin.account-export" Get "/admin/v1/accounts/{account}/export" SeeAll Export EXPORT, None, ("text/csv", ""), "Everything of a kind of one account, streamed.";
    "admin.holds" Get "/admin/v1/holds" SeeAll Holds PAGE, None, (JSON, "HoldView[]"), "All holds, oldest first.";
    "admin.transfers" Get "/admin/v1/transfers" SeeAll Transfers PAGE, None, (JSON, "TransferView[]"), "All transfers, oldest first.";
    "admin.receipts" Get "/admin/v1/receipts" SeeAll Receipts PAGE, None, (JSON, "ReceiptView[]"), "All receipts, oldest first.";
    "admin.charge" Get "/admin/v1/receipts/{digest}" SeeAll Charge &[], None, (JSON, "ChargeView"), "Why a receipt was charged as it was.";
    "admin.proof" Get "/admin/v1/receipts/{digest}/proof" SeeAll Proof &[], None, ("text/plain", ""), "Inclusion proof of a receipt (C2SP tlog-proof).";
    "admin.evidence" Get "/admin/v1/evidence/{keyset}" SeeAll Evidence &[], None, (JSON, ""), "The attestation report a keyset was appraised from, exactly as served.";
    "admin.export" Get "/admin/v1/export" SeeAll Export EXPORT, None, ("text/csv", ""), "All transfers or receipts of every account, streamed.";
    "admin.prices" Get "/admin/v1/price-books" SeeAll PriceBooks &[], None, (JSON, "PriceBookView[]"), "Price books, newest first.";
    "admin.supply" Get "/admin/v1/supply" SeeAll Supply &[], None, (JSON, "BalanceView[]"), "Where all value is: issued = available + held + spent + expired, by unit.";
    "admin.log" Get "/admin/v1/log" SeeAll LogHead &[], None, (JSON, "LogView"), "The log's newest checkpoint.";
    "admin.enclaves" Get "/admin/v1/enclaves" SeeAll Enclaves &[], None, (JSON, "EnclaveView[]"), "Enclaves, and what stands behind their evidence.";
    "admin.keysets" Get "/admin/v1/keysets" SeeAll Keysets &[], None, (JSON, "KeysetView[]"), "Appraised keysets, newest first.";
    "admin.recompute" Get "/admin/v1/recompute" SeeAll Recompute &[], None, (JSON, "RecomputedView"), "Compute every balance anew from the transfers; one at a time.";
    "admin.users" Get "/admin/v1/users" SeeAll Users &[], None, (JSON, "UserView[]"), "All users.";
    "admin.add-user" Post "/admin/v1/users" ChangeAll AddUser &[], Some("NewUser"), (JSON, "MadeUser"), "Add a user; a password that is not given is made and shown once.";
    "admin.switch-user" Post "/admin/v1/users/{name}" ChangeAll SwitchUser &[], Some("Switch"), (JSON, "Done"), "Let a user sign in no more, or again.";
    "admin.tokens" Get "/admin/v1/tokens" SeeAll Tokens &[], None, (JSON, "TokenView[]"), "The operators' API tokens.";
    "admin.add-token" Post "/admin/v1/tokens" ChangeAll AddToken &[], Some("NewToken"), (JSON, "MadeToken"), "Make an operator's API token; it is shown once.";
    "admin.revoke-token" Delete "/admin/v1/tokens/{id}" ChangeAll RevokeToken &[], None, (JSON, "Done"), "Revoke an operator's API token at once.";
    "admin.alerts" Get "/admin/v1/alerts" SeeAll Alerts &[], None, (JSON, "AlertView[]"), "The newest alerts of every account.";
    "admin.hooks" Get "/admin/v1/webhooks" SeeAll Hooks &[], None, (JSON, "HookView[]"), "The operators' webhooks: they get every account's alerts.";
    "admin.add-hook" Post "/admin/v1/webhooks" ChangeAll AddHook &[], Some("NewHook"), (JSON, "MadeHook"), "Add a webhook; its secret is shown once.";
    "admin.remove-hook" Delete "/admin/v1/webhooks/{id}" ChangeAll RemoveHook &[], None, (JSON, "Done"), "Remove a webhook.";
    "admin.test-hook" Post "/admin/v1/webhooks/{id}/test" ChangeAll TestHook &[], None, (JSON, "Done"), "Send a webhook a test message.";
    "admin.deliveries" Get "/admin/v1/deliveries" SeeAll Deliveries STATE, None, (JSON, "DeliveryView[]"), "Messages to webhooks by state, newest first.";
    "admin.retry" Post "/admin/v1/deliveries/{id}/retry" ChangeAll RetryDelivery &[], None, (JSON, "Done"), "Try a message that was given up once more.";
    "admin.metrics" Get "/metrics" SeeAll Metrics &[], None, ("application/openmetrics-text", ""), "Metrics (OpenMetrics 1.0).";
}

impl Route {
    /// The parameters of a path that is this route's; `None` for another's.
    pub fn takes<'p>(&self, path: &'p str) -> Option<Vec<(&'static str, &'p str)>> {
        let (mut template, mut given) = (self.path.split('/'), path.split('/'));
        let mut parameters = Vec::new();
        loop {
            match (template.next(), given.next()) {
                (None, None) => return Some(parameters),
                (Some(part), Some(value)) => {
                    match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
                        Some(name) if !value.is_empty() => parameters.push((name, value)),
                        None if part == value => {}
                        _ => return None,
                    }
                }
                _ => return None,
            }
        }
    }

    /// Parameters of the path.
    pub fn path_parameters(&self) -> impl Iterator<Item = &'static str> {
        self.path.split(['{', '}']).skip(1).step_by(2)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::people::Role;

    #[test]
    fn every_role_reaches_exactly_its_operations() {
        // Written out: what a role may do is decided here as much as in the code.
        for route in ROUTES {
            let customer = route.path.starts_with("/account/v1/");
            let changes = route.method != Method::Get;
            let sensitive =
                ["users", "tokens", "webhooks"].iter().any(|part| route.path.contains(part));
            for role in Role::ALL {
                let expected = match role {
                    Role::OperatorAdmin => !customer,
                    Role::OperatorViewer => !customer && !changes,
                    Role::CustomerAdmin => customer,
                    Role::CustomerViewer => customer && !changes && !sensitive,
                };
                assert_eq!(role.has(route.needs), expected, "{role} {}", route.name);
            }
        }
    }

    #[test]
    fn names_and_places_are_unique() {
        let names: BTreeSet<&str> = ROUTES.iter().map(|route| route.name).collect();
        let places: BTreeSet<_> = ROUTES.iter().map(|route| (route.method, route.path)).collect();
        assert_eq!((names.len(), places.len()), (ROUTES.len(), ROUTES.len()));
    }

    #[test]
    fn a_path_belongs_to_one_route() {
        for route in ROUTES {
            let path = route.path.replace(['{', '}'], "");
            let mut takers = ROUTES.iter().filter(|r| r.method == route.method);
            assert_eq!(takers.find(|r| r.takes(&path).is_some()).map(|r| r.name), Some(route.name));
        }
        let proof = ROUTES.iter().find(|route| route.name == "account.proof").unwrap();
        assert_eq!(proof.takes("/account/v1/receipts/ab/proof"), Some(vec![("digest", "ab")]));
        for other in [
            "/account/v1/receipts//proof",
            "/account/v1/receipts/ab",
            "/account/v1/receipts/ab/proof/",
        ] {
            assert_eq!(proof.takes(other), None, "{other}");
        }
    }

    #[test]
    fn a_customer_never_names_an_account() {
        for route in ROUTES.iter().filter(|route| route.path.starts_with("/account/")) {
            assert!(route.path_parameters().all(|name| name != "account"), "{}", route.name);
        }
    }
}
