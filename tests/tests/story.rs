//! The story of one request, in thirteen steps, with every role in its place.
//!
//! Nothing is stubbed on the way: the enclave signs real-format evidence under a test root, the
//! shipped verifier judges it, the broker keeps its ledger and log in a database, the client seals,
//! orders and opens, and the shipped audit has the last word.

use bulla_broker::ledger::{HoldState, Settlement};
use bulla_tests::world::town::{Told, Town, shows};
use bulla_wire::leaf::Leaf;
use bulla_wire::receipt::{Outcome, SecurityMode};

const PROMPT: &str = "Invoice 2026-0417, 12 toner cartridges, due on the first of December";

#[test]
fn one_request_travels_through_all_thirteen_steps() {
    let mut town = Town::found();

    // 1. Boot. The enclave makes its keys; the digest of the keyset stands in the evidence.
    let report = town.enclave_boots();
    let keyset = town.keyset();
    assert_eq!(report.workload_keyset_digest, keyset.prefixed());

    // 2. Publish. The broker appraises, archives, and opens the epoch under its own log.
    town.broker_publishes();
    assert!(town.is_served(), "orders for the enclave are granted");
    let public = town.leaves();
    assert!(public.iter().any(|leaf| matches!(leaf, Leaf::Keyset { .. })));
    assert!(public.iter().any(|leaf| matches!(leaf, Leaf::EpochOpen { .. })));

    // 3. Appraise. The client trusts no choice of the broker's; it judges fresh evidence itself.
    let keys = town.client_appraises().expect("the development policy names the simulated root");
    assert_eq!(keys.keyset_digest(), keyset);
    assert!(keys.is_simulated(), "and nobody is told otherwise");

    // 4. Seal and order. Ciphertext for the enclave, a signed order for the broker.
    let (order, sealed) = town.client_orders(PROMPT, &keys);
    assert!(!shows(&sealed, PROMPT), "the prompt travels sealed");
    assert_eq!(order.keyset, keyset);
    assert_eq!(
        order.rates.most(order.ceiling_input_tokens, order.ceiling_output_tokens),
        Ok(order.max_charge)
    );

    // 5. Hold. The most it may cost is set aside, and the broker signs a grant over the order.
    let before = town.balance();
    let granted = town.broker_holds(&order);
    assert_eq!(town.balance().held, u128::from(order.max_charge.0));
    assert_eq!(town.balance().available + town.balance().held, before.available);
    assert_eq!(town.read_grant(&granted).order, order.digest());

    // 6. Relay. The broker forwards what it cannot read.
    // 7. Admit. The enclave checks order, grant, digest and replay before it opens anything.
    town.enclave_admits(&granted, &sealed);
    assert_eq!(town.running(), 1);

    // 8. Run. Tokens stream until the answer is complete.
    // 9. Receipt. It is signed, and durable, before the last chunk leaves.
    // 10. Answer. Sealed chunk by chunk, the receipt inside the last one.
    let Told { answer, trailer } = town.enclave_answers();
    assert!(!shows(&answer, PROMPT), "the answer travels sealed");
    assert_eq!(
        town.durable_receipts(),
        std::slice::from_ref(&trailer),
        "durable before it was told"
    );
    let (text, settled) = town.client_opens(&answer);
    assert_eq!(text, PROMPT, "the scripted engine says the prompt back");
    let receipt = &settled.receipt;
    assert_eq!(receipt.bytes(), trailer, "the same bytes to client and broker");
    assert_eq!((receipt.outcome, receipt.security), (Outcome::Complete, SecurityMode::Simulated));
    assert_eq!(Ok(receipt.charge), order.rates.charge(&receipt.usage));
    assert!(receipt.charge.0 > 0 && receipt.charge <= order.max_charge);

    // 11. Settle. The used part is spent, the rest returns, once.
    let returned = order.max_charge.saturating_sub(receipt.charge);
    let expected = Settlement::Settled { charged: receipt.charge, returned };
    assert_eq!(town.broker_settles(&trailer), expected);
    assert_eq!(town.broker_settles(&trailer), Settlement::AlreadySettled);
    assert_eq!(town.hold(&order.hold).state, HoldState::Settled);
    let after = town.balance();
    assert_eq!((after.held, after.spent), (0, u128::from(receipt.charge.0)));
    assert_eq!(after.available, before.available - after.spent);

    // 12. Log. The receipt's digest is a leaf under a signed checkpoint, beside its predecessor.
    let (leaf, proof) = town.proof_of(&receipt.digest());
    let place = Leaf::from_slice(&leaf).expect("a leaf");
    let (epoch, seq, prev) = (receipt.epoch, receipt.seq, receipt.prev);
    assert_eq!(place, Leaf::Receipt { epoch, seq, prev, receipt: receipt.digest() });
    town.verify_inclusion(&leaf, &proof).expect("included under the newest checkpoint");
    assert!(town.verify_inclusion(b"another leaf", &proof).is_err());

    // 13. Audit. Offline, years later: receipts, chain, inclusion, prices, ledger and evidence.
    town.enclave_closes();
    let bundle = town.export();
    assert!(!shows(&bundle, PROMPT), "the books hold no content");
    let verdict = town.audit(&bundle);
    assert!(verdict.is_clean(), "{verdict}");
    assert_eq!(verdict.warnings().count(), 0, "{verdict}");
    assert_eq!((verdict.counts.receipts, verdict.simulated), (1, true));
}
