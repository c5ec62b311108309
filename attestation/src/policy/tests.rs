use super::*;

const STRICT: &str = include_str!("../../../policies/appraisal/strict.toml");
const STANDARD: &str = include_str!("../../../policies/appraisal/standard.toml");
const DEVELOPMENT: &str = include_str!("../../../policies/appraisal/development.toml");
const AUTHENTIC: &str = include_str!("../../../policies/appraisal/authentic.toml");

#[test]
fn every_shipped_policy_reads_and_calls_itself_by_its_file_name() {
    let shipped = [
        ("strict", STRICT),
        ("standard", STANDARD),
        ("development", DEVELOPMENT),
        ("authentic", AUTHENTIC),
    ];
    for (name, text) in shipped {
        assert_eq!(Policy::from_toml(text).unwrap().name(), name);
    }
}

#[test]
fn a_policy_has_a_section_for_each_kind_of_evidence_it_takes() {
    let start = STRICT.find("\n[nvidia]").unwrap();
    let end = STRICT.find("\n[tdx]").unwrap();
    let without = [&STRICT[..start], &STRICT[end..]].concat();
    let expected = PolicyError::MissingSection { tee: TeeKind::Nvidia, section: "nvidia" };
    assert_eq!(Policy::from_toml(&without).unwrap_err(), expected);
    let taken =
        without.replacen("tees = [\"snp\", \"tdx\", \"nvidia\"]", "tees = [\"snp\", \"tdx\"]", 1);
    assert!(Policy::from_toml(&taken).is_ok());
}

#[test]
fn a_limit_that_is_none_is_told_what_it_may_be() {
    let line = "maximum_age_seconds = \"any\"";
    let text = STRICT.replacen(line, "maximum_age_seconds = \"never\"", 1);
    let said = Policy::from_toml(&text).unwrap_err().to_string();
    assert!(said.contains("expected \"any\" or a number, zero or above"), "{said}");
}

#[test]
fn a_policy_has_at_most_one_mebibyte() {
    let mut text = STRICT.to_owned();
    text.push('#');
    text.push_str(&"x".repeat(1024 * 1024 - text.len()));
    assert!(Policy::from_toml(&text).is_ok());
    text.push('x');
    let got_bytes = text.len();
    assert_eq!(Policy::from_toml(&text).unwrap_err(), PolicyError::TooLarge { got_bytes });
}

#[test]
fn a_policy_says_what_it_is_for_and_which_evidence_it_takes() {
    let policy = Policy::from_toml(DEVELOPMENT).unwrap();
    assert!(policy.description().starts_with("For development"));
    let named: Vec<&str> = policy.tees().iter().map(|kind| kind.name()).collect();
    assert_eq!(named, ["snp", "tdx", "azure-snp", "azure-tdx", "nvidia", "csv", "vtpm-dev"]);
}

#[test]
fn only_the_development_policy_takes_a_simulated_tee() {
    for (text, expected) in
        [(STRICT, false), (STANDARD, false), (AUTHENTIC, false), (DEVELOPMENT, true)]
    {
        assert_eq!(Policy::from_toml(text).unwrap().allows_simulated(), expected);
    }
}

#[test]
fn the_digest_is_of_the_text() {
    let one = Policy::from_toml(STRICT).unwrap();
    let other = Policy::from_toml(&format!("{STRICT}\n# a remark\n")).unwrap();
    assert_ne!(one.digest(), other.digest());
}

#[test]
fn refuses_unknown_keys_at_every_level() {
    for (place, key) in [
        ("name = ", "allow_everything = true\nname = "),
        ("[freshness]\n", "[freshness]\nchallenge = true\n"),
        ("[keyset]\n", "[keyset]\nforever = true\n"),
        ("[snp]\n", "[snp]\ndebug = \"allowed\"\n"),
        ("part = \"genoa\"\n", "part = \"genoa\"\nlow = 1\n"),
    ] {
        let text = STRICT.replacen(place, key, 1);
        assert_ne!(text, STRICT);
        let error = Policy::from_toml(&text).unwrap_err();
        assert!(error.to_string().contains("unknown field"), "{error}");
    }
}

