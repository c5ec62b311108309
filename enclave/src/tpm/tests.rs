use super::*;

fn answer(tag: u16, code: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = tag.to_be_bytes().to_vec();
    bytes.extend((10 + body.len() as u32).to_be_bytes());
    bytes.extend(code.to_be_bytes());
    bytes.extend(body);
    bytes
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

/// Parameters behind their length, and the session every answer to an authorised command ends with.
fn with_session(parameters: &[u8]) -> Vec<u8> {
    [&(parameters.len() as u32).to_be_bytes()[..], parameters, &[0, 0, 1, 0, 0]].concat()
}

#[test]
fn commands_are_the_bytes_of_the_specification() {
    let header = |bytes: &[u8], tag: u16, code: u32| {
        assert_eq!(bytes[..2], tag.to_be_bytes());
        assert_eq!(bytes[2..6], (bytes.len() as u32).to_be_bytes());
        assert_eq!(bytes[6..10], code.to_be_bytes());
    };
    let create = create_attestation_key();
    header(&create, 0x8002, 0x131);
    assert_eq!(create.len(), 10 + 4 + 4 + 9 + 6 + 2 + 24 + 2 + 4);
    assert_eq!(create[10..14], [0x40, 0, 0, 0x0b]);
    assert_eq!(create[14..27], [0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
    assert_eq!(create[27..35], [0, 4, 0, 0, 0, 0, 0, 24]);
    assert_eq!(create[35..45], [0, 0x23, 0, 0x0b, 0, 5, 4, 0x72, 0, 0]);

    let quote = quote(0x8000_0000, &[7; 32], QUOTED_REGISTERS);
    header(&quote, 0x8002, 0x158);
    assert_eq!(quote[27..61], sized(&[7; 32])[..]);
    assert_eq!(quote[61..], [0, 0x10, 0, 0, 0, 1, 0, 0x0b, 3, 0xff, 0xff, 0]);

    let read = read_registers([9]);
    header(&read, 0x8001, 0x17e);
    assert_eq!(read[10..], [0, 0, 0, 1, 0, 0x0b, 3, 0, 2, 0]);
    assert_eq!(flush(0x8000_0001), [0x80, 1, 0, 0, 0, 14, 0, 0, 1, 0x65, 0x80, 0, 0, 1]);
}

#[test]
fn takes_key_and_quote_out_of_their_answers_and_refuses_every_truncation() {
    let key = [vec![0x80, 0, 0, 0], with_session(&[sized(b"public"), sized(b"more")].concat())];
    let key = answer(0x8002, 0, &key.concat());
    let made = created(&key).unwrap();
    assert_eq!((made.handle, made.public.as_slice()), (0x8000_0000, &b"public"[..]));
    let quote =
        answer(0x8002, 0, &with_session(&[sized(b"attest"), b"signature".to_vec()].concat()));
    let signed = quoted(&quote).unwrap();
    assert_eq!((signed.quote, signed.signature), (b"attest".to_vec(), b"signature".to_vec()));
    for length in 0..key.len() {
        assert!(created(&key[..length]).is_err(), "{length}");
    }
    for length in 0..quote.len() {
        assert!(quoted(&quote[..length]).is_err(), "{length}");
    }
}

#[test]
fn a_refusal_says_which_command_and_which_code() {
    let got = created(&answer(0x8001, 0x9a2, &[]));
    assert_eq!(got, Err(TpmError::Refused { command: Code::CreatePrimary, code: 0x9a2 }));
    assert_eq!(got.unwrap_err().to_string(), "TPM2_CreatePrimary: the TPM refuses with code 0x9a2");
    assert_eq!(done(Code::FlushContext, &answer(0x8001, 0, &[])), Ok(()));
    assert!(done(Code::FlushContext, &answer(0x8001, 0, &[1])).is_err());
}

#[test]
fn registers_come_with_their_numbers() {
    let selection = [0, 0, 0, 1, 0, 0x0b, 3, 0, 3, 0];
    let body = |digests: &[&[u8]]| {
        let count = (digests.len() as u32).to_be_bytes();
        let digests: Vec<u8> = digests.iter().flat_map(|digest| sized(digest)).collect();
        [&[0, 0, 0, 20][..], &selection, &count, &digests].concat()
    };
    let whole = answer(0x8001, 0, &body(&[&[8; 32], &[9; 32]]));
    assert_eq!(registers(&whole), Ok(vec![(8, [8; 32]), (9, [9; 32])]));
    for length in 0..whole.len() {
        assert!(registers(&whole[..length]).is_err(), "{length}");
    }
    let one_missing = answer(0x8001, 0, &body(&[&[8; 32]]));
    assert_eq!(registers(&one_missing), Err(TpmError::Registers));
    let other_size = answer(0x8001, 0, &body(&[&[8; 20], &[9; 32]]));
    assert_eq!(registers(&other_size), Err(TpmError::Registers));
    let mut other_bank = whole.clone();
    other_bank[19] = 4;
    assert_eq!(registers(&other_bank), Err(TpmError::Registers));
}
