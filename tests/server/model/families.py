"""The model families that are served, and those that are refused; the README states the same."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Family:
    """A model type and what its tiny config needs."""

    name: str
    config: dict[str, object] = field(default_factory=dict)


HEADS: dict[str, object] = {"head_dim": 16}
WINDOW: dict[str, object] = HEADS | {"sliding_window": 8}
TYPES: dict[str, object] = {"layer_types": ["sliding_attention", "full_attention"]}
MIXED: dict[str, object] = WINDOW | TYPES
TOP: dict[str, object] = {"num_experts_per_tok": 2}
LOCAL: dict[str, object] = TOP | {"num_local_experts": 4}
EXPERTS: dict[str, object] = TOP | {"num_experts": 4}
WIDTH: dict[str, object] = {"moe_intermediate_size": 32}
GROUPS: dict[str, object] = WIDTH | {"n_group": 1, "topk_group": 1}
ROUTED: dict[str, object] = TOP | GROUPS | {"n_routed_experts": 4, "first_k_dense_replace": 1}
LATENT: dict[str, object] = ROUTED | {
    "num_key_value_heads": 4,
    "head_dim": 8,
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 16,
}

DENSE = [
    Family("apertus"),
    Family("arcee"),
    Family("biogpt"),
    Family("bitnet"),
    Family("cohere"),
    Family("cohere2", MIXED),
    Family("cwm", MIXED | {"bos_token_id": 0}),
    Family("ernie4_5", HEADS),
    Family("exaone4", MIXED),
    Family("gemma"),
    Family("gemma2", MIXED),
    Family("gemma3_text", MIXED),
    Family("gemma4_text", MIXED | {"global_head_dim": 32, "hidden_size_per_layer_input": 0}),
    Family("glm", HEADS),
    Family("glm4", HEADS),
    Family("gpt2"),
    Family("gpt_bigcode"),
    Family("gpt_neox"),
    Family("granite"),
    Family("helium", HEADS),
    Family("hunyuan_v1_dense", HEADS),
    Family("hyperclovax"),
    Family("jais2"),
    Family("llama"),
    Family("ministral", MIXED),
    Family("ministral3", HEADS),
    Family("mistral", WINDOW),
    Family("modernbert-decoder", TYPES | {"sliding_window": 8, "bos_token_id": 0}),
    Family("nanochat"),
    Family("nemotron"),
    Family("olmo"),
    Family("olmo2"),
    Family("olmo3", MIXED),
    Family("opt", {"ffn_dim": 128, "word_embed_proj_dim": 64}),
    Family("persimmon"),
    Family("phi"),
    Family("phi3", {"sliding_window": 8}),
    Family("qwen2"),
    Family("qwen3"),
    Family("seed_oss", HEADS),
    Family("smollm3"),
    Family("stablelm"),
    Family("starcoder2", {"sliding_window": 8}),
    Family("vaultgemma", MIXED),
]

MIXTURES = [
    Family("afmoe", MIXED | EXPERTS | GROUPS | {"num_dense_layers": 1}),
    Family("deepseek_v2", LATENT),
    Family("deepseek_v3", LATENT),
    Family(
        "ernie4_5_moe",
        WIDTH
        | {"moe_num_experts": 4, "moe_k": 2, "moe_layer_start_index": 1, "moe_layer_end_index": 1},
    ),
    Family("exaone_moe", MIXED | EXPERTS | GROUPS | {"mlp_layer_types": ["dense", "sparse"]}),
    Family("flex_olmo", EXPERTS),
    Family("glm4_moe", HEADS | ROUTED),
    Family("gpt_oss", MIXED | LOCAL),
    Family("granitemoe", LOCAL),
    Family("hunyuan_v1_moe", HEADS | {"num_experts": 4, "moe_topk": 2}),
    Family("mimo_v2_flash", MIXED | ROUTED),
    Family("minimax_m2", HEADS | LOCAL),
    Family("mixtral", LOCAL | {"sliding_window": 8}),
    Family("olmoe", EXPERTS),
    Family("phimoe", LOCAL),
    Family("qwen2_moe", EXPERTS | WIDTH | {"shared_expert_intermediate_size": 32}),
    Family("qwen3_moe", EXPERTS | WIDTH),
    Family("solar_open", HEADS | ROUTED),
]

DYNAMIC = {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}
REFUSED = [
    (Family("minimax"), "gate 1 .* linear_attention"),
    # transformers 5.17 names no layer types for it: there its attention is found never to run
    (Family("recurrent_gemma"), r"gate 1 .* linear_attention|gate 3 \(calls\): .* in layers \[\]"),
    (Family("falcon_h1"), "gate 1 .* hybrid"),
    (Family("qwen3_next", EXPERTS | WIDTH), "gate 1 .* linear_attention"),
    (Family("llama4_text"), "gate 1 .* chunked_attention"),
    (Family("llama", dict(DYNAMIC)), "gate 1 .* rope_type is dynamic"),
    (Family("bloom"), "gate 2 .* BloomForCausalLM"),
    (Family("codegen"), "gate 2 .* CodeGenForCausalLM"),
    (Family("falcon"), "gate 2 .* FalconForCausalLM"),
    (Family("gpt_neo", {"attention_types": [[["global"], 2]]}), "gate 2 .* GPTNeoForCausalLM"),
    (Family("gptj"), "gate 2 .* GPTJForCausalLM"),
    (Family("mpt"), "gate 2 .* MptForCausalLM"),
    (Family("xglm"), "gate 2 .* XGLMForCausalLM"),
    (Family("doge"), "gate 3 .* DogeAttention passes a mask"),
    (Family("diffllama"), r"gate 3 .* \[0, 0, 1, 1\]"),
    (Family("granitemoehybrid"), "gate 1 .* linear_attention"),
]
