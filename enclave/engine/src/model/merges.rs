//! Merges of a byte-pair vocabulary, looked at before the tokenizer's own reader takes them: it
//! copies each pair into room for the longest token, and panics where a pair is longer.

use serde_json::Value;

/// Refuses a pair that cannot be a token: `longest_bytes` is the longest there is, and `prefix` is
/// what a second half begins with.
pub(super) fn check<'a>(
    longest_bytes: usize,
    prefix: &str,
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<(), String> {
    for (first, second) in pairs {
        let fits = second
            .get(prefix.len()..)
            .is_some_and(|rest| first.len() + rest.len() <= longest_bytes);
        if !fits {
            return Err(format!("the merge of {first:?} and {second:?} makes no token"));
        }
    }
    Ok(())
}

/// The same of a tokenizer.json's `model`; what has no merges has none that are wrong.
pub(super) fn check_model(model: &Value) -> Result<(), String> {
    let (Some(vocab), Some(merges)) = (model["vocab"].as_object(), model["merges"].as_array())
    else {
        return Ok(());
    };
    let longest_bytes = vocab.keys().map(String::len).max().unwrap_or(0);
    let prefix = model["continuing_subword_prefix"].as_str().unwrap_or("");
    // What is no pair is refused by the reader itself.
    check(longest_bytes, prefix, merges.iter().filter_map(pair))
}

fn pair(merge: &Value) -> Option<(&str, &str)> {
    match merge {
        Value::String(line) => line.split_once(' '),
        pair => Some((pair[0].as_str()?, pair[1].as_str()?)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pair_longer_than_any_token_is_refused() {
        let model = |prefix: &str, merges: Value| {
            json!({
                "vocab": {"ab": 0, "##c": 1, "a": 2, "abc": 3}, "merges": merges,
                "continuing_subword_prefix": prefix,
            })
        };
        assert_eq!(check_model(&model("", json!(["a ab", ["a", "a"]]))), Ok(()));
        assert_eq!(check_model(&model("##", json!(["ab ##c"]))), Ok(()));
        assert!(check_model(&model("", json!([["ab", "ab"]]))).is_err());
        assert!(check_model(&model("", json!(["ab ##c"]))).is_err());
        // A second half shorter than its mark, or one that the mark would cut in two.
        assert!(check_model(&model("##", json!(["a a"]))).is_err());
        assert!(check_model(&model("##", json!(["a €"]))).is_err());
        assert_eq!(check_model(&json!({"vocab": []})), Ok(()));
    }
}
