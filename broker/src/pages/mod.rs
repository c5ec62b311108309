//! Pages for customers and operators, rendered here, with no script at all. Pure: views in, markup
//! out; `crate::io::web` fetches the views and sends the markup.

pub mod account;
pub mod chart;
pub mod door;
pub mod market;
pub mod money;
pub mod operator;
pub mod organisation;
pub mod people;
pub mod receipt;
pub mod usage;

use bulla_wire::units::decimal;
use maud::{DOCTYPE, Markup, html};

use crate::people::{Principal, Role};

/// The one style sheet.
pub const STYLE: &str = include_str!("style.css");
/// Where it is served. The content policy lets nothing else in.
pub const STYLE_PATH: &str = "/assets/style.css";
/// What browsers are told about every page: nothing runs, nothing is fetched from elsewhere, nobody
/// frames it, no form goes elsewhere.
pub const CONTENT_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; \
     frame-ancestors 'none'";

/// A clay envelope with three tokens: the mark, also served as the icon.
pub const ICON: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><circle cx="12" cy="12" r="11" fill="#9a3412"/><path d="M7 9.5a2 2 0 1 0 .1 0M17 9.5a2 2 0 1 0 .1 0M12 14.5a2 2 0 1 0 .1 0" fill="none" stroke="#fff" stroke-width="1.6" stroke-linecap="round"/></svg>"##;

/// What stands around a page.
pub struct Frame<'a> {
    /// Who looks at it.
    pub who: &'a Principal,
    /// What its forms carry.
    pub form_token: &'a str,
    /// The place in the navigation.
    pub here: &'a str,
    /// Whether an enclave that no hardware protects serves.
    pub simulated: bool,
    /// A message about what was just done.
    pub said: Option<Said>,
}

/// What came of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It is done.
    Good(String),
    /// It is not.
    Bad(String),
    /// It is done, and this is shown once.
    Once {
        /// What it is.
        what: String,
        /// The secret.
        secret: String,
    },
}

impl Frame<'_> {
    /// Whether this person may change something on the page.
    pub fn may_change(&self) -> bool {
        matches!(self.who.role, Role::OperatorAdmin | Role::CustomerAdmin)
    }

    /// A form's hidden field.
    pub fn token(&self) -> Markup {
        html! { input type="hidden" name="form_token" value=(self.form_token); }
    }

    /// The whole page.
    pub fn page(&self, title: &str, lead: &str, body: &Markup) -> Markup {
        let links: &[(&str, &str)] = match self.who.role.is_operator() {
            true => &[
                ("/operator", "Overview"),
                ("/operator/accounts", "Accounts"),
                ("/operator/holds", "Holds"),
                ("/operator/disputes", "Disputes"),
                ("/operator/payables", "Payables"),
                ("/operator/reservations", "Reservations"),
                ("/operator/enclaves", "Enclaves"),
                ("/operator/alerts", "Alerts"),
                ("/operator/access", "Access"),
            ],
            false => &[
                ("/account", "Overview"),
                ("/account/usage", "Usage"),
                ("/account/projects", "Projects"),
                ("/account/receipts", "Receipts"),
                ("/account/invoices", "Invoices"),
                ("/account/disputes", "Disputes"),
                ("/account/alerts", "Alerts"),
                ("/account/access", "Access"),
            ],
        };
        let body = html! {
            a.skip href="#main" { "To the content" }
            header.top { div.bar {
                a.brand href="/" { (mark()) "bulla" }
                nav aria-label="Pages" {
                    @for (path, name) in links {
                        a href=(path) aria-current=[(self.here == *path).then_some("page")] { (name) }
                    }
                }
                div.who {
                    span { (self.who.name) " · " (self.who.role) }
                    form method="post" action="/sign-out" {
                        (self.token())
                        button.quiet type="submit" { "Sign out" }
                    }
                }
            } }
            main id="main" {
                h1 { (title) }
                p.lead { (lead) }
                @if self.simulated { (simulated()) }
                @if let Some(said) = &self.said { (said.render()) }
                (body)
            }
            footer { "Instants are UTC unless a time zone is named. Amounts are exact, never rounded." }
        };
        document(title, &body)
    }
}

