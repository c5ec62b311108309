//! Commands made from operations: words, places and flags; and the request that was typed.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::{Map, Value};

use super::description::{Field, Kind, Operation, Side};

/// Largest file a text is read from, in bytes: what the API takes of a body.
const MAX_TEXT_FILE_BYTES: u64 = 64 * 1024;

/// A request, ready to be sent.
#[derive(Debug, Clone)]
pub struct Call {
    /// The operation.
    pub operation: &'static Operation,
    /// The path, parameters filled in.
    pub path: String,
    /// The query, without its question mark; empty where there is none.
    pub query: String,
    /// The body (JSON); empty where there is none.
    pub body: Vec<u8>,
}

/// Adds a side's operations to a command, but for those it has made by hand.
pub fn with_operations(mut command: Command, side: Side, by_hand: &[&str]) -> Command {
    let mut groups: BTreeMap<&'static str, Vec<&'static Operation>> = BTreeMap::new();
    for operation in side.operations().filter(|o| !by_hand.contains(&o.id.as_str())) {
        match &operation.words[..] {
            [word] => command = command.subcommand(leaf(word, operation)),
            [group, ..] => groups.entry(group).or_default().push(operation),
            [] => {}
        }
    }
    for (word, operations) in groups {
        let verbs: Vec<&str> =
            operations.iter().filter_map(|o| o.words.get(1).map(String::as_str)).collect();
        let group = Command::new(word).about(verbs.join(", ")).subcommand_required(true);
        let leaves = operations.iter().filter_map(|o| Some(leaf(o.words.get(1)?, o)));
        command = command.subcommand(group.arg_required_else_help(true).subcommands(leaves));
    }
    command
}

fn leaf(word: &'static str, operation: &'static Operation) -> Command {
    let mut command = Command::new(word).about(operation.about.as_str());
    let body = operation.body.iter().flatten();
    let (placed, flagged): (Vec<_>, Vec<_>) = body.partition(|field| field.is_by_place());
    for field in operation.in_path.iter().chain(placed) {
        let name = Arg::new(field.id.as_str()).required(true).help(field.about.as_str());
        command = command.arg(name.value_name(field.placeholder.as_str()));
    }
    for field in operation.query.iter().chain(flagged) {
        command = command.arg(flag(field));
    }
    command
}

fn flag(field: &'static Field) -> Arg {
    let arg = Arg::new(field.id.as_str()).long(field.flag.as_str()).required(field.required);
    let arg = arg.value_name(field.placeholder.as_str()).help(field.about.as_str());
    match &field.kind {
        Kind::Text => arg,
        Kind::Secret => {
            let about = format!("{} Read from standard input.", field.about);
            arg.action(ArgAction::SetTrue).value_name(None::<&str>).required(false).help(about)
        }
        Kind::Number => arg.value_parser(value_parser!(u64)),
        Kind::Truth if field.required => arg.value_parser(value_parser!(bool)),
        Kind::Truth => arg.action(ArgAction::SetTrue).value_name(None::<&str>),
        Kind::List(_) | Kind::Record(_) => {
            let about = match &field.kind {
                Kind::List(kind) => match &**kind {
                    Kind::Record(members) => format!("{} {}", field.about, form(members)),
                    _ => format!("{} May be given more than once.", field.about),
                },
                _ => field.about.clone(),
            };
            arg.action(ArgAction::Append).help(about)
        }
    }
}

/// How a record is typed.
fn form(members: &[Field]) -> String {
    let parts: Vec<String> = members.iter().map(|m| format!("{}=…", m.name)).collect();
    format!("As {}; may be given more than once.", parts.join(","))
}

