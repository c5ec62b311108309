//! Answers, parsed. A TPM is a device on the host's side: every length is checked.

use bulla_attestation::tee::tpm::{Reader, Shape};

use super::{Code, NO_SESSIONS, SESSIONS, SHA256};

/// Banks one selection may name, and registers one answer may give (ours; a TPM gives 1 and 8).
const MAX_LISTED: u32 = 32;

/// Why an answer cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TpmError {
    /// The TPM refused.
    #[error("{command}: the TPM refuses with code {code:#x}")]
    Refused {
        /// What was asked.
        command: Code,
        /// TPM_RC (part 2, §6.6).
        code: u32,
    },
    /// The answer ends inside this field, or goes on after it.
    #[error("{command}: the answer does not end where {field} says")]
    Shape {
        /// What was asked.
        command: Code,
        /// Which field.
        field: &'static str,
    },
    /// Registers of another bank or size, or others than were asked.
    #[error("TPM2_PcrRead: no SHA-256 values of the registers asked for")]
    Registers,
}

/// A key the TPM made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Where it is, until it is flushed.
    pub handle: u32,
    /// What it is (TPMT_PUBLIC).
    pub public: Vec<u8>,
}

/// A quote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quoted {
    /// TPMS_ATTEST.
    pub quote: Vec<u8>,
    /// TPMT_SIGNATURE.
    pub signature: Vec<u8>,
}

/// Values of registers, by number.
pub type Registers = Vec<(usize, [u8; 32])>;

/// One answer, behind its header.
struct Answer<'a> {
    command: Code,
    reader: Reader<'a>,
}

impl<'a> Answer<'a> {
    fn of(command: Code, tag: u16, bytes: &'a [u8]) -> Result<Answer<'a>, TpmError> {
        let shape = |Shape(field)| TpmError::Shape { command, field };
        let mut reader = Reader::new(bytes);
        let got_tag = reader.number("tag").map_err(shape)?;
        let length = u32::from_be_bytes(reader.array("length").map_err(shape)?);
        let code = u32::from_be_bytes(reader.array("code").map_err(shape)?);
        if code != 0 {
            return Err(TpmError::Refused { command, code });
        }
        if usize::try_from(length) != Ok(bytes.len()) || got_tag != tag {
            return Err(TpmError::Shape { command, field: "header" });
        }
        Ok(Answer { command, reader })
    }

    fn read<T>(
        &mut self,
        read: impl FnOnce(&mut Reader<'a>) -> Result<T, Shape>,
    ) -> Result<T, TpmError> {
        let command = self.command;
        read(&mut self.reader).map_err(|Shape(field)| TpmError::Shape { command, field })
    }

    fn number(&mut self, field: &'static str) -> Result<u32, TpmError> {
        self.read(|reader| reader.array(field)).map(u32::from_be_bytes)
    }

    /// The parameters, without the sessions behind them.
    fn parameters(mut self) -> Result<Answer<'a>, TpmError> {
        let length = self.number("parameters")?;
        // Longer than any answer is longer than this one.
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let parameters = self.read(|reader| reader.take("parameters", length))?;
        Ok(Answer { reader: Reader::new(parameters), ..self })
    }
}

/// What TPM2_CreatePrimary gave. The creation data behind the key are not asked for.
pub fn created(bytes: &[u8]) -> Result<Created, TpmError> {
    let mut answer = Answer::of(Code::CreatePrimary, SESSIONS, bytes)?;
    let handle = answer.number("handle")?;
    let mut parameters = answer.parameters()?;
    let public = parameters.read(|reader| reader.sized("public area"))?.to_vec();
    Ok(Created { handle, public })
}

/// What TPM2_Quote gave: the quote, and behind it the signature to the end of the parameters.
pub fn quoted(bytes: &[u8]) -> Result<Quoted, TpmError> {
    let mut parameters = Answer::of(Code::Quote, SESSIONS, bytes)?.parameters()?;
    let quote = parameters.read(|reader| reader.sized("quote"))?.to_vec();
    let signature = parameters.reader.rest().to_vec();
    Ok(Quoted { quote, signature })
}

/// What TPM2_PCR_Read gave: some of the registers asked, at least one.
pub fn registers(bytes: &[u8]) -> Result<Registers, TpmError> {
    let mut answer = Answer::of(Code::PcrRead, NO_SESSIONS, bytes)?;
    let _update_counter = answer.number("update counter")?;
    let selected = selected(&mut answer)?;
    let count = answer.number("digests")?;
    if usize::try_from(count) != Ok(selected.len()) || selected.is_empty() {
        return Err(TpmError::Registers);
    }
    let mut registers = Vec::new();
    for register in selected {
        let value = answer.read(|reader| reader.sized("digest"))?;
        registers.push((register, value.try_into().map_err(|_| TpmError::Registers)?));
    }
    answer.read(|reader| reader.end("digests"))?;
    Ok(registers)
}

/// TPML_PCR_SELECTION: the registers of the SHA-256 bank, and of no other.
fn selected(answer: &mut Answer<'_>) -> Result<Vec<usize>, TpmError> {
    let banks = answer.number("selection")?;
    if banks > MAX_LISTED {
        return Err(TpmError::Registers);
    }
    let mut selected = Vec::new();
    for _ in 0..banks {
        let algorithm = answer.read(|reader| reader.number("selection"))?;
        let [length] = answer.read(|reader| reader.array("selection"))?;
        let bits = answer.read(|reader| reader.take("selection", length.into()))?;
        let set = (0..8 * bits.len()).filter(|place| bits[place / 8] >> (place % 8) & 1 == 1);
        selected.extend(set);
        if algorithm != SHA256 && !selected.is_empty() {
            return Err(TpmError::Registers);
        }
    }
    match selected.len() > MAX_LISTED as usize {
        true => Err(TpmError::Registers),
        false => Ok(selected),
    }
}

/// That a command without an answer of its own was carried out.
pub fn done(command: Code, bytes: &[u8]) -> Result<(), TpmError> {
    let mut answer = Answer::of(command, NO_SESSIONS, bytes)?;
    answer.read(|reader| reader.end("header"))
}
