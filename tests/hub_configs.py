"""config.json of models on the hub, as public copies quote it, and what is read of each.

The hub was not reachable. ``source`` says where a configuration is quoted; entries that no class reads for
the arithmetic (dropout, initialization, dtypes) are left out, all others are kept as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hub_layouts import HUB_GTE, HUB_NOMIC

__all__ = ["READ", "REFUSED", "HubConfig", "Refused", "tensors_of"]

Config = dict[str, Any]


@dataclass(frozen=True)
class HubConfig:
    """A configuration, the fields of EncoderSpec that it means, and its rotations.

    ``second`` has for each rotary table the angle per position of the second pair of a head, whose exponent
    is ``-2 / head size``: it shows the base, and how the frequencies are scaled. ``windows`` are the widest
    distances that the layers see, in order of the first use.
    """

    source: str
    config: Config
    spec: Config
    second: tuple[float, ...] = ()
    windows: tuple[int | None, ...] = (None,)
    layout: str = ""


_NOMIC = {
    **HUB_NOMIC,
    "architectures": ["NomicBertModel"],
    "auto_map": {
        "AutoConfig": "nomic-ai/nomic-bert-2048--configuration_hf_nomic_bert.NomicBertConfig",
        "AutoModel": "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertModel",
        "AutoModelForMaskedLM": ("nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertForPreTraining"),
    },
    "layer_norm_epsilon": 1e-12,
    "model_type": "nomic_bert",
    "n_embd": 768,
    "n_head": 12,
    "n_inner": 3072,
    "n_layer": 12,
    "n_positions": 8192,
    "pad_vocab_size_multiple": 64,
    "type_vocab_size": 2,
    "vocab_size": 30528,
}
_GTE = {
    **HUB_GTE,
    "hidden_act": "gelu",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 8192,
    "model_type": "new",
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "auto_map": {
        "AutoConfig": "Alibaba-NLP/new-impl--configuration.NewConfig",
        "AutoModel": "Alibaba-NLP/new-impl--modeling.NewModel",
        "AutoModelForMaskedLM": "Alibaba-NLP/new-impl--modeling.NewForMaskedLM",
    },
}
_MODERN = {
    "attention_bias": False,
    "bos_token_id": 50281,
    "classifier_activation": "gelu",
    "classifier_bias": False,
    "classifier_pooling": "mean",
    "cls_token_id": 50281,
    "decoder_bias": True,
    "deterministic_flash_attn": False,
    "eos_token_id": 50282,
    "global_attn_every_n_layers": 3,
    "global_rope_theta": 160000.0,
    "hidden_activation": "gelu",
    "hidden_size": 768,
    "intermediate_size": 1152,
    "layer_norm_eps": 1e-05,
    "local_attention": 128,
    "local_rope_theta": 10000.0,
    "max_position_embeddings": 8192,
    "mlp_bias": False,
    "model_type": "modernbert",
    "norm_bias": False,
    "norm_eps": 1e-05,
    "num_attention_heads": 12,
    "num_hidden_layers": 22,
    "pad_token_id": 50283,
    "position_embedding_type": "absolute",
    "sep_token_id": 50282,
    "sparse_pred_ignore_index": -100,
    "sparse_prediction": False,
    "vocab_size": 50368,
}
_MMBERT_ROTATION = {"rope_theta": 160000, "rope_type": "default"}
_MMBERT = {
    "attention_bias": False,
    "bos_token_id": 2,
    "cls_token_id": 1,
    "eos_token_id": 1,
    "global_attn_every_n_layers": 3,
    "hidden_activation": "gelu",
    "hidden_size": 384,
    "intermediate_size": 1152,
    "layer_norm_eps": 1e-05,
    "layer_types": ["sliding_attention" if layer % 3 else "full_attention" for layer in range(22)],
    "local_attention": 128,
    "mask_token_id": 4,
    "max_position_embeddings": 8192,
    "mlp_bias": False,
    "model_type": "modernbert",
    "norm_bias": False,
    "num_attention_heads": 6,
    "num_hidden_layers": 22,
    "pad_token_id": 0,
    "position_embedding_type": "sans_pos",
    "rope_parameters": {"full_attention": _MMBERT_ROTATION, "sliding_attention": _MMBERT_ROTATION},
    "sep_token_id": 1,
    "unk_token_id": 3,
    "vocab_size": 256000,
}
_JINA_CODE = "jinaai/jina-bert-v2-qk-post-norm"
_JINA = {
    "architectures": ["JinaBertForMaskedLM"],
    "attention_probs_dropout_prob": 0.0,
    "auto_map": {
        "AutoConfig": "jinaai/jina-bert-implementation--configuration_bert.JinaBertConfig",
        "AutoModel": "jinaai/jina-bert-implementation--modeling_bert.JinaBertModel",
        "AutoModelForMaskedLM": "jinaai/jina-bert-implementation--modeling_bert.JinaBertForMaskedLM",
        "AutoModelForSequenceClassification": (
            "jinaai/jina-bert-implementation--modeling_bert.JinaBertForSequenceClassification"
        ),
    },
    "emb_pooler": "mean",
    "feed_forward_type": "geglu",
    "hidden_act": "gelu",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 8192,
    "model_max_length": 8192,
    "model_type": "bert",
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "pad_token_id": 0,
    "position_embedding_type": "alibi",
    "type_vocab_size": 2,
    "vocab_size": 30528,
}
_EUROBERT = {
    "attention_bias": False,
    "bos_token_id": 128000,
    "eos_token_id": 128001,
    "hidden_act": "silu",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "is_decoder": False,
    "mask_token_id": 128002,
    "max_position_embeddings": 8192,
    "model_type": "eurobert",
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "num_key_value_heads": 12,
    "pad_token_id": 128001,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "rope_theta": 250000,
    "tie_word_embeddings": False,
    "vocab_size": 128256,
}
_BASE = {"layers": 12, "hidden": 768, "heads": 12, "intermediate": 3072, "max_positions": 8192}
_GATED = {"gated": True, "learned_positions": False}
_NOMIC_SPEC = {**_BASE, **_GATED, "activation": "silu", "norm_eps": 1e-12, "vocab_size": 30528}
_GTE_SPEC = {**_BASE, **_GATED, "activation": "gelu", "norm_eps": 1e-12}
_MODERN_SPEC = {
    **_BASE,
    "layers": 22,
    "intermediate": 1152,
    **_GATED,
    "activation": "gelu",
    "norm_eps": 1e-5,
    "norm_first": True,
    "pad_token_id": 50283,
}
_EUROBERT_SPEC = {**_BASE, **_GATED, "activation": "silu", "norm_kind": "rms", "norm_eps": 1e-5}
_TEI = "huggingface/text-embeddings-inference, backends/candle/src/models"


def _second(base: float, factor: float = 1.0, head_size: int = 64) -> float:
    """With ``factor``, equation 6 of https://kexue.fm/archives/9706."""
    return float((base * factor) ** (-2 / head_size) / factor ** (2 / head_size))


