//! The scripted engine keeps the contract every engine keeps.

use bulla_engine::{
    ChatMessage, ChatRequest, Engine, Finish, GenerateRequest, Output, PromptError, Role, Sampling,
    Script, ScriptedEngine, SequenceId, SubmitError,
};

fn request(engine: &ScriptedEngine, content: &str) -> GenerateRequest {
    let prompt = engine.prompt(&ChatRequest::user(content)).unwrap();
    GenerateRequest::new(prompt, Sampling::greedy(), 100)
}

/// Steps until idle, or until `limit` steps are done.
fn run(engine: &mut ScriptedEngine, limit: usize) -> Vec<Output> {
    let mut outputs = Vec::new();
    for _ in 0..limit {
        if engine.is_idle() {
            break;
        }
        outputs.extend(engine.step());
    }
    outputs
}

fn text(outputs: &[Output], id: u64) -> String {
    let own = outputs.iter().filter(|output| output.id == SequenceId(id));
    own.map(|output| output.text.as_str()).collect()
}

fn last(outputs: &[Output], id: u64) -> &Output {
    outputs.iter().rfind(|output| output.id == SequenceId(id)).unwrap()
}

#[test]
fn echoes_the_last_message_and_counts() {
    let mut engine = ScriptedEngine::new("echo", 1);
    let mut request = request(&engine, "Grüße, 😀 Lily!");
    let chat = ChatRequest::new(vec![
        ChatMessage::new(Role::System, "be\u{2}user\u{3}brief"),
        ChatMessage::new(Role::User, "Grüße, 😀 Lily!"),
    ]);
    request.prompt = engine.prompt(&chat).unwrap();
    let input_tokens = request.prompt.token_count();
    engine.submit(SequenceId(7), request).unwrap();
    assert!(!engine.is_idle());
    let outputs = run(&mut engine, 100);
    assert_eq!(text(&outputs, 7), "Grüße, 😀 Lily!");
    let last = last(&outputs, 7);
    assert_eq!(last.finish, Some(Finish::Stop));
    assert_eq!(last.usage.input_tokens, input_tokens);
    assert_eq!(last.usage.prefilled_tokens, input_tokens);
    assert_eq!(last.usage.output_tokens, ScriptedEngine::count("Grüße, 😀 Lily!"));
    assert_eq!(outputs.iter().map(|output| output.tokens).sum::<u32>(), last.usage.output_tokens);
    assert!(engine.is_idle() && engine.step().is_empty());
}

#[test]
fn stops_at_the_ceiling_and_at_stop_strings() {
    let mut engine = ScriptedEngine::new("m", 1).in_turn(vec![Script::say("one two three")]);
    let short = GenerateRequest { max_tokens: 2, ..request(&engine, "x") };
    let stopped = GenerateRequest { stop: vec!["tw".into()], ..request(&engine, "x") };
    engine.submit(SequenceId(1), short).unwrap();
    engine.submit(SequenceId(2), stopped).unwrap();
    let outputs = run(&mut engine, 100);
    assert_eq!(text(&outputs, 1), "one tw");
    assert_eq!(last(&outputs, 1).finish, Some(Finish::Length));
    assert_eq!(last(&outputs, 1).usage.output_tokens, 2);
    assert_eq!(text(&outputs, 2), "one ");
    assert_eq!(last(&outputs, 2).finish, Some(Finish::Stop));
}

#[test]
fn scripts_fail_stall_and_are_slow() {
    let scripts = vec![
        Script::say("abcdef").fail_after(1, "out of luck"),
        Script::say("abcdef").stall_after(1),
        Script::say("abcdef").slow(3),
        Script::say(""),
    ];
    let mut engine = ScriptedEngine::new("m", 1).in_turn(scripts);
    for id in 0..4 {
        let request = request(&engine, "x");
        engine.submit(SequenceId(id), request).unwrap();
    }
    let outputs = run(&mut engine, 20);
    assert_eq!(text(&outputs, 0), "abc");
    assert_eq!(last(&outputs, 0).finish, Some(Finish::Error("out of luck".into())));
    assert_eq!(text(&outputs, 1), "abc");
    assert_eq!(last(&outputs, 1).finish, None);
    assert_eq!(text(&outputs, 2), "abcdef");
    assert_eq!(last(&outputs, 3).finish, Some(Finish::Stop));
    assert_eq!(last(&outputs, 3).usage.output_tokens, 0);

    engine.cancel(SequenceId(1));
    engine.cancel(SequenceId(99));
    let end = engine.step();
    assert_eq!(end[0].finish, Some(Finish::Cancelled));
    assert_eq!(end[0].usage.output_tokens, 1);
    assert!(engine.is_idle());
}

