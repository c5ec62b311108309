//! The draft's framing: each chunk behind a QUIC variable-length integer (RFC 9000 §16), the final
//! one behind a zero and to the end of the stream.

/// Longest sealed chunk we accept, in bytes: far above the 16 KiB that everybody must accept.
pub const MAX_SEALED_CHUNK_BYTES: usize = 1 << 20;

/// Why bytes are not a sequence of chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A chunk longer than [`MAX_SEALED_CHUNK_BYTES`].
    #[error("chunk of {got_bytes} bytes, at most {MAX_SEALED_CHUNK_BYTES} are allowed")]
    TooLong {
        /// Its announced length.
        got_bytes: u64,
    },
}

/// Writes a variable-length integer in its shortest form.
pub fn write_varint(value: u64, out: &mut Vec<u8>) {
    match value {
        0..=0x3f => out.push(value as u8),
        0x40..=0x3fff => out.extend_from_slice(&(value as u16 | 0x4000).to_be_bytes()),
        0x4000..=0x3fff_ffff => {
            out.extend_from_slice(&(value as u32 | 0x8000_0000).to_be_bytes());
        }
        _ => out.extend_from_slice(&(value | 0xc000_0000_0000_0000).to_be_bytes()),
    }
}

/// Reads a variable-length integer; `None` when `bytes` ends inside it. Returns value and length.
pub fn read_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = 1usize << (first >> 6);
    let encoded = bytes.get(..length)?;
    let mut value = u64::from(first & 0x3f);
    for byte in &encoded[1..] {
        value = value << 8 | u64::from(*byte);
    }
    Some((value, length))
}

/// Appends one sealed chunk with its length; the final one behind a zero.
pub fn write_chunk(sealed: &[u8], is_final: bool, out: &mut Vec<u8>) {
    write_varint(if is_final { 0 } else { sealed.len() as u64 }, out);
    out.extend_from_slice(sealed);
}

/// Takes chunks out of a growing buffer.
#[derive(Default)]
pub struct ChunkReader {
    buffer: Vec<u8>,
    is_final: bool,
}

impl ChunkReader {
    /// Takes more bytes from the stream.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), FrameError> {
        self.buffer.extend_from_slice(bytes);
        if self.is_final && self.buffer.len() > MAX_SEALED_CHUNK_BYTES {
            return Err(FrameError::TooLong { got_bytes: self.buffer.len() as u64 });
        }
        Ok(())
    }

    /// The next whole non-final chunk, if there is one.
    pub fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        if self.is_final {
            return Ok(None);
        }
        let Some((length, prefix)) = read_varint(&self.buffer) else { return Ok(None) };
        if length == 0 {
            self.is_final = true;
            self.buffer.drain(..prefix);
            return self.push(&[]).map(|()| None);
        }
        if length > MAX_SEALED_CHUNK_BYTES as u64 {
            return Err(FrameError::TooLong { got_bytes: length });
        }
        let end = prefix + length as usize;
        if self.buffer.len() < end {
            return Ok(None);
        }
        let chunk = self.buffer[prefix..end].to_vec();
        self.buffer.drain(..end);
        Ok(Some(chunk))
    }

    /// The final chunk, once the stream has ended; `None` when the stream was cut.
    pub fn final_chunk(&mut self) -> Option<Vec<u8>> {
        self.is_final.then(|| std::mem::take(&mut self.buffer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_those_of_rfc_9000() {
        // RFC 9000 §A.1
        let vectors: [(u64, &[u8]); 4] = [
            (151_288_809_941_952_652, &[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c]),
            (494_878_333, &[0x9d, 0x7f, 0x3e, 0x7d]),
            (15_293, &[0x7b, 0xbd]),
            (37, &[0x25]),
        ];
        for (value, encoded) in vectors {
            let mut out = Vec::new();
            write_varint(value, &mut out);
            assert_eq!(out, encoded);
            assert_eq!(read_varint(encoded), Some((value, encoded.len())));
        }
    }

    #[test]
    fn chunks_come_out_as_they_went_in_whatever_the_cuts() {
        let mut stream = Vec::new();
        write_chunk(&[1; 100], false, &mut stream);
        write_chunk(&[2; 70], false, &mut stream);
        write_chunk(&[3; 5], true, &mut stream);
        for step in 1..stream.len() {
            let mut reader = ChunkReader::default();
            let mut chunks = Vec::new();
            for piece in stream.chunks(step) {
                reader.push(piece).unwrap();
                while let Some(chunk) = reader.next_chunk().unwrap() {
                    chunks.push(chunk);
                }
            }
            assert_eq!(chunks, [vec![1; 100], vec![2; 70]]);
            assert_eq!(reader.final_chunk(), Some(vec![3; 5]));
        }
    }

    #[test]
    fn a_cut_stream_has_no_final_chunk() {
        let mut reader = ChunkReader::default();
        reader.push(&[0x05, 1, 2]).unwrap();
        assert_eq!(reader.next_chunk(), Ok(None));
        assert_eq!(reader.final_chunk(), None);
    }

    #[test]
    fn refuses_an_announced_gigabyte() {
        let mut reader = ChunkReader::default();
        let mut stream = Vec::new();
        write_varint(1 << 30, &mut stream);
        reader.push(&stream).unwrap();
        assert_eq!(reader.next_chunk(), Err(FrameError::TooLong { got_bytes: 1 << 30 }));
    }
}
