//! What an enclave serves: its models, and the engines that run them.

use bulla_engine::{
    ChatRequest, EmbedError, EmbedInput, EmbedPrompt, EmbedRequest, Engine, EngineCounters,
    EngineInfo, GenerateRequest, Output, Prompt, PromptError, SequenceId, SubmitError, Task,
};
use bulla_wire::ids::Digest;

/// Most models of one enclave (the broker reads as many of a list).
pub const MAX_MODELS: usize = 64;

/// A model that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedModel {
    /// Its name, which no other model here has.
    pub name: String,
    /// Digest of its manifest.
    pub manifest: Digest,
    /// What it is for.
    pub task: Task,
    /// Its context, in tokens.
    pub context_tokens: u32,
    /// Accelerator class.
    pub accelerator: String,
    /// Which arithmetic runs.
    pub kernel_path: String,
}

impl From<EngineInfo> for ServedModel {
    fn from(info: EngineInfo) -> ServedModel {
        ServedModel {
            name: info.model,
            manifest: Digest(info.manifest_digest),
            task: info.task,
            context_tokens: info.context_tokens,
            accelerator: info.accel,
            kernel_path: info.kernel_path,
        }
    }
}

/// Why engines do not go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnginesError {
    /// None, or too many.
    #[error("{got} models configured, 1 to {MAX_MODELS} can be served by one enclave")]
    Count {
        /// How many.
        got: usize,
    },
    /// Two that callers could not tell apart.
    #[error("two models are called {name:?}; rename one folder or file")]
    SameName {
        /// The name.
        name: String,
    },
}

/// Several engines on one thread. Requests go to the engine of their model; each step steps every
/// engine that has something to do once, so that no model waits for another's long answer.
pub struct Engines(Vec<Box<dyn Engine>>);

impl Engines {
    /// Of models with different names.
    pub fn new(engines: Vec<Box<dyn Engine>>) -> Result<Engines, EnginesError> {
        if engines.is_empty() || engines.len() > MAX_MODELS {
            return Err(EnginesError::Count { got: engines.len() });
        }
        let mut names: Vec<String> = engines.iter().map(|engine| engine.info().model).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some([name, _]) => Err(EnginesError::SameName { name: name.clone() }),
            _ => Ok(Engines(engines)),
        }
    }

    /// One engine.
    pub fn one(engine: Box<dyn Engine>) -> Engines {
        Engines(vec![engine])
    }

    /// What runs, in the order configured.
    pub fn infos(&self) -> Vec<EngineInfo> {
        self.0.iter().map(|engine| engine.info()).collect()
    }

    /// The engine of a model. Admission lets only orders for a model that is served pass; should one
    /// come through all the same, the first engine refuses its prompt as foreign.
    fn of(&mut self, manifest: &[u8; 32]) -> &mut dyn Engine {
        let at = self.0.iter().position(|engine| engine.info().manifest_digest == *manifest);
        &mut *self.0[at.unwrap_or(0)]
    }

    /// Template and tokenizer of a model.
    pub fn prompt(&mut self, model: &Digest, chat: &ChatRequest) -> Result<Prompt, PromptError> {
        self.of(&model.0).prompt(chat)
    }

    /// Tokenizer of a model.
    pub fn prompt_texts(
        &mut self,
        model: &Digest,
        texts: &[EmbedInput],
    ) -> Result<EmbedPrompt, EmbedError> {
        self.of(&model.0).prompt_texts(texts)
    }

    /// Queues a request with the engine that made its prompt.
    pub fn submit(&mut self, id: SequenceId, request: GenerateRequest) -> Result<(), SubmitError> {
        let manifest = *request.prompt.manifest_digest();
        self.of(&manifest).submit(id, request)
    }

    /// The same for texts.
    pub fn submit_texts(
        &mut self,
        id: SequenceId,
        request: EmbedRequest,
    ) -> Result<(), SubmitError> {
        let manifest = *request.prompt.manifest_digest();
        self.of(&manifest).submit_texts(id, request)
    }

    /// Ends a sequence, whichever engine runs it.
    pub fn cancel(&mut self, id: SequenceId) {
        self.0.iter_mut().for_each(|engine| engine.cancel(id));
    }

    /// One step of every engine that has something to do.
    pub fn step(&mut self) -> Vec<Output> {
        let busy = self.0.iter_mut().filter(|engine| !engine.is_idle());
        busy.flat_map(|engine| engine.step()).collect()
    }

    /// Whether nothing waits or runs.
    pub fn is_idle(&self) -> bool {
        self.0.iter().all(|engine| engine.is_idle())
    }

    /// Forgets what was kept of earlier prompts.
    pub fn forget_prefixes(&mut self) {
        self.0.iter_mut().for_each(|engine| engine.forget_prefixes());
    }

    /// Of all engines together.
    pub fn counters(&self) -> EngineCounters {
        let counters = self.0.iter().map(|engine| engine.counters());
        counters.fold(EngineCounters::default(), EngineCounters::plus)
    }
}

#[cfg(test)]
mod tests {
    use bulla_engine::{Finish, Sampling, Script, ScriptedEngine};

    use super::*;

    fn engine(name: &str, says: &str) -> Box<dyn Engine> {
        Box::new(ScriptedEngine::new(name, 1).in_turn(vec![Script::say(says)]))
    }

    #[test]
    fn requests_go_to_their_models_and_all_are_stepped() {
        let mut engines =
            Engines::new(vec![engine("a", "one two three"), engine("b", "vier fünf")]).unwrap();
        let infos = engines.infos();
        for (id, info) in (0..).zip(&infos) {
            let model = Digest(info.manifest_digest);
            let prompt = engines.prompt(&model, &ChatRequest::user("hi")).unwrap();
            assert_eq!(prompt.manifest_digest(), &info.manifest_digest);
            let request = GenerateRequest::new(prompt, Sampling::greedy(), 100);
            engines.submit(SequenceId(id), request).unwrap();
        }
        let first: Vec<u64> = engines.step().iter().map(|output| output.id.0).collect();
        assert_eq!(first, [0, 1], "both in one step");
        engines.cancel(SequenceId(0));
        let (mut said, mut ended) = (String::new(), Vec::new());
        while !engines.is_idle() {
            for output in engines.step() {
                if output.id.0 == 1 {
                    said.push_str(&output.text);
                }
                ended.extend(output.finish.map(|finish| (output.id.0, finish)));
            }
        }
        assert!("vier fünf".ends_with(&said) && !said.is_empty(), "{said}");
        assert_eq!(ended, [(0, Finish::Cancelled), (1, Finish::Stop)]);
        assert!(engines.counters().delivered_tokens > 0);
    }

    #[test]
    fn models_nobody_can_tell_apart_are_refused() {
        let twice = Engines::new(vec![engine("a", "x"), engine("b", "y"), engine("a", "z")]);
        assert_eq!(twice.err(), Some(EnginesError::SameName { name: "a".into() }));
        assert_eq!(Engines::new(Vec::new()).err(), Some(EnginesError::Count { got: 0 }));
    }
}