#[test]
fn a_slow_script_takes_its_steps() {
    let mut engine = ScriptedEngine::new("m", 1).in_turn(vec![Script::say("abcdef").slow(3)]);
    let request = request(&engine, "x");
    engine.submit(SequenceId(1), request).unwrap();
    let counts: Vec<usize> = (0..6).map(|_| engine.step().len()).collect();
    assert_eq!(counts, [0, 0, 1, 0, 0, 1]);
}

#[test]
fn waits_in_the_queue_and_refuses_more() {
    let mut engine = ScriptedEngine::new("m", 1).with_room(1, 1);
    for id in [1, 2] {
        let request = request(&engine, "abcdef");
        engine.submit(SequenceId(id), request).unwrap();
    }
    let third = request(&engine, "x");
    assert_eq!(
        engine.submit(SequenceId(2), third.clone()),
        Err(SubmitError::DuplicateId { id: SequenceId(2) })
    );
    assert_eq!(engine.submit(SequenceId(3), third), Err(SubmitError::QueueFull { limit: 1 }));
    assert!(engine.step().iter().all(|output| output.id == SequenceId(1)));
    engine.cancel(SequenceId(2));
    let outputs = run(&mut engine, 10);
    assert_eq!(last(&outputs, 2).finish, Some(Finish::Cancelled));
    assert_eq!(last(&outputs, 2).usage.prefilled_tokens, 0);
    assert_eq!(last(&outputs, 1).finish, Some(Finish::Stop));
}

#[test]
fn refuses_what_no_engine_takes() {
    let mut engine = ScriptedEngine::new("m", 1).with_context(10);
    let empty = ChatRequest::new(Vec::new());
    assert_eq!(engine.prompt(&empty), Err(PromptError::NoMessages));
    let long = ChatRequest::user("x".repeat(100));
    assert!(matches!(
        engine.prompt(&long),
        Err(PromptError::TooManyTokens { context_tokens: 10, got: 36 })
    ));
    let good = GenerateRequest { max_tokens: 1, ..request(&engine, "x") };
    let id = SequenceId(1);
    let none = GenerateRequest { max_tokens: 0, ..good.clone() };
    assert_eq!(engine.submit(id, none), Err(SubmitError::NoTokensAsked));
    let deep = GenerateRequest { max_tokens: 100, ..good.clone() };
    assert!(matches!(engine.submit(id, deep), Err(SubmitError::Context { .. })));
    let many = GenerateRequest { stop: vec!["a".into(); 17], ..good.clone() };
    assert!(matches!(engine.submit(id, many), Err(SubmitError::StopStrings { .. })));
    let blank = GenerateRequest { stop: vec![String::new()], ..good.clone() };
    assert!(matches!(engine.submit(id, blank), Err(SubmitError::StopBytes { .. })));
    let mut other = ScriptedEngine::new("other", 1);
    assert_eq!(other.submit(id, good), Err(SubmitError::ForeignPrompt));
    assert!(engine.is_idle() && other.is_idle());
}

/// The same requests give the same answers in another order, when the prompt chooses the script.
#[test]
fn neighbours_do_not_matter() {
    let engine = || {
        let scripts = vec![Script::babble(9), Script::echo(), Script::babble(3).slow(2)];
        ScriptedEngine::new("m", 42).by_prompt(scripts)
    };
    let answers = |order: Vec<u64>| {
        let mut engine = engine();
        for &id in &order {
            let request = request(&engine, &format!("question {id}"));
            engine.submit(SequenceId(id), request).unwrap();
        }
        let outputs = run(&mut engine, 1000);
        (0..20).map(|id| text(&outputs, id)).collect::<Vec<_>>()
    };
    let forward = answers((0..20).collect());
    assert_eq!(forward, answers((0..20).rev().collect()));
    assert!(forward.iter().any(|text| text.starts_with("question")));
    assert!(forward.iter().any(|text| !text.starts_with("question") && !text.is_empty()));
}
