//! Which sequences take part in the next pass, with how many tokens and on which pages.
//!
//! Every step is planned anew: a token of every sequence that answers, then parts of prompts up to
//! a budget. Tenants are admitted by what they were served ([`super::fairness`]), requests of one
//! tenant in order. A sequence gets pages as it grows; when none is left the youngest goes back to
//! its queue and is computed again later, so the oldest always comes to its end.

use std::collections::{BTreeMap, VecDeque};

use bulla_kernels::attention::PAGE_TOKENS;

use super::fairness::Counters;
use super::pages::{Pages, Wipe};
use super::prefix::{Names, PageName, Secret};
use crate::request::{Prefix, SequenceId, Tenant, TenantId};

/// What may be held and read at once.
#[derive(Debug, Clone)]
pub(crate) struct SchedulerLimits {
    /// Sequences that run.
    pub running: usize,
    /// Requests that wait.
    pub queued: usize,
    /// Requests of one tenant that wait.
    pub queued_per_tenant: usize,
    /// Tokens of prompts in a pass that also answers.
    pub prompt_tokens: usize,
    /// Tokens of prompts in a pass for which nobody waits.
    pub prompt_tokens_alone: usize,
}

/// A new request; `T` is whatever its owner needs beside.
pub(crate) struct Arrival<T> {
    pub id: SequenceId,
    pub tenant: Tenant,
    pub prefix: Option<Prefix>,
    /// The prompt, never empty, with room for the answer.
    pub tokens: Vec<u32>,
    /// When it is given up, by the owner's clock in microseconds.
    pub late_at_us: Option<u64>,
    pub cargo: T,
}

/// Why a queue takes nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overload {
    Queue,
    Tenant,
}

/// Why a sequence was ended from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Cancelled,
    Late,
}

/// What one running sequence does in a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// Which of the running sequences.
    pub index: usize,
    /// How many of its tokens are read.
    pub tokens: usize,
    /// All known tokens are read then: the next one can be chosen.
    pub whole: bool,
}

/// What a pass did for one sequence, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Progress {
    /// Prompt read for the first time.
    pub prompt: usize,
    /// Prompt found on shared pages since the last pass.
    pub cached: usize,
    /// Read before and lost by preemption.
    pub recomputed: usize,
}

/// A request that waits or runs.
pub(crate) struct Sequence<T> {
    pub id: SequenceId,
    pub cargo: T,
    tenant: Tenant,
    arrival: u64,
    /// Prompt and answer so far.
    tokens: Vec<u32>,
    prompt: usize,
    names: Option<Names>,
    late_at_us: Option<u64>,
    cancelled: bool,
    /// Pages in order, enough for what was read.
    table: Vec<u32>,
    /// Tokens whose keys and values are on the pages.
    read: usize,
    /// The most that was ever read: what lies below is not counted again.
    reached: usize,
    /// Found on shared pages and not reported yet.
    cached: usize,
    /// Pages that were offered for sharing.
    published: usize,
    admitted: bool,
}

/// See the module's text.
pub(crate) struct Scheduler<T> {
    limits: SchedulerLimits,
    secret: Secret,
    pages: Pages,
    counters: Counters,
    waiting: BTreeMap<TenantId, VecDeque<Sequence<T>>>,
    /// In the order of arrival.
    running: Vec<Sequence<T>>,
    /// Pages that running sequences will publish, with the arrival of whoever computes them.
    coming: BTreeMap<PageName, u64>,
    parts: Vec<Part>,
    arrivals: u64,
    preemptions: u64,
}

impl<T> Scheduler<T> {
    pub fn new(limits: SchedulerLimits, pages: usize, secret: Secret) -> Self {
        Scheduler {
            parts: Vec::with_capacity(limits.running),
            running: Vec::with_capacity(limits.running),
            limits,
            secret,
            pages: Pages::new(pages),
            counters: Counters::default(),
            waiting: BTreeMap::new(),
            coming: BTreeMap::new(),
            arrivals: 0,
            preemptions: 0,
        }
    }

    pub fn pages(&self) -> &Pages {
        &self.pages
    }

