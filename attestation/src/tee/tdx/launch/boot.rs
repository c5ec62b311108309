//! RTMR 1: what firmware says of starting a kernel. Five events where OVMF starts one that QEMU hands
//! over (TCG PC Client Platform Firmware Profile, §3.3.4.5 and §10.4.1): the kernel, as an EFI
//! application; that it is called; a separator; and that boot services end, before and after.
//!
//! The kernel's digest is Authenticode's (Windows Authenticode Portable Executable Signature Format,
//! "Calculating the PE Image Hash"), with SHA-384. It is that of the file only where firmware takes
//! the file as it is: QEMU since 10.0 offers it so (`etc/boot/kernel`), and OVMF since
//! edk2-stable202505 takes it. Before, the header was as QEMU had changed it.

use ring::digest::{Algorithm, Context, Digest, SHA384, digest};

use super::{DIGEST_BYTES, finished};

/// Most sections of an image (the format's own limit for what loaders take).
const MAX_SECTIONS: usize = 96;
const SECTION_BYTES: usize = 40;
/// Where the optional header says its kind, and in either kind where the directories begin.
const PE32_PLUS: u16 = 0x20b;
const PE32: u16 = 0x10b;
/// Inside the optional header: length of the headers, checksum.
const HEADERS_AT: usize = 60;
const CHECKSUM_AT: usize = 64;
/// The directory of certificates, among the others.
const CERTIFICATES: usize = 4;

/// What follows the kernel.
const CALLING: &[u8] = b"Calling EFI Application from Boot Option";
const SEPARATOR: &[u8] = &[0; 4];
const LEAVING: &[u8] = b"Exit Boot Services Invocation";
const LEFT: &[u8] = b"Exit Boot Services Returned with Success";

/// Why a file has no image hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the kernel is no EFI application: {what}")]
pub struct ImageError {
    /// What is wrong.
    pub what: &'static str,
}

/// RTMR 1 of a TD whose firmware starts this kernel from QEMU, as it stands in its file.
pub fn rtmr1(kernel: &[u8]) -> Result<[u8; DIGEST_BYTES], ImageError> {
    Ok(rtmr1_after(finished(image_hash(kernel, &SHA384)?.as_ref())))
}

/// The same for a kernel whose image hash is known.
pub fn rtmr1_after(kernel: [u8; DIGEST_BYTES]) -> [u8; DIGEST_BYTES] {
    let rest = [CALLING, SEPARATOR, LEAVING, LEFT].map(|event| digest(&SHA384, event));
    let events = std::iter::once(&kernel[..]).chain(rest.iter().map(AsRef::as_ref));
    events.fold([0; DIGEST_BYTES], |register, event| {
        finished(digest(&SHA384, &[&register[..], event].concat()).as_ref())
    })
}

/// Authenticode's hash: everything but the checksum, the certificates and the entry that leads to
/// them; sections in the order of the file.
pub fn image_hash(image: &[u8], algorithm: &'static Algorithm) -> Result<Digest, ImageError> {
    let parts = Parts::of(image)?;
    let mut context = Context::new(algorithm);
    for (from, to) in &parts.hashed {
        let part = image.get(*from..*to);
        context.update(part.ok_or(ImageError { what: "a part of it lies outside the file" })?);
    }
    Ok(context.finish())
}

/// The ranges that are hashed, in order.
struct Parts {
    hashed: Vec<(usize, usize)>,
}

