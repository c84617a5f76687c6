"""The tiny LLaVA configurations. Together they cover what a checkpoint folder may look like; each is small enough to commit.

A configuration's `vision`, `text` and `llava` dictionaries are written to config.json as they stand, so that what is
left out there is what the reader of the checkpoint has to fill in from the model classes' defaults.
"""

from __future__ import annotations

from dataclasses import dataclass, field

HUB = "hub"  # language_model.model.layers.*, vision_tower.vision_model.*: the files on the hub
V452 = "4.52"  # model.language_model.layers.*, model.vision_tower.vision_model.*: names in memory since 4.52
V5 = "5"  # as 4.52 but without the inner vision_model

FEATURES_IN_TOKENIZER_CONFIG = "tokenizer_config"  # preprocessor_config.json + template in tokenizer_config.json
FEATURES_IN_TEMPLATE_JSON = "chat_template.json"  # preprocessor_config.json + chat_template.json
FEATURES_NESTED = "processor_config"  # processor_config.json with the image processor inside + chat_template.jinja


@dataclass(frozen=True)
class Configuration:
    name: str
    note: str
    # Weights are drawn from this seed. It was searched (`make --find-seeds`) so that greedy decoding has clear margins.
    seed: int
    vision: dict
    text: dict
    llava: dict
    tokenizer: str  # 'byte' | 'qwen' | 'sentencepiece' | 'metaspace'
    template: str  # 'vicuna' | 'chatml' | 'mistral' | 'backslash'
    names: str
    processor_files: str
    question: str
    images: list[tuple[int, int]]  # width, height of every source image
    system: str | None = None
    dtype: str = "float32"
    shards: int = 1
    image_seed: int = 1
    # Values that HF's processors need beside config.json.
    additional_image_tokens: int = 0
    model_type: str = "llava"  # | 'llava_next' | 'llava_onevision'
    # Tiled models: further prompts about pictures of other shapes, each a list of (width, height).
    pictures: tuple[tuple[tuple[int, int], ...], ...] = ()
    # A token that generation_config.json lists as end of text beside the tokenizer's own, as Qwen's and Llama 3's do.
    second_stop: int | None = None
    # Fields of the image processor's file that are not what its tower has by default; None leaves a field out.
    image_processor: dict = field(default_factory=dict)


CLIP = {
    "model_type": "clip_vision_model",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "image_size": 48,
    "patch_size": 8,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "num_channels": 3,
    "projection_dim": 32,
}
SIGLIP = {
    "model_type": "siglip_vision_model",
    "hidden_size": 32,
    "intermediate_size": 56,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 56,
    "patch_size": 8,
    "hidden_act": "gelu_pytorch_tanh",
    "layer_norm_eps": 1e-6,
    "num_channels": 3,
    "vision_use_head": False,
}
LLAMA = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 512,
    "rope_theta": 10000.0,
}
QWEN2 = {
    "model_type": "qwen2",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "max_position_embeddings": 1024,
}


NEXT = {
    "vision_feature_layer": -2,
    "vision_feature_select_strategy": "default",
    "projector_hidden_act": "gelu",
    "image_grid_pinpoints": [[32, 64], [64, 32], [64, 64], [96, 32], [32, 96]],
}


def without(source: dict, *names: str) -> dict:
    return {key: value for key, value in source.items() if key not in names}


