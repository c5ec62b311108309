//! Which algorithms are told apart, and that each verifies its own only.

use data_encoding::HEXLOWER;
use x509_parser::prelude::FromDer;

use super::*;
use crate::endorsement::der;

/// A key and what it signed, `signed`, made with OpenSSL.
const KEY: &str = "3082010a0282010100b023a79356caa5d49bae87ada4db1ce1a69735293db10e2a771bad9fecba273e98\
    de47e42f5a59a0088e7d233a70ae7fef4d3c8d0fbee919f0fee2ce595eea41d8f280db0bc857b8ba00d7\
    fe610e80d819ec132a9a3a9570cc41b15b838400295aa1711594ecc286553bf5b18a899275901c540f98\
    4b94521fdbd0bacad7e16d0b03745bcbf6a23c96d3d6afa0b942adbd5ed3058970ad43287a8142353463\
    57a6c3af2ccb921782ce010cce52aa30b28a2ea07dfe8cb7aaa47523e0fa463f0e7dc1b1b42424c7ec19\
    f7fb1bd9167fada9277f72c6c72e8db93f9bb0836ffa5bc123c23938dc9a08bd3a3441bceb12b6a7430a\
    f6f8350b17bbbc4d1b50baf91d0203010001";
const BY_SHA_256: &str = "a5b8d526950ad7396c7745450f389e9439bdaed20cbe5b9040c4d485a8bfc8508ea76885f31941406100\
    e280e0f750690bd8017eb32ea6154b465882c406a7ce73241cf8ef3dd3964caef0571ad40fed10880c15\
    d26e9215c5ca81fd02f854de8f1f3bf30cc6ccf7281aa609b82a7146d6594cbe95dbf2f63433ecb1997d\
    6a8593541009b3f68b4c25a56d6f36af21ad8a62c320cd6bb08d96b8755e64454cf72ce5fed2823cdfd6\
    6536932daafd5bd962cedf28027a06149cba804a69bbdcdff05c4d6e0397c3f386152cc59c7bddad3b4b\
    a86dde80f4282e6f38bb988b422f1420b005f2313333134c397e942ae7de1114c9a32555ff65551fafe6\
    8394b84c";
const BY_SHA_384: &str = "a70f8ce28c209f67d943795f696170d468e2bda5c977332491a88909d3d027eee78442680da9b950c5a5\
    fc5c236e2ec85a507e006ef4a951c156664fa4433673426d6334fe5c9c0489a2ec6551312b75ca951a66\
    2dd84ba6a32b88bfc87a8846d2cce14379ade70115307bfbe550fc36837a0f92eed836930eeb6bdcf245\
    b4ecdc94056011c523e96924cb158583ddae9856e956a55ea3c28ea1b9387c6703896337284928cf6308\
    f75662c44a8ef12dc27902bde9265ca453df50125cd770eb4da4a2675ac3952af206310bcff8a5b60136\
    5a378f01b81f1150748b57256580f3064aa82edc82bc7470ce30e963cb4bb3aae7b9535ee078d8e1d930\
    50dfa18e";

fn algorithm(oid: &[u8], parameters: &[u8]) -> SignatureAlgorithm {
    let der = der(0x30, &[&der(6, &[oid]), parameters]);
    SignatureAlgorithm::of(&AlgorithmIdentifier::from_der(&der).unwrap().1)
}

#[test]
fn algorithms_are_told_by_their_identifiers() {
    use SignatureAlgorithm as By;
    let rsa = |last: u8| algorithm(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, last], &[5, 0]);
    assert_eq!([11, 12, 13].map(rsa), [By::RsaPkcs1Sha256, By::RsaPkcs1Sha384, By::Other]);
    let ecdsa = |last: u8| algorithm(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, last], &[]);
    assert_eq!([2, 3, 4].map(ecdsa), [By::EcdsaSha256, By::EcdsaSha384, By::Other]);
}

#[test]
fn of_pss_only_the_one_with_sha_384_is_known() {
    // [0] { SEQUENCE { OID sha256 or sha384 } }
    let hash = |last: u8| {
        let oid = [6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, last];
        der(0x30, &[&der(0xa0, &[&der(0x30, &[&oid])])])
    };
    let with = |oid: u8, parameters: &[u8]| {
        algorithm(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, oid], parameters)
    };
    assert_eq!(with(10, &hash(2)), SignatureAlgorithm::RsaPssSha384);
    assert_eq!(with(10, &hash(1)), SignatureAlgorithm::Other);
    assert_eq!(with(10, &[5, 0]), SignatureAlgorithm::Other);
    assert_eq!(with(13, &hash(2)), SignatureAlgorithm::Other);
}

#[test]
fn curves_are_told_by_their_identifiers() {
    let of = |curve: &[u8]| {
        let kind = [6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
        let der = der(0x30, &[&der(0x30, &[&kind, &der(6, &[curve])]), &[3, 2, 0, 4]]);
        PublicKey::of(&SubjectPublicKeyInfo::from_der(&der).unwrap().1)
    };
    let point = || KeyBytes::from(vec![4]);
    assert_eq!(of(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]), PublicKey::P256(point()));
    assert_eq!(of(&[0x2b, 0x81, 4, 0, 0x22]), PublicKey::P384(point()));
    assert!(matches!(of(&[0x2b, 0x81, 4, 0, 0x23]), PublicKey::Other(_)));
}

#[test]
fn an_rsa_signature_verifies_by_its_own_algorithm_only() {
    use SignatureAlgorithm as By;
    let bytes = |hex: &str| HEXLOWER.decode(hex.as_bytes()).unwrap();
    let key = PublicKey::Rsa(bytes(KEY).into());
    let (short, long) = (bytes(BY_SHA_256), bytes(BY_SHA_384));
    let all = [By::RsaPkcs1Sha256, By::RsaPkcs1Sha384, By::RsaPssSha384, By::EcdsaSha384];
    let by = |signature: &[u8]| all.map(|by| key.verifies(by, b"signed", signature));
    assert_eq!(by(&short), [true, false, false, false]);
    assert_eq!(by(&long), [false, true, false, false]);
    assert!(!key.verifies(By::RsaPkcs1Sha384, b"singed", &long));
}
