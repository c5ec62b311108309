//! The command, with evidence of a simulated node and with files that hold none.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bulla_attestation::result::{CheckName, Verdict};
use clap::Parser;
use data_encoding::{BASE64, HEXLOWER};
use serde_json::Value;

use super::*;
use crate::commands::{ClientCommand, run};
use crate::testing::{ARK, ASK, Enclave, VCEK};

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: ClientCommand,
}

/// A folder with the evidence of a simulated node and what endorses it.
struct Node {
    folder: tempfile::TempDir,
    report: Vec<u8>,
}

/// Inside the dates of the certificates.
const AT: &str = "2027-01-15T09:00:00+01:00";

impl Node {
    fn new() -> Node {
        let folder = tempfile::tempdir().unwrap();
        let document = Enclave::new("one", 1).report(Some([7; 32]));
        let report = document.attestation.evidence.report.clone();
        let node = Node { folder, report };
        node.write("report.bin", &node.report);
        node.write("vcek.der", VCEK);
        node.write("ask.der", ASK);
        node.write("ark.der", ARK);
        node.write("aci.json", &document.to_json());
        node
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// `bulla appraise` with these words; names of files of the folder become paths.
    fn command(&self, words: &[&str]) -> Appraise {
        let words = words.iter().map(|word| match self.folder.path().join(word).exists() {
            true => self.path(word),
            false => (*word).to_owned(),
        });
        let fixed = ["bulla", "appraise"].map(str::to_owned);
        let line = Line::try_parse_from(fixed.into_iter().chain(words)).unwrap();
        match line.command {
            ClientCommand::Appraise(appraise) => *appraise,
            other => panic!("{other:?}"),
        }
    }

    /// Judges with everything the node has, under a policy that takes simulation.
    fn judge(&self, words: &[&str]) -> Result<Appraisal, Unreadable> {
        let trust = ["--policy", "development", "--simulated-root", "ark.der", "--at", AT];
        self.command(&[words, &trust].concat()).appraise()
    }

    fn verdicts(&self, words: &[&str]) -> Vec<Verdict> {
        let appraisal = self.judge(words).map_err(|error| error.reason).unwrap();
        appraisal.judged.iter().map(|judged| judged.result.verdict()).collect()
    }

    /// The exit code and, had it been asked for, the JSON.
    fn outcome(&self, words: &[&str]) -> (u8, Value) {
        match self.judge(words) {
            Ok(appraisal) => {
                let code = if appraisal.is_affirmed() { EXIT_OK } else { EXIT_REFUSED };
                (code, serde_json::from_str(&document::of(&appraisal)).unwrap())
            }
            Err(error) => (EXIT_FAILED, serde_json::from_str(&document::of_error(&error)).unwrap()),
        }
    }
}

const ENDORSED: [&str; 5] = ["report.bin", "--endorsement", "vcek.der", "--endorsement", "ask.der"];

#[test]
fn affirmed_refused_and_unreadable_have_their_codes() {
    let node = Node::new();
    let (code, json) = node.outcome(&ENDORSED);
    assert_eq!((code, &json["verdict"]), (EXIT_OK, &Value::from("affirmed")), "{json:#}");
    assert_eq!(json["tee"], "snp");
    assert_eq!(json["simulated"], true);
    assert_eq!(json["claims"]["report_data"], HEXLOWER.encode(&node.report[0x50..0x90]));
    assert_eq!(json["claims"]["measurement"], HEXLOWER.encode(&node.report[0x90..0xc0]));
    assert_eq!(json["claims"]["chip_id"], HEXLOWER.encode(&node.report[0x1a0..0x1e0]));
    assert_eq!(json["at"], "2027-01-15T08:00:00Z");
    for key in ["product", "policy", "checks", "left_aside", "hints", "evidence", "endorsements"] {
        assert!(!json[key].is_null(), "{key}");
    }
    for check in json["checks"].as_array().unwrap() {
        for key in ["name", "result", "expected", "got"] {
            assert!(check[key].is_string(), "{check}");
        }
    }
    let (code, json) = node.outcome(&["report.bin"]);
    assert_eq!((code, &json["verdict"]), (EXIT_REFUSED, &Value::from("refused")));
    let failed = |json: &Value| {
        json["checks"].as_array().unwrap().iter().filter(|check| check["result"] == "fail").count()
    };
    assert!(failed(&json) > 0 && json["hints"].to_string().contains("VCEK"));
    node.write("nothing.bin", b"\x01\x02\x03");
    let (code, json) = node.outcome(&["nothing.bin"]);
    assert_eq!(code, EXIT_FAILED);
    assert!(json["error"].is_string() && json["left_aside"][0]["reason"].is_string(), "{json:#}");
}

#[test]
fn what_cannot_be_read_is_never_a_verdict() {
    let node = Node::new();
    node.write("empty", b"");
    node.write("short.bin", &node.report[..793]);
    node.write("text", "a letter to a friend ".repeat(90).as_bytes());
    node.write("version.bin", &[&[9], &node.report[1..]].concat());
    let huge = std::fs::File::create(node.folder.path().join("huge")).unwrap();
    huge.set_len(1 << 34).unwrap();
    let folder = node.folder.path().display().to_string();
    for words in [
        &["empty"][..],
        &["short.bin"],
        &["text"],
        &["version.bin"],
        &["huge"],
        &[&folder],
        &["no-such-file"],
        &["vcek.der"],
        &["report.bin", "text"],
        &["report.bin", "--tee", "tdx"],
        &["report.bin", "--tee", "azure-snp"],
        &["--endorsement", "report.bin", "vcek.der"],
        &["report.bin", "--endorsement", "no-such-file"],
        &["report.bin", "--policy", "no-such-policy"],
        &["report.bin", "--simulated-root", "text"],
    ] {
        let (code, json) = match words.contains(&"--policy") {
            true => {
                let error = node.command(words).appraise().map(|_| ()).unwrap_err();
                (EXIT_FAILED, serde_json::from_str(&document::of_error(&error)).unwrap())
            }
            false => node.outcome(words),
        };
        assert_eq!(code, EXIT_FAILED, "{words:?} {json:#}");
        assert!(json["error"].as_str().is_some_and(|reason| !reason.is_empty()));
    }
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    for words in [
        &["bulla", "appraise"][..],
        &["bulla", "appraise", "f", "--tee", "sgx"],
        &["bulla", "appraise", "f", "--at", "2026-11-20"],
        &["bulla", "appraise", "f", "--nonce", "xyz"],
        &["bulla", "appraise", "f", "--report-data", &"00".repeat(65)],
        &["bulla", "appraise", "f", "--measurement", "abc"],
        &["bulla", "appraise", "f", "--no-such-flag"],
    ] {
        let error = Line::try_parse_from(words).unwrap_err();
        assert_eq!(error.exit_code(), i32::from(EXIT_FAILED), "{words:?}");
    }
}

#[tokio::test]
async fn the_exit_code_is_the_commands() {
    let node = Node::new();
    node.write("nothing", b"nothing");
    for (file, expected) in [("report.bin", EXIT_REFUSED), ("nothing", EXIT_FAILED)] {
        for json in [&["--json"][..], &[]] {
            let words = ["bulla", "appraise", &node.path(file)].map(str::to_owned);
            let words = words.into_iter().chain(json.iter().map(|word| (*word).to_owned()));
            let line = Line::parse_from(words);
            let code = run(line.command, line.global).await.unwrap();
            assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(expected)), "{file}");
        }
    }
}

