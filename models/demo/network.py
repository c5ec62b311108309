"""The network as plain PyTorch: a Llama whose parameter names are those of the Hugging Face folder."""

import torch
import torch.nn as nn
import torch.nn.functional as F

import tokenizer

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": tokenizer.VOCABULARY, "hidden_size": 256, "intermediate_size": 512,
    "num_hidden_layers": 6, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64, "hidden_act": "silu", "max_position_embeddings": 1024,
    "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "rope_scaling": None, "attention_bias": False, "attention_dropout": 0.0, "mlp_bias": False,
    "tie_word_embeddings": True, "initializer_range": 0.02, "use_cache": True, "torch_dtype": "bfloat16", "pretraining_tp": 1,
    "bos_token_id": None, "eos_token_id": tokenizer.END, "pad_token_id": tokenizer.PAD,
}  # fmt: skip

HIDDEN, HEADS, KV_HEADS, HEAD_DIM = CONFIG["hidden_size"], CONFIG["num_attention_heads"], CONFIG["num_key_value_heads"], CONFIG["head_dim"]


class Norm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(HIDDEN))

    def forward(self, x):
        return F.rms_norm(x, (HIDDEN,), self.weight, CONFIG["rms_norm_eps"])


def linear(n_in, n_out):
    return nn.Linear(n_in, n_out, bias=False)


class Attention(nn.Module):
    """Grouped-query attention with rotary positions; plain matrix products are the fastest form on a CPU."""

    def __init__(self):
        super().__init__()
        self.q_proj, self.o_proj = linear(HIDDEN, HEADS * HEAD_DIM), linear(HEADS * HEAD_DIM, HIDDEN)
        self.k_proj, self.v_proj = linear(HIDDEN, KV_HEADS * HEAD_DIM), linear(HIDDEN, KV_HEADS * HEAD_DIM)

    def forward(self, x, cos, sin, mask):
        b, t, _ = x.shape

        def heads(y):
            return y.view(b, t, -1, HEAD_DIM).transpose(1, 2)

        def turn(y):
            a, c = y.chunk(2, -1)
            return torch.cat((a * cos - c * sin, c * cos + a * sin), -1)

        q, k, v = turn(heads(self.q_proj(x))), turn(heads(self.k_proj(x))), heads(self.v_proj(x))
        group = HEADS // KV_HEADS
        q = q.reshape(b, KV_HEADS, group * t, HEAD_DIM)
        scores = (q @ k.transpose(-1, -2)).view(b, KV_HEADS, group, t, t) * HEAD_DIM**-0.5 + mask
        out = torch.softmax(scores, -1).view(b, KV_HEADS, group * t, t) @ v
        return self.o_proj(out.view(b, HEADS, t, HEAD_DIM).transpose(1, 2).reshape(b, t, HEADS * HEAD_DIM))


class FeedForward(nn.Module):
    def __init__(self):
        super().__init__()
        inner = CONFIG["intermediate_size"]
        self.gate_proj, self.up_proj, self.down_proj = linear(HIDDEN, inner), linear(HIDDEN, inner), linear(inner, HIDDEN)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.self_attn, self.mlp = Attention(), FeedForward()
        self.input_layernorm, self.post_attention_layernorm = Norm(), Norm()

    def forward(self, x, cos, sin, mask):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Trunk(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed_tokens = nn.Embedding(CONFIG["vocab_size"], HIDDEN)
        self.layers = nn.ModuleList(Layer() for _ in range(CONFIG["num_hidden_layers"]))
        self.norm = Norm()

    def forward(self, ids, cos, sin, mask):
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x, cos, sin, mask)
        return self.norm(x)


class Llama(nn.Module):
    """Token ids in, final hidden states out; the embedding is also the output head."""

    def __init__(self):
        super().__init__()
        self.model = Trunk()
        for name, p in self.named_parameters():
            if p.dim() == 2:
                deep = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(p, std=0.02 if "embed" in name else HIDDEN**-0.5 * (0.3 if deep else 1.0))


def positions(t, dtype):
    """Cosines, sines and the causal mask of a sequence of `t` tokens."""
    angle = torch.outer(torch.arange(t), CONFIG["rope_theta"] ** (-torch.arange(0, HEAD_DIM, 2) / HEAD_DIM))
    return angle.cos().to(dtype), angle.sin().to(dtype), torch.full((t, t), -1e4).triu(1).to(dtype)
