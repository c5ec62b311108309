//! Values on the command line; a wrong one is a usage error (exit code 2).

use std::str::FromStr;

use bulla_attestation::raw::padded;
use bulla_attestation::tee::TeeKind;
use bulla_wire::units::UnixSeconds;
use data_encoding::HEXLOWER_PERMISSIVE;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Length of REPORT_DATA in bytes.
const REPORT_DATA_BYTES: usize = 64;

/// A kind of TEE, or whatever is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tee(pub Option<TeeKind>);

impl FromStr for Tee {
    type Err = String;

    fn from_str(text: &str) -> Result<Tee, String> {
        if text == "auto" {
            return Ok(Tee(None));
        }
        let names = TeeKind::ALL.map(TeeKind::name).join(", ");
        let unknown = || format!("must be auto or one of {names}");
        TeeKind::from_name(text).map(|kind| Tee(Some(kind))).ok_or_else(unknown)
    }
}

/// Bytes in hex, either case, with or without `0x`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HexBytes(pub Vec<u8>);

impl FromStr for HexBytes {
    type Err = String;

    fn from_str(text: &str) -> Result<HexBytes, String> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let bytes = HEXLOWER_PERMISSIVE.decode(digits.as_bytes());
        match bytes {
            Ok(bytes) if !bytes.is_empty() => Ok(HexBytes(bytes)),
            _ => Err("must be an even number of hex digits".to_owned()),
        }
    }
}

/// REPORT_DATA whole: a shorter value is filled up with zeros behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportData(pub [u8; REPORT_DATA_BYTES]);

impl FromStr for ReportData {
    type Err = String;

    fn from_str(text: &str) -> Result<ReportData, String> {
        let HexBytes(bytes) = text.parse()?;
        let got = bytes.len();
        padded(&bytes)
            .map(ReportData)
            .ok_or_else(|| format!("must be at most {REPORT_DATA_BYTES} bytes, got {got}"))
    }
}

/// An instant since 1970, RFC 3339 with any offset.
pub(in crate::commands) fn instant(text: &str) -> Result<UnixSeconds, String> {
    let date = OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| "must be RFC 3339, like 2026-11-20T00:00:00Z".to_owned())?;
    let seconds = u64::try_from(date.unix_timestamp());
    seconds.map(UnixSeconds).map_err(|_| "must not be before 1970".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_have_offsets() {
        assert_eq!(instant("1970-01-01T01:00:00+01:00"), Ok(UnixSeconds(0)));
        assert_eq!(instant("2026-11-20T00:00:00.5Z"), Ok(UnixSeconds(1_795_132_800)));
        for wrong in ["2026-11-20", "yesterday", "1969-12-31T23:59:59Z", "0"] {
            assert!(instant(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn report_data_is_filled_up_behind() {
        let ReportData(data) = "0xAB01".parse().unwrap();
        assert_eq!(data[..3], [0xab, 1, 0]);
        assert!("ab".repeat(64).parse::<ReportData>().is_ok());
        for wrong in ["ab".repeat(65), "abc".to_owned(), String::new(), "0x".to_owned()] {
            assert!(wrong.parse::<ReportData>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_kind_has_a_name() {
        assert_eq!("auto".parse(), Ok(Tee(None)));
        assert_eq!("azure-tdx".parse(), Ok(Tee(Some(TeeKind::AzureTdx))));
        assert!("sgx".parse::<Tee>().unwrap_err().contains("azure-snp"));
    }
}
