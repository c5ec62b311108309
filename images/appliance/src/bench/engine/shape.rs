//! Shapes of models that people run, for files of noise: speed depends on the shape alone.

/// How weights are stored in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// 8 bits, blocks of 32.
    Q8_0,
    /// 4 bits, blocks of 32; embeddings in 8 bits, as `llama-quantize` leaves them for this shape.
    Q4_0,
    /// Brain floats.
    Bf16,
    /// 4 bits in super-blocks of 256, the more sensitive tensors in 6 bits.
    Q4KM,
}

impl Format {
    /// As file names and tables spell it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Q8_0 => "Q8_0",
            Format::Q4_0 => "Q4_0",
            Format::Bf16 => "bf16",
            Format::Q4KM => "Q4_K_M",
        }
    }

    /// `general.file_type` of GGUF.
    pub fn file_type(self) -> u32 {
        match self {
            Format::Q4_0 => 2,
            Format::Q8_0 => 7,
            Format::Q4KM => 15,
            Format::Bf16 => 32,
        }
    }
}

/// Element types of GGUF tensors, with their numbers in the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// 32-bit floats.
    F32 = 0,
    /// Blocks of 32 elements in 18 bytes.
    Q4_0 = 2,
    /// Blocks of 32 elements in 34 bytes.
    Q8_0 = 8,
    /// Blocks of 256 elements in 144 bytes.
    Q4K = 12,
    /// Blocks of 256 elements in 210 bytes.
    Q6K = 14,
    /// Brain floats.
    Bf16 = 30,
}

impl Kind {
    /// Elements and bytes of a block.
    pub fn block(self) -> (usize, usize) {
        match self {
            Kind::F32 => (1, 4),
            Kind::Bf16 => (1, 2),
            Kind::Q4_0 => (32, 18),
            Kind::Q8_0 => (32, 34),
            Kind::Q4K => (256, 144),
            Kind::Q6K => (256, 210),
        }
    }
}

/// What a tensor is for; decides its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Embedding,
    Norm,
    Bias,
    /// Projection of values, and the second one of the feed-forward network: sensitive ones.
    Sensitive,
    Projection,
}

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Its name in GGUF.
    pub name: String,
    /// Elements per row first.
    pub dimensions: Vec<usize>,
    /// How its elements are stored.
    pub kind: Kind,
}

impl Tensor {
    /// Bytes of its data.
    pub fn bytes(&self) -> usize {
        let (elements, bytes) = self.kind.block();
        self.dimensions.iter().product::<usize>() / elements * bytes
    }
}

/// A decoder's dimensions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// Name of the files.
    pub name: &'static str,
    /// Name of the architecture in GGUF.
    pub architecture: &'static str,
    /// Layers.
    pub layers: usize,
    /// Elements of a hidden state.
    pub hidden: usize,
    /// Query heads.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Elements of a head.
    pub head: usize,
    /// Elements between the two halves of a feed-forward network.
    pub intermediate: usize,
    /// Whether the projections of queries, keys and values have biases.
    pub biases: bool,
    /// Whether heads of queries and keys are normalised.
    pub head_norms: bool,
    /// Tokens of the vocabulary.
    pub vocabulary: usize,
    /// Tokens of prompt and answer.
    pub context: usize,
}

/// Qwen2.5-0.5B.
pub const QWEN2_5_0_5B: Shape = Shape {
    name: "qwen2.5-0.5b-synth",
    architecture: "qwen2",
    layers: 24,
    hidden: 896,
    heads: 14,
    kv_heads: 2,
    head: 64,
    intermediate: 4864,
    biases: true,
    head_norms: false,
    vocabulary: 151_936,
    context: 32_768,
};

/// Qwen3-0.6B.
pub const QWEN3_0_6B: Shape = Shape {
    name: "qwen3-0.6b-synth",
    architecture: "qwen3",
    layers: 28,
    hidden: 1024,
    heads: 16,
    kv_heads: 8,
    head: 128,
    intermediate: 3072,
    biases: false,
    head_norms: true,
    vocabulary: 151_936,
    context: 40_960,
};

impl Shape {
    /// Name of the file with weights in `format`.
    pub fn file_name(&self, format: Format) -> String {
        format!("{}-{}.gguf", self.name, format.name().to_lowercase())
    }

