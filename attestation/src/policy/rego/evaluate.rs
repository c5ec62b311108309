//! The evaluation, with `regorus`: no network, no clock and no randomness among its functions, and
//! limits on size and time. The time limit reads a monotonic clock, the only thing in this crate
//! that does: it can turn an allowance into a refusal and nothing else.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, PolicyLengthConfig, Value};
use serde::Serialize;

use super::{MAX_MODULE_BYTES, RegoModule};
use crate::result::{AttestationResult, Check, CheckName, Claims};

/// What is asked.
const QUERY: &str = "data.bulla.allow";
/// Longest evaluation (ours): a verdict is a few kilobytes.
const MAX_TIME: Duration = Duration::from_millis(250);
/// The clock is looked at once in so many steps.
const STEPS_BETWEEN_LOOKS: NonZeroU32 = NonZeroU32::new(64).unwrap();
/// Longest line of a module, in characters (ours).
const MAX_COLUMNS: NonZeroU32 = NonZeroU32::new(400).unwrap();
/// Most lines of a module (ours).
const MAX_LINES: NonZeroUsize = NonZeroUsize::new(4_000).unwrap();
/// A function whose answer nobody could repeat.
const RANDOM: &str = "rand.intn";

/// What a module sees.
#[derive(Serialize)]
struct Input<'a> {
    tee: crate::tee::TeeKind,
    product: Option<&'a str>,
    simulated: bool,
    appraised_at: bulla_wire::units::UnixSeconds,
    checks: Vec<&'a Check>,
    claims: Option<&'a Claims>,
}

/// The value of the query as JSON, or why there is none.
pub(super) fn allow(
    modules: &[(RegoModule, String)],
    result: &AttestationResult,
) -> Result<String, String> {
    let input = Input {
        tee: result.tee(),
        product: result.product(),
        simulated: result.is_simulated(),
        appraised_at: result.appraised_at(),
        checks: result.checks().iter().filter(|check| check.name != CheckName::Rego).collect(),
        claims: result.claims(),
    };
    let input = serde_json::to_string(&input).map_err(|error| error.to_string())?;
    let mut engine = engine();
    for (module, text) in modules {
        if text.contains(RANDOM) {
            return Err(format!("{}: {RANDOM} has no answer that can be repeated", module.file));
        }
        let added = engine.add_policy(module.file.clone(), text.clone());
        added.map_err(|error| one_line(&error))?;
    }
    engine.set_input(Value::from_json_str(&input).map_err(|error| one_line(&error))?);
    let value = engine.eval_rule(QUERY.to_owned()).map_err(|error| one_line(&error))?;
    value.to_json_str().map_err(|error| one_line(&error))
}

fn engine() -> Engine {
    let mut engine = Engine::new();
    engine.set_policy_length_config(PolicyLengthConfig {
        max_col: MAX_COLUMNS,
        max_file_bytes: const { NonZeroUsize::new(MAX_MODULE_BYTES).unwrap() },
        max_lines: MAX_LINES,
    });
    engine.set_execution_timer_config(ExecutionTimerConfig {
        limit: MAX_TIME,
        check_interval: STEPS_BETWEEN_LOOKS,
    });
    engine.set_strict_builtin_errors(true);
    engine
}

/// An error without its drawing of the source.
fn one_line(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ").chars().take(300).collect()
}