#[test]
fn refuses_a_policy_with_any_line_left_out() {
    let is_setting = |line: &str| line.contains(" = ") && !line.starts_with(['#', ' ']);
    // Floors for FMC exist on Turin only.
    let lines = DEVELOPMENT.lines().filter(|line| is_setting(line));
    for line in lines {
        let text = DEVELOPMENT.replacen(line, "", 1);
        let error = Policy::from_toml(&text).unwrap_err();
        assert!(error.to_string().contains("missing field"), "{line}: {error}");
    }
}

#[test]
fn refuses_any_measurement_on_real_hardware() {
    let lists: Vec<(usize, &str)> = ["measurements = []", "pcrs = []"]
        .into_iter()
        .flat_map(|list| STANDARD.match_indices(list))
        .collect();
    assert_eq!(lists.len(), 4, "of [snp], [tdx] and [csv], and of [azure]");
    for (at, list) in lists {
        let any = list.replace("[]", "\"any\"");
        let text = [&STANDARD[..at], &any, &STANDARD[at + list.len()..]].concat();
        assert_eq!(Policy::from_toml(&text), Err(PolicyError::AnyMeasurement), "byte {at}");
    }
}

#[test]
fn refuses_a_keyset_life_of_zero_or_beyond_reason() {
    for got in [0, MAX_KEYSET_LIFE_SECONDS + 1] {
        let life = format!("maximum_life_seconds = {got}");
        let text = STANDARD.replacen("maximum_life_seconds = 86400", &life, 1);
        assert_eq!(Policy::from_toml(&text), Err(PolicyError::KeysetLife { got }));
    }
}

#[test]
fn refuses_a_product_both_allowed_and_banned() {
    let text = STRICT.replacen("[\"genoa\", \"turin\"]", "[\"milan\"]", 1);
    let product = "milan".to_owned();
    assert_eq!(Policy::from_toml(&text), Err(PolicyError::AllowedAndBanned { product }));
}

#[test]
fn refuses_two_floors_for_one_part() {
    let text = STRICT.replacen("part = \"turin\"\nfmc = 0\n", "part = \"genoa\"\n", 1);
    let part = "genoa".to_owned();
    assert_eq!(Policy::from_toml(&text), Err(PolicyError::RepeatedFloor { part }));
}

#[test]
fn refuses_two_floors_for_one_architecture() {
    let text = STRICT.replacen("architecture = \"blackwell\"", "architecture = \"hopper\"", 1);
    let architecture = "hopper".to_owned();
    assert_eq!(Policy::from_toml(&text), Err(PolicyError::RepeatedVersionFloor { architecture }));
}

/// Eight modules may be named, by files that stay beside the policy.
#[cfg(feature = "rego")]
#[test]
fn so_many_rego_modules_may_be_named() {
    let named = |count: usize, file: &str| {
        let module = format!("{{ file = \"{file}\", sha256 = \"{}\" }}", "00".repeat(32));
        let list = format!("modules = [{}]", vec![module; count].join(", "));
        Policy::from_toml(&STRICT.replacen("modules = []", &list, 1)).err()
    };
    assert_eq!(named(8, "a.rego"), None);
    assert_eq!(named(9, "a.rego"), Some(PolicyError::TooManyModules { got: 9 }));
    let file = "../a.rego".to_owned();
    assert_eq!(named(1, "../a.rego"), Some(PolicyError::FileName { file }));
}

#[test]
fn refuses_lists_in_other_words_than_any() {
    let text = STRICT.replacen("chip_ids = []", "chip_ids = \"all\"", 1);
    let error = Policy::from_toml(&text).unwrap_err();
    assert!(
        error.to_string().contains("\\\"any\\\" or a list")
            || error.to_string().contains("\"any\" or a list"),
        "{error}"
    );
    let upper =
        STRICT.replacen("chip_ids = []", &format!("chip_ids = [\"{}\"]", "AB".repeat(64)), 1);
    assert!(Policy::from_toml(&upper).is_err());
}

#[test]
fn refuses_a_text_beyond_its_limit() {
    let text = format!("{STRICT}#{}", "x".repeat(MAX_POLICY_BYTES));
    let got_bytes = text.len();
    assert_eq!(Policy::from_toml(&text), Err(PolicyError::TooLarge { got_bytes }));
}