    /// Sequences on pages, in the order of [`Part::index`].
    pub fn running(&self) -> &[Sequence<T>] {
        &self.running
    }

    /// The same, to be changed.
    pub fn all_running_mut(&mut self) -> &mut [Sequence<T>] {
        &mut self.running
    }

    /// One of [`Scheduler::running`].
    pub fn running_mut(&mut self, index: usize) -> &mut Sequence<T> {
        &mut self.running[index]
    }

    /// Requests that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.values().map(VecDeque::len).sum()
    }

    /// Sequences that lost their pages so far.
    pub fn preemptions(&self) -> u64 {
        self.preemptions
    }

    pub fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    /// Whether a request of this name waits or runs.
    pub fn has(&self, id: SequenceId) -> bool {
        self.all().any(|sequence| sequence.id == id)
    }

    fn all(&self) -> impl Iterator<Item = &Sequence<T>> {
        self.running.iter().chain(self.waiting.values().flatten())
    }

    /// Queues a request.
    pub fn submit(&mut self, arrival: Arrival<T>) -> Result<(), Overload> {
        if self.waiting() >= self.limits.queued {
            return Err(Overload::Queue);
        }
        let Arrival { id, tenant, prefix, tokens, late_at_us, cargo } = arrival;
        if self.waiting.get(&tenant.id).map_or(0, VecDeque::len) >= self.limits.queued_per_tenant {
            return Err(Overload::Tenant);
        }
        self.counters.arrive(&tenant);
        self.arrivals += 1;
        let sequence = Sequence {
            names: prefix
                .map(|prefix| Names::new(self.secret.clone(), prefix, &tokens, tokens.capacity())),
            id,
            cargo,
            tenant,
            arrival: self.arrivals,
            prompt: tokens.len(),
            tokens,
            late_at_us,
            cancelled: false,
            table: Vec::new(),
            read: 0,
            reached: 0,
            cached: 0,
            published: 0,
            admitted: false,
        };
        self.waiting.entry(tenant.id).or_default().push_back(sequence);
        Ok(())
    }

    /// Marks a request; [`Scheduler::reap`] ends it.
    pub fn cancel(&mut self, id: SequenceId) {
        let all = self.running.iter_mut().chain(self.waiting.values_mut().flatten());
        all.filter(|sequence| sequence.id == id).for_each(|sequence| sequence.cancelled = true);
    }

    /// Ends what was cancelled or is late, and frees its pages.
    pub fn reap(&mut self, now_us: u64, memory: &mut impl Wipe, mut each: impl FnMut(T, End)) {
        let mut index = 0;
        while index < self.running.len() {
            match self.running[index].end(now_us) {
                Some(end) => each(self.leave(index, memory), end),
                None => index += 1,
            }
        }
        let Scheduler { waiting, counters, .. } = self;
        for queue in waiting.values_mut() {
            while let Some(at) = queue.iter().position(|s| s.end(now_us).is_some()) {
                let Some(sequence) = queue.remove(at) else { break };
                counters.leave(&sequence.tenant);
                let end = sequence.end(now_us).unwrap_or(End::Cancelled);
                each(sequence.cargo, end);
            }
        }
        waiting.retain(|_, queue| !queue.is_empty());
    }

    /// Ends the running sequences whose cargo says so, and frees their pages.
    pub fn retire(&mut self, memory: &mut impl Wipe, ended: impl Fn(&T) -> bool) {
        for index in (0..self.running.len()).rev() {
            if ended(&self.running[index].cargo) {
                self.leave(index, memory);
            }
        }
    }

    /// Forgets all prefixes that no running sequence holds.
    pub fn forget_prefixes(&mut self, memory: &mut impl Wipe) {
        self.pages.forget_idle(memory);
    }

    /// Admits who fits and shares out the next pass. The parts are in the order of `index`.
    pub fn plan(&mut self, memory: &mut impl Wipe) -> &[Part] {
        self.admit();
        self.parts.clear();
        let answers = self.running.iter().any(Sequence::is_answering);
        let mut room = match answers {
            true => self.limits.prompt_tokens,
            false => self.limits.prompt_tokens_alone,
        };
        let mut index = 0;
        while index < self.running.len() {
            let sequence = &self.running[index];
            let unread = sequence.tokens.len() - sequence.read;
            let tokens = if sequence.is_answering() { 1 } else { unread.min(room) };
            if tokens > 0 {
                if !self.give_pages(index, tokens, memory) {
                    break;
                }
                if !self.running[index].is_answering() {
                    room -= tokens;
                }
                self.parts.push(Part { index, tokens, whole: tokens == unread });
            }
            index += 1;
        }
        &self.parts
    }

    /// The pass has read `part`: pages it filled may now be shared.
    pub fn advance(&mut self, part: Part) -> Progress {
        let Scheduler { running, pages, coming, .. } = self;
        let sequence = &mut running[part.index];
        let (from, to) = (sequence.read, sequence.read + part.tokens);
        let new_from = from.max(sequence.reached).min(to);
        let prompt = sequence.prompt;
        let progress = Progress {
            prompt: to.min(prompt) - new_from.min(prompt),
            cached: std::mem::take(&mut sequence.cached),
            recomputed: new_from - from,
        };
        sequence.read = to;
        sequence.reached = sequence.reached.max(to);
        let Some(names) = &mut sequence.names else { return progress };
        names.extend(&sequence.tokens);
        while (sequence.published + 1) * PAGE_TOKENS <= to {
            if let Some(name) = names.of(sequence.published) {
                pages.publish(sequence.table[sequence.published], *name, names.keep());
                coming.remove(name);
            }
            sequence.published += 1;
        }
        progress
    }

    /// The next token of a running sequence was chosen.
    pub fn push(&mut self, index: usize, token: u32) {
        let sequence = &mut self.running[index];
        sequence.tokens.push(token);
        self.counters.charge_answer(&sequence.tenant);
    }

    /// Starts what fits: the tenant that was served least first, its oldest request first. Whoever
    /// is next and does not fit holds up the others: nobody is overtaken for ever.
    fn admit(&mut self) {
        while self.running.len() < self.limits.running {
            let Some(tenant) = self.next_tenant() else { return };
            let Some(found) = self.waiting.get(&tenant).and_then(|q| self.fits(q.front()?)) else {
                return;
            };
            let Some(queue) = self.waiting.get_mut(&tenant) else { return };
            let Some(mut sequence) = queue.pop_front() else { return };
            if queue.is_empty() {
                self.waiting.remove(&tenant);
            }
            sequence.table.reserve_exact(sequence.tokens.capacity().div_ceil(PAGE_TOKENS));
            self.take_shared(&mut sequence, found);
            if !std::mem::replace(&mut sequence.admitted, true) {
                let rest = sequence.tokens.len() - sequence.read;
                self.counters.charge_prompt(&sequence.tenant, rest);
            }
            let at = self.running.partition_point(|other| other.arrival < sequence.arrival);
            self.running.insert(at, sequence);
        }
    }

    /// Whose turn it is. A request that waits for a page that is being computed lets others pass.
    fn next_tenant(&self) -> Option<TenantId> {
        let heads = self.waiting.iter().filter_map(|(id, queue)| Some((id, queue.front()?)));
        let ready = heads.filter(|(_, head)| !self.waits_for_page(head));
        let turn = ready.min_by_key(|(id, head)| (self.counters.served(id), head.arrival));
        turn.map(|(id, _)| *id)
    }

    fn waits_for_page(&self, sequence: &Sequence<T>) -> bool {
        let missing = sequence.shareable().iter().find(|name| self.pages.look(name).is_none());
        missing.is_some_and(|name| self.coming.contains_key(name))
    }

    /// How many shared pages a request would start with; `None` when it does not fit now. A page
    /// for the growth of everybody must stay.
    fn fits(&self, sequence: &Sequence<T>) -> Option<usize> {
        let (mut found, mut idle) = (0, 0);
        for page in sequence.shareable().iter().map_while(|name| self.pages.look(name)) {
            found += 1;
            idle += usize::from(page.idle);
        }
        let owed = |s: &Sequence<T>| s.tokens.len().div_ceil(PAGE_TOKENS) - s.table.len();
        let owed: usize = self.running.iter().map(owed).sum();
        let need = sequence.tokens.len().div_ceil(PAGE_TOKENS) - found;
        let fits = self.pages.available() >= need + idle + owed + self.running.len();
        (fits || self.running.is_empty()).then_some(found)
    }

    /// Puts the first `found` shared pages under a sequence and announces those it will compute.
    fn take_shared(&mut self, sequence: &mut Sequence<T>, found: usize) {
        let Scheduler { pages, coming, .. } = self;
        let shareable = match &sequence.names {
            Some(names) => names.shareable(sequence.tokens.len()),
            None => &[],
        };
        sequence.table.extend(shareable[..found].iter().map_while(|name| pages.share(name)));
        for name in &shareable[sequence.table.len()..] {
            coming.entry(*name).or_insert(sequence.arrival);
        }
        sequence.read = sequence.table.len() * PAGE_TOKENS;
        sequence.published = sequence.table.len();
        let (had, has) = (sequence.reached, sequence.reached.max(sequence.read));
        sequence.cached += has.min(sequence.prompt) - had.min(sequence.prompt);
        sequence.reached = has;
    }

    /// Makes the table of a running sequence long enough for `tokens` more. Takes pages from the
    /// youngest where none is left; false when that is the sequence itself.
    fn give_pages(&mut self, index: usize, tokens: usize, memory: &mut impl Wipe) -> bool {
        let needed = (self.running[index].read + tokens).div_ceil(PAGE_TOKENS);
        while self.running[index].table.len() < needed {
            if let Some(page) = self.pages.take(memory) {
                self.running[index].table.push(page);
                continue;
            }
            let youngest = self.running.len() - 1;
            self.preempt(youngest, memory);
            if youngest == index {
                return false;
            }
        }
        true
    }

    /// Takes a sequence's pages and puts it first in its tenant's queue.
    fn preempt(&mut self, index: usize, memory: &mut impl Wipe) {
        let mut sequence = self.running.remove(index);
        self.clear(&mut sequence, memory);
        self.preemptions += 1;
        self.waiting.entry(sequence.tenant.id).or_default().push_front(sequence);
    }

    /// Removes a running sequence for good.
    fn leave(&mut self, index: usize, memory: &mut impl Wipe) -> T {
        let mut sequence = self.running.remove(index);
        self.clear(&mut sequence, memory);
        self.counters.leave(&sequence.tenant);
        sequence.cargo
    }

    /// Last pages first: a prefix is forgotten from its end.
    fn clear(&mut self, sequence: &mut Sequence<T>, memory: &mut impl Wipe) {
        for page in sequence.table.drain(..).rev() {
            self.pages.release(page, memory);
        }
        for name in sequence.shareable() {
            if self.coming.get(name) == Some(&sequence.arrival) {
                self.coming.remove(name);
            }
        }
        (sequence.read, sequence.published) = (0, 0);
    }
}

impl<T> Sequence<T> {
    /// The tokens a part reads.
    pub fn tokens(&self, part: Part) -> &[u32] {
        &self.tokens[self.read..self.read + part.tokens]
    }

    /// Tokens read so far: the position of the next.
    pub fn read(&self) -> usize {
        self.read
    }

    /// Pages in order.
    pub fn table(&self) -> &[u32] {
        &self.table
    }

    /// Tokens of prompt and answer.
    #[cfg(test)]
    pub fn known(&self) -> &[u32] {
        &self.tokens
    }

    /// Only the token chosen last is unread, and it is not the prompt's.
    fn is_answering(&self) -> bool {
        self.read >= self.prompt && self.read + 1 == self.tokens.len()
    }

    fn shareable(&self) -> &[PageName] {
        self.names.as_ref().map_or(&[], |names| names.shareable(self.tokens.len()))
    }

    fn end(&self, now_us: u64) -> Option<End> {
        match self.late_at_us {
            _ if self.cancelled => Some(End::Cancelled),
            Some(late_at_us) if now_us >= late_at_us => Some(End::Late),
            _ => None,
        }
    }
}
