//! Texts to embed, between tokenizer and engine.

use bulla_engine::{EmbedError, EmbedPrompt, EmbedRequest, SequenceId, Task, Tenant, TenantId};
use bulla_wire::units::UnixMillis;

use super::{Effect, Enclave};
use crate::chat::ChatError;
use crate::embedding::EmbeddingOrder;
use crate::session::{Asked, Session};

impl Enclave {
    pub(super) fn texts_prompted(
        &mut self,
        sequence: SequenceId,
        result: Result<EmbedPrompt, EmbedError>,
        now: UnixMillis,
    ) -> Vec<Effect> {
        let Some(session) = self.sessions.get_mut(&sequence) else { return Vec::new() };
        let Some(Asked::Texts(asked)) = session.asked.take() else { return Vec::new() };
        if let Some(outcome) = session.ending {
            return self.finish(sequence, outcome, now);
        }
        let mut served = self.settings.models.iter();
        let served = served.find(|served| served.manifest == session.order.order().model);
        let task = served.map_or(Task::Generate, |served| served.task);
        let run_ms = session.run_ms(self.settings.limits.run_ms, now);
        match request_for(session, &asked, task, result, run_ms) {
            Ok(request) => vec![Effect::SubmitTexts { sequence, request }],
            Err(error) => self.customer_error(sequence, &error, now),
        }
    }
}

/// The engine's request, if the texts fit the order.
fn request_for(
    session: &mut Session,
    asked: &EmbeddingOrder,
    task: Task,
    result: Result<EmbedPrompt, EmbedError>,
    run_ms: u64,
) -> Result<EmbedRequest, ChatError> {
    let prompt = result.map_err(|error| embed_error(&error))?;
    if let Task::Embed { dimensions } = task {
        asked.check_dimensions(dimensions)?;
    }
    let (tokens, ceiling) = (prompt.token_count(), session.order.order().ceiling_input_tokens.0);
    if u64::from(tokens) > ceiling {
        let message = format!("the input has {tokens} tokens, the order allows {ceiling}");
        return Err(ChatError { param: Some("input"), ..ChatError::too_long(message) });
    }
    session.expect_vectors(asked.encoding);
    let tenant = Tenant { id: TenantId(session.order.account().0), ..Tenant::default() };
    Ok(EmbedRequest { prompt, tenant, run_ms: Some(run_ms) })
}

fn embed_error(error: &EmbedError) -> ChatError {
    let message = error.to_string();
    match error {
        EmbedError::Generates => ChatError::invalid("model", message),
        EmbedError::Context { .. } | EmbedError::Bytes { .. } => {
            ChatError { param: Some("input"), ..ChatError::too_long(message) }
        }
        _ => ChatError::invalid("input", message),
    }
}