/// The request behind what was typed; `None` where it is no operation of this side.
pub fn call(side: Side, matches: (&str, &ArgMatches)) -> anyhow::Result<Option<Call>> {
    let (word, mut given) = matches;
    let mut words = vec![word];
    if let Some((next, inner)) = given.subcommand() {
        words.push(next);
        given = inner;
    }
    let Some(operation) = side.operations().find(|operation| operation.words == words) else {
        return Ok(None);
    };
    let mut path = operation.path.clone();
    for field in &operation.in_path {
        let value = given.get_one::<String>(&field.id).context("a parameter is missing")?;
        path = path.replace(&format!("{{{}}}", field.name), &encoded(value));
    }
    let mut query = Vec::new();
    for field in &operation.query {
        if let Some(value) = given.get_one::<String>(&field.id) {
            query.push(format!("{}={}", field.name, encoded(value)));
        }
    }
    let mut members = Map::new();
    for field in operation.body.iter().flatten() {
        if let Some(value) = member(field, given)? {
            members.insert(field.name.clone(), value);
        }
    }
    let body = match operation.body {
        Some(_) => serde_json::to_vec(&Value::Object(members))?,
        None => Vec::new(),
    };
    Ok(Some(Call { operation, path, query: query.join("&"), body }))
}

fn member(field: &Field, given: &ArgMatches) -> anyhow::Result<Option<Value>> {
    Ok(match &field.kind {
        Kind::Text => given.get_one::<String>(&field.id).map(|t| text(t)).transpose()?,
        Kind::Secret => match given.get_flag(&field.id) {
            true => {
                let mut line = String::new();
                std::io::stdin().read_line(&mut line).context("standard input")?;
                Some(Value::from(line.trim_end_matches(['\r', '\n'])))
            }
            false => None,
        },
        Kind::Number => given.get_one::<u64>(&field.id).map(|number| Value::from(*number)),
        Kind::Truth if field.required => given.get_one::<bool>(&field.id).map(|b| Value::from(*b)),
        Kind::Truth => given.get_flag(&field.id).then_some(Value::Bool(true)),
        Kind::Record(_) | Kind::List(_) => {
            let one = match &field.kind {
                Kind::List(kind) => kind,
                whole => whole,
            };
            let typed = given.get_many::<String>(&field.id).into_iter().flatten();
            let mut items = typed.map(|t| item(one, t)).collect::<anyhow::Result<Vec<_>>>()?;
            match (&field.kind, items.is_empty()) {
                (_, true) => None,
                (Kind::Record(_), false) => items.pop(),
                _ => Some(Value::Array(items)),
            }
        }
    })
}

/// A text as typed, or what stands in a file.
fn text(typed: &str) -> anyhow::Result<Value> {
    let Some(path) = typed.strip_prefix('@').filter(|path| !path.is_empty()) else {
        return Ok(Value::from(typed));
    };
    let length = std::fs::metadata(Path::new(path)).with_context(|| path.to_owned())?.len();
    if length > MAX_TEXT_FILE_BYTES {
        bail!("{path} has {length} bytes, at most {MAX_TEXT_FILE_BYTES} are sent");
    }
    Ok(Value::from(std::fs::read_to_string(path).with_context(|| path.to_owned())?))
}

fn item(kind: &Kind, typed: &str) -> anyhow::Result<Value> {
    let number = |typed: &str| {
        typed.parse::<u64>().map(Value::from).with_context(|| format!("{typed:?} is no number"))
    };
    match kind {
        Kind::Number => number(typed),
        Kind::Truth => Ok(Value::Bool(typed.parse().context("true or false")?)),
        Kind::Record(members) => {
            let mut record = Map::new();
            for part in typed.split(',') {
                let (name, value) =
                    part.split_once('=').with_context(|| format!("{part:?} is not name=value"))?;
                let known = members.iter().find(|member| member.name == name);
                let known =
                    known.with_context(|| format!("{name:?} is unknown: {}", form(members)))?;
                record.insert(name.to_owned(), item(&known.kind, value)?);
            }
            Ok(Value::Object(record))
        }
        Kind::Text | Kind::Secret | Kind::List(_) => text(typed),
    }
}

/// Percent-encoded for a path's segment or a query's value.
fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}
