//! The operations of the broker's HTTP API, read from its description (OpenAPI 3.1).

use std::collections::BTreeSet;
use std::sync::OnceLock;

use serde_json::Value;

/// The broker's own description, kept equal by a test of the broker.
const DESCRIPTION: &str = include_str!("openapi.json");
/// Under this name an operation says its words on the command line.
const COMMAND: &str = "x-command";
/// Required members of bodies that are given by place, without a flag before them.
const BY_PLACE: [&str; 3] = ["name", "label", "url"];

/// Whose operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// A customer's: `bulla account`.
    Account,
    /// The operator's: `bulla admin`.
    Admin,
}

impl Side {
    fn tag(self) -> &'static str {
        match self {
            Side::Account => "account",
            Side::Admin => "admin",
        }
    }

    /// Its operations.
    pub fn operations(self) -> impl Iterator<Item = &'static Operation> {
        static ALL: OnceLock<Vec<Operation>> = OnceLock::new();
        let all = ALL.get_or_init(|| {
            // What stands in this program was read by its tests.
            let document = serde_json::from_str(DESCRIPTION).unwrap_or_default();
            read(&document)
        });
        all.iter().filter(move |operation| operation.tag == self.tag())
    }
}

/// What an argument is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A text; `@FILE` is what stands in a file.
    Text,
    /// A text nobody should read in a list of processes: it comes from standard input.
    Secret,
    /// A whole number.
    Number,
    /// Yes or no.
    Truth,
    /// Several of a kind.
    List(Box<Kind>),
    /// Members by name: `name=value,…`.
    Record(Vec<Field>),
}

/// A parameter, or a member of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name in the API.
    pub name: String,
    /// Its name among the arguments of a command.
    pub id: String,
    /// Its flag.
    pub flag: String,
    /// What stands for its value in a line of help.
    pub placeholder: String,
    /// What it means.
    pub about: String,
    /// What it is.
    pub kind: Kind,
    /// Whether it must be given.
    pub required: bool,
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its name in the description.
    pub id: String,
    tag: String,
    /// Its words on the command line.
    pub words: Vec<String>,
    /// What it does.
    pub about: String,
    /// HTTP method, in capitals.
    pub method: String,
    /// Path, with `{parameter}`s.
    pub path: String,
    /// Parameters of the path, in their order.
    pub in_path: Vec<Field>,
    /// Parameters of the query.
    pub query: Vec<Field>,
    /// Members of the body; `None` where there is none.
    pub body: Option<Vec<Field>>,
    /// Media type of the answer.
    pub media: String,
    /// Members of the answer that are amounts in micro-units.
    pub amounts: BTreeSet<String>,
}

impl Field {
    fn new(name: &str, about: &str, kind: Kind, required: bool) -> Field {
        Field {
            name: name.to_owned(),
            // Never the name of an argument every command takes.
            id: format!("op-{name}"),
            flag: name.replace('_', "-"),
            placeholder: name.to_uppercase().replace('_', "-"),
            about: about.to_owned(),
            kind,
            required,
        }
    }

    /// Whether it is given by place.
    pub fn is_by_place(&self) -> bool {
        self.required && BY_PLACE.contains(&self.name.as_str()) && self.kind == Kind::Text
    }
}

/// Members in micro-units where an answer is not described: orders, receipts and transfers as they
/// are.
const AMOUNTS_OF_RECORDS: [&str; 7] =
    ["amount", "charge", "charged", "credited", "disputed", "held", "max_charge"];

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

fn each(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Every operation of a description.
pub fn read(document: &Value) -> Vec<Operation> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in item.as_object().into_iter().flatten() {
            found.push(one(document, path, method, operation));
        }
    }
    found
}

fn one(document: &Value, path: &str, method: &str, operation: &Value) -> Operation {
    let place = |wanted: &'static str| {
        let parameters = each(&operation["parameters"]);
        let of = parameters.filter(move |p| text(p, "in") == wanted);
        of.map(|p| {
            let kind = kind(document, &p["schema"]);
            let required = p["required"].as_bool().unwrap_or(false);
            Field::new(text(p, "name"), text(p, "description"), kind, required)
        })
        .collect()
    };
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    let answers = operation["responses"]["200"]["content"].as_object();
    let answer = answers.and_then(|content| content.iter().next());
    let mut amounts = BTreeSet::new();
    if let Some((_, content)) = answer {
        collect_amounts(document, &content["schema"], &mut amounts);
        if resolved(document, &content["schema"])["properties"].is_null() {
            amounts.extend(AMOUNTS_OF_RECORDS.map(str::to_owned));
        }
    }
    Operation {
        id: text(operation, "operationId").to_owned(),
        tag: operation["tags"][0].as_str().unwrap_or_default().to_owned(),
        words: text(operation, COMMAND).split(' ').map(str::to_owned).collect(),
        about: text(operation, "summary").trim_end_matches('.').to_owned(),
        method: method.to_uppercase(),
        path: path.to_owned(),
        in_path: place("path"),
        query: place("query"),
        body: (!body.is_null()).then(|| members(document, body)),
        media: answer.map(|(media, _)| media.clone()).unwrap_or_default(),
        amounts,
    }
}

/// The schema itself, wherever it stands.
fn resolved<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    match schema["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
        Some(name) => &document["components"]["schemas"][name],
        None => schema,
    }
}

fn members(document: &Value, schema: &Value) -> Vec<Field> {
    let schema = resolved(document, schema);
    let required: BTreeSet<&str> = each(&schema["required"]).filter_map(Value::as_str).collect();
    let properties = schema["properties"].as_object().into_iter().flatten();
    let field = |(name, property): (&String, &Value)| {
        let about = text(property, "description");
        let kind = kind(document, property);
        Field::new(name, about, kind, required.contains(name.as_str()))
    };
    properties.map(field).collect()
}

fn kind(document: &Value, schema: &Value) -> Kind {
    let schema = resolved(document, schema);
    let named =
        |wanted: &str| schema["type"] == wanted || each(&schema["type"]).any(|kind| kind == wanted);
    if named("boolean") {
        Kind::Truth
    } else if named("integer") {
        Kind::Number
    } else if named("array") {
        Kind::List(Box::new(kind(document, &schema["items"])))
    } else if named("object") {
        Kind::Record(members(document, schema))
    } else if schema["format"] == "password" {
        Kind::Secret
    } else {
        Kind::Text
    }
}

/// Which members, at any depth, are said to be in micro-units.
fn collect_amounts(document: &Value, schema: &Value, found: &mut BTreeSet<String>) {
    let schema = resolved(document, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        if text(property, "description").contains("in micro-units") {
            found.insert(name.clone());
        }
        collect_amounts(document, property, found);
        for choice in each(&property["oneOf"]) {
            collect_amounts(document, choice, found);
        }
    }
    if schema["items"].is_object() {
        collect_amounts(document, &schema["items"], found);
    }
}
