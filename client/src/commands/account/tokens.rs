//! `bulla account draw` and `wallet`: value of a package as blind tokens, in the wallet of this
//! machine.

use anyhow::Context;
use bulla_wire::units::{MicroUnits, Unit};
use serde_json::json;

use super::super::show::{FAINT, GOOD, WARN, amount, columns, instant};
use super::super::{EXIT_OK, GlobalArgs};
use crate::io::anonymous::{self, AnonymousError, Collected};
use crate::io::client::Client;
use crate::io::system::now;

/// Draws `sum` from the account's packages.
pub async fn draw(global: &GlobalArgs, sum: MicroUnits, unit: Option<Unit>) -> anyhow::Result<u8> {
    let client = global.client()?;
    let unit = unit.unwrap_or_else(|| client.config().spending.unit.clone());
    let (before, drawn) = match drawn(&client, &unit, sum).await {
        Err(error) if !client.wallet().read()?.draws().is_empty() => Err(error).context(
            "the draw is kept, and paid once at most: `bulla account wallet` finishes it",
        )?,
        other => other?,
    };
    if global.json {
        let earlier = before.0;
        println!("{}", json!({"unit": unit, "drawn": drawn, "from_earlier_draws": earlier}));
        return Ok(EXIT_OK);
    }
    anstream::println!("{GOOD}drawn{GOOD:#} {} as blind tokens", amount(drawn, &unit));
    if before > MicroUnits(0) {
        println!("finished an earlier draw of {}", amount(before, &unit));
    }
    anstream::println!(
        "{FAINT}the broker knows that this account drew them, and when; wait before you spend them with --anonymous{FAINT:#}"
    );
    Ok(EXIT_OK)
}

/// What an earlier command did not finish comes first: it is paid already, or never will be.
async fn drawn(
    client: &Client,
    unit: &Unit,
    sum: MicroUnits,
) -> Result<(MicroUnits, MicroUnits), AnonymousError> {
    let before = anonymous::resume_draws(client).await?;
    Ok((before, anonymous::draw(client, unit, sum).await?))
}

/// Shows the wallet, after finishing what was left unfinished.
pub async fn show(global: &GlobalArgs) -> anyhow::Result<u8> {
    let client = global.client()?;
    let resumed = anonymous::resume_draws(&client).await;
    let collected = collect(global).await;
    let now = now().seconds();
    let lapsed = client.wallet().change(|wallet| Ok(wallet.drop_lapsed(now)))?;
    let wallet = client.wallet().read()?;
    if global.json {
        let spends =
            wallet.spends().iter().map(|spend| json!({"hold": spend.hold, "paid": spend.paid()}));
        let document = json!({
            "tokens": wallet.holdings(now),
            "waiting_for_change": spends.collect::<Vec<_>>(),
            "unfinished_draws": wallet.draws().len(),
            "spent_before": wallet.spent_before().iter().map(|token| token.value).collect::<Vec<_>>(),
            "lapsed": lapsed,
        });
        println!("{}", serde_json::to_string_pretty(&document)?);
    } else {
        table(&client, &wallet);
        if lapsed > 0 {
            anstream::println!("{WARN}{lapsed} tokens have lapsed{WARN:#}");
        }
    }
    resumed?;
    collected?;
    Ok(EXIT_OK)
}

/// Change is fetched as it was paid for: without the account's credential.
async fn collect(global: &GlobalArgs) -> anyhow::Result<Collected> {
    Ok(anonymous::collect(&*global.anonymous_client()?).await?)
}

fn table(client: &Client, wallet: &crate::wallet::Wallet) {
    let holdings = wallet.holdings(now().seconds());
    if holdings.is_empty() {
        println!("no blind tokens: run `bulla account draw AMOUNT`");
    } else {
        let mut rows = vec![["TOKENS", "WORTH", "FIRST LAPSE"].map(str::to_owned).to_vec()];
        rows.extend(holdings.iter().map(|holding| {
            let worth = amount(holding.amount, &holding.unit);
            vec![holding.tokens.to_string(), worth, instant(holding.first_lapses_at)]
        }));
        print!("{}", columns(&rows));
    }
    for spend in wallet.spends() {
        let unit = spend.unit().unwrap_or(&client.config().spending.unit);
        let paid = amount(spend.paid(), unit);
        anstream::println!("{FAINT}hold {} waits for the change of {paid}{FAINT:#}", spend.hold);
    }
    if !wallet.spends().is_empty() {
        anstream::println!(
            "{FAINT}it comes when a hold ends, or all of it where nothing was held: ask again later{FAINT:#}"
        );
    }
    for token in wallet.spent_before() {
        let worth = amount(token.value, &token.unit);
        anstream::println!(
            "{WARN}{worth} was spent before, says the broker{WARN:#}: by another copy of this wallet? It is set aside"
        );
    }
    if !wallet.draws().is_empty() {
        anstream::println!("{WARN}{} draws are not finished{WARN:#}", wallet.draws().len());
    }
}

/// What is left of the blind tokens, in one line.
pub fn left(client: &Client) -> anyhow::Result<String> {
    let wallet = client.wallet().read()?;
    let holdings = wallet.holdings(now().seconds());
    let mut left: Vec<String> =
        holdings.iter().map(|holding| amount(holding.amount, &holding.unit)).collect();
    if left.is_empty() {
        left.push("nothing".to_owned());
    }
    let waits = match wallet.spends().len() {
        0 => String::new(),
        waiting => format!(", {waiting} payments wait for their change"),
    };
    Ok(format!("paid with blind tokens, {} left{waits}", left.join(", ")))
}

/// An amount in whole units with at most six digits behind the point, as micro-units.
pub fn micro(text: &str) -> Result<MicroUnits, String> {
    let wrong = || format!("{text:?} is no amount: write it like 12.5");
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(part) || part.len() > 6 {
        return Err(wrong());
    }
    let whole = whole.parse::<u64>().ok().and_then(|whole| whole.checked_mul(1_000_000));
    let part = format!("{part:0<6}").parse::<u64>().ok();
    let sum = whole.zip(part).and_then(|(whole, part)| whole.checked_add(part));
    sum.filter(|sum| *sum > 0).map(MicroUnits).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_exactly() {
        assert_eq!(micro("12.5"), Ok(MicroUnits(12_500_000)));
        assert_eq!(micro("0.000001"), Ok(MicroUnits(1)));
        assert_eq!(micro("7"), Ok(MicroUnits(7_000_000)));
        for bad in ["", "0", "-1", "1.", ".5", "1.0000001", "1e3", "1,5", "18446744073709551615"] {
            assert!(micro(bad).is_err(), "{bad:?}");
        }
    }
}
