//! Real vocabularies against the tokens their own tokenizers gave.

use std::path::{Path, PathBuf};

use crate::model::files::Slice;
use crate::model::gguf::Header;

const BETWEEN: &str = "\n__ggml_vocab_test__\n";

/// `$BULLA_MODELS/vocab`, or the folder beside the repository.
fn folder() -> Option<PathBuf> {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/models");
    let folder = std::env::var_os("BULLA_MODELS").map_or(shared, PathBuf::from).join("vocab");
    folder.is_dir().then_some(folder)
}

#[test]
fn real_vocabularies_give_the_tokens_of_their_tokenizers() {
    let Some(folder) = folder() else {
        println!("skipped: no vocab in $BULLA_MODELS or ../shared/models");
        return;
    };
    for name in ["qwen2", "gpt-2", "deepseek-llm", "deepseek-coder", "bert-bge"] {
        let file = folder.join(format!("ggml-vocab-{name}.gguf"));
        let read = |ending: &str| {
            let path = PathBuf::from(format!("{}{ending}", file.display()));
            String::from_utf8(std::fs::read(path).unwrap()).unwrap()
        };
        let header = Header::read(&mut Slice::new(&std::fs::read(&file).unwrap())).unwrap();
        let vocabulary = super::read(&header.metadata).unwrap();
        let (texts, expected) = (read(".inp"), read(".out"));
        let texts: Vec<&str> = texts.split(BETWEEN).collect();
        let expected: Vec<&str> = expected.lines().collect();
        assert_eq!((texts.len(), expected.len()), (47, 46), "{name}");
        let mut wrong = 0;
        for (text, expected) in texts.iter().zip(expected) {
            let expected: Vec<u32> =
                expected.split_whitespace().map(|id| id.parse().unwrap()).collect();
            let got = vocabulary.tokenizer.encode_fast(*text, false).unwrap();
            if got.get_ids() != expected {
                println!("{name}: {text:?} became {:?}, expected {expected:?}", got.get_ids());
                wrong += 1;
            }
        }
        assert_eq!(wrong, 0, "{name}: of 46 texts");
    }
}
