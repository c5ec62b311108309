//! A world of requests from a seed: every page is watched, every request comes to its end.

use std::collections::BTreeMap;

use bulla_kernels::attention::PAGE_TOKENS;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::*;
use crate::request::{Prefix, SequenceId, Tenant, TenantId};

/// What lies on each page: who wrote it, and the token.
struct Memory(Vec<[Option<(u8, u32)>; PAGE_TOKENS]>);

impl Wipe for Memory {
    fn wipe(&mut self, page: u32) {
        self.0[page as usize] = [None; PAGE_TOKENS];
    }
}

#[derive(Clone)]
struct Wish {
    tenant: u8,
    seed: u32,
    answer: usize,
    said: usize,
}

struct World {
    scheduler: Scheduler<Wish>,
    memory: Memory,
    random: ChaCha8Rng,
    next_id: u64,
    now_us: u64,
    live: BTreeMap<u64, u64>,
    progress: Progress,
    /// Tokens said for each tenant.
    said: [usize; 4],
}

fn limits() -> SchedulerLimits {
    SchedulerLimits {
        running: 6,
        queued: 40,
        queued_per_tenant: 30,
        prompt_tokens: 24,
        prompt_tokens_alone: 50,
    }
}

fn tenant(name: u8, weight: u32) -> Tenant {
    Tenant { id: TenantId([name; 32]), weight }
}

impl World {
    fn new(seed: u64, pages: usize, limits: SchedulerLimits) -> World {
        World {
            scheduler: Scheduler::new(limits, pages, Secret([7; 32])),
            memory: Memory(vec![[None; PAGE_TOKENS]; pages]),
            random: ChaCha8Rng::seed_from_u64(seed),
            next_id: 0,
            now_us: 0,
            live: BTreeMap::new(),
            progress: Progress::default(),
            said: [0; 4],
        }
    }

    fn below(&mut self, bound: u32) -> u32 {
        self.random.next_u32() % bound
    }

    /// A prompt that begins like others, of any tenant.
    fn prompt(&mut self) -> Vec<u32> {
        let family = self.below(3);
        let common = self.below(60);
        let own = 1 + self.below(30);
        let shared = (0..common).map(|at| family * 1000 + at);
        shared.chain((0..own).map(|at| 10_000 + family + at)).collect()
    }

    fn submit(&mut self, who: Tenant, tokens: Vec<u32>, prefix: Option<Prefix>, answer: usize) {
        let id = self.next_id;
        self.next_id += 1;
        let wish = Wish { tenant: who.id.0[0], seed: self.random.next_u32(), answer, said: 0 };
        let late_at_us = (self.below(40) == 0).then(|| self.now_us + 5);
        let id = SequenceId(id);
        let arrival = Arrival { id, tenant: who, prefix, tokens, late_at_us, cargo: wish };
        if self.scheduler.submit(arrival).is_ok() {
            self.live.insert(id.0, self.now_us);
        }
    }

    fn submit_any(&mut self) {
        let name = self.below(4) as u8;
        let tokens = self.prompt();
        let scope = [name; 32];
        let prefix = match self.below(4) {
            0 => None,
            1 => Some(Prefix { scope, keep: false }),
            _ => Some(Prefix { scope, keep: true }),
        };
        let answer = 1 + self.below(30) as usize;
        self.submit(tenant(name, 1 + u32::from(name)), tokens, prefix, answer);
    }

    fn step(&mut self) {
        self.now_us += 1;
        let mut ended = 0;
        self.scheduler.reap(self.now_us, &mut self.memory, |_, _| ended += 1);
        let parts = self.scheduler.plan(&mut self.memory).to_vec();
        for part in parts {
            self.read(part);
            let progress = self.scheduler.advance(part);
            self.progress.prompt += progress.prompt;
            self.progress.cached += progress.cached;
            self.progress.recomputed += progress.recomputed;
            if part.whole {
                let wish = &mut self.scheduler.running_mut(part.index).cargo;
                wish.said += 1;
                self.said[usize::from(wish.tenant)] += 1;
                let token = wish.seed.wrapping_mul(wish.said as u32);
                if wish.said < wish.answer {
                    self.scheduler.push(part.index, token);
                }
            }
        }
        self.scheduler.retire(&mut self.memory, |wish| wish.said >= wish.answer);
        let live = std::mem::take(&mut self.live);
        let has = |id: &u64| self.scheduler.has(SequenceId(*id));
        self.live = live.into_iter().filter(|(id, _)| has(id)).collect();
        self.audit();
    }

    /// What a pass does: sees everything before, writes its own.
    fn read(&mut self, part: Part) {
        let sequence = &self.scheduler.running()[part.index];
        let tenant = sequence.cargo.tenant;
        let slot = |at: usize| (sequence.table()[at / PAGE_TOKENS] as usize, at % PAGE_TOKENS);
        for at in 0..sequence.read() {
            let (page, place) = slot(at);
            let expected = Some((tenant, sequence.known()[at]));
            assert_eq!(self.memory.0[page][place], expected, "position {at}");
        }
        for (at, token) in sequence.tokens(part).iter().enumerate() {
            let (page, place) = slot(sequence.read() + at);
            assert_eq!(self.memory.0[page][place], None, "the page was not wiped");
            self.memory.0[page][place] = Some((tenant, *token));
        }
    }