#[test]
fn expectations_are_checked() {
    let node = Node::new();
    let data = HEXLOWER.encode(&node.report[0x50..0x90]);
    let measurement = HEXLOWER.encode(&node.report[0x90..0xc0]).to_uppercase();
    let other = "ab".repeat(48);
    for (words, check) in [
        (["--report-data", &data], None),
        // The simulated node's report data ends in zeros: half of it is enough.
        (["--report-data", &data[..64]], None),
        (["--report-data", &data[..62]], Some(CheckName::ReportData)),
        (["--nonce", &data[..64]], None),
        (["--nonce", &other], Some(CheckName::ReportData)),
        (["--nonce", &"ab".repeat(65)], Some(CheckName::ReportData)),
        (["--measurement", &measurement], None),
        (["--measurement", &other], Some(CheckName::Measurement)),
    ] {
        let appraisal = node.judge(&[&ENDORSED[..], &words].concat()).unwrap();
        let failed: Vec<CheckName> =
            appraisal.judged[0].result.failed().map(|check| check.name).collect();
        assert_eq!(failed, check.into_iter().collect::<Vec<_>>(), "{words:?}");
    }
}

#[test]
fn bundles_and_encodings_are_told_apart() {
    let node = Node::new();
    let hex = HEXLOWER.encode(&node.report);
    let chain = [VCEK, ASK].concat();
    node.write("report.hex", hex.as_bytes());
    node.write("chain.der", &chain);
    let bundle = format!(
        "{{\"report\":\"{}\",\"certs\":[\"{}\",\"{}\"]}}",
        BASE64.encode(&node.report),
        BASE64.encode(VCEK),
        BASE64.encode(ASK)
    );
    node.write("bundle.json", bundle.as_bytes());
    for words in [
        &["report.hex", "chain.der"][..],
        &["chain.der", "report.bin"],
        &["bundle.json"],
        &["aci.json"],
        &["aci.json", "--tee", "snp"],
        &["report.hex", "--endorsement", "aci.json"],
    ] {
        assert_eq!(node.verdicts(words), [Verdict::Affirmed], "{words:?}");
    }
}

