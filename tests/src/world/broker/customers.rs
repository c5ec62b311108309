//! The side of the customers: orders, refetches, and when an answer may end.

use super::*;

impl BrokerHost {
    /// A message arrived.
    pub fn hear(&mut self, street: &mut Street, conn: Conn, message: Message) {
        if self.core.is_none() {
            return street.refuse(conn);
        }
        if self.errands.contains_key(&conn) {
            return self.enclave_answers(street, conn, message);
        }
        match message {
            Message::AskEvidence { instance, nonce } => {
                let errand = Errand::Evidence { client: conn };
                self.send(street, &instance, errand, Message::Appraise { nonce });
            }
            Message::Order { account, instance, order, sealed } => {
                let request = self.wait(Waiting::Grant { client: conn, sealed });
                self.happen(
                    street,
                    Event::OrderReceived {
                        request,
                        account,
                        spender: Default::default(),
                        instance,
                        order,
                    },
                );
            }
            Message::Again { account, hold } => self.refetch(street, conn, account, hold),
            _ => {}
        }
    }

    pub(super) fn wait(&mut self, waiting: Waiting) -> RequestId {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        self.waiting.insert(request, waiting);
        request
    }

    pub(super) fn refetch(
        &mut self,
        street: &mut Street,
        client: Conn,
        account: Option<AccountNumber>,
        hold: HoldId,
    ) {
        let known = match self.store.hold(&hold) {
            Ok(known) => known.filter(|known| Some(known.account) == account),
            Err(error) => return street.blame("role-error", format!("store: {error}")),
        };
        let Some(known) = known else {
            return problem(street, client, Problem::NotFound, "no such hold");
        };
        let instance = known.instance.clone();
        let errand = Errand::Again { client, instance: instance.clone(), begun: false };
        self.send(street, &instance, errand, Message::Again { account: None, hold });
    }

    pub(super) fn forward(&mut self, street: &mut Street, granted: Granted) {
        let (instance, hold) = (granted.instance.clone(), granted.hold);
        if granted.again.is_some() {
            let errand = Errand::Before { granted: Box::new(granted), begun: false };
            return self.send(street, &instance, errand, Message::Again { account: None, hold });
        }
        self.send_sealed(street, granted);
    }

    pub(super) fn send_sealed(&mut self, street: &mut Street, granted: Granted) {
        let ordered = verify_order(&granted.order).map(|order| order.sealed_request);
        if ordered.ok() != Some(labelled(labels::SEALED_REQUEST, &granted.sealed)) {
            if granted.again.is_none() {
                self.inbox.push_back(Event::NotAdmitted { hold: granted.hold });
            }
            return problem(street, granted.client, Problem::InvalidOrder, "not the ordered body");
        }
        let message = Message::Sealed {
            order: granted.order.clone(),
            grant: granted.grant.clone(),
            delegation: granted.delegation.clone(),
            sealed: granted.sealed.clone(),
        };
        let instance = granted.instance.clone();
        let errand = Errand::Answer { granted: Box::new(granted), begun: false };
        self.send(street, &instance, errand, message);
    }

    pub(super) fn settled(&mut self, street: &mut Street, request: RequestId, _: Settlement) {
        if street.sabotage == Some(Sabotage::ForgetsWaiters) && request.0.is_multiple_of(5) {
            return;
        }
        match self.waiting.remove(&request) {
            Some(Waiting::End { client }) => street.send(client, ME, Message::End(None)),
            Some(Waiting::Problem { client, problem, message, receipt }) => {
                let receipt = Some(receipt);
                street.send(client, ME, Message::Problem { problem, message, receipt });
            }
            Some(Waiting::Grant { .. }) | None => {}
        }
    }

    pub(super) fn refuse(
        &mut self,
        street: &mut Street,
        request: RequestId,
        which: Problem,
        text: String,
    ) {
        match self.waiting.remove(&request) {
            Some(Waiting::Grant { client, .. }) => problem(street, client, which, &text),
            // The receipt is not taken in; the answer is whole all the same.
            Some(Waiting::End { client }) => street.send(client, ME, Message::End(None)),
            Some(Waiting::Problem { client, problem, message, receipt }) => {
                let receipt = Some(receipt);
                street.send(client, ME, Message::Problem { problem, message, receipt });
            }
            None => {}
        }
    }
}
