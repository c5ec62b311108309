//! One growing answer: its text, its counts and the reasons to end it. Every engine uses this,
//! so that all count and stop alike.

use crate::contract::{Finish, Output, Usage};
use crate::request::{GenerateRequest, SequenceId};
use crate::text::{Detokenize, TextStream};

/// Bookkeeping of one sequence, apart from how its tokens come about.
pub(crate) struct Answer {
    id: SequenceId,
    stream: TextStream,
    max_tokens: u32,
    usage: Usage,
    ended: bool,
}

impl Answer {
    pub fn new(id: SequenceId, request: &GenerateRequest) -> Self {
        let usage = Usage { input_tokens: request.prompt.token_count(), ..Usage::default() };
        let stream = TextStream::new(request.stop.clone());
        Answer { id, stream, max_tokens: request.max_tokens, usage, ended: false }
    }

    pub fn id(&self) -> SequenceId {
        self.id
    }

    /// Whether its last output has been given.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Counted so far.
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    /// The model read `tokens` more of the prompt.
    pub fn count_prefill(&mut self, tokens: u32) {
        self.usage.prefilled_tokens += tokens;
    }

    /// So much of the prompt was found on shared pages.
    pub fn count_cached(&mut self, tokens: u32) {
        self.usage.cached_input_tokens += tokens;
    }

    /// The token chosen last is part of the reasoning.
    pub fn count_reasoning(&mut self) {
        self.usage.reasoning_tokens += 1;
    }

    /// So many tokens had to be read again.
    pub fn count_recomputed(&mut self, tokens: u32) {
        self.usage.recomputed_tokens += tokens;
    }

    /// A pass took so long for this sequence's part.
    pub fn count_time(&mut self, device_us: u64) {
        self.usage.device_us = self.usage.device_us.saturating_add(device_us);
    }

    /// The model chose a token that is part of the text.
    pub fn push(&mut self, decoder: &dyn Detokenize, token: u32) -> Output {
        self.usage.output_tokens += 1;
        let piece = match self.stream.push(decoder, token) {
            Ok(piece) => piece,
            Err(error) => return self.output(String::new(), 1, Some(Finish::Error(error))),
        };
        if piece.stopped {
            return self.output(piece.text, 1, Some(Finish::Stop));
        }
        if self.usage.output_tokens < self.max_tokens {
            return self.output(piece.text, 1, None);
        }
        let mut last = self.flush(decoder, 1, Finish::Length);
        last.text.insert_str(0, &piece.text);
        last
    }

    /// The model chose a stop token: counted, no text.
    pub fn stop(&mut self, decoder: &dyn Detokenize) -> Output {
        self.usage.output_tokens += 1;
        self.flush(decoder, 1, Finish::Stop)
    }

    /// Marks `output`, the last one pushed, as the end of an answer that needs no stop token.
    pub fn close(&mut self, decoder: &dyn Detokenize, mut output: Output) -> Output {
        if output.finish.is_none() {
            let last = self.flush(decoder, output.tokens, Finish::Stop);
            output.text.push_str(&last.text);
            output.finish = last.finish;
        }
        output
    }

    /// Ends without a token. Text held back stays back: the answer is cut off anyway.
    pub fn end(&mut self, finish: Finish) -> Output {
        self.output(String::new(), 0, Some(finish))
    }

    fn flush(&mut self, decoder: &dyn Detokenize, tokens: u32, finish: Finish) -> Output {
        match self.stream.finish(decoder) {
            Ok(piece) if piece.stopped => self.output(piece.text, tokens, Some(Finish::Stop)),
            Ok(piece) => self.output(piece.text, tokens, Some(finish)),
            Err(error) => self.output(String::new(), tokens, Some(Finish::Error(error))),
        }
    }

    fn output(&mut self, text: String, tokens: u32, finish: Option<Finish>) -> Output {
        self.ended |= finish.is_some();
        let (id, usage) = (self.id, self.usage);
        Output { id, text, tokens, logprobs: None, vectors: Vec::new(), finish, usage }
    }
}
