use super::*;

fn parsed(json: &str) -> Result<ChatOrder, ChatError> {
    parse(json.as_bytes(), 7)
}

/// A good request with one member more.
fn with(member: &str) -> Result<ChatOrder, ChatError> {
    parsed(&format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}],{member}}}"#))
}

#[test]
fn reads_text_parts_seed_and_stop() {
    let order = parsed(
        r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}],
            "seed":-1,"stop":"x","stream":true,"stream_options":{"include_usage":true}}"#,
    )
    .unwrap();
    assert_eq!(order.chat.messages[0].content, "hi");
    assert_eq!(order.sampling.seed(), u64::MAX);
    assert_eq!(order.stop, ["x"]);
    assert!(order.stream && order.include_usage);
}

#[test]
fn takes_the_drawn_seed_when_none_is_named() {
    let order = parsed(r#"{"model":"m","messages":[]}"#).unwrap();
    assert_eq!((order.sampling.seed(), order.choices, order.logprobs), (7, 1, None));
}

#[test]
fn reads_what_sampling_there_is() {
    let order = with(
        r#""temperature":0.5,"top_p":0.9,"top_k":-1,"min_p":0.1,"repetition_penalty":1.1,
           "presence_penalty":-1,"frequency_penalty":2,"logit_bias":{"7":-100,"3":1.5},
           "n":3,"logprobs":true,"top_logprobs":5,"max_tokens":9,"max_completion_tokens":4"#,
    )
    .unwrap();
    assert_eq!(order.sampling.logit_bias(), [(3, 1.5), (7, -100.0)]);
    assert_eq!((order.sampling.top_k(), order.sampling.min_p()), (0, 0.1));
    assert_eq!((order.choices, order.logprobs, order.max_tokens), (3, Some(5), Some(4)));
}

#[test]
fn each_absurd_value_is_one_error_that_names_it() {
    let biases: Vec<String> = (0..2000).map(|id| format!(r#""{id}":1"#)).collect();
    let biases = format!(r#""logit_bias":{{{}}}"#, biases.join(","));
    for (param, member) in [
        ("temperature", r#""temperature":-0.1"#),
        ("temperature", r#""temperature":2.5"#),
        ("temperature", r#""temperature":1e38"#),
        ("top_p", r#""top_p":0"#),
        ("top_p", r#""top_p":7.0"#),
        ("top_k", r#""top_k":-2"#),
        ("top_k", r#""top_k":1099511627776"#),
        ("min_p", r#""min_p":1.01"#),
        ("repetition_penalty", r#""repetition_penalty":0"#),
        ("presence_penalty", r#""presence_penalty":2.01"#),
        ("frequency_penalty", r#""frequency_penalty":-3"#),
        ("logit_bias", r#""logit_bias":{"x":1}"#),
        ("logit_bias", r#""logit_bias":{"-1":1}"#),
        ("logit_bias", r#""logit_bias":{"1":"much"}"#),
        ("logit_bias", r#""logit_bias":{"1":101}"#),
        ("logit_bias", biases.as_str()),
        ("n", r#""n":0"#),
        ("n", r#""n":-1"#),
        ("n", r#""n":17"#),
        ("max_tokens", r#""max_tokens":0"#),
        ("max_tokens", r#""max_tokens":-5"#),
        ("max_completion_tokens", r#""max_completion_tokens":0"#),
        ("top_logprobs", r#""top_logprobs":2"#),
        ("top_logprobs", r#""logprobs":true,"top_logprobs":21"#),
        ("top_logprobs", r#""logprobs":true,"top_logprobs":-1"#),
        ("tools", r#""tools":[{"type":"magic"}]"#),
        ("tools", r#""tools":[{"type":"function","function":{"name":"a b"}}]"#),
        ("tools", r#""tools":[{"type":"function","function":{"name":"f","parameters":[]}}]"#),
        ("tool_choice", r#""tool_choice":"required""#),
        ("tool_choice", r#""tool_choice":"perhaps""#),
        ("tool_choice", r#""tool_choice":{"type":"function","function":{"name":"g"}}"#),
        ("response_format", r#""response_format":{"type":"xml"}"#),
        ("response_format", r#""response_format":{"type":"json_schema"}"#),
        ("functions", r#""functions":[]"#),
        ("modalities", r#""modalities":["audio"]"#),
        ("parallel_tool_calls", r#""parallel_tool_calls":false"#),
    ] {
        let error = with(member).err().unwrap_or_else(|| panic!("{member} was accepted"));
        assert_eq!((error.status, error.param), (400, Some(param)), "{member}: {error}");
        assert!(error.message.contains(param) || error.message.len() > 20, "{member}: {error}");
    }
}

#[test]
fn what_is_no_number_is_no_request() {
    for member in [
        r#""temperature":NaN"#,
        r#""temperature":"hot""#,
        r#""top_p":[]"#,
        r#""n":1.5"#,
        r#""seed":1e400"#,
        r#""messages":7"#,
        r#""chat_template_kwargs":{"system_prompt":"x"}"#,
    ] {
        let error = with(member).err().unwrap_or_else(|| panic!("{member} was accepted"));
        assert_eq!((error.status, error.param), (400, None), "{member}: {error}");
    }
}

#[test]
fn messages_have_known_roles_and_calls_where_they_belong() {
    for message in [
        r#"{"role":"wizard","content":"x"}"#,
        r#"{"role":"user","content":[{"type":"image_url","image_url":{}}]}"#,
        r#"{"role":"tool","content":"4"}"#,
        r#"{"role":"user","content":"4","tool_call_id":"c"}"#,
        r#"{"role":"user","tool_calls":[{"id":"c","function":{"name":"f","arguments":"{}"}}]}"#,
    ] {
        let error = parsed(&format!(r#"{{"model":"m","messages":[{message}]}}"#)).err().unwrap();
        assert_eq!(error.param, Some("messages"), "{message}: {error}");
    }
    let order = parsed(
        r#"{"model":"m","messages":[
            {"role":"developer","content":"be brief"},
            {"role":"assistant","content":null,"tool_calls":[
                {"id":"c1","type":"function","function":{"name":"f","arguments":"{\"b\":1,\"a\":2}"}}]},
            {"role":"tool","tool_call_id":"c1","content":"4"}],
            "tools":[{"type":"function","function":{"name":"f"}}],
            "chat_template_kwargs":{"enable_thinking":false}}"#,
    )
    .unwrap();
    let call = &order.chat.messages[1].tool_calls[0];
    assert_eq!(call["function"]["arguments"].to_string(), r#"{"b":1,"a":2}"#);
    assert_eq!(order.chat.messages[2].tool_call_id.as_deref(), Some("c1"));
    assert_eq!((order.tool_choice, order.chat.tools.len()), (ToolChoice::Auto, 1));
    assert_eq!(order.chat.thinking, Some(false));
}

#[test]
fn tools_that_may_not_be_called_are_not_shown() {
    let tools = r#""tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"none""#;
    let order = with(tools).unwrap();
    assert!(order.chat.tools.is_empty() && order.tool_choice == ToolChoice::None);
}
