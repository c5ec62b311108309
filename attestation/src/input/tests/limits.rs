//! How much of a file is looked at, and that nothing breaks the reader.

use super::*;

#[test]
fn repeated_words_are_left_out_and_there_are_not_too_many() {
    let broken = |n: usize| File {
        name: "f",
        bytes: if n.is_multiple_of(2) { b"\x30\x01" } else { b"\xff\xfe\xfd" },
        role: Role::Anything,
    };
    let files: Vec<File<'_>> = (0..MAX_LEFT_ASIDE + 3).map(broken).collect();
    assert_eq!(recognise(&files, None).left_aside.len(), MAX_LEFT_ASIDE);
}

/// What stands encoded in a file counts with it, far beyond what a file may have.
#[test]
fn a_large_file_is_looked_into() {
    let large = BASE64.encode(&vec![0xff; 9 * 1024 * 1024]);
    let reason = &read(large.as_bytes()).left_aside[0].reason;
    assert!(!reason.contains("too much"), "{reason}");
}

#[test]
fn limits_hold() {
    let mut nested = report();
    for _ in 0..MAX_NESTED_ENCODINGS + 2 {
        nested = BASE64.encode(&nested).into_bytes();
    }
    let found = read(&nested);
    assert!(found.evidence.is_empty() && found.left_aside[0].reason.contains("nested"));
    let deep = format!("{}{}{}", "[".repeat(5000), "1", "]".repeat(5000));
    assert!(read(deep.as_bytes()).evidence.is_empty());
    let wide =
        format!("[{}1]", "[\"0000000000000000000000000000000000000000\"],".repeat(MAX_NODES));
    assert!(read(wide.as_bytes()).left_aside.len() <= MAX_LEFT_ASIDE);
    let hex = HEXLOWER.encode(&report());
    let many = format!("[{}\"\"]", format!("\"{hex}\",").repeat(MAX_EVIDENCE + 5));
    let found = read(many.as_bytes());
    assert_eq!(found.evidence.len(), MAX_EVIDENCE);
    assert!(found.left_aside[0].reason.contains("more than"));
    let files = vec![File { name: "f", bytes: b"x", role: Role::Anything }; MAX_FILES + 1];
    assert!(recognise(&files, None).left_aside.iter().any(|left| left.file == MAX_FILES));
}

#[test]
fn truncated_and_altered_files_never_panic() {
    let document = document::azure_document();
    let files: [Vec<u8>; 5] = [
        report(),
        quote(4, 0x81),
        document.into_bytes(),
        proto_bytes(1, &proto_bytes(2, &report())),
        pem("CERTIFICATE", ROOT).into_bytes(),
    ];
    for file in files {
        let step = file.len() / 60 + 1;
        for cut in (0..file.len()).step_by(step) {
            let _ = read(&file[..cut]);
            let mut altered = file.clone();
            altered[cut] ^= 0x11;
            let _ = read(&altered);
        }
    }
}

#[test]
fn so_many_members_of_a_file_are_looked_at() {
    // The list, these elements, and the report.
    let found = |fillers: usize| {
        let filler = format!("\"{}\",", "!".repeat(30)).repeat(fillers);
        read(format!("[{filler}\"{}\"]", HEXLOWER.encode(&report())).as_bytes())
    };
    assert_eq!(found(99_998).evidence.len(), 1);
    let one_more = found(99_999);
    assert!(one_more.evidence.is_empty());
    assert!(one_more.left_aside[0].reason.contains("too wide"), "{:?}", one_more.left_aside);
}
