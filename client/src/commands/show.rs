//! How values look to people.

use anstyle::{AnsiColor, Style};
use bulla_wire::receipt::{SecurityMode, UsageReceipt};
use bulla_wire::units::{MicroUnits, Unit, UnixSeconds};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Something to look at: simulation, refusal.
pub const WARN: Style = AnsiColor::Yellow.on_default().bold();
/// Something that holds.
pub const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Something wrong.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Side remarks.
pub const FAINT: Style = Style::new().dimmed();

/// Micro-units as whole units with their name, without rounding: `0.000038 TOK`.
pub fn amount(micro: MicroUnits, unit: &Unit) -> String {
    micro.of(unit)
}

/// An error with its causes, each said once: many messages repeat what they are caused by.
pub fn failure(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        let cause = cause.trim_end();
        match said.is_empty() {
            true => said.push_str(cause),
            false if said.contains(cause) => {}
            false => said = format!("{said}: {cause}"),
        }
    }
    said
}

/// An instant as people and machines read it (RFC 3339, UTC).
pub fn instant(at: UnixSeconds) -> String {
    let seconds = i64::try_from(at.0).unwrap_or(i64::MAX);
    let text =
        OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|t| t.format(&Rfc3339).ok());
    text.unwrap_or_else(|| format!("{at} s"))
}

/// The security mode, loud when it protects nothing.
pub fn security(mode: SecurityMode) -> String {
    match mode {
        SecurityMode::Hardware => format!("{GOOD}hardware{GOOD:#}"),
        SecurityMode::Simulated => format!("{WARN}SIMULATED{WARN:#}"),
    }
}

/// One line about a receipt.
pub fn receipt_line(receipt: &UsageReceipt) -> String {
    format!(
        "{} in + {} out tokens · {} · {} · receipt {} · {}",
        receipt.usage.input,
        receipt.usage.output,
        amount(receipt.charge, &receipt.unit),
        receipt.outcome,
        receipt.id,
        security(receipt.security),
    )
}

/// Text from a stranger on its way to a terminal: line breaks and tabs stay, other control
/// characters, which could rewrite the screen, do not.
pub fn harmless(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

/// Rows in columns as wide as their widest cell; the last column is not padded.
pub fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |i: usize| {
        rows.iter().filter_map(|row| row.get(i)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (cell, width) in row.iter().zip(&widths).take(row.len().saturating_sub(1)) {
            text.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(row.last().map_or("", String::as_str));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let inner = std::io::Error::other("line 2: no number");
        let told = anyhow::anyhow!(inner).context("price.toml: line 2: no number");
        assert_eq!(failure(&told), "price.toml: line 2: no number");
        assert_eq!(
            failure(&told.context("the prices")),
            "the prices: price.toml: line 2: no number"
        );
    }

    #[test]
    fn instants_are_rfc_3339() {
        assert_eq!(instant(UnixSeconds(1_800_000_000)), "2027-01-15T08:00:00Z");
    }

    #[test]
    fn strangers_cannot_rewrite_the_screen() {
        assert_eq!(harmless("a\u{1b}[2Jb\r\n\tc\u{9b}"), "a[2Jb\n\tc");
    }

    #[test]
    fn columns_line_up() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let text = columns(&[row(["a", "bb", "c"]), row(["aaa", "b", "cc"])]);
        assert_eq!(text, "a    bb  c\naaa  b   cc\n");
    }
}