impl Parts {
    fn of(image: &[u8]) -> Result<Parts, ImageError> {
        let wrong = |what| ImageError { what };
        let number = |at: usize| number(image, at).ok_or(wrong("cut off"));
        if !image.starts_with(b"MZ") {
            return Err(wrong("it does not begin with MZ"));
        }
        let header = number(0x3c)?;
        if image.get(header..).is_none_or(|rest| !rest.starts_with(b"PE\0\0")) {
            return Err(wrong("no PE header"));
        }
        let (sections, optional_bytes) = (short(image, header + 6), short(image, header + 20));
        let optional = header + 24;
        let directories = optional
            + match short(image, optional) {
                Some(PE32_PLUS) => 112,
                Some(PE32) => 96,
                _ => return Err(wrong("neither PE32 nor PE32+")),
            };
        let (Some(sections), Some(optional_bytes)) = (sections, optional_bytes) else {
            return Err(wrong("cut off"));
        };
        let checksum = optional + CHECKSUM_AT;
        let headers_end = number(optional + HEADERS_AT)?;
        let has_certificates = number(directories - 4)? > CERTIFICATES;
        let entry = directories + 8 * CERTIFICATES;
        let certificate_bytes = if has_certificates { number(entry + 4)? } else { 0 };
        let mut hashed = vec![(0, checksum)];
        match has_certificates {
            true => hashed.extend([(checksum + 4, entry), (entry + 8, headers_end)]),
            false => hashed.push((checksum + 4, headers_end)),
        }
        if usize::from(sections) > MAX_SECTIONS {
            return Err(wrong("more sections than loaders take"));
        }
        let mut end = headers_end;
        let table = optional + usize::from(optional_bytes);
        let mut found = (0..usize::from(sections))
            .map(|section| {
                let at = table + section * SECTION_BYTES;
                Ok((number(at + 20)?, number(at + 16)?))
            })
            .collect::<Result<Vec<_>, ImageError>>()?;
        found.retain(|(_, bytes)| *bytes > 0);
        found.sort_unstable();
        for (from, bytes) in found {
            hashed.push((from, from + bytes));
            end += bytes;
        }
        // What lies behind the sections, without the certificates at the very end.
        let rest = image.len().checked_sub(certificate_bytes).filter(|rest| *rest >= end);
        hashed.push((end, rest.ok_or(wrong("its parts are longer than the file"))?));
        Ok(Parts { hashed })
    }
}

/// A number of 32 bits, little-endian.
fn number(image: &[u8], at: usize) -> Option<usize> {
    let bytes = image.get(at..)?.first_chunk()?;
    usize::try_from(u32::from_le_bytes(*bytes)).ok()
}

