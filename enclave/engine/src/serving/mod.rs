//! Who is served when, and with which pages: pure accounting, without weights, floats or clock.

mod fairness;
mod pages;
mod prefix;
mod scheduler;
#[cfg(test)]
mod tests;

pub(crate) use fairness::Counters;
pub(crate) use pages::Wipe;
pub(crate) use prefix::Secret;
pub(crate) use scheduler::{Arrival, End, Overload, Part, Progress, Scheduler, SchedulerLimits};