impl Said {
    fn render(&self) -> Markup {
        match self {
            Said::Good(text) => html! { div.note.good role="status" { (text) } },
            Said::Bad(text) => html! { div.note.bad role="alert" { (text) } },
            Said::Once { what, secret } => html! {
                div.note.good role="status" {
                    strong { (what) }
                    p { "This is shown once. Copy it now." }
                    div.once { (secret) }
                }
            },
        }
    }
}

/// What every operator and customer must see where it is so.
pub fn simulated() -> Markup {
    html! {
        div.note.bad role="alert" {
            strong { "SIMULATED TEE: no hardware protects prompts here." }
            "An enclave that serves runs under a simulated root. That proves the protocol and \
             protects nothing: for development only."
        }
    }
}

/// A document with head and body.
pub fn document(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · bulla" }
                link rel="icon" href="/assets/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href=(STYLE_PATH);
            }
            body { (body) }
        }
    }
}

fn mark() -> Markup {
    html! {
        svg viewBox="0 0 24 24" aria-hidden="true" {
            circle.seal cx="12" cy="12" r="11" {}
            path.mark d="M7 9.5a2 2 0 1 0 .1 0M17 9.5a2 2 0 1 0 .1 0M12 14.5a2 2 0 1 0 .1 0" {}
        }
    }
}

/// An error as a page.
pub fn error(status: u16, title: &str, detail: &str) -> Markup {
    let body = html! {
        main.door id="main" { div.sheet {
            h1 { (title) }
            p { (detail) }
            p.small { "Status " (status) ". " a href="/" { "Back to the beginning" } }
        } }
    };
    document(title, &body)
}

/// A count with its thousands apart: `12,345`.
pub fn grouped(number: u128) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Micro-units as whole units, exact, thousands apart: `1,234.5`.
pub fn amount(micro: u128) -> String {
    let text = decimal(micro);
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    let whole = grouped(whole.parse().unwrap_or_default());
    if part.is_empty() { whole } else { format!("{whole}.{part}") }
}

/// The beginning of a digest or id, with the whole of it at hand.
pub fn short(digest: &str) -> Markup {
    let cut: String = digest.chars().take(12).collect();
    html! { code title=(digest) { (cut) @if cut.len() < digest.len() { "…" } } }
}

/// An RFC 3339 instant for people: `2026-11-21 09:30`, with the exact one at hand.
pub fn when(instant: &str) -> Markup {
    let people = match (instant.get(..10), instant.get(11..16)) {
        (Some(day), Some(time)) => format!("{day} {time}"),
        _ => instant.to_owned(),
    };
    html! { time datetime=(instant) title=(instant) { (people) } }
}

/// `hardware` or `simulated`, the latter loud.
pub fn security_tag(security: &str) -> Markup {
    match security {
        "simulated" => html! { span.tag.bad { "SIMULATED" } },
        other => html! { span.tag.good { (other) } },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_apart_in_thousands() {
        assert_eq!([0, 999, 1000, 1234567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(amount(1_234_500_000), "1,234.5");
        assert_eq!(amount(u128::from(u64::MAX)), "18,446,744,073,709.551615");
    }

    #[test]
    fn what_strangers_wrote_is_text() {
        let who = Principal { name: "<b>".into(), role: Role::OperatorViewer, account: None };
        let said = Some(Said::Bad("<script>alert(1)</script>".into()));
        let frame = Frame { who: &who, form_token: "\"><x>", here: "/", simulated: true, said };
        let text = frame.page("<i>", "lead", &html! { "x" }).into_string();
        assert!(!text.contains("<b>") && !text.contains("<script") && !text.contains("<i>"));
        assert!(!text.contains("\"><x>") && !text.contains("style="));
        assert!(text.contains("SIMULATED TEE"));
    }
}
