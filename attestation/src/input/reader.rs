//! Takes wrapping after wrapping off one file, within limits, and keeps what it finds.

use super::binary::{self, Part};
use super::{
    Endorsement, EndorsementKind, Evidence, File, LeftAside, MAX_ENDORSEMENTS, MAX_EVIDENCE,
    MAX_FILE_BYTES, MAX_LEFT_ASIDE, MAX_LOOKED_AT_BYTES, MAX_NESTED_ENCODINGS, MAX_NODES,
    Recognised, Role, bundle, cbor, encoding, json, proto,
};
use crate::tee::TeeKind;

/// Most characters of a member's name shown in a path.
const MAX_SHOWN_CHARS: usize = 40;

/// Turns a text into the bytes it stands for.
type Decoder = fn(&str) -> Option<Vec<u8>>;

/// One file being looked at.
pub(super) struct Reader<'a> {
    found: &'a mut Recognised,
    file: usize,
    role: Role,
    pub(super) wanted: Option<TeeKind>,
    /// File name, then each wrapping.
    path: Vec<String>,
    encodings: usize,
    left_bytes: usize,
    left_nodes: usize,
    /// Inside a document that is evidence itself, only its endorsements are taken out.
    endorsements_only: bool,
}

impl<'a> Reader<'a> {
    pub fn new(
        found: &'a mut Recognised,
        index: usize,
        file: &File<'_>,
        wanted: Option<TeeKind>,
    ) -> Reader<'a> {
        Reader {
            found,
            file: index,
            role: file.role,
            wanted,
            path: vec![file.name.to_owned()],
            encodings: 0,
            left_bytes: MAX_LOOKED_AT_BYTES,
            left_nodes: MAX_NODES,
            endorsements_only: false,
        }
    }

    /// Looks at the whole file; says so where nothing was found.
    pub fn read(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            self.leave_aside("the file is empty");
        } else if bytes.len() > MAX_FILE_BYTES {
            let got = bytes.len();
            self.leave_aside(format!("{got} bytes, at most {MAX_FILE_BYTES} are looked at"));
        } else if !self.look(bytes) {
            self.leave_aside(binary::why_unknown(bytes));
        }
    }

    /// Looks at bytes of any kind. True where something was found or said about them.
    pub fn look(&mut self, bytes: &[u8]) -> bool {
        if bytes.is_empty() {
            return false;
        }
        let Some(left) = self.left_bytes.checked_sub(bytes.len()) else {
            self.left_bytes = 0;
            return self.leave_aside("too much nested content to look at");
        };
        self.left_bytes = left;
        if bundle::is_likely(bytes) {
            return bundle::look(self, bytes);
        }
        if let Some(said) = self.look_at_binary(bytes) {
            return said;
        }
        match encoding::text(bytes) {
            Some(text) => self.look_at_text(&text),
            None => proto::look(self, bytes) || cbor::look(self, bytes),
        }
    }

    /// Looks at bytes of a known structure; `None` where they have none.
    pub fn look_at_binary(&mut self, bytes: &[u8]) -> Option<bool> {
        let parts = binary::parts(bytes)?;
        Some(parts.into_iter().fold(false, |said, part| self.take(part) | said))
    }

    fn take(&mut self, part: Part<'_>) -> bool {
        match part {
            Part::Evidence { kind: TeeKind::AzureSnp, bytes, .. }
                if self.wanted == Some(TeeKind::Snp) =>
            {
                let report = binary::report_in_azure(bytes).unwrap_or_default();
                self.inside("Azure paravisor report", |reader| reader.look(report))
            }
            Part::Evidence { kind, what, bytes } => self.evidence(kind, what, bytes),
            Part::Endorsement { kind, bytes } => self.endorsement(kind, bytes),
            Part::Broken { reason } => self.leave_aside(reason),
            Part::Wrapped { how, bytes } => self.inside(how, |reader| reader.look(bytes)),
        }
    }

    /// Looks at text: a document, or an encoding of something else.
    pub fn look_at_text(&mut self, text: &str) -> bool {
        let trimmed = text.trim();
        match trimmed.as_bytes().first() {
            Some(b'{' | b'[' | b'"') => {
                if let Some(said) = json::look(self, trimmed) {
                    return said;
                }
            }
            Some(b'<') => return self.look_at_xml(trimmed),
            _ => {}
        }
        if let Some(blocks) = encoding::pem(trimmed) {
            return blocks.into_iter().fold(false, |said, block| {
                let how = format!("PEM {}", shown(block.label));
                said | match block.bytes {
                    Some(bytes) => self.inside(&how, |reader| reader.look_at_der(&bytes)),
                    None => self.inside(&how, |reader| reader.leave_aside("a broken block of PEM")),
                }
            });
        }
        let decoders: [(&str, Decoder); 3] = [
            ("percent-encoded", encoding::percent),
            ("hex", encoding::hex),
            ("base64", encoding::base64),
        ];
        for (how, decode) in decoders {
            if let Some(bytes) = decode(trimmed) {
                return self.inside(how, |reader| reader.look(&bytes));
            }
        }
        encoding::is_token(trimmed)
            && self.leave_aside("a signed web token: somebody's verdict, not evidence")
    }

    /// PEM holds something, even where we do not know what: said, not passed over.
    fn look_at_der(&mut self, bytes: &[u8]) -> bool {
        self.look(bytes) || self.leave_aside(binary::why_unknown(bytes))
    }

    fn look_at_xml(&mut self, text: &str) -> bool {
        match text.contains("SoftwareIdentity") {
            true => self.endorsement(EndorsementKind::Rim, text.as_bytes()),
            false => self.leave_aside("an XML document that is no reference integrity manifest"),
        }
    }

    /// Looks at something inside a wrapping.
    pub fn inside(&mut self, how: &str, look: impl FnOnce(&mut Self) -> bool) -> bool {
        if self.encodings == MAX_NESTED_ENCODINGS {
            return self.leave_aside(format!("more than {MAX_NESTED_ENCODINGS} nested encodings"));
        }
        self.encodings += 1;
        let said = self.at(how, look);
        self.encodings -= 1;
        said
    }

    /// Looks at something in a place that is no encoding of its own: a member, a field.
    pub fn at(&mut self, place: &str, look: impl FnOnce(&mut Self) -> bool) -> bool {
        self.path.push(shown(place));
        let said = look(self);
        self.path.pop();
        said
    }

    /// Looks for endorsements in a document that as a whole is evidence.
    pub fn only_endorsements(&mut self, look: impl FnOnce(&mut Self) -> bool) -> bool {
        let before = std::mem::replace(&mut self.endorsements_only, true);
        let said = look(self);
        self.endorsements_only = before;
        said
    }

    /// One more member, element or field; false once there were too many.
    pub fn may_go_on(&mut self) -> bool {
        match self.left_nodes.checked_sub(1) {
            Some(left) => {
                self.left_nodes = left;
                true
            }
            None => false,
        }
    }

    /// Keeps a piece of evidence.
    pub fn evidence(&mut self, kind: TeeKind, what: &str, bytes: &[u8]) -> bool {
        if self.endorsements_only {
            return true;
        }
        if self.role == Role::Endorsement {
            return self.leave_aside(format!("{what}, given as an endorsement"));
        }
        if let Some(wanted) = self.wanted.filter(|wanted| *wanted != kind) {
            return self.leave_aside(format!("{what}, where {wanted} evidence was asked for"));
        }
        if self.found.evidence.len() >= MAX_EVIDENCE {
            return self.leave_aside(format!("more than {MAX_EVIDENCE} pieces of evidence"));
        }
        let from = format!("{}: {what}", self.place());
        self.found.evidence.push(Evidence { kind, bytes: bytes.to_vec(), from, file: self.file });
        true
    }

    /// Keeps an endorsement.
    pub fn endorsement(&mut self, kind: EndorsementKind, bytes: &[u8]) -> bool {
        if self.found.endorsements.len() >= MAX_ENDORSEMENTS {
            return self.leave_aside(format!("more than {MAX_ENDORSEMENTS} endorsements"));
        }
        let from = format!("{}: {}", self.place(), kind.words());
        let bytes = bytes.to_vec();
        self.found.endorsements.push(Endorsement { kind, bytes, from, file: self.file });
        true
    }

    /// Says why something is not taken.
    pub fn leave_aside(&mut self, reason: impl Into<String>) -> bool {
        let left = LeftAside { from: self.place(), reason: reason.into(), file: self.file };
        let is_repeated = self.found.left_aside.last() == Some(&left);
        if !is_repeated && self.found.left_aside.len() < MAX_LEFT_ASIDE {
            self.found.left_aside.push(left);
        }
        true
    }

    fn place(&self) -> String {
        self.path.join(" › ")
    }
}

/// A stranger's word, short and without control characters.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_SHOWN_CHARS).collect()
}
