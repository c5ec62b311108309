//! What goes back to the page: `{"ok": …}` or `{"error": "…"}`, one sentence for people.

use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Reply<'a, T> {
    Ok(&'a T),
    Error(String),
}

/// Any outcome as JSON.
pub fn to_json<T: Serialize, E: std::fmt::Display>(outcome: &Result<T, E>) -> Vec<u8> {
    let reply = match outcome {
        Ok(value) => Reply::Ok(value),
        Err(error) => Reply::Error(error.to_string()),
    };
    serde_json::to_vec(&reply)
        .unwrap_or_else(|_| br#"{"error":"the answer could not be written"}"#.to_vec())
}
