//! The little XML that signed manifests need: read within limits, canonical form, signature.
//!
//! Documents come from strangers, so what makes a reader slow is refused before it reads: document
//! type definitions (and with them entities), very many attributes or namespaces, deep nesting.

pub mod c14n;
pub(super) mod dsig;

use roxmltree::{Document, Node, ParsingOptions};

/// Largest document in bytes (ours; NVIDIA's manifests have 18 to 26 KiB).
pub const MAX_XML_BYTES: usize = 1 << 20;
/// Most nodes of one document (ours; a manifest has about 150).
pub const MAX_XML_NODES: u32 = 1 << 14;
/// Deepest nesting of elements (ours; a manifest with its signature has 6).
pub const MAX_XML_DEPTH: usize = 32;
/// Most namespace declarations of one document (ours; a manifest has 6). The reader copies every
/// namespace in scope where one more is declared.
pub const MAX_XML_NAMESPACES: usize = 64;
/// Most attributes of one element (ours; a row of a manifest has 6 and one per alternative). The
/// reader compares each with each.
pub const MAX_XML_ATTRIBUTES: usize = 256;

/// Why bytes are not XML we read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    /// Larger than [`MAX_XML_BYTES`].
    #[error("a document has at most {MAX_XML_BYTES} bytes, got {got_bytes}")]
    TooLarge {
        /// Bytes given.
        got_bytes: usize,
    },
    /// Not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// More than [`MAX_XML_NAMESPACES`] namespace declarations.
    #[error("a document declares at most {MAX_XML_NAMESPACES} namespaces")]
    TooManyNamespaces,
    /// More than [`MAX_XML_ATTRIBUTES`] attributes on one element.
    #[error("an element has at most {MAX_XML_ATTRIBUTES} attributes")]
    TooManyAttributes,
    /// Elements nested deeper than [`MAX_XML_DEPTH`].
    #[error("elements nest at most {MAX_XML_DEPTH} deep")]
    TooDeep,
    /// An `xml:base` above the part to be written: C14N 1.1 would join it, which is left out.
    #[error("xml:base above a canonicalised part is not supported")]
    Base,
    /// Not well-formed, or with a document type definition.
    #[error("not XML: {reason}")]
    Syntax {
        /// What the reader says.
        reason: String,
    },
}

/// Reads a document, within the limits of this module.
pub fn parse(bytes: &[u8]) -> Result<Document<'_>, XmlError> {
    if bytes.len() > MAX_XML_BYTES {
        return Err(XmlError::TooLarge { got_bytes: bytes.len() });
    }
    let text = std::str::from_utf8(bytes).map_err(|_| XmlError::NotUtf8)?;
    if text.matches("xmlns").count() > MAX_XML_NAMESPACES {
        return Err(XmlError::TooManyNamespaces);
    }
    // No attribute value holds a bare `<`, so a tag lies between two of them.
    if text.split('<').any(|tag| tag.matches('=').count() > MAX_XML_ATTRIBUTES) {
        return Err(XmlError::TooManyAttributes);
    }
    let options =
        ParsingOptions { allow_dtd: false, nodes_limit: MAX_XML_NODES, ..Default::default() };
    Document::parse_with_options(text, options)
        .map_err(|error| XmlError::Syntax { reason: error.to_string() })
}

/// The child elements of `node`, in order.
pub(super) fn elements<'a, 'input>(node: Node<'a, 'input>) -> Vec<Node<'a, 'input>> {
    node.children().filter(Node::is_element).collect()
}

/// The one child element of `node` with this name and namespace; `None` for none or several.
pub(super) fn only<'a, 'input>(
    node: Node<'a, 'input>,
    namespace: &str,
    name: &str,
) -> Option<Node<'a, 'input>> {
    let mut named = node.children().filter(|child| is(*child, namespace, name));
    let first = named.next()?;
    named.next().is_none().then_some(first)
}

/// Whether `node` is an element with this name and namespace.
pub(super) fn is(node: Node<'_, '_>, namespace: &str, name: &str) -> bool {
    node.is_element() && node.has_tag_name((namespace, name))
}

/// The text of an element that holds nothing but one text, without white space.
pub(super) fn compact_text(node: Node<'_, '_>) -> Option<String> {
    let mut children = node.children();
    let only = children.next()?;
    if children.next().is_some() || !only.is_text() {
        return None;
    }
    Some(only.text()?.chars().filter(|c| !c.is_ascii_whitespace()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_document_type_definitions_and_entities() {
        let bomb = br#"<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>"#;
        assert!(matches!(parse(bomb), Err(XmlError::Syntax { .. })));
        assert!(matches!(parse(b"<a>&undeclared;</a>"), Err(XmlError::Syntax { .. })));
    }

    #[test]
    fn refuses_what_exceeds_a_limit() {
        let large = vec![b' '; MAX_XML_BYTES + 1];
        assert!(matches!(parse(&large), Err(XmlError::TooLarge { .. })));
        let names: String = (0..100).map(|n| format!(" xmlns:a{n}='b'")).collect();
        assert_eq!(
            parse(format!("<a{names}/>").as_bytes()).unwrap_err(),
            XmlError::TooManyNamespaces
        );
        let attributes: String = (0..300).map(|n| format!(" a{n}='b>'")).collect();
        assert_eq!(
            parse(format!("<a{attributes}/>").as_bytes()).unwrap_err(),
            XmlError::TooManyAttributes
        );
        let many = format!("<a>{}</a>", "<b/>".repeat(20_000));
        assert!(matches!(parse(many.as_bytes()), Err(XmlError::Syntax { .. })));
        assert_eq!(parse(&[b'<', 0xff]).unwrap_err(), XmlError::NotUtf8);
    }

    #[test]
    fn takes_what_just_meets_a_limit() {
        let mut large = b"<a/>".to_vec();
        large.resize(1 << 20, b' ');
        assert!(parse(&large).is_ok());
        let names = |count: usize| {
            let names: String = (0..count).map(|n| format!(" xmlns:a{n}='b'")).collect();
            parse(format!("<a{names}/>").as_bytes()).err()
        };
        assert_eq!((names(64), names(65)), (None, Some(XmlError::TooManyNamespaces)));
        let attributes = |count: usize| {
            let attributes: String = (0..count).map(|n| format!(" a{n}='b'")).collect();
            parse(format!("<a{attributes}/>").as_bytes()).err()
        };
        assert_eq!((attributes(256), attributes(257)), (None, Some(XmlError::TooManyAttributes)));
    }

    #[test]
    fn a_text_stands_alone() {
        let text = |xml: &str| compact_text(parse(xml.as_bytes()).unwrap().root_element());
        assert_eq!(text("<a> x y </a>").as_deref(), Some("xy"));
        for xml in ["<a/>", "<a><b/></a>", "<a>x<b/></a>", "<a><b/>x</a>"] {
            assert_eq!(text(xml), None, "{xml}");
        }
    }
}
