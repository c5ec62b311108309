//! Signing in.

use maud::{Markup, html};

use super::document;

/// The page to sign in on.
pub fn sign_in(form_token: &str, refused: Option<&str>) -> Markup {
    let body = html! {
        main.door id="main" { div.sheet {
            h1 { "Sign in" }
            @if let Some(refused) = refused { div.note.bad role="alert" { (refused) } }
            form method="post" action="/sign-in" {
                input type="hidden" name="form_token" value=(form_token);
                label { "Name"
                    input type="text" name="name" autocomplete="username" required maxlength="64"
                        autocapitalize="none" spellcheck="false" autofocus;
                }
                label { "Password"
                    input type="password" name="password" autocomplete="current-password" required
                        maxlength="256";
                }
                button type="submit" { "Sign in" }
            }
        }
        p.small { "Confidential inference: balances, usage and receipts." } }
    };
    document("Sign in", &body)
}
