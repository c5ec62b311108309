//! What an operator does before and during a story: accounts, packages, prices.

use super::*;

impl BrokerHost {
    /// Opens an account with a package and this order key.
    pub fn open_account(
        &mut self,
        street: &mut Street,
        number: usize,
        order_key: &SigningKey,
    ) -> AccountNumber {
        let open = Command::OpenAccount { name: format!("customer-{number}"), operator: false };
        let Ok(Outcome::AccountOpened { account }) = self.execute(street, open) else {
            panic!("a new name opens an account")
        };
        self.issue(street, account, false);
        self.issue(street, account, true);
        let (issued_at, public) = (street.now.seconds(), order_key.public());
        let claim = order_key.sign(OrderKeyRegistration { issued_at, order_key: public });
        let registration = claim.bytes().to_vec();
        let request = RequestId(u64::MAX - number as u64);
        self.happen(street, Event::OrderKeyOffered { request, account, registration, once: None });
        self.settle_in(street);
        account
    }

    /// The operator issues a package, or a gift.
    pub fn issue(&mut self, street: &mut Street, account: AccountNumber, promotional: bool) {
        let mut key = [0; 16];
        street.rng.fill_bytes(&mut key);
        let amount = PACKAGES[usize::from(self.is_poor)] / if promotional { 4 } else { 1 };
        let package = IssuePackage {
            key,
            account,
            unit: Unit::tokens(),
            amount: MicroUnits(amount),
            priority: 10,
            promotional,
            effective_from: UnixSeconds(0),
            expires_at: None,
            memo: "simulated".to_owned(),
            terms: Default::default(),
        };
        self.execute(street, Command::IssuePackage(package)).expect("a package");
        street.witness_store(&self.store);
    }

    pub(super) fn execute(
        &mut self,
        street: &Street,
        command: Command,
    ) -> Result<Outcome, Rejection> {
        self.store.execute(&[command], street.now).expect("a store in memory").remove(0)
    }

    /// Writes what waits at once: before the story begins.
    pub(super) fn settle_in(&mut self, street: &mut Street) {
        while let Some((batch, commands)) = self.queue.pop_front() {
            let results = self.store.execute(&commands, street.now).expect("a store in memory");
            street.witness_store(&self.store);
            self.happen(street, Event::Committed { batch, results });
        }
    }

    /// Signs and takes up a new price book.
    pub fn new_prices(&mut self, street: &mut Street) {
        self.books += 1;
        let output = 2 + self.books;
        let text = format!(
            "[[price]]\nmodel = \"*\"\nunit = \"TOK\"\ninput = \"1000000\"\noutput = \"{output}000000\""
        );
        let priced = PricedModel { name: MODEL.to_owned(), manifest: model() };
        let source = SourceBook::from_toml(&text).expect("a good book");
        let rows = source.rows(&[priced]).expect("a price for the model");
        let (root, now) = (SigningKey::from_seed(ROOT_SEED), street.now.seconds());
        // Announced, so that nobody grants at old prices in the second in which new ones begin.
        let notice = if self.books == 1 { 0 } else { NOTICE_SECONDS };
        let effective_from = UnixSeconds(now.0 + notice);
        let book = sign_book(&root, self.books, now, effective_from, rows).expect("within limits");
        self.happen(street, Event::PriceBookSigned { book: book.bytes().to_vec() });
        if self.core.is_none() {
            // Nobody was there to take it: the number is free again.
            self.books -= 1;
        }
    }
}