    /// All tensors in file order.
    pub fn tensors(&self, format: Format) -> Vec<Tensor> {
        let mut tensors = vec![
            self.tensor(
                "token_embd.weight",
                &[self.hidden, self.vocabulary],
                Part::Embedding,
                0,
                format,
            ),
            self.tensor("output_norm.weight", &[self.hidden], Part::Norm, 0, format),
        ];
        for layer in 0..self.layers {
            self.layer(layer, format, &mut tensors);
        }
        tensors
    }

    fn layer(&self, layer: usize, format: Format, tensors: &mut Vec<Tensor>) {
        let (hidden, inner) = (self.hidden, self.intermediate);
        let (queries, keys) = (self.heads * self.head, self.kv_heads * self.head);
        let mut add = |name: &str, dimensions: &[usize], part: Part| {
            let name = format!("blk.{layer}.{name}");
            tensors.push(self.tensor(&name, dimensions, part, layer, format));
        };
        add("attn_norm.weight", &[hidden], Part::Norm);
        add("attn_q.weight", &[hidden, queries], Part::Projection);
        add("attn_k.weight", &[hidden, keys], Part::Projection);
        add("attn_v.weight", &[hidden, keys], Part::Sensitive);
        if self.biases {
            add("attn_q.bias", &[queries], Part::Bias);
            add("attn_k.bias", &[keys], Part::Bias);
            add("attn_v.bias", &[keys], Part::Bias);
        }
        if self.head_norms {
            add("attn_q_norm.weight", &[self.head], Part::Norm);
            add("attn_k_norm.weight", &[self.head], Part::Norm);
        }
        add("attn_output.weight", &[queries, hidden], Part::Projection);
        add("ffn_norm.weight", &[hidden], Part::Norm);
        add("ffn_gate.weight", &[hidden, inner], Part::Projection);
        add("ffn_up.weight", &[hidden, inner], Part::Projection);
        add("ffn_down.weight", &[inner, hidden], Part::Sensitive);
    }

    fn tensor(
        &self,
        name: &str,
        dimensions: &[usize],
        part: Part,
        layer: usize,
        format: Format,
    ) -> Tensor {
        let kind = match (part, format) {
            (Part::Norm | Part::Bias, _) => Kind::F32,
            (_, Format::Bf16) => Kind::Bf16,
            (_, Format::Q8_0) | (Part::Embedding, Format::Q4_0) => Kind::Q8_0,
            (_, Format::Q4_0) => Kind::Q4_0,
            (Part::Embedding, Format::Q4KM) => Kind::Q6K,
            (Part::Sensitive, Format::Q4KM) if self.more_bits(layer) => Kind::Q6K,
            (_, Format::Q4KM) => Kind::Q4K,
        };
        Tensor { name: name.to_owned(), dimensions: dimensions.to_vec(), kind }
    }

    /// Layers whose sensitive tensors get 6 bits in a Q4_K_M file: the first and last eighth, and
    /// every third between.
    fn more_bits(&self, layer: usize) -> bool {
        let eighth = self.layers / 8;
        layer < eighth || layer >= 7 * self.layers / 8 || (layer - eighth) % 3 == 2
    }

    /// Bytes of weights that one token's pass reads: all but the embeddings of other tokens, which
    /// the head reads where it is tied to them.
    pub fn pass_bytes(&self, format: Format) -> usize {
        self.tensors(format).iter().map(Tensor::bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_billion_parameters_are_half_a_billion() {
        let count = |shape: Shape| -> usize {
            let tensors = shape.tensors(Format::Bf16);
            tensors.iter().map(|tensor| tensor.dimensions.iter().product::<usize>()).sum()
        };
        assert_eq!(count(QWEN2_5_0_5B), 494_032_768);
        assert_eq!(count(QWEN3_0_6B), 596_049_920);
    }

    #[test]
    fn blocks_divide_rows() {
        for (shape, format) in [
            (QWEN2_5_0_5B, Format::Q8_0),
            (QWEN2_5_0_5B, Format::Q4_0),
            (QWEN2_5_0_5B, Format::Bf16),
            (QWEN3_0_6B, Format::Q4KM),
        ] {
            for tensor in shape.tensors(format) {
                assert_eq!(tensor.dimensions[0] % tensor.kind.block().0, 0, "{tensor:?}");
            }
        }
    }
}
