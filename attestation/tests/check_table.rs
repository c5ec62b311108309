//! The table check → test, whole: every check there is has a row in the table of its kind of
//! evidence. Each of those tables runs its rows: one thing wrong, refused by this check and no
//! other, so a check that is deleted leaves its row affirmed, or refused by another.

use bulla_attestation::result::CheckName;

/// The tables, each with a test that runs it.
const TABLES: [(&str, &str); 8] = [
    ("one_field_wrong.rs", include_str!("one_field_wrong.rs")),
    ("tdx_one_thing_wrong.rs", include_str!("tdx_one_thing_wrong.rs")),
    ("nvidia_one_field_wrong.rs", include_str!("nvidia_one_field_wrong.rs")),
    ("nvidia_beside_cpu.rs", include_str!("nvidia_beside_cpu.rs")),
    ("azure_one_thing_wrong.rs", include_str!("azure_one_thing_wrong.rs")),
    ("azure_tdx.rs", include_str!("azure_tdx.rs")),
    ("csv_evidence.rs", include_str!("csv_evidence.rs")),
    ("vtpm_one_thing_wrong.rs", include_str!("vtpm_one_thing_wrong.rs")),
];

/// Checks with more behind them than one field, tested in a file of their own; what to find there.
const OWN_FILES: [(CheckName, &str, &str); 2] = [
    (CheckName::ReferenceValues, include_str!("reference_values.rs"), "CheckName::ReferenceValues"),
    (CheckName::Rego, include_str!("rego.rs"), "CheckName::Rego"),
];

/// Whether a row of `table` says that `name` refuses.
fn has_row(table: &str, name: CheckName) -> bool {
    let starts = [format!("({name:?},"), format!("(&[{name:?}]"), format!("(&[{name:?},")];
    // Rows too long for a line begin with the bracket alone.
    let mut before = "";
    table.lines().map(str::trim).any(|line| {
        let row = format!("{}{line}", if before == "(" { "(" } else { "" });
        before = line;
        starts.iter().any(|start| row.starts_with(start))
    })
}

#[test]
fn every_check_there_is_has_a_row() {
    let mut untested = Vec::new();
    for name in CheckName::ALL {
        let own = OWN_FILES.iter().find(|(other, ..)| other == name);
        let tested = match own {
            Some((_, text, wanted)) => text.contains(wanted),
            None => TABLES.iter().any(|(_, table)| has_row(table, *name)),
        };
        if !tested {
            untested.push(name);
        }
    }
    println!("{} checks, each with a row that fails if it is deleted", CheckName::ALL.len());
    assert!(untested.is_empty(), "no row for {untested:?}");
}

#[test]
fn a_mention_is_no_row() {
    let name = CheckName::Vmpl;
    for row in ["(Vmpl, \"x\"", "(&[Vmpl], \"x\"", "    (\n        Vmpl,\n", "(&[Vmpl, Nonce]"] {
        assert!(has_row(row, name), "{row}");
    }
    for mention in ["// (Vmpl, x", "[Vmpl]", "(VmplAllowed,", "assert!(failed(Vmpl))", "Vmpl,"] {
        assert!(!has_row(mention, name), "{mention}");
    }
}
