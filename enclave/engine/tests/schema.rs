//! Answers of models that know nothing, kept to JSON all the same.

mod common;

use std::sync::Arc;

use bulla_engine::{
    BatchEngine, Engine, EngineLimits, Finish, GenerateRequest, GrammarError, MAX_SCHEMA_BYTES,
    Model, Sampling, SequenceId, SubmitError,
};
use serde_json::Value;

use common::{Told, collect, engine, greedy, model, run, told};

const INVOICE: &str = r#"{
    "type": "object",
    "properties": {
        "kind": {"enum": ["invoice", "reminder"]},
        "paid": {"type": "boolean"},
        "items": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 99},
                  "minItems": 1, "maxItems": 3}
    },
    "required": ["kind", "paid", "items"],
    "additionalProperties": false
}"#;

fn ask(model: &Arc<Model>, schema: &str, seed: u64) -> Told {
    let mut engine = engine(model);
    engine.submit(SequenceId(1), request(model, schema, seed)).unwrap();
    told(&mut engine, 1)
}

fn request(model: &Model, schema: &str, seed: u64) -> GenerateRequest {
    let prompt = model.prompt_text("oil").unwrap();
    let sampling = Sampling::new(1.5, 1.0, 0, seed).unwrap();
    let schema = Some(schema.to_owned());
    GenerateRequest { schema, ..GenerateRequest::new(prompt, sampling, 200) }
}

#[test]
fn every_answer_is_of_the_schema() {
    // Byte-level, and with byte fallback.
    for name in ["qwen2-tied-bf16", "llama-tied-f32", "qwen3-tied-bf16"] {
        let model = model(name);
        let mut complete = 0;
        for seed in 0..12 {
            let told = ask(&model, INVOICE, seed);
            if told.finish == Finish::Length {
                continue;
            }
            complete += 1;
            assert_eq!(told.finish, Finish::Stop, "{name}");
            let json: Value = serde_json::from_str(&told.text).unwrap();
            assert!(["invoice", "reminder"].contains(&json["kind"].as_str().unwrap()));
            assert!(json["paid"].is_boolean() && json.as_object().unwrap().len() == 3);
            let items = json["items"].as_array().unwrap();
            assert!((1..=3).contains(&items.len()));
            assert!(items.iter().all(|item| item.as_u64().unwrap() <= 99));
        }
        assert!(complete >= 6, "{name}: {complete} of 12 came to their end");
    }
}

#[test]
fn neighbours_and_lost_pages_do_not_change_it() {
    let model = model("qwen2-tied-bf16");
    let expected: Vec<Told> = (0..6).map(|seed| ask(&model, INVOICE, seed)).collect();
    let limits = EngineLimits { cache_bytes: 14 * 16 * 2 * 2 * 8 * 2 * 4, ..Default::default() };
    let mut engine = BatchEngine::new(Arc::clone(&model), limits);
    for seed in 0..6 {
        engine.submit(SequenceId(seed), request(&model, INVOICE, seed)).unwrap();
    }
    let free = greedy(model.prompt_text("The clay").unwrap(), 60);
    engine.submit(SequenceId(9), free).unwrap();
    let outputs = run(&mut engine);
    assert!(engine.counters().preemptions > 0);
    for (seed, expected) in expected.iter().enumerate() {
        let got = collect(&outputs, seed as u64);
        assert_eq!((&got.text, &got.finish), (&expected.text, &expected.finish));
    }
}

#[test]
fn schemas_that_cannot_be_kept_are_one_clear_error() {
    let model = model("qwen2-tied-bf16");
    let mut engine = engine(&model);
    let deep = format!("{}1{}", r#"{"items":"#.repeat(200), "}".repeat(200));
    for bad in [
        "",
        "[]",
        "{",
        "true",
        r#"{"type": "wizard"}"#,
        r#"{"type": 7}"#,
        r##"{"$ref": "#/nowhere"}"##,
        r#"{"$ref": "http://example.com/schema"}"#,
        r#"{"type": "string", "pattern": "(((("}"#,
        r#"{"type": "integer", "minimum": 5, "maximum": 1}"#,
        r#"{"properties": {"a": 3}}"#,
        deep.as_str(),
    ] {
        let error = engine.submit(SequenceId(1), request(&model, bad, 0)).unwrap_err();
        assert!(
            matches!(error, SubmitError::Schema(GrammarError::Schema { .. })),
            "{bad}: {error}"
        );
    }
    let long = format!("{{\"title\":\"{}\"}}", "x".repeat(MAX_SCHEMA_BYTES));
    let got_bytes = long.len();
    let error = engine.submit(SequenceId(1), request(&model, &long, 0));
    assert_eq!(error, Err(SubmitError::Schema(GrammarError::TooLong { got_bytes })));
    assert!(engine.is_idle());
}

#[test]
fn a_schema_that_wants_too_much_ends_in_time() {
    let model = model("qwen2-tied-bf16");
    let mut engine = engine(&model);
    let many: Vec<String> =
        (0..800).map(|n| format!(r#""p{n}":{{"type":"string","maxLength":{n}}}"#)).collect();
    let wide = format!(r#"{{"type":"object","properties":{{{}}}}}"#, many.join(","));
    for schema in [
        wide.as_str(),
        r#"{"type":"string","pattern":"^(a{1,3000}){1,3000}$"}"#,
        r#"{"type":"array","items":{"type":"string"},"minItems":100000,"maxItems":1000000}"#,
        r##"{"$ref":"#","anyOf":[{"$ref":"#"}]}"##,
    ] {
        // Taken or refused, but decided.
        if engine.submit(SequenceId(1), request(&model, schema, 1)).is_ok() {
            engine.step();
            engine.cancel(SequenceId(1));
            run(&mut engine);
        }
    }
}
