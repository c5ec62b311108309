//! Files for other programs: CSV (RFC 4180), FOCUS 1.2 columns (FinOps Open Cost and Usage
//! Specification), OpenMetrics 1.0. Written piece by piece; a piece never holds more than one page.

use std::fmt::Write as _;

use bulla_wire::units::decimal;
use serde::Serialize;

use super::usage::UsageView;
use super::view::BalanceView;

/// The version of FOCUS whose columns are written.
pub const FOCUS_VERSION: &str = "1.2";
/// What an exported file is called for.
pub const PROVIDER: &str = "bulla";

/// Rows as CSV; the header line comes with the first piece. A cell that a spreadsheet would take
/// for a formula gets an apostrophe before it.
pub fn csv<T: Serialize>(rows: &[T], with_header: bool) -> Result<Vec<u8>, String> {
    write_csv(rows, with_header).map_err(|error| error.to_string())
}

fn write_csv<T: Serialize>(rows: &[T], with_header: bool) -> Result<Vec<u8>, std::io::Error> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    for (at, row) in rows.iter().enumerate() {
        let value = serde_json::to_value(row)?;
        let members = value.as_object().cloned().unwrap_or_default();
        if at == 0 && with_header {
            writer.write_record(members.keys())?;
        }
        writer.write_record(members.values().map(cell))?;
    }
    writer.into_inner().map_err(csv::IntoInnerError::into_error)
}

fn cell(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => harmless(text),
        serde_json::Value::Array(items) => {
            harmless(&items.iter().map(cell).collect::<Vec<_>>().join(" "))
        }
        other => other.to_string(),
    }
}

fn harmless(text: &str) -> String {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{text}"),
        false => text.to_owned(),
    }
}

/// A row of FOCUS: the columns that a prepaid service has something to say in. Costs are decimals
/// of the billing currency: a unit of account that is no currency stands there under its own name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)] // the specification's own column names
pub struct FocusRow {
    pub billing_account_id: String,
    pub billing_account_name: String,
    pub sub_account_id: String,
    pub sub_account_name: String,
    pub billing_currency: String,
    pub billing_period_start: String,
    pub billing_period_end: String,
    pub charge_period_start: String,
    pub charge_period_end: String,
    pub charge_category: &'static str,
    pub charge_class: String,
    pub charge_description: String,
    pub charge_frequency: &'static str,
    pub billed_cost: String,
    pub effective_cost: String,
    pub list_cost: String,
    pub contracted_cost: String,
    pub consumed_quantity: String,
    pub consumed_unit: &'static str,
    pub pricing_category: &'static str,
    pub provider_name: &'static str,
    pub publisher_name: &'static str,
    pub invoice_issuer_name: &'static str,
    pub service_name: &'static str,
    pub service_category: &'static str,
    pub sku_id: String,
    #[serde(rename = "x_Requests")]
    pub requests: u64,
    #[serde(rename = "x_InputTokens")]
    pub input_tokens: String,
    #[serde(rename = "x_CachedInputTokens")]
    pub cached_input_tokens: String,
    #[serde(rename = "x_OutputTokens")]
    pub output_tokens: String,
    #[serde(rename = "x_ReasoningTokens")]
    pub reasoning_tokens: String,
    #[serde(rename = "x_DeviceTimeMs")]
    pub device_time_ms: String,
    #[serde(rename = "x_ComputeUnits")]
    pub compute_units: String,
    #[serde(rename = "x_TimeZone")]
    pub time_zone: String,
}

/// Whose usage it is, and over which days.
#[derive(Debug, Clone)]
pub struct FocusFrame<'a> {
    /// The account's number.
    pub account: u64,
    /// The account's name.
    pub name: &'a str,
    /// When the first day begins, RFC 3339.
    pub period_start: String,
    /// When the last day ends, RFC 3339.
    pub period_end: String,
    /// Time zone days are counted in.
    pub zone: &'a str,
}

/// One row per day, model, project and unit. `day` gives begin and end of a row's day, RFC 3339.
pub fn focus(frame: &FocusFrame<'_>, usage: &UsageView, day: (String, String)) -> FocusRow {
    let cost = decimal(usage.charge);
    let project = usage.project.clone().unwrap_or_default();
    FocusRow {
        billing_account_id: frame.account.to_string(),
        billing_account_name: frame.name.to_owned(),
        // Names of projects are unique in their account, and never changed.
        sub_account_id: project.clone(),
        sub_account_name: project,
        billing_currency: usage.unit.clone(),
        billing_period_start: frame.period_start.clone(),
        billing_period_end: frame.period_end.clone(),
        charge_period_start: day.0,
        charge_period_end: day.1,
        charge_category: "Usage",
        charge_class: String::new(),
        charge_description: format!("{} requests to {}", usage.requests, usage.model),
        charge_frequency: "Usage-Based",
        billed_cost: cost.clone(),
        effective_cost: cost.clone(),
        list_cost: cost.clone(),
        contracted_cost: cost,
        consumed_quantity: (usage.input_tokens + usage.output_tokens).to_string(),
        consumed_unit: "Tokens",
        pricing_category: "Standard",
        provider_name: PROVIDER,
        publisher_name: PROVIDER,
        invoice_issuer_name: PROVIDER,
        service_name: "Confidential inference",
        service_category: "AI and Machine Learning",
        sku_id: usage.model.clone(),
        requests: usage.requests,
        input_tokens: usage.input_tokens.to_string(),
        cached_input_tokens: usage.cached_input_tokens.to_string(),
        output_tokens: usage.output_tokens.to_string(),
        reasoning_tokens: usage.reasoning_tokens.to_string(),
        device_time_ms: usage.device_time_ms.to_string(),
        compute_units: usage.compute_units.map(decimal).unwrap_or_default(),
        time_zone: frame.zone.to_owned(),
    }
}

