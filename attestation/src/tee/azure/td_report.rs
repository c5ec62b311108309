//! The TD report inside a paravisor's report, and the quote made of it. A TD report carries a MAC
//! that only its own machine can check; the quote carries the signature. So the quote is judged,
//! and the report must be the one that was quoted. Its MAC, the hashes under the MAC and the zeros
//! behind it are not read: no claim comes from them.
//!
//! Source: Intel TDX module ABI (TDREPORT_STRUCT: report data at 128, TDINFO_STRUCT at 512), Intel
//! TDX DCAP quoting library (TD quote body: TD attributes at 120 to RTMR 3, report data at 520).

const REPORT_DATA_AT: usize = 128;
const TD_INFO_AT: usize = 512;
/// Attributes, XFAM, MRTD, configuration, owner, RTMR 0 to 3: the same in report and quote.
const TD_INFO_BYTES: usize = 400;
const QUOTE_HEADER_BYTES: usize = 48;
/// Type and size in front of the body, since version 5.
const BODY_HEADER_BYTES: usize = 6;
const TD_INFO_IN_BODY: usize = 120;

/// What report and quote both say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Td<'a> {
    /// Attributes to RTMR 3.
    pub info: &'a [u8; TD_INFO_BYTES],
    /// What the paravisor had signed.
    pub report_data: &'a [u8; 64],
}

impl<'a> Td<'a> {
    /// As the TD report says; `None` where it is too short.
    pub fn of_report(report: &'a [u8]) -> Option<Td<'a>> {
        Some(Td {
            info: report.get(TD_INFO_AT..)?.first_chunk()?,
            report_data: report.get(REPORT_DATA_AT..)?.first_chunk()?,
        })
    }

    /// As the quote says; `None` where it is too short or of a version without a TD body.
    pub fn of_quote(quote: &'a [u8]) -> Option<Td<'a>> {
        let body_at = match u16::from_le_bytes(*quote.first_chunk()?) {
            4 => QUOTE_HEADER_BYTES,
            5 => QUOTE_HEADER_BYTES + BODY_HEADER_BYTES,
            _ => return None,
        };
        let (info, rest) = quote.get(body_at + TD_INFO_IN_BODY..)?.split_first_chunk()?;
        Some(Td { info, report_data: rest.first_chunk()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_begins_where_the_version_says() {
        for (version, at) in [(4, 48), (5, 48 + 6)] {
            let mut quote = vec![0; at + 584];
            quote[0] = version;
            quote[at + TD_INFO_IN_BODY] = 7;
            quote[at + 584 - 64] = 9;
            let td = Td::of_quote(&quote).unwrap();
            assert_eq!((td.info[0], td.report_data[0]), (7, 9), "{version}");
            assert!(Td::of_quote(&quote[..at + 583]).is_none());
        }
        assert!(Td::of_quote(&[3; 1000]).is_none());
    }
}
