//! Where a rebuilt image differs from the published one, by name.

use std::fmt;

use crate::cpio;
use crate::description::{Description, INITRAMFS};

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where.
    pub place: String,
    /// As published.
    pub published: String,
    /// As rebuilt.
    pub rebuilt: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { place, published, rebuilt } = self;
        write!(f, "{place}: published {published}, rebuilt {rebuilt}")
    }
}

/// Compares two descriptions. Causes come before effects: toolchain, inputs, then artefacts.
pub fn of_descriptions(published: &Description, rebuilt: &Description) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut compare = |place: &str, one: &str, other: &str| {
        if one != other {
            let (published, rebuilt) = (one.to_owned(), other.to_owned());
            found.push(Difference { place: place.to_owned(), published, rebuilt });
        }
    };
    compare("rustc", &published.toolchain.rustc, &rebuilt.toolchain.rustc);
    compare("cc", &published.toolchain.cc, &rebuilt.toolchain.cc);
    compare("target", &published.toolchain.target, &rebuilt.toolchain.target);
    compare("name", &published.name, &rebuilt.name);
    compare("version", &published.version, &rebuilt.version);
    let kind = |d: &Description| if d.development { "development" } else { "production" };
    compare("kind", kind(published), kind(rebuilt));
    compare("command line", &published.command_line, &rebuilt.command_line);
    compare("modules", &published.modules.join(" "), &rebuilt.modules.join(" "));
    let inputs = |d: &Description| -> Vec<(String, String)> {
        d.inputs.iter().map(|i| (format!("input {}", i.name), i.sha256.clone())).collect()
    };
    let artefacts = |d: &Description| -> Vec<(String, String)> {
        let of = |a: &crate::description::Artefact| (a.name.clone(), a.sha256.clone());
        d.artefacts.iter().map(of).collect()
    };
    found.extend(of_lists(&inputs(published), &inputs(rebuilt)));
    found.extend(of_lists(&artefacts(published), &artefacts(rebuilt)));
    found
}

/// Compares two initial RAM disks, member by member.
pub fn of_archives(published: &[u8], rebuilt: &[u8]) -> Vec<Difference> {
    let members = |archive| {
        let shown = |(name, digest): (String, [u8; 32])| {
            (format!("{INITRAMFS}: /{name}"), crate::hash::hex(&digest))
        };
        cpio::digests(archive).unwrap_or_default().into_iter().map(shown).collect::<Vec<_>>()
    };
    of_lists(&members(published), &members(rebuilt))
}

fn of_lists(published: &[(String, String)], rebuilt: &[(String, String)]) -> Vec<Difference> {
    let value = |list: &[(String, String)], name: &str| {
        let found = list.iter().find(|(other, _)| other == name);
        found.map_or_else(|| "nothing".to_owned(), |(_, value)| value.clone())
    };
    let only_rebuilt =
        rebuilt.iter().filter(|(name, _)| !published.iter().any(|(other, _)| other == name));
    let all = published.iter().chain(only_rebuilt);
    all.map(|(place, _)| Difference {
        place: place.clone(),
        published: value(published, place),
        rebuilt: value(rebuilt, place),
    })
    .filter(|difference| difference.published != difference.rebuilt)
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpio::{Kind, Member};
    use crate::description::{Artefact, Input, Toolchain};

    fn description() -> Description {
        Description {
            format: 1,
            name: "demo".into(),
            version: "1".into(),
            development: false,
            toolchain: Toolchain { rustc: "1".into(), cc: "12".into(), target: "t".into() },
            inputs: vec![Input::of("kernel", b"k")],
            artefacts: vec![Artefact::of(INITRAMFS, b"a")],
            modules: vec!["erofs.ko".into()],
            command_line: "quiet".into(),
        }
    }

    #[test]
    fn the_same_image_differs_in_nothing() {
        assert_eq!(of_descriptions(&description(), &description()), []);
    }

    #[test]
    fn every_difference_has_a_name() {
        let published = description();
        type Change = fn(&mut Description);
        let changes: [(&str, Change); 8] = [
            ("rustc", |d| d.toolchain.rustc.push('1')),
            ("cc", |d| d.toolchain.cc.push('1')),
            ("kind", |d| d.development = true),
            ("command line", |d| d.command_line.push('1')),
            ("modules", |d| d.modules.clear()),
            ("input kernel", |d| d.inputs[0].sha256.clear()),
            ("input more", |d| d.inputs.push(Input::of("more", b""))),
            (INITRAMFS, |d| d.artefacts.clear()),
        ];
        for (place, change) in changes {
            let mut rebuilt = description();
            change(&mut rebuilt);
            let found = of_descriptions(&published, &rebuilt);
            assert_eq!(found.iter().map(|d| d.place.as_str()).collect::<Vec<_>>(), [place]);
        }
    }

    #[test]
    fn an_archive_says_which_member_changed() {
        let archive = |bytes: &[u8]| {
            let kind = Kind::File(bytes.to_vec());
            cpio::write(vec![Member { path: "init".into(), mode: 0o755, kind }])
        };
        let found = of_archives(&archive(b"1"), &archive(b"2"));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place, "initramfs.cpio: /init");
    }
}