/// What a scraper is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Where all value is, by unit.
    pub supply: Vec<BalanceView>,
    /// Leaves in the log.
    pub log_leaves: u64,
    /// Accounts.
    pub accounts: u64,
    /// Enclaves configured, ready, and ready under a simulated root.
    pub enclaves: (u64, u64, u64),
    /// Messages that were not believed.
    pub anomalies: u64,
    /// Messages to webhooks: waiting, given up.
    pub deliveries: (u64, u64),
}

/// Media type of [`openmetrics`].
pub const MEDIA_OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The exposition (OpenMetrics 1.0).
pub fn openmetrics(gauges: &Gauges) -> String {
    let mut text = String::new();
    let mut family = |name: &str, help: &str, samples: Vec<(String, String)>| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# TYPE {name} gauge\n# HELP {name} {help}");
        for (labels, value) in samples {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    };
    type Part = (&'static str, fn(&BalanceView) -> u128);
    let parts: [Part; 5] = [
        ("issued", |s| s.issued),
        ("available", |s| s.available),
        ("held", |s| s.held),
        ("spent", |s| s.spent),
        ("expired", |s| s.expired),
    ];
    let supply = gauges.supply.iter().flat_map(|sums| {
        parts.iter().map(|(part, value)| {
            let labels = format!("{{unit=\"{}\",part=\"{part}\"}}", sums.unit);
            (labels, decimal(value(sums)))
        })
    });
    let supply = supply.collect();
    let one = |value: u64| vec![(String::new(), value.to_string())];
    let state = |pairs: &[(&str, u64)]| {
        let sample =
            |(name, value): &(&str, u64)| (format!("{{state=\"{name}\"}}"), value.to_string());
        pairs.iter().map(sample).collect::<Vec<_>>()
    };
    family(
        "bulla_broker_supply_units",
        "Value by unit of account and part, in whole units.",
        supply,
    );
    family("bulla_broker_log_leaves", "Leaves in the transparency log.", one(gauges.log_leaves));
    family("bulla_broker_accounts", "Accounts.", one(gauges.accounts));
    let (configured, ready, simulated) = gauges.enclaves;
    let enclaves = state(&[("configured", configured), ("ready", ready), ("simulated", simulated)]);
    family("bulla_broker_enclaves", "Enclaves by state; simulated ones protect nothing.", enclaves);
    family("bulla_broker_anomalies", "Messages kept as not believed.", one(gauges.anomalies));
    let (waiting, dead) = gauges.deliveries;
    let deliveries = state(&[("waiting", waiting), ("dead", dead)]);
    family("bulla_broker_deliveries", "Messages to webhooks by state.", deliveries);
    text.push_str("# EOF\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Row {
        a: &'static str,
        b: Option<u64>,
        c: Vec<&'static str>,
    }

    #[test]
    fn csv_is_quoted_and_never_a_formula() {
        let rows = [
            Row { a: "x,\"y\"\nz", b: Some(1), c: vec!["m", "n"] },
            Row { a: "=HYPERLINK(1)", b: None, c: vec![] },
        ];
        let text = String::from_utf8(csv(&rows, true).unwrap()).unwrap();
        assert_eq!(text, "a,b,c\n\"x,\"\"y\"\"\nz\",1,m n\n'=HYPERLINK(1),,\n");
        assert!(!String::from_utf8(csv(&rows, false).unwrap()).unwrap().starts_with("a,b"));
    }

    #[test]
    fn metrics_end_as_the_format_says() {
        let sums = BalanceView { unit: "TOK".into(), issued: 1_500_000, ..Default::default() };
        let text =
            openmetrics(&Gauges { supply: vec![sums], enclaves: (2, 1, 1), ..Gauges::default() });
        assert!(
            text.contains("bulla_broker_supply_units{unit=\"TOK\",part=\"issued\"} 1.5\n"),
            "{text}"
        );
        assert!(text.contains("bulla_broker_enclaves{state=\"simulated\"} 1\n"));
        assert!(text.ends_with("# EOF\n"));
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            assert!(line.starts_with("bulla_broker_") && line.contains(' '), "{line}");
        }
    }
}