fn short(image: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*image.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;

    /// Three sections, the later one in the file first, and perhaps certificates behind them.
    fn image(has_certificates: bool) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..0x900u32).map(|n| ((n * 11 + 5) % 253) as u8).collect();
        let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
        let (header, optional_bytes) = (0x80, 112 + 8 * 16);
        put(0, b"MZ");
        put(0x3c, &(header as u32).to_le_bytes());
        put(header, b"PE\0\0");
        put(header + 4, &[0; 20]);
        put(header + 4, &0x8664u16.to_le_bytes());
        put(header + 6, &3u16.to_le_bytes());
        put(header + 20, &(optional_bytes as u16).to_le_bytes());
        put(header + 22, &0x206u16.to_le_bytes());
        let optional = header + 24;
        put(optional, &vec![0; optional_bytes]);
        put(optional, &PE32_PLUS.to_le_bytes());
        for (at, number) in
            [(32, 0x1000), (36, 0x200), (56, 0x5000), (60, 0x400), (64, 0x1234_5678), (108, 16u32)]
        {
            put(optional + at, &number.to_le_bytes());
        }
        if has_certificates {
            put(optional + 144, &0x880u32.to_le_bytes());
            put(optional + 148, &0x80u32.to_le_bytes());
        }
        let sections =
            [(&b".text"[..], 0x600u32, 0x200u32), (b".setup", 0x400, 0x200), (b".none", 0, 0)];
        for (number, (name, from, length)) in sections.into_iter().enumerate() {
            let at = optional + optional_bytes + SECTION_BYTES * number;
            put(at, &[0; SECTION_BYTES]);
            put(at, name);
            let address = 0x1000 * (number as u32 + 1);
            for (offset, value) in
                [(8, length), (12, address), (16, length), (20, from), (36, 0x6000_0020)]
            {
                put(at + offset, &value.to_le_bytes());
            }
        }
        bytes
    }

    fn hash(image: &[u8]) -> Result<String, ImageError> {
        image_hash(image, &SHA384).map(|hash| HEXLOWER.encode(hash.as_ref()))
    }

    /// The expected hashes are those of another implementation (signify 0.9).
    #[test]
    fn hashes_an_image_as_another_implementation_does() {
        for (has_certificates, expected) in [
            (
                true,
                "b02c3ade9e22f7ccecdea559763ec094c44ce83c15d88ab22967d823b00eea6a\
                 8390aaa8a63ad49769815d1d9a050ff2",
            ),
            (
                false,
                "2862dba21ce372a644145d2613b554413b62798dadc9183bf8d3a19a6953fb9d\
                 507ee5cad59471449750009865470e25",
            ),
        ] {
            let image = image(has_certificates);
            assert_eq!(hash(&image).as_deref(), Ok(expected));
            let known = HEXLOWER.decode(expected.as_bytes()).unwrap().try_into().unwrap();
            assert_eq!(rtmr1(&image), Ok(rtmr1_after(known)));
        }
    }

    #[test]
    fn a_signature_leaves_the_hash_as_it_is_and_every_other_byte_does_not() {
        let signed = image(true);
        let expected = hash(&signed).unwrap();
        let with = |at: usize| {
            let mut other = signed.clone();
            other[at] ^= 1;
            hash(&other).ok()
        };
        for outside in [0x98 + CHECKSUM_AT, 0x98 + 144, 0x880, 0x8ff] {
            assert_eq!(with(outside).as_deref(), Some(expected.as_str()), "{outside:#x}");
        }
        for inside in [2, 0x98 + 57, 0x3ff, 0x400, 0x7ff, 0x800, 0x87f] {
            assert_ne!(with(inside).as_deref(), Some(expected.as_str()), "{inside:#x}");
        }
    }

    #[test]
    fn without_a_directory_of_certificates_everything_but_the_checksum_is_hashed() {
        let optional = 0x98;
        for (magic, count_at) in [(PE32_PLUS, 108), (PE32, 92)] {
            let mut bytes = image(false);
            bytes[optional..optional + 2].copy_from_slice(&magic.to_le_bytes());
            bytes[optional + count_at..][..4].copy_from_slice(&4u32.to_le_bytes());
            let checksum = optional + CHECKSUM_AT;
            let mut expected = Context::new(&SHA384);
            expected.update(&bytes[..checksum]);
            expected.update(&bytes[checksum + 4..]);
            assert_eq!(hash(&bytes), Ok(HEXLOWER.encode(expected.finish().as_ref())), "{magic:#x}");
        }
    }

    #[test]
    fn sections_without_bytes_may_lie_anywhere_and_there_are_not_too_many() {
        let mut bytes = image(true);
        let third = 0x98 + 112 + 8 * 16 + 2 * SECTION_BYTES;
        bytes[third + 20..][..4].fill(0xff);
        assert!(hash(&bytes).is_ok());
        let too_many = Err(ImageError { what: "more sections than loaders take" });
        let with = |count: usize| {
            let mut bytes = image(true);
            bytes[0x86..0x88].copy_from_slice(&(count as u16).to_le_bytes());
            hash(&bytes)
        };
        assert_ne!(with(MAX_SECTIONS), too_many);
        assert_eq!(with(MAX_SECTIONS + 1), too_many);
    }

    #[test]
    fn what_is_no_image_is_refused() {
        let whole = image(true);
        for length in [0, 1, 0x40, 0x90, 0x100, 0x1a0, 0x3ff, 0x5ff, 0x7ff] {
            assert!(hash(&whole[..length]).is_err(), "{length:#x}");
        }
        type Change = fn(&mut Vec<u8>);
        let changes: [(&str, Change); 5] = [
            ("no PE header", |image| image[0x3c] = 0xff),
            ("neither PE32 nor PE32+", |image| image[0x98] = 7),
            ("more sections than loaders take", |image| image[0x86] = 200),
            ("its parts are longer than the file", |image| image[0x98 + 151] = 0x7f),
            ("its parts are longer than the file", |image| image[0x98 + 61] = 0xff),
        ];
        for (what, change) in changes {
            let mut other = whole.clone();
            change(&mut other);
            assert_eq!(hash(&other), Err(ImageError { what }));
        }
    }
}
