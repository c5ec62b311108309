#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bulla_fuzz::feed("azure_evidence", bytes));
