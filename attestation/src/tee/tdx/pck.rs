//! The PCK certificate: a platform's provisioning certification key, and what Intel's extension in
//! it says of the platform (Intel, *SGX PCK Certificate and Certificate Revocation List Profile
//! Specification*, §1.3.5), all under 1.2.840.113741.1.13.1.

use crate::endorsement::{Certificate, Element};

/// The extension's identifier.
const SGX_EXTENSIONS: &str = "1.2.840.113741.1.13.1";
/// The same as DER content; its parts append one number each.
const SGX_ARC: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x01];

/// Parts of the extension.
const PPID: u8 = 1;
const TCB: u8 = 2;
const PCE_ID: u8 = 3;
const FMSPC: u8 = 4;
const PLATFORM_INSTANCE_ID: u8 = 6;
/// Parts of the TCB: 1 to 16 are the components.
const COMPONENTS: u8 = 16;
const PCE_SVN: u8 = 17;
const CPU_SVN: u8 = 18;

const SEQUENCE: u8 = 0x30;
const OBJECT: u8 = 0x06;
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;

/// Common name of every PCK certificate.
pub(super) const PCK_NAME: &str = "Intel SGX PCK Certificate";

/// What Intel says of a platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// Which processor package; the same for the life of the part.
    pub ppid: [u8; 16],
    /// Security versions of its components.
    pub components: [u8; 16],
    /// Security version of its provisioning enclave.
    pub pce_svn: u16,
    /// The components as the processor has them.
    pub cpu_svn: [u8; 16],
    /// Which provisioning enclave.
    pub pce_id: [u8; 2],
    /// Family, model, stepping, platform, custom SKU.
    pub fmspc: [u8; 6],
    /// Which set of packages, on platforms of several; made anew when packages change.
    pub instance_id: Option<[u8; 16]>,
}

impl Platform {
    /// Reads the extension; `None` where there is none, or it does not say everything.
    pub fn of(certificate: &Certificate) -> Option<Platform> {
        let value = certificate.extension(SGX_EXTENSIONS)?;
        let (whole, []) = Element::read(value)? else { return None };
        let parts = Parts::read(whole.content_of(SEQUENCE)?, &SGX_ARC)?;
        let tcb_arc: Vec<u8> = SGX_ARC.iter().copied().chain([TCB]).collect();
        let tcb = Parts::read(parts.content(TCB, SEQUENCE)?, &tcb_arc)?;
        let mut components = [0; 16];
        for (slot, number) in components.iter_mut().zip(1..=COMPONENTS) {
            *slot = u8::try_from(tcb.number(number)?).ok()?;
        }
        Some(Platform {
            ppid: parts.octets(PPID)?,
            components,
            pce_svn: tcb.number(PCE_SVN)?,
            cpu_svn: tcb.octets(CPU_SVN)?,
            pce_id: parts.octets(PCE_ID)?,
            fmspc: parts.octets(FMSPC)?,
            instance_id: match parts.find(PLATFORM_INSTANCE_ID) {
                Some(_) => Some(parts.octets(PLATFORM_INSTANCE_ID)?),
                None => None,
            },
        })
    }

    /// What a keyset's subject and a policy's pins call this machine: the platform instance where
    /// there is one, the package otherwise.
    pub fn id(&self) -> [u8; 16] {
        self.instance_id.unwrap_or(self.ppid)
    }

    /// Whether `id` is any of its names.
    pub fn is_called(&self, id: &[u8; 16]) -> bool {
        self.ppid == *id || self.instance_id.as_ref() == Some(id)
    }
}

/// Whether a certificate is about a platform.
pub(super) fn is_pck(certificate: &Certificate) -> bool {
    certificate.extension(SGX_EXTENSIONS).is_some() || certificate.subject.common_name == PCK_NAME
}

/// A list of identifier and value, by the last number of the identifier.
struct Parts<'a>(Vec<(u8, Element<'a>)>);