READ: dict[str, HubConfig] = {
    "nomic-embed-text-v1.5": HubConfig(
        f"vllm-project/vllm#40130; the keys without defaults in {_TEI}/nomic.rs",
        _NOMIC,
        _NOMIC_SPEC,
        (_second(1000),),
        layout="nomic",
    ),
    "nomic-embed-text-v1.5 since June 2026": HubConfig(
        "vllm-project/vllm#40130; huggingface/text-embeddings-inference#876: the keys of transformers beside "
        "the hub's",
        {
            **_NOMIC,
            "max_position_embeddings": 2048,
            "rope_parameters": {"rope_theta": 1000.0, "rope_type": "default"},
        },
        _NOMIC_SPEC,
        (_second(1000),),
        layout="nomic",
    ),
    "gte-multilingual-base": HubConfig(
        "the checks of a public port to TensorLayerX of Alibaba-NLP/gte-multilingual-base",
        {
            **_GTE,
            "pad_token_id": 1,
            "rope_scaling": {"factor": 8.0, "type": "ntk"},
            "rope_theta": 20000,
            "type_vocab_size": 1,
            "vocab_size": 250048,
        },
        {**_GTE_SPEC, "pad_token_id": 1, "vocab_size": 250048},
        (_second(20000, 8.0),),
        layout="gte",
    ),
    "gte-large-en-v1.5": HubConfig(
        "the tests of a public port to MLX Swift",
        {
            **_GTE,
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_attention_heads": 16,
            "num_hidden_layers": 24,
            "rope_scaling": {"factor": 2.0, "type": "ntk"},
            "rope_theta": 160000,
            "type_vocab_size": 2,
            "vocab_size": 30528,
        },
        {**_GTE_SPEC, "layers": 24, "hidden": 1024, "heads": 16, "intermediate": 4096, "pad_token_id": 0},
        (_second(160000, 2.0),),
        layout="gte",
    ),
    "snowflake-arctic-embed-m-v2.0": HubConfig(
        "the notes of a public comparison of its code: switches as words, padding 1, no scaling. The base is "
        "GteConfig's of transformers",
        {
            **_GTE,
            "auto_map": {
                "AutoConfig": "configuration_hf_alibaba_nlp_gte.GteConfig",
                "AutoModel": "modeling_hf_alibaba_nlp_gte.GteModel",
            },
            "matryoshka_dimensions": [256],
            "model_type": "gte",
            "pad_token_id": 1,
            "rope_scaling": None,
            "rope_theta": 160000,
            "type_vocab_size": 1,
            "unpad_inputs": "true",
            "use_memory_efficient_attention": "true",
            "vocab_size": 250048,
        },
        {**_GTE_SPEC, "model_type": "gte", "pad_token_id": 1},
        (_second(160000),),
        layout="gte",
    ),
    "gte-reranker-modernbert-base": HubConfig(
        "deserialize_published_gte_reranker_config, a test of a public port to Rust",
        {**_MODERN, "architectures": ["ModernBertForSequenceClassification"]},
        _MODERN_SPEC,
        (_second(160000), _second(10000)),
        (None, 64),
        "modernbert",
    ),
    "granite-embedding-small-english-r2": HubConfig(
        "the plan of a public port to Rust",
        {
            **{key: value for key, value in _MODERN.items() if key != "norm_eps"},
            "global_rope_theta": 80000,
            "hidden_size": 384,
            "intermediate_size": 1536,
            "num_hidden_layers": 12,
        },
        {**_MODERN_SPEC, "layers": 12, "hidden": 384, "intermediate": 1536},
        (_second(80000, head_size=32), _second(10000, head_size=32)),
        (None, 64),
        "modernbert",
    ),
    "mmBERT-small": HubConfig(
        "the encoder of SupersonicLabs/Julia-1 in the tests of its public ports; keys of transformers 5",
        _MMBERT,
        {**_MODERN_SPEC, "hidden": 384, "heads": 6, "pad_token_id": 0, "vocab_size": 256000},
        (_second(160000), _second(160000)),
        (None, 64),
        "modernbert",
    ),
    "jina-embeddings-v2-base-en": HubConfig(
        "test_parse_config_jinabert, a test of a public loader in Rust",
        {"_name_or_path": "jinaai/jina-bert-implementation", **_JINA},
        {**_BASE, **_GATED, "activation": "gelu", "norm_eps": 1e-12, "model_type": "jina_bert"},
        layout="jina",
    ),
    "jina-embeddings-v2-base-code": HubConfig(
        "config_reads_the_code_model_and_refuses_others, a test of a public port to Rust; auto_map in the "
        "Python backend of text-embeddings-inference",
        {
            **_JINA,
            "_name_or_path": _JINA_CODE,
            "auto_map": {
                "AutoConfig": f"{_JINA_CODE}--configuration_bert.JinaBertConfig",
                "AutoModel": f"{_JINA_CODE}--modeling_bert.JinaBertModel",
            },
            "vocab_size": 61056,
        },
        {**_BASE, **_GATED, "activation": "gelu", "norm_eps": 1e-12, "vocab_size": 61056},
        layout="jina, later",
    ),
    "EuroBERT-210m": HubConfig(
        "210m_annealed in the conversion script of EuroBERT's training code",
        {
            **_EUROBERT,
            "architectures": ["EuroBertForMaskedLM"],
            "auto_map": {
                "AutoConfig": "configuration_eurobert.EuroBertConfig",
                "AutoModel": "modeling_eurobert.EuroBertModel",
                "AutoModelForMaskedLM": "modeling_eurobert.EuroBertForMaskedLM",
            },
        },
        {**_EUROBERT_SPEC, "pad_token_id": 128001},
        (_second(250000),),
        layout="eurobert",
    ),
    "EuroBERT-610m": HubConfig(
        "610m_annealed in the same script: a third as many heads of keys and values",
        {
            **_EUROBERT,
            "hidden_size": 1152,
            "intermediate_size": 4096,
            "num_attention_heads": 18,
            "num_hidden_layers": 26,
            "num_key_value_heads": 6,
        },
        {**_EUROBERT_SPEC, "layers": 26, "hidden": 1152, "heads": 18, "intermediate": 4096},
        (_second(250000),),
        layout="eurobert",
    ),
    "jina-embeddings-v5-text-nano-retrieval": HubConfig(
        "oaustegard/jina-v5-nano-mirror, model/config.json, with the model_type and the class of the merged "
        "checkpoints in llama.cpp's converter",
        {**_EUROBERT, "architectures": ["EuroBertModel"], "rope_theta": 1000000},
        _EUROBERT_SPEC,
        (_second(1000000),),
        layout="eurobert",
    ),
}
"""By name on the hub."""


