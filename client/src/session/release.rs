//! What of an opened answer may reach the caller before the usage receipt has been checked.
//!
//! A stream (`text/event-stream`) flows on line by line; from its end marker `data: [DONE]` on
//! everything waits for the receipt, so a caller that sees the marker has a verified receipt.
//! Any other body is one document and waits whole.

/// Largest body that is held whole, in bytes: an answer at the longest context, as JSON.
pub const MAX_HELD_BYTES: usize = 16 << 20;
/// The line that ends an OpenAI event stream.
const END_MARKER: &[u8] = b"data: [DONE]";

/// An answer larger than [`MAX_HELD_BYTES`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("answer has more than {MAX_HELD_BYTES} bytes to hold back")]
pub struct TooLong;

/// Holds back the part of an answer that only a verified receipt releases.
pub struct Release {
    is_stream: bool,
    held: Vec<u8>,
    ended: bool,
}

impl Release {
    /// For an answer whose head is `headers`.
    pub fn for_headers(headers: &[(String, String)]) -> Release {
        let is_stream = headers.iter().any(|(name, value)| {
            let media = value.split(';').next().unwrap_or("").trim();
            name.eq_ignore_ascii_case("content-type")
                && media.eq_ignore_ascii_case("text/event-stream")
        });
        Release { is_stream, held: Vec::new(), ended: false }
    }

    /// Takes opened bytes; returns those that may go on now.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<u8>, TooLong> {
        if self.held.len().saturating_add(bytes.len()) > MAX_HELD_BYTES {
            return Err(TooLong);
        }
        self.held.extend_from_slice(bytes);
        if !self.is_stream || self.ended {
            return Ok(Vec::new());
        }
        let free = self.whole_lines_before_the_marker();
        Ok(self.held.drain(..free).collect())
    }

    /// The rest, once the receipt holds.
    pub fn finish(self) -> Vec<u8> {
        self.held
    }

    /// Length of the whole lines at the start of what is held, up to the end marker. A line that
    /// is not whole yet waits: it could still become the marker.
    fn whole_lines_before_the_marker(&mut self) -> usize {
        let mut free = 0;
        for line in self.held.split_inclusive(|byte| *byte == b'\n') {
            if line.starts_with(END_MARKER) {
                self.ended = true;
                break;
            }
            if !line.ends_with(b"\n") {
                break;
            }
            free += line.len();
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Release {
        let media = "text/event-stream; charset=utf-8".to_owned();
        Release::for_headers(&[("Content-Type".to_owned(), media)])
    }

    fn document() -> Release {
        Release::for_headers(&[("content-type".to_owned(), "application/json".to_owned())])
    }

    #[test]
    fn a_stream_flows_and_its_end_waits() {
        let mut release = stream();
        assert_eq!(release.push(b"data: {\"a\":1}\n\n").unwrap(), b"data: {\"a\":1}\n\n");
        assert_eq!(release.push(b"data: {\"b\":2}\n\ndata: [DO").unwrap(), b"data: {\"b\":2}\n\n");
        assert_eq!(release.push(b"NE]\n").unwrap(), b"");
        assert_eq!(release.push(b"\n").unwrap(), b"");
        assert_eq!(release.finish(), b"data: [DONE]\n\n");
    }

    #[test]
    fn the_marker_inside_a_line_is_no_end() {
        let mut release = stream();
        let line = b"data: {\"t\":\"data: [DONE]\"}\n\n";
        assert_eq!(release.push(line).unwrap(), line);
    }

    #[test]
    fn a_document_waits_whole() {
        let mut release = document();
        assert_eq!(release.push(b"{\"a\":").unwrap(), b"");
        assert_eq!(release.push(b"1}\n").unwrap(), b"");
        assert_eq!(release.finish(), b"{\"a\":1}\n");
    }

    #[test]
    fn refuses_an_endless_document() {
        let mut release = document();
        release.push(&vec![0; MAX_HELD_BYTES]).unwrap();
        assert_eq!(release.push(b"x"), Err(TooLong));
    }
}