    fn audit(&self) {
        let running = self.scheduler.running();
        assert!(running.len() <= limits().running);
        self.scheduler.pages().audit(running.iter().map(|sequence| sequence.table()));
        for page in self.scheduler.pages().free() {
            let page = &self.memory.0[*page as usize];
            assert!(page.iter().all(Option::is_none), "a free page holds something");
        }
    }
}

#[test]
fn no_page_leaks_is_read_by_others_or_keeps_anything() {
    let mut preemptions = 0;
    let mut total = Progress::default();
    for seed in 0..60 {
        // The smallest holds one request of the longest kind.
        let mut world = World::new(seed, 8 + (seed as usize % 5) * 6, limits());
        for _ in 0..300 {
            for _ in 0..world.below(3) {
                world.submit_any();
            }
            if world.below(6) == 0 && world.next_id > 0 {
                let id = world.next_id - 1 - u64::from(world.below(10)).min(world.next_id - 1);
                world.scheduler.cancel(SequenceId(id));
                world.step();
                assert!(!world.scheduler.has(SequenceId(id)), "cancelled at the next step");
            }
            world.step();
            // Everything runs far below this bound: nobody starves.
            let oldest = world.live.values().min().copied().unwrap_or(world.now_us);
            assert!(world.now_us - oldest < 1500, "seed {seed}: somebody starves");
        }
        let mut rest = 0;
        while !world.scheduler.is_idle() {
            world.step();
            rest += 1;
            assert!(rest < 5000, "seed {seed}: it does not come to an end");
        }
        world.scheduler.forget_prefixes(&mut world.memory);
        world.audit();
        assert_eq!(world.scheduler.pages().free().len(), world.scheduler.pages().count());
        preemptions += world.scheduler.preemptions();
        total.cached += world.progress.cached;
        total.recomputed += world.progress.recomputed;
    }
    assert!(preemptions > 100 && total.cached > 1000 && total.recomputed > 100, "{total:?}");
}

/// Tokens said for two tenants of these weights, who ask for so many answers in each step.
fn shares(weights: [u32; 2], requests: [usize; 2]) -> [usize; 2] {
    let limits = SchedulerLimits { running: 4, queued: 500, queued_per_tenant: 200, ..limits() };
    let mut world = World::new(1, 60, limits);
    for _ in 0..1000 {
        for (name, weight) in weights.into_iter().enumerate() {
            for _ in 0..requests[name] {
                world.submit(tenant(name as u8, weight), vec![1; 20], None, 10);
            }
        }
        world.step();
    }
    [world.said[0], world.said[1]]
}

#[test]
fn who_asks_more_gets_no_more() {
    let [flood, quiet] = shares([1, 1], [9, 1]);
    assert!(flood.abs_diff(quiet) * 20 < flood + quiet, "{flood} and {quiet}");
}

#[test]
fn service_follows_the_weights() {
    let [one, three] = shares([1, 3], [2, 2]);
    assert!((28 * one..32 * one).contains(&(10 * three)), "{one} and {three}");
}

#[test]
fn who_asks_little_waits_for_nobody() {
    // The second tenant asks rarely: all it asked for is answered although the first floods.
    let mut world = World::new(3, 60, SchedulerLimits { queued: 500, ..limits() });
    let mut asked = 0;
    for step in 0..500 {
        (0..3).for_each(|_| world.submit(tenant(0, 1), vec![1; 20], None, 10));
        if step % 50 == 0 {
            world.submit(tenant(1, 1), vec![2; 20], None, 5);
            asked += 5;
        }
        world.step();
    }
    assert!(world.said[1] * 10 >= asked * 9, "{} of {asked}", world.said[1]);
}

#[test]
fn choices_of_one_request_share_its_prompt() {
    let mut world = World::new(1, 40, limits());
    let prefix = Some(Prefix { scope: [9; 32], keep: false });
    for _ in 0..3 {
        world.submit(tenant(0, 1), (0..100).collect(), prefix, 20);
    }
    // The first reads the prompt, the others wait for its pages.
    world.step();
    assert_eq!(world.scheduler.running().len(), 1);
    world.step();
    world.step();
    assert_eq!(world.scheduler.running().len(), 3);
    assert_eq!((world.progress.prompt, world.progress.cached), (100 + 2 * 4, 2 * 96));
    let [first, second, third] = [0, 1, 2].map(|at| &world.scheduler.running()[at].table()[..6]);
    assert!(first == second && second == third);
}

#[test]
fn queues_are_bounded_for_each_tenant_and_for_all() {
    let limits = SchedulerLimits { queued: 5, queued_per_tenant: 3, ..limits() };
    let mut scheduler = Scheduler::new(limits, 10, Secret([0; 32]));
    let mut submit = |id, name| {
        let id = SequenceId(id);
        let (prefix, late_at_us, tokens) = (None, None, vec![1]);
        scheduler.submit(Arrival {
            id,
            tenant: tenant(name, 1),
            prefix,
            tokens,
            late_at_us,
            cargo: (),
        })
    };
    for id in 0..3 {
        assert_eq!(submit(id, 1), Ok(()));
    }
    assert_eq!(submit(3, 1), Err(Overload::Tenant));
    assert_eq!((submit(4, 2), submit(5, 2)), (Ok(()), Ok(())));
    assert_eq!(submit(6, 2), Err(Overload::Queue));
}
