//! Style that a compiler does not check: async only at the edges, files of a readable size, no
//! words that betray unfinished work.

use std::path::{Path, PathBuf};

/// Longest source file without its tests, in lines.
const MAX_FILE_LINES: usize = 700;
/// Longest file of the test crate, in lines: the drivers of the simulated world are wide.
const MAX_TEST_FILE_LINES: usize = 1000;

/// Crates whose pure part must not touch the runtime, and the paths where it may.
const RUNTIME_AT: [(&str, &[&str]); 3] = [
    ("enclave/src", &["io/", "main.rs", "command.rs"]),
    ("broker/src", &["io/", "main.rs", "commands/"]),
    ("client/src", &["io/", "commands/", "main.rs"]),
];
const RUNTIME_WORDS: [&str; 7] =
    ["tokio::", "hyper::", "axum::", "rustls::", "std::fs::", "TcpStream", "SystemTime::now"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").to_owned()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            if name != "target" && !name.to_string_lossy().starts_with('.') {
                rust_files(&path, found);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<(String, String)> {
    let mut files = Vec::new();
    rust_files(&root(), &mut files);
    files
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("UTF-8");
            let name = path.strip_prefix(root()).expect("inside").display().to_string();
            (name, text)
        })
        .collect()
}

#[test]
fn the_pure_part_of_every_role_stays_pure() {
    for (name, text) in sources() {
        let Some((folder, edges)) = RUNTIME_AT.iter().find(|(f, _)| name.starts_with(f)) else {
            continue;
        };
        let inside = name[folder.len()..].trim_start_matches('/');
        let is_test = inside.contains("test");
        if is_test || edges.iter().any(|edge| inside.starts_with(edge)) {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for word in RUNTIME_WORDS {
            let used = code.lines().any(|l| l.contains(word) && !l.trim_start().starts_with("//"));
            assert!(!used, "{name} uses {word}: move it under io/");
        }
    }
}

#[test]
fn files_stay_readable() {
    for (name, text) in sources() {
        let lines = text.split("#[cfg(test)]").next().unwrap_or_default().lines().count();
        let most = if name.starts_with("tests/") { MAX_TEST_FILE_LINES } else { MAX_FILE_LINES };
        assert!(lines <= most, "{name} has {lines} lines, at most {most}");
    }
}

#[test]
fn unsafe_code_is_forbidden_in_every_library() {
    for krate in [
        "attestation",
        "attestation/wire",
        "attestation/tlog",
        "enclave",
        "enclave/engine",
        "broker",
        "client",
        "images/sealed",
    ] {
        let path = root().join(krate).join("src/lib.rs");
        let text = std::fs::read_to_string(&path).expect("a library");
        assert!(text.contains("#![forbid(unsafe_code)]"), "{krate}");
    }
}

#[test]
fn nothing_unfinished_is_left_in_the_code() {
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("unimple", "mented!"),
        concat!("to", "do!("),
    ];
    for (name, text) in sources() {
        for word in words {
            assert!(!text.contains(word), "{name} contains {word}");
        }
    }
}