CONFIGURATIONS = [
    Configuration(
        name="clip-llama",
        note="The shape of llava-1.5: CLIP, layer -2 without CLS, Llama, a SentencePiece-style tokenizer with byte fallback.",
        seed=6,
        vision=CLIP,
        text=LLAMA,
        llava={"vision_feature_layer": -2, "vision_feature_select_strategy": "default", "projector_hidden_act": "gelu"},
        tokenizer="sentencepiece",
        template="vicuna",
        names=HUB,
        processor_files=FEATURES_IN_TOKENIZER_CONFIG,
        question="What is in the picture?",
        images=[(67, 41)],
        additional_image_tokens=1,
    ),
    Configuration(
        name="siglip-qwen2",
        note="The shape of llava-interleave-qwen: SigLIP, last layer in full, Qwen2 with grouped queries and a tied head.",
        seed=10,
        vision=SIGLIP,
        text=QWEN2 | {"rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0}, "tie_word_embeddings": True},
        llava={
            "vision_feature_layer": -1,
            "vision_feature_select_strategy": "full",
            "projector_hidden_act": "gelu",
            "tie_word_embeddings": True,
        },
        tokenizer="qwen",
        template="chatml",
        names=V5,
        processor_files=FEATURES_NESTED,
        question="Which window is open?",
        images=[(53, 95)],
        second_stop=190,
    ),
    Configuration(
        name="clip-mistral-layers-sharded",
        note="Two feature layers joined, projector without bias, Mistral, sharded file with an index, template in chat_template.json.",
        seed=2,
        vision=CLIP | {"num_hidden_layers": 5, "hidden_size": 24, "hidden_act": "gelu"},
        text=LLAMA
        | {
            "model_type": "mistral",
            "num_key_value_heads": 2,
            "num_hidden_layers": 3,
            "sliding_window": 4096,
            "rope_theta": 1000000.0,
        },
        llava={
            "vision_feature_layer": [-2, -4],
            "vision_feature_select_strategy": "default",
            "projector_hidden_act": "gelu",
            "multimodal_projector_bias": False,
        },
        tokenizer="byte",
        template="mistral",
        names=V452,
        processor_files=FEATURES_IN_TEMPLATE_JSON,
        question="Read the title aloud.",
        images=[(31, 77)],
        shards=3,
        additional_image_tokens=1,
    ),
    Configuration(
        name="clip-qwen2-two-images",
        note="Two images in one message, CLS kept among the image tokens (full), last layer, a system message, untied head.",
        seed=6,
        vision=CLIP | {"image_size": 40, "num_hidden_layers": 3},
        text=QWEN2 | {"rope_theta": 10000.0, "tie_word_embeddings": False, "num_key_value_heads": 1},
        llava={"vision_feature_layer": -1, "vision_feature_select_strategy": "full", "projector_hidden_act": "gelu"},
        tokenizer="qwen",
        template="chatml",
        names=HUB,
        processor_files=FEATURES_IN_TOKENIZER_CONFIG,
        question="What changed between them?",
        system="Answer in one short line.",
        images=[(90, 33), (29, 61)],
        additional_image_tokens=1,
    ),
    Configuration(
        name="siglip-llama-bias-linear",
        note=(
            "Attention and MLP biases, linear rotary scaling in the old spelling, head_dim larger than hidden/heads, an image size"
            " that is no multiple of the patch, a pooling head that LLaVA must not use."
        ),
        seed=2,
        vision=SIGLIP | {"image_size": 52, "num_attention_heads": 4, "vision_use_head": True},
        text=LLAMA
        | {
            "attention_bias": True,
            "mlp_bias": True,
            "head_dim": 12,
            "num_key_value_heads": 2,
            "num_hidden_layers": 3,
            "rope_scaling": {"type": "linear", "factor": 2.5},
        },
        llava={"vision_feature_layer": -2, "vision_feature_select_strategy": "full", "projector_hidden_act": "gelu"},
        tokenizer="byte",
        template="vicuna",
        names=V452,
        processor_files=FEATURES_NESTED,
        question="How many buttons are there?",
        images=[(200, 31)],
    ),
    Configuration(
        name="clip-llama-llama3-bfloat16",
        note="bfloat16, sharded, rotary scaling of Llama 3; the reference runs the same weights widened to float32.",
        seed=7,
        vision=CLIP | {"num_hidden_layers": 3, "patch_size": 6, "image_size": 42},
        text=without(LLAMA, "rope_theta")
        | {
            "num_key_value_heads": 2,
            "num_hidden_layers": 6,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 500000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        },
        llava={"vision_feature_layer": -2, "vision_feature_select_strategy": "default", "projector_hidden_act": "gelu"},
        tokenizer="byte",
        template="vicuna",
        names=V5,
        processor_files=FEATURES_NESTED,
        question="Is the theme light or dark?",
        images=[(58, 57)],
        dtype="bfloat16",
        shards=2,
        additional_image_tokens=1,
        second_stop=217,
    ),
    Configuration(
        name="siglip-qwen2-float16",
        note="float16, a feature layer counted from the front, untied head with its own weights.",
        seed=7,
        vision=SIGLIP | {"num_hidden_layers": 4, "hidden_size": 36, "num_attention_heads": 3},
        text=QWEN2 | {"num_attention_heads": 6, "num_key_value_heads": 3, "hidden_size": 48, "rope_theta": 1000000.0},
        llava={"vision_feature_layer": 2, "vision_feature_select_strategy": "full", "projector_hidden_act": "gelu"},
        tokenizer="qwen",
        template="chatml",
        names=HUB,
        processor_files=FEATURES_IN_TEMPLATE_JSON,
        question="Where is the cursor?",
        images=[(49, 49)],
        dtype="float16",
    ),
    Configuration(
        name="clip-llama-defaults",
        note="Whatever may be left out of config.json is left out: 32 text heads, 12 vision heads, epsilons, theta, feature layer...",
        seed=6,
        vision={
            "model_type": "clip_vision_model",
            "hidden_size": 24,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
            "image_size": 32,
            "patch_size": 8,
        },
        text={"model_type": "llama", "hidden_size": 64, "intermediate_size": 24, "num_hidden_layers": 2},
        llava={},
        tokenizer="byte",
        template="vicuna",
        names=HUB,
        processor_files=FEATURES_IN_TOKENIZER_CONFIG,
        question="Describe it.",
        images=[(35, 80)],
        additional_image_tokens=1,
    ),
    Configuration(
        name="clip-llama-yarn",
        note=(
            "YaRN, LLaVA's own image processor that pads to a square before it crops, the tokenizer of llava-1.5 as the hub has it"
            " (Metaspace), a template with a backslash that is no escape sequence."
        ),
        seed=9,
        vision=CLIP | {"num_hidden_layers": 3, "hidden_act": "gelu_fast"},
        text=LLAMA
        | {
            "num_key_value_heads": 2,
            "num_hidden_layers": 3,
            "max_position_embeddings": 256,
            "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
        },
        llava={"vision_feature_layer": -2, "vision_feature_select_strategy": "default", "projector_hidden_act": "gelu"},
        tokenizer="metaspace",
        template="backslash",
        names=HUB,
        processor_files=FEATURES_IN_TOKENIZER_CONFIG,
        question="Read the title aloud.",
        images=[(90, 41)],
        additional_image_tokens=1,
        image_processor={
            "image_processor_type": "LlavaImageProcessor",
            "do_pad": True,
            "size": {"shortest_edge": 56},
        },
    ),
    Configuration(
        name="siglip-qwen2-longrope-windows",
        note=(
            "LongRoPE beyond its original length, full attention in the first two layers and a sliding window in the others, CLIP's"
            " image processor (and what it has by default) before a SigLIP tower."
        ),
        seed=9,
        vision=SIGLIP,
        text=QWEN2
        | {
            "use_sliding_window": True,
            "sliding_window": 24,
            "max_window_layers": 2,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 10000.0,
                "original_max_position_embeddings": 32,
                "factor": 8.0,
                "short_factor": [1.0, 1.05, 1.1, 1.2],
                "long_factor": [1.0, 1.5, 3.0, 6.0],
            },
        },
        llava={"vision_feature_layer": -1, "vision_feature_select_strategy": "full", "projector_hidden_act": "gelu"},
        tokenizer="qwen",
        template="chatml",
        names=V452,
        processor_files=FEATURES_IN_TEMPLATE_JSON,
        question="Where is the cursor?",
        images=[(77, 40)],
        image_processor={
            "image_processor_type": "CLIPImageProcessor",
            "crop_size": {"height": 56, "width": 56},
            "image_mean": None,
            "image_std": None,
        },
    ),
    Configuration(
        name="llava-next-clip-llama",
        note="The shape of llava-v1.6-vicuna: an overview and up to four tiles, padding cut away, a newline after each row.",
        seed=2,
        model_type="llava_next",
        vision=CLIP | {"image_size": 32},
        text=LLAMA,
        llava=NEXT,
        tokenizer="sentencepiece",
        template="vicuna",
        names=HUB,
        processor_files=FEATURES_IN_TOKENIZER_CONFIG,
        question="What is in the picture?",
        images=[(160, 90)],
        additional_image_tokens=1,
        # Tall, square, smaller than a tile, a narrow strip, two pictures in one prompt, one that is not padded at all, a strip
        # so thin that its details are cut away with the padding.
        pictures=(((50, 140),), ((75, 75),), ((20, 11),), ((400, 30),), ((31, 64), (97, 60)), ((128, 64),), ((2, 130),)),
    ),
    Configuration(
        name="llava-next-clip-mistral",
        note="The shape of llava-v1.6-mistral: grouped queries, no sliding window, names and files of transformers 5.",
        seed=1,
        model_type="llava_next",
        vision=CLIP | {"image_size": 32, "num_hidden_layers": 3},
        text=LLAMA
        | {
            "model_type": "mistral",
            "num_key_value_heads": 2,
            "num_hidden_layers": 3,
            "sliding_window": None,
            "rope_theta": 1000000.0,
        },
        llava=NEXT,
        tokenizer="byte",
        template="mistral",
        names=V5,
        processor_files=FEATURES_NESTED,
        question="Read the title aloud.",
        images=[(49, 120)],
        additional_image_tokens=1,
        pictures=(((192, 108),), ((33, 33),)),
    ),
    Configuration(
        name="llava-onevision-siglip-qwen2",
        note=(
            "The shape of llava-onevision: a tower whose size is no multiple of the patch, up to nine tiles, more than four tiles'"
            " worth of patches shrunk (anyres_max_4), several pictures as single padded squares, a tied head."
        ),
        seed=10,
        model_type="llava_onevision",
        vision=SIGLIP | {"image_size": 36},
        text=QWEN2 | {"rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0}, "tie_word_embeddings": True},
        llava={
            "vision_feature_layer": -1,
            "vision_feature_select_strategy": "full",
            "vision_aspect_ratio": "anyres_max_4",
            "projector_hidden_act": "gelu",
            "tie_word_embeddings": True,
            "image_grid_pinpoints": [[36 * rows, 36 * columns] for rows in (1, 2, 3) for columns in (1, 2, 3)],
        },
        tokenizer="qwen",
        template="chatml",
        names=V5,
        processor_files=FEATURES_NESTED,
        question="Which window is open?",
        images=[(160, 90)],
        # Tall, square and shrunk, smaller than a tile, a strip, two pictures, shrunk beside padding.
        pictures=(((50, 140),), ((110, 110),), ((20, 11),), ((300, 30),), ((70, 45), (30, 64)), ((110, 93),)),
    ),
]
