//! Canonical XML 1.1 without comments (W3C Recommendation of 2 May 2008): one sequence of bytes for
//! all documents that mean the same, so that a digest can be taken of it.
//!
//! A node-set is either a whole document, less one subtree, or one element with all below it. The
//! only rule of 1.1 that is left out is joining `xml:base` of ancestors: it is refused.

use std::collections::BTreeMap;

use roxmltree::{Attribute, Document, Node, NodeId};

use super::{MAX_XML_DEPTH, XmlError};

const XML: &str = "http://www.w3.org/XML/1998/namespace";

/// Prefix (empty for the default one) to URI, of what is already written above.
type Scope<'a> = BTreeMap<&'a str, &'a str>;

/// A whole document, less the element `without` and all below it.
pub fn document(document: &Document<'_>, without: Option<NodeId>) -> Result<Vec<u8>, XmlError> {
    let mut writer = Writer { out: Vec::new(), text: document.input_text(), without };
    let mut is_before_root = true;
    for node in document.root().children() {
        if node.is_element() {
            writer.element(node, &Scope::new(), &[], 0)?;
            is_before_root = false;
        } else if node.is_pi() {
            // Outside the root there is no text: a line feed stands between it and what follows.
            if !is_before_root {
                writer.out.push(b'\n');
            }
            writer.instruction(node);
            if is_before_root {
                writer.out.push(b'\n');
            }
        }
    }
    Ok(writer.out)
}

/// One element and all below it, as a subset of its document: what it inherits is written on it.
pub fn element(apex: Node<'_, '_>) -> Result<Vec<u8>, XmlError> {
    let text = apex.document().input_text();
    let mut writer = Writer { out: Vec::new(), text, without: None };
    writer.element(apex, &Scope::new(), &inherited(apex)?, 0)?;
    Ok(writer.out)
}

/// `xml:lang` and `xml:space` of the nearest ancestor that has them (§2.4); `xml:id` stays where it
/// is.
fn inherited<'a, 'i>(apex: Node<'a, 'i>) -> Result<Vec<Attribute<'a, 'i>>, XmlError> {
    let mut found: Vec<Attribute<'a, 'i>> = Vec::new();
    for ancestor in apex.ancestors().skip(1).filter(Node::is_element) {
        if ancestor.has_attribute((XML, "base")) {
            return Err(XmlError::Base);
        }
        for name in ["lang", "space"] {
            let is_known = apex.has_attribute((XML, name))
                || found.iter().any(|attribute| attribute.name() == name);
            if let (Some(attribute), false) = (ancestor.attribute_node((XML, name)), is_known) {
                found.push(attribute);
            }
        }
    }
    Ok(found)
}

struct Writer<'t> {
    out: Vec<u8>,
    /// The document's text: the reader keeps no prefixes, so names are taken from it.
    text: &'t str,
    without: Option<NodeId>,
}

impl Writer<'_> {
    fn element<'a>(
        &mut self,
        node: Node<'a, '_>,
        above: &Scope<'a>,
        inherited: &[Attribute<'a, '_>],
        depth: usize,
    ) -> Result<(), XmlError> {
        if depth == MAX_XML_DEPTH {
            return Err(XmlError::TooDeep);
        }
        if self.without == Some(node.id()) {
            return Ok(());
        }
        let name = self.element_name(node);
        self.out.push(b'<');
        self.out.extend(name.as_bytes());
        let scope = self.namespaces(node, above);
        self.attributes(node, inherited);
        self.out.push(b'>');
        for child in node.children() {
            if child.is_element() {
                self.element(child, &scope, &[], depth + 1)?;
            } else if child.is_text() {
                self.escape(child.text().unwrap_or(""), text_reference);
            } else if child.is_pi() {
                self.instruction(child);
            }
        }
        self.out.extend(b"</");
        self.out.extend(name.as_bytes());
        self.out.push(b'>');
        Ok(())
    }

    /// The name as it stands behind `<`, prefix included.
    fn element_name(&self, node: Node<'_, '_>) -> String {
        let after = self.text.get(node.range().start..).unwrap_or("").trim_start_matches('<');
        let end = after.find(|c: char| c.is_ascii_whitespace() || c == '/' || c == '>');
        after.get(..end.unwrap_or(0)).unwrap_or("").to_owned()
    }

    /// Writes the declarations that change something, by prefix; returns what then holds.
    fn namespaces<'a>(&mut self, node: Node<'a, '_>, above: &Scope<'a>) -> Scope<'a> {
        let mut scope = above.clone();
        for namespace in node.namespaces() {
            scope.insert(namespace.name().unwrap_or(""), namespace.uri());
        }
        scope.remove("xml");
        for (prefix, uri) in &scope {
            // An empty default namespace is written only where it takes back another.
            if above.get(prefix).copied().unwrap_or("") == *uri {
                continue;
            }
            self.out.extend(b" xmlns");
            if !prefix.is_empty() {
                self.out.push(b':');
                self.out.extend(prefix.as_bytes());
            }
            self.value(uri);
        }
        scope
    }

    /// Attributes by namespace URI, then by local name; those without a namespace first.
    fn attributes(&mut self, node: Node<'_, '_>, inherited: &[Attribute<'_, '_>]) {
        let mut written: Vec<(&str, &str, &str, &str)> = Vec::new();
        for attribute in node.attributes() {
            let name = self.text.get(attribute.range_qname()).unwrap_or("");
            let uri = attribute.namespace().unwrap_or("");
            written.push((uri, attribute.name(), name, attribute.value()));
        }
        for attribute in inherited {
            let name = self.text.get(attribute.range_qname()).unwrap_or("");
            written.push((XML, attribute.name(), name, attribute.value()));
        }
        written.sort_unstable_by_key(|(uri, local, ..)| (*uri, *local));
        for (_, _, name, value) in written {
            self.out.push(b' ');
            self.out.extend(name.as_bytes());
            self.value(value);
        }
    }

    fn value(&mut self, value: &str) {
        self.out.extend(b"=\"");
        self.escape(value, attribute_reference);
        self.out.push(b'"');
    }

    fn instruction(&mut self, node: Node<'_, '_>) {
        let Some(instruction) = node.pi() else { return };
        self.out.extend(b"<?");
        self.out.extend(instruction.target.as_bytes());
        if let Some(value) = instruction.value.filter(|value| !value.is_empty()) {
            self.out.push(b' ');
            self.escape(value, |c| (c == '\r').then_some("&#xD;"));
        }
        self.out.extend(b"?>");
    }

    fn escape(&mut self, text: &str, reference: fn(char) -> Option<&'static str>) {
        let mut buffer = [0; 4];
        for c in text.chars() {
            let bytes = match reference(c) {
                Some(reference) => reference,
                None => c.encode_utf8(&mut buffer),
            };
            self.out.extend(bytes.as_bytes());
        }
    }
}

fn text_reference(c: char) -> Option<&'static str> {
    match c {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '\r' => Some("&#xD;"),
        _ => None,
    }
}

fn attribute_reference(c: char) -> Option<&'static str> {
    match c {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '"' => Some("&quot;"),
        '\t' => Some("&#x9;"),
        '\n' => Some("&#xA;"),
        '\r' => Some("&#xD;"),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
