//! The chain of page digests that AMD's firmware keeps while a guest is loaded.

use ring::digest::{SHA384, digest};

use super::PAGE_BYTES;
use super::firmware::Section;

const DIGEST_BYTES: usize = 48;
/// Where a VMSA page is said to be: all address bits a page can have.
pub(super) const VMSA_ADDRESS: u64 = 0xffff_ffff_f000;
/// PAGE_INFO (AMD 56860, SNP_LAUNCH_UPDATE): digest, contents, length, type, permissions, address.
const PAGE_INFO_BYTES: u16 = 0x70;

/// A page, as the launch command adds it.
#[derive(Clone, Copy)]
pub(super) enum Page<'a> {
    /// With these contents.
    Normal(&'a [u8]),
    /// Register state of a virtual processor.
    Vmsa(&'a [u8]),
    /// Filled with zeros.
    Zero,
    /// Whose contents are not measured.
    Unmeasured,
    /// For the firmware's secrets.
    Secrets,
    /// For what CPUID may say.
    Cpuid,
}

impl Page<'_> {
    fn kind(self) -> u8 {
        match self {
            Page::Normal(_) => 1,
            Page::Vmsa(_) => 2,
            Page::Zero => 3,
            Page::Unmeasured => 4,
            Page::Secrets => 5,
            Page::Cpuid => 6,
        }
    }

    fn contents(self) -> [u8; DIGEST_BYTES] {
        match self {
            Page::Normal(bytes) | Page::Vmsa(bytes) => contents(bytes),
            _ => [0; DIGEST_BYTES],
        }
    }
}

/// The digest of one page's contents.
pub(super) fn contents(page: &[u8]) -> [u8; DIGEST_BYTES] {
    let mut contents = [0; DIGEST_BYTES];
    contents.copy_from_slice(digest(&SHA384, page).as_ref());
    contents
}

/// The digest so far.
pub(super) struct Context([u8; DIGEST_BYTES]);

impl Context {
    pub fn new() -> Context {
        Context([0; DIGEST_BYTES])
    }

    pub fn from(digest: [u8; DIGEST_BYTES]) -> Context {
        Context(digest)
    }

    pub fn digest(&self) -> [u8; DIGEST_BYTES] {
        self.0
    }

    /// Adds one page.
    pub fn add(&mut self, page: Page<'_>, address: u64) {
        self.chain(page.kind(), &page.contents(), address);
    }

    /// Adds every page of a section.
    pub fn add_pages(&mut self, page: Page<'_>, section: Section) {
        for number in 0..section.pages() {
            self.add(page, section.address + number * PAGE_BYTES as u64);
        }
    }

    /// Adds a VMSA page whose contents were hashed before.
    pub fn add_hashed_vmsa(&mut self, contents: &[u8; DIGEST_BYTES]) {
        self.chain(Page::Vmsa(&[]).kind(), contents, VMSA_ADDRESS);
    }

    fn chain(&mut self, kind: u8, page: &[u8; DIGEST_BYTES], address: u64) {
        // Behind the type: no migration image, no permissions for lower levels, reserved.
        let no_permissions = [0; 5];
        let info = [
            &self.0[..],
            page,
            &PAGE_INFO_BYTES.to_le_bytes(),
            &[kind],
            &no_permissions,
            &address.to_le_bytes(),
        ];
        self.0 = contents(&info.concat());
    }
}