@dataclass(frozen=True)
class Refused:
    """A model that is not supported: its configuration, other files, and what the error says."""

    source: str
    config: Config
    says: str
    files: dict[str, Any] = field(default_factory=dict)


_FLASH = "jinaai/xlm-roberta-flash-implementation"
REFUSED: dict[str, Refused] = {
    "nomic-embed-text-v2-moe": Refused(
        "the configuration that a public port by Tenstorrent checks",
        {
            **_NOMIC,
            "activation_function": "gelu",
            "add_pooling_layer": False,
            "expert_choice_router": False,
            "ffn_div": 1,
            "layer_norm_epsilon": 1e-5,
            "mlp_fc1_bias": True,
            "mlp_fc2_bias": True,
            "moe_every_n_layers": 2,
            "moe_normalize_expert_weights": False,
            "moe_top_k": 2,
            "n_positions": 2048,
            "num_experts": 8,
            "num_shared_experts": 0,
            "pad_token_id": 1,
            "qkv_proj_bias": True,
            "rotary_emb_base": 10000.0,
            "type_vocab_size": 1,
            "vocab_size": 250048,
        },
        "moe_every_n_layers 2 is not supported",
    ),
    "jina-embeddings-v3": Refused(
        "XLMRobertaFlashConfig in public copies; it has no model_type of its own",
        {
            "architectures": ["XLMRobertaModel"],
            "auto_map": {
                "AutoConfig": f"{_FLASH}--configuration_xlm_roberta.XLMRobertaFlashConfig",
                "AutoModel": f"{_FLASH}--modeling_lora.XLMRobertaLoRA",
            },
            "hidden_size": 1024,
            "lora_adaptations": ["retrieval.query", "retrieval.passage"],
            "model_type": "xlm-roberta",
            "position_embedding_type": "rotary",
            "vocab_size": 250002,
        },
        "auto_map: .*XLMRobertaFlashConfig is code of the checkpoint's own, which is never run",
    ),
    "jina-reranker-v2-base-multilingual": Refused(
        "a public deployment guide, on what text-embeddings-inference says of it: no model_type",
        {
            "architectures": ["XLMRobertaForSequenceClassification"],
            "auto_map": {
                "AutoConfig": "configuration_xlm_roberta.XLMRobertaFlashConfig",
                "AutoModelForSequenceClassification": (
                    "modeling_xlm_roberta.XLMRobertaForSequenceClassification"
                ),
            },
            "hidden_size": 768,
            "num_labels": 1,
            "position_embedding_type": "absolute",
            "vocab_size": 250002,
        },
        "auto_map: configuration_xlm_roberta.XLMRobertaFlashConfig is code of the checkpoint's own",
    ),
    "jina-embeddings-v5-text-nano": Refused(
        "oaustegard/jina-v5-nano-mirror, model/config.json and model/modules.json",
        {**_EUROBERT, "architectures": ["JinaEmbeddingsV5Model"], "model_type": "jina_embeddings_v5"},
        "'custom_st.Transformer' is custom code, which is never run",
        {
            "modules.json": [
                {
                    "idx": 0,
                    "name": "transformer",
                    "path": "",
                    "type": "custom_st.Transformer",
                    "kwargs": ["task", "truncate_dim"],
                }
            ]
        },
    ),
    "jina-embeddings-v5-text-nano without its modules": Refused(
        "the same mirror",
        {
            **_EUROBERT,
            "architectures": ["JinaEmbeddingsV5Model"],
            "auto_map": {
                "AutoConfig": "configuration_jina_embeddings_v5.JinaEmbeddingsV5Config",
                "AutoModel": "modeling_jina_embeddings_v5.JinaEmbeddingsV5Model",
            },
            "model_type": "jina_embeddings_v5",
            "task_names": ["retrieval", "text-matching", "clustering", "classification"],
        },
        "auto_map: .*JinaEmbeddingsV5Config is code of the checkpoint's own",
    ),
    "NeoBERT": Refused(
        "pszemraj/NeoBERT, scripts/export-hf/export.py",
        {
            "architectures": ["NeoBERTLMHead"],
            "auto_map": {"AutoConfig": "model.NeoBERTConfig", "AutoModel": "model.NeoBERT"},
            "hidden_size": 768,
            "model_type": "neobert",
            "vocab_size": 30522,
        },
        "auto_map: model.NeoBERTConfig is code of the checkpoint's own",
    ),
    "a BERT with code of its own": Refused(
        "roycms/jina-embeddings-v2-base-en, config.json: the first form of this model, with ALiBi, though it "
        "says absolute",
        {
            **_JINA,
            "auto_map": {"AutoConfig": "configuration_jbert.JBertConfig"},
            "position_embedding_type": "absolute",
        },
        "auto_map: configuration_jbert.JBertConfig is code of the checkpoint's own",
    ),
    "embeddinggemma-300m": Refused(
        "a public converter that checks its files",
        {
            "architectures": ["Gemma3TextModel"],
            "hidden_size": 768,
            "model_type": "gemma3_text",
            "use_bidirectional_attention": True,
        },
        "model_type 'gemma3_text' .* try --exporter torch",
    ),
    "Qwen3-Embedding-0.6B": Refused(
        "transformers, Qwen3Config",
        {"architectures": ["Qwen3ForCausalLM"], "hidden_size": 1024, "model_type": "qwen3"},
        "model_type 'qwen3' .* try --exporter torch",
    ),
    "mxbai-rerank-base-v1": Refused(
        "transformers, DebertaV2Config",
        {
            "architectures": ["DebertaV2ForSequenceClassification"],
            "hidden_size": 768,
            "model_type": "deberta-v2",
            "num_labels": 1,
        },
        "model_type 'deberta-v2' .* which exports models that give vectors of texts",
    ),
}
"""By name on the hub."""

