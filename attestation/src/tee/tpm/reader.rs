//! A TPM's structures, read field by field (TPM 2.0 Library, part 2): big-endian numbers, and bytes
//! behind a length of 16 bits (TPM2B). Every length is held against what is left.

/// The bytes end inside this field, or go on after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape(pub &'static str);

/// What is left to be read.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// At the beginning of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    /// The next `length` bytes.
    pub fn take(&mut self, field: &'static str, length: usize) -> Result<&'a [u8], Shape> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Shape(field))?;
        self.0 = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Shape> {
        self.take(field, N)?.try_into().map_err(|_| Shape(field))
    }

    /// A number of 16 bits.
    pub fn number(&mut self, field: &'static str) -> Result<u16, Shape> {
        Ok(u16::from_be_bytes(self.array(field)?))
    }

    /// Bytes behind their length (TPM2B).
    pub fn sized(&mut self, field: &'static str) -> Result<&'a [u8], Shape> {
        let length = self.number(field)?;
        self.take(field, length.into())
    }

    /// A number of 32 bytes behind its length; leading zeros may be missing.
    pub fn scalar(&mut self, field: &'static str) -> Result<[u8; 32], Shape> {
        let bytes = self.sized(field)?;
        let start = 32usize.checked_sub(bytes.len()).ok_or(Shape(field))?;
        let mut scalar = [0; 32];
        scalar[start..].copy_from_slice(bytes);
        Ok(scalar)
    }

    /// Everything that is left (what a TPM answers is read with it, in the enclave).
    pub fn rest(self) -> &'a [u8] {
        self.0
    }

    /// That nothing follows `field`.
    pub fn end(&self, field: &'static str) -> Result<(), Shape> {
        if self.0.is_empty() { Ok(()) } else { Err(Shape(field)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_read_is_left() {
        let mut reader = Reader::new(&[0, 2, 7, 8, 9]);
        assert_eq!(reader.sized("first"), Ok(&[7, 8][..]));
        assert_eq!(reader.end("first"), Err(Shape("first")));
        assert_eq!(reader.rest(), [9]);
    }
}