#[test]
fn several_pieces_are_judged_one_by_one() {
    let node = Node::new();
    let mut forged = node.report.clone();
    forged[0x90] ^= 1;
    node.write("forged.bin", &forged);
    let (code, json) = node.outcome(&["report.bin", "forged.bin", "vcek.der", "ask.der"]);
    assert_eq!((code, &json["verdict"]), (EXIT_REFUSED, &Value::from("refused")));
    assert_eq!(json["results"][0]["verdict"], "affirmed");
    assert_eq!(json["results"][1]["verdict"], "refused");
    let (code, json) = node.outcome(&["report.bin", "report.bin", "vcek.der", "ask.der"]);
    assert_eq!((code, &json["verdict"]), (EXIT_OK, &Value::from("affirmed")));
}

#[test]
fn an_endorsement_about_something_else_is_ignored_and_said() {
    let node = Node::new();
    node.write("letter", b"a letter to a friend, long enough to be looked at");
    let words = [&ENDORSED[..], &["--endorsement", "letter", "--endorsement", "ark.der"]].concat();
    let appraisal = node.judge(&words).unwrap();
    assert!(appraisal.is_affirmed());
    assert_eq!(appraisal.left_aside.len(), 1);
}

#[test]
fn people_see_what_machines_see() {
    let node = Node::new();
    let plain = |words: &[&str]| {
        let text = table::of(&node.judge(words).unwrap());
        anstream::adapter::strip_str(&text).to_string()
    };
    let text = plain(&ENDORSED);
    assert!(text.starts_with("AFFIRMED  snp · "), "{text}");
    assert!(text.contains("SIMULATED") && text.contains("report.bin: SEV-SNP report"), "{text}");
    let forged = plain(&["report.bin"]);
    assert!(forged.starts_with("REFUSED") && forged.contains("FAIL") && forged.contains("→"));
    for check in node.judge(&ENDORSED).unwrap().judged[0].result.checks() {
        assert!(text.contains(check.name.as_str()), "{}", check.name);
    }
    let several = plain(&["report.bin", "report.bin", "vcek.der", "ask.der"]);
    assert!(several.ends_with("AFFIRMED  2 of 2 affirmed\n"), "{several}");
}

#[test]
fn altered_files_give_codes_and_never_panic() {
    let node = Node::new();
    let bundle = std::fs::read(node.folder.path().join("aci.json")).unwrap();
    for at in (0..bundle.len()).step_by(bundle.len() / 150 + 1) {
        let mut altered = bundle.clone();
        altered[at] ^= 1 << (at % 8);
        node.write("altered", &altered);
        let (code, json) = node.outcome(&["altered"]);
        let has_failed = json["checks"]
            .as_array()
            .is_some_and(|checks| checks.iter().any(|check| check["result"] == "fail"));
        assert_eq!(code == EXIT_REFUSED, has_failed, "byte {at}");
        assert_eq!(code == EXIT_FAILED, json["error"].is_string(), "byte {at}");
    }
}

#[test]
fn paths_are_what_was_typed() {
    let files = [PathBuf::from("a"), PathBuf::from("b")];
    let error = read(&files, &[]).unwrap_err();
    assert!(error.reason.contains(Path::new("a").to_str().unwrap()), "{}", error.reason);
}

#[test]
fn a_verdict_is_written_besides_as_a_signed_ear() {
    let node = Node::new();
    node.write("key.pem", ear::tests::ED25519.as_bytes());
    for (name, dialect) in
        [("ear.jwt", "draft04"), ("ear.jwt", "veraison2023"), ("ear.cwt", "draft04")]
    {
        let out = node.path(name);
        let words = ["--ear", &out, "--ear-key", "key.pem", "--ear-dialect", dialect];
        let appraise = node.command(&[&ENDORSED[..], &words].concat());
        let appraisal = node.judge(&ENDORSED).unwrap();
        appraise.ear.write(&appraisal, Some(&[9; 32])).unwrap();
        let token = std::fs::read(&out).unwrap();
        if name.ends_with("cwt") {
            assert_eq!(token[..2], [0xd2, 0x84], "a tagged COSE_Sign1");
            continue;
        }
        let token = String::from_utf8(token).unwrap();
        let claims = token.split('.').nth(1).unwrap();
        let claims = data_encoding::BASE64URL_NOPAD.decode(claims.as_bytes()).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        let status = if dialect == "draft04" { "ear_status" } else { "ear.status" };
        assert_eq!(claims["submods"]["cpu0"][status], "contraindicated", "simulated");
        assert!(claims["eat_nonce"].is_string());
    }
    // One verdict, one file.
    let words = ["report.bin", "report.bin", "vcek.der", "ask.der"];
    let several = node.judge(&words).unwrap();
    let out = node.path("several.jwt");
    let appraise = node.command(&["report.bin", "--ear", &out, "--ear-key", "key.pem"]);
    assert!(appraise.ear.write(&several, None).is_err());
    assert!(!std::path::Path::new(&out).exists());
}
