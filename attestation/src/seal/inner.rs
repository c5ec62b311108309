//! The request inside the envelope: binary HTTP of known length (RFC 9292 §3.1), padded with zeros.

use bhttp::{Message, Mode};

/// Most header fields of an inner request.
pub const MAX_INNER_HEADERS: usize = 32;

/// An HTTP request as it stands inside the envelope. Holds content: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct InnerRequest {
    /// Method, such as `POST`.
    pub method: String,
    /// Path, such as `/v1/chat/completions`.
    pub path: String,
    /// Header fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

/// Why bytes are not an inner request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InnerError {
    /// Not binary HTTP.
    #[error("malformed binary HTTP: {reason}")]
    Malformed {
        /// What the parser says.
        reason: String,
    },
    /// A response, or a request without method or path, or text that is not UTF-8.
    #[error("not an HTTP request in UTF-8")]
    NotARequest,
    /// More than [`MAX_INNER_HEADERS`] header fields.
    #[error("{got} header fields, at most {MAX_INNER_HEADERS} are allowed")]
    TooManyHeaders {
        /// How many.
        got: usize,
    },
    /// Something other than zeros behind the message.
    #[error("padding is not zero (RFC 9292 section 3.8)")]
    Padding,
}

impl InnerRequest {
    /// The first header field of that name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Binary HTTP without padding.
    pub fn to_bhttp(&self) -> Vec<u8> {
        let text = |s: &str| s.as_bytes().to_vec();
        let mut message =
            Message::request(text(&self.method), text("https"), Vec::new(), text(&self.path));
        for (name, value) in &self.headers {
            message.put_header(text(name), text(value));
        }
        message.write_content(&self.body);
        let mut bytes = Vec::new();
        match message.write_bhttp(Mode::KnownLength, &mut bytes) {
            Ok(()) => bytes,
            Err(never) => unreachable!("writing to memory: {never}"),
        }
    }

    /// Reads binary HTTP with zero padding behind it.
    pub fn from_bhttp(bytes: &[u8]) -> Result<InnerRequest, InnerError> {
        let mut cursor = std::io::Cursor::new(bytes);
        let message = Message::read_bhttp(&mut cursor)
            .map_err(|e| InnerError::Malformed { reason: e.to_string() })?;
        let end = usize::try_from(cursor.position()).unwrap_or(bytes.len()).min(bytes.len());
        if bytes[end..].iter().any(|b| *b != 0) {
            return Err(InnerError::Padding);
        }
        let text = |part: Option<&[u8]>| {
            let part = part.ok_or(InnerError::NotARequest)?;
            String::from_utf8(part.to_vec()).map_err(|_| InnerError::NotARequest)
        };
        let fields = message.header().fields();
        if fields.len() > MAX_INNER_HEADERS {
            return Err(InnerError::TooManyHeaders { got: fields.len() });
        }
        let headers = fields
            .iter()
            .map(|f| Ok((text(Some(f.name()))?.to_ascii_lowercase(), text(Some(f.value()))?)))
            .collect::<Result<_, InnerError>>()?;
        Ok(InnerRequest {
            method: text(message.control().method())?,
            path: text(message.control().path())?,
            headers,
            body: message.content().to_vec(),
        })
    }
}
