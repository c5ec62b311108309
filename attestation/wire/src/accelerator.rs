//! The accelerators an enclave says it uses, in its keyset's subject:
//! `bulla://INSTANCE/CHIP-ID?accelerator=VENDOR/PRODUCT&accelerator=…`.
//!
//! The subject is hashed into the TEE's evidence, so a measured guest stands behind these words.
//! Whether the device's vendor stands behind them too is for the appraisal to say.

/// Most accelerators one subject names.
pub const MAX_ACCELERATORS: usize = 64;
/// Longest vendor or product name, in bytes.
pub const MAX_NAME_BYTES: usize = 40;
const PARAMETER: &str = "accelerator=";

/// One accelerator, by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Accelerator {
    /// Who makes it: `huawei`, `cambricon`, `nvidia`.
    pub vendor: String,
    /// Which one: `ascend-910b`.
    pub product: String,
}

/// Why a subject does not tell its accelerators.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcceleratorError {
    /// A parameter with another name.
    #[error("a subject's parameters are accelerator=VENDOR/PRODUCT, got {got:?}")]
    Parameter {
        /// The parameter, cut to 40 characters.
        got: String,
    },
    /// A name with other characters than `[a-z0-9._-]`, empty or too long.
    #[error("vendor and product are 1 to {MAX_NAME_BYTES} of [a-z0-9._-], got {got:?}")]
    Name {
        /// The name, cut to 40 characters.
        got: String,
    },
    /// Too many.
    #[error("a subject names at most {MAX_ACCELERATORS} accelerators")]
    TooMany,
}

impl Accelerator {
    /// Reads `VENDOR/PRODUCT`.
    pub fn parse(text: &str) -> Result<Accelerator, AcceleratorError> {
        let shortened = |text: &str| text.chars().take(MAX_NAME_BYTES).collect::<String>();
        let name = |text: &str| {
            let allowed =
                |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
            match (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(allowed) {
                true => Ok(text.to_owned()),
                false => Err(AcceleratorError::Name { got: shortened(text) }),
            }
        };
        let (vendor, product) = text
            .split_once('/')
            .ok_or_else(|| AcceleratorError::Parameter { got: shortened(text) })?;
        Ok(Accelerator { vendor: name(vendor)?, product: name(product)? })
    }
}

impl std::fmt::Display for Accelerator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.vendor, self.product)
    }
}

/// Adds accelerators to a subject without any.
pub fn with_accelerators(subject: &str, accelerators: &[Accelerator]) -> String {
    let named = accelerators.iter().map(|accelerator| format!("{PARAMETER}{accelerator}"));
    match accelerators.is_empty() {
        true => subject.to_owned(),
        false => format!("{subject}?{}", named.collect::<Vec<_>>().join("&")),
    }
}

/// The accelerators a subject in our form names; none where it has no parameters.
pub(crate) fn of_subject(subject: &str) -> Result<Vec<Accelerator>, AcceleratorError> {
    let Some((_, parameters)) = subject.split_once('?') else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for parameter in parameters.split('&') {
        let Some(text) = parameter.strip_prefix(PARAMETER) else {
            let got = parameter.chars().take(MAX_NAME_BYTES).collect();
            return Err(AcceleratorError::Parameter { got });
        };
        if found.len() == MAX_ACCELERATORS {
            return Err(AcceleratorError::TooMany);
        }
        found.push(Accelerator::parse(text)?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let two = ["huawei/ascend-910b", "nvidia/h100"].map(|t| Accelerator::parse(t).unwrap());
        let subject = with_accelerators("bulla://node-1/ab", &two);
        assert_eq!(
            subject,
            "bulla://node-1/ab?accelerator=huawei/ascend-910b&accelerator=nvidia/h100"
        );
        assert_eq!(of_subject(&subject).unwrap(), two);
        assert_eq!(of_subject("bulla://node-1/ab").unwrap(), []);
        assert_eq!(with_accelerators("bulla://node-1/ab", &[]), "bulla://node-1/ab");
    }

    #[test]
    fn refuses_other_parameters_names_and_too_many() {
        for bad in ["?", "?a=b", "?accelerator=", "?accelerator=a", "?accelerator=A/b"] {
            assert!(of_subject(&format!("bulla://n/ab{bad}")).is_err(), "{bad}");
        }
        let many = vec!["accelerator=a/b"; MAX_ACCELERATORS + 1].join("&");
        assert_eq!(of_subject(&format!("bulla://n/ab?{many}")), Err(AcceleratorError::TooMany));
    }
}