impl<'a> Parts<'a> {
    /// Reads a list whose identifiers are `arc` and one number. A number given twice is refused.
    fn read(mut list: &'a [u8], arc: &[u8]) -> Option<Parts<'a>> {
        let mut parts: Vec<(u8, Element<'a>)> = Vec::new();
        while !list.is_empty() {
            let (pair, rest) = Element::read(list)?;
            let (object, value) = Element::read(pair.content_of(SEQUENCE)?)?;
            let (value, []) = Element::read(value)? else { return None };
            let [number] = object.content_of(OBJECT)?.strip_prefix(arc)? else { return None };
            // The number is below 128, so there are at most 128 parts.
            if *number >= 0x80 || parts.iter().any(|(earlier, _)| earlier == number) {
                return None;
            }
            parts.push((*number, value));
            list = rest;
        }
        Some(Parts(parts))
    }

    fn find(&self, number: u8) -> Option<&Element<'a>> {
        self.0.iter().find(|(found, _)| *found == number).map(|(_, value)| value)
    }

    fn content(&self, number: u8, tag: u8) -> Option<&'a [u8]> {
        self.find(number)?.content_of(tag)
    }

    fn octets<const N: usize>(&self, number: u8) -> Option<[u8; N]> {
        self.content(number, OCTETS)?.try_into().ok()
    }

    /// A non-negative INTEGER below 65536 in its shortest form.
    fn number(&self, number: u8) -> Option<u16> {
        match *self.content(number, INTEGER)? {
            [low] if low < 0x80 => Some(low.into()),
            [0, low] if low >= 0x80 => Some(low.into()),
            [high, low] if (1..0x80).contains(&high) => Some(u16::from_be_bytes([high, low])),
            [0, high, low] if high >= 0x80 => Some(u16::from_be_bytes([high, low])),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(number: u8, value: &[u8]) -> Vec<u8> {
        let mut object = vec![OBJECT, 10];
        object.extend(SGX_ARC);
        object.push(number);
        object.extend(value);
        [vec![SEQUENCE, object.len() as u8], object].concat()
    }

    #[test]
    fn a_platform_is_called_by_its_package_or_its_instance() {
        let mut platform = Platform {
            ppid: [1; 16],
            components: [0; 16],
            pce_svn: 0,
            cpu_svn: [0; 16],
            pce_id: [0; 2],
            fmspc: [0; 6],
            instance_id: Some([2; 16]),
        };
        assert_eq!(platform.id(), [2; 16]);
        assert_eq!([1, 2, 3].map(|n| platform.is_called(&[n; 16])), [true, true, false]);
        platform.instance_id = None;
        assert_eq!(platform.id(), [1; 16]);
        assert_eq!([1, 2, 3].map(|n| platform.is_called(&[n; 16])), [true, false, false]);
    }

    #[test]
    fn numbers_are_read_in_their_shortest_form_only() {
        for (value, expected) in [
            (&[2, 1, 7][..], Some(7)),
            (&[2, 2, 0, 0xdb], Some(0xdb)),
            (&[2, 2, 0x31, 0x85], Some(0x3185)),
            (&[2, 3, 0, 0xff, 0xff], Some(0xffff)),
            (&[2, 1, 0x80], None),
            (&[2, 2, 0, 7], None),
            (&[2, 3, 1, 0, 0], None),
            (&[2, 3, 0, 0x7f, 0xff], None),
            (&[4, 1, 7], None),
        ] {
            let list = part(9, value);
            assert_eq!(Parts::read(&list, &SGX_ARC).unwrap().number(9), expected, "{value:?}");
        }
    }

    #[test]
    fn refuses_a_part_given_twice_and_identifiers_of_others() {
        let twice = [part(1, &[2, 1, 7]), part(1, &[2, 1, 8])].concat();
        assert!(Parts::read(&twice, &SGX_ARC).is_none());
        let mut other = part(1, &[2, 1, 7]);
        other[5] ^= 1;
        assert!(Parts::read(&other, &SGX_ARC).is_none());
        let trailing = part(1, &[2, 1, 7, 0]);
        assert!(Parts::read(&trailing, &SGX_ARC).is_none());
    }
}
