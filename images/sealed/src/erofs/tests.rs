use super::*;

fn planned(files: &[(&str, &[u8])]) -> Vec<Planned> {
    let planned = |(path, bytes): &(&str, &[u8])| Planned {
        path: (*path).to_owned(),
        length: bytes.len() as u64,
    };
    files.iter().map(planned).collect()
}

fn volume(files: &[(&str, &[u8])]) -> Vec<u8> {
    let layout = Layout::plan(planned(files)).unwrap();
    let mut out = Vec::new();
    let find = |path: &str| Ok(files.iter().find(|(name, _)| *name == path).unwrap().1);
    layout.write(&mut out, find).unwrap();
    assert_eq!(out.len() as u64, layout.blocks() * BLOCK_BYTES);
    out
}

const FILES: [(&str, &[u8]); 4] =
    [("weights", &[7; 5000]), ("config.json", b"{}"), ("sub/deeper/note", b"x"), ("empty", b"")];

#[test]
fn the_order_of_files_does_not_matter() {
    let mut turned = FILES;
    turned.reverse();
    assert_eq!(volume(&FILES), volume(&turned));
}

#[test]
fn refuses_names_that_are_none_and_names_said_twice() {
    for name in ["../x", "a/./b", "", "a//", &"n".repeat(256)] {
        let got = Layout::plan(planned(&[(name, b"")]));
        assert!(matches!(got, Err(ErofsError::Name { .. })), "{name}");
    }
    for clash in [["a", "a"], ["a", "a/b"]] {
        let got = Layout::plan(planned(&clash.map(|name| (name, &b""[..]))));
        assert!(matches!(got, Err(ErofsError::Clash { .. })), "{clash:?}");
    }
    assert!(matches!(Layout::plan(vec![]), Err(ErofsError::Entries { got: 0 })));
}

#[test]
fn notices_a_file_that_changed() {
    let layout = Layout::plan(planned(&[("a", b"1234")])).unwrap();
    for (bytes, got_bytes) in [(&b"123"[..], 3), (b"12345", 5)] {
        let got = layout.write(&mut Vec::new(), |_| Ok(bytes));
        let is_it = matches!(got, Err(ErofsError::Changed { got, .. }) if got == got_bytes);
        assert!(is_it, "{got:?}");
    }
}

/// erofs-utils as a second opinion, where they are installed: everything comes out as it went in,
/// from a folder whose entries fill several blocks too.
#[test]
fn erofs_utils_read_it_where_there_are_any() {
    let many: Vec<String> = (0..300).map(|n| format!("many/a rather long name {n:04}")).collect();
    let mut files = FILES.to_vec();
    files.extend(many.iter().map(|name| (name.as_str(), name.as_bytes())));
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("volume");
    std::fs::write(&image, volume(&files)).unwrap();
    let out = folder.path().join("out");
    let extract = format!("--extract={}", out.display());
    let Ok(checked) = std::process::Command::new("fsck.erofs").arg(extract).arg(&image).output()
    else {
        println!("skipped: no fsck.erofs here");
        return;
    };
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    for (name, bytes) in files {
        assert_eq!(std::fs::read(out.join(name)).unwrap(), bytes, "{name}");
    }
}