_LAYOUTS: dict[str, tuple[str, dict[str, str], str, dict[str, str]]] = {
    # The prefix, the tensors beside the layers, the name of a layer, its tensors. The dimensions are v
    # (vocabulary), t (token types), h (hidden), i (intermediate), k (keys and values).
    "nomic": (
        "",
        {
            "embeddings.word_embeddings.weight": "v h",
            "embeddings.token_type_embeddings.weight": "t h",
            "emb_ln.weight": "h",
            "emb_ln.bias": "h",
        },
        "encoder.layers",
        {
            "attn.Wqkv.weight": "3h h",
            "attn.out_proj.weight": "h h",
            "mlp.fc11.weight": "i h",
            "mlp.fc12.weight": "i h",
            "mlp.fc2.weight": "h i",
            "norm1.weight": "h",
            "norm1.bias": "h",
            "norm2.weight": "h",
            "norm2.bias": "h",
        },
    ),
    "gte": (
        "new.",
        {
            "embeddings.word_embeddings.weight": "v h",
            "embeddings.token_type_embeddings.weight": "t h",
            "embeddings.LayerNorm.weight": "h",
            "embeddings.LayerNorm.bias": "h",
        },
        "encoder.layer",
        {
            "attention.qkv_proj.weight": "3h h",
            "attention.qkv_proj.bias": "3h",
            "attention.o_proj.weight": "h h",
            "attention.o_proj.bias": "h",
            "attn_ln.weight": "h",
            "attn_ln.bias": "h",
            "mlp.up_gate_proj.weight": "2i h",
            "mlp.down_proj.weight": "h i",
            "mlp.down_proj.bias": "h",
            "mlp_ln.weight": "h",
            "mlp_ln.bias": "h",
        },
    ),
    "modernbert": (
        "model.",
        {
            "embeddings.tok_embeddings.weight": "v h",
            "embeddings.norm.weight": "h",
            "final_norm.weight": "h",
        },
        "layers",
        {
            "attn.Wqkv.weight": "3h h",
            "attn.Wo.weight": "h h",
            "attn_norm.weight": "h",
            "mlp.Wi.weight": "2i h",
            "mlp.Wo.weight": "h i",
            "mlp_norm.weight": "h",
        },
    ),
    "eurobert": (
        "model.",
        {"embed_tokens.weight": "v h", "norm.weight": "h"},
        "layers",
        {
            "self_attn.q_proj.weight": "h h",
            "self_attn.k_proj.weight": "k h",
            "self_attn.v_proj.weight": "k h",
            "self_attn.o_proj.weight": "h h",
            "input_layernorm.weight": "h",
            "post_attention_layernorm.weight": "h",
            "mlp.gate_proj.weight": "i h",
            "mlp.up_proj.weight": "i h",
            "mlp.down_proj.weight": "h i",
        },
    ),
}
_JINA_BESIDE = {
    "embeddings.word_embeddings.weight": "v h",
    "embeddings.token_type_embeddings.weight": "t h",
    "embeddings.LayerNorm.weight": "h",
    "embeddings.LayerNorm.bias": "h",
}
_JINA_ATTENTION = {
    f"attention.{part}.{kind}": size
    for part in ("self.query", "self.key", "self.value", "output.dense")
    for kind, size in (("weight", "h h"), ("bias", "h"))
}
_JINA_FORMS = {
    "jina": (
        {"mlp.gated_layers.weight": "2i h", "mlp.wo.weight": "h i", "mlp.wo.bias": "h"},
        ("attention.output.LayerNorm", "mlp.layernorm"),
    ),
    "jina, later": (
        {"mlp.up_gated_layer.weight": "2i h", "mlp.down_layer.weight": "h i", "mlp.down_layer.bias": "h"},
        (
            "attention.self.layer_norm_q",
            "attention.self.layer_norm_k",
            "attention.output.LayerNorm",
            "layer_norm_1",
            "layer_norm_2",
        ),
    ),
}
for _name, (_matrices, _norms) in _JINA_FORMS.items():
    _shifted = {f"{norm}.{kind}": "h" for norm in _norms for kind in ("weight", "bias")}
    _LAYOUTS[_name] = (
        "",
        _JINA_BESIDE,
        "encoder.layer",
        {**_JINA_ATTENTION, **_matrices, **_shifted},
    )


def tensors_of(hub: HubConfig, layers: int, vocabulary: int) -> dict[str, np.ndarray]:
    """Zeros with the names and shapes of the hub's tensors, for a model with so many layers and words.

    The names are those that the loaders of text-embeddings-inference and of llama.cpp look for.
    """
    prefix, beside, stem, of_layer = _LAYOUTS[hub.layout]
    size = hub.spec["hidden"] // hub.spec["heads"]
    sizes = {
        "v": vocabulary,
        "t": hub.config.get("type_vocab_size", 0),
        "h": hub.spec["hidden"],
        "i": hub.spec["intermediate"],
        "k": size * hub.config.get("num_key_value_heads", 0),
    }
    names = dict(beside)
    for layer in range(layers):
        names |= {f"{stem}.{layer}.{name}": shape for name, shape in of_layer.items()}
    if hub.layout == "modernbert":
        del names["layers.0.attn_norm.weight"]

    def length(dimension: str) -> int:
        return int(dimension[:-1] or 1) * sizes[dimension[-1]]

    return {
        prefix + name: np.zeros([length(each) for each in shape.split()], np.float32)
        for name, shape in names.items()
    }
