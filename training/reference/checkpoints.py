"""Writes a tiny random checkpoint folder in one of the generations that exist on disk."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from . import tokenizers_tiny
from .configurations import (
    FEATURES_IN_TEMPLATE_JSON,
    FEATURES_IN_TOKENIZER_CONFIG,
    FEATURES_NESTED,
    HUB,
    V5,
    V452,
    Configuration,
)

CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
SIGLIP_MEAN, SIGLIP_STD = [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


ARCHITECTURES = {
    "llava": "LlavaForConditionalGeneration",
    "llava_next": "LlavaNextForConditionalGeneration",
    "llava_onevision": "LlavaOnevisionForConditionalGeneration",
}
PROCESSORS = {
    "llava": "LlavaProcessor",
    "llava_next": "LlavaNextProcessor",
    "llava_onevision": "LlavaOnevisionProcessor",
}


def vision_patches(configuration: Configuration) -> int:
    return (configuration.vision["image_size"] // configuration.vision["patch_size"]) ** 2


def image_tokens(configuration: Configuration) -> int:
    """Image tokens of one image at the decoder's entrance."""
    full = configuration.llava.get("vision_feature_select_strategy") == "full"
    return vision_patches(configuration) + (configuration.additional_image_tokens if full else 0)


def config_json(configuration: Configuration, ids: dict[str, int]) -> dict:
    begin, end, pad = tokenizers_tiny.SPECIALS[configuration.tokenizer]
    modern = configuration.names == V5
    text = configuration.text | {"vocab_size": len(ids), "pad_token_id": ids[pad], "eos_token_id": ids[end]}
    if begin is not None:
        text["bos_token_id"] = ids[begin]
    return {
        "architectures": [ARCHITECTURES[configuration.model_type]],
        "model_type": configuration.model_type,
        "image_token_index": ids[tokenizers_tiny.IMAGE],
        **configuration.llava,
        ("dtype" if modern else "torch_dtype"): configuration.dtype,
        "text_config": text,
        "vision_config": configuration.vision,
    }


def image_processor(configuration: Configuration, nested: bool) -> dict:
    size = configuration.vision["image_size"]
    common = {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "resample": 3,
        "rescale_factor": 1 / 255,
    }
    tiled = {"do_pad": True, "image_grid_pinpoints": configuration.llava.get("image_grid_pinpoints")}
    if configuration.model_type == "llava_onevision":
        kind, own = (
            "LlavaOnevisionImageProcessor",
            {
                "image_mean": SIGLIP_MEAN,
                "image_std": SIGLIP_STD,
                "size": {"height": size, "width": size},
                **tiled,
            },
        )
    elif configuration.model_type == "llava_next":
        kind, own = (
            "LlavaNextImageProcessor",
            {
                "aspect_ratio_setting": "anyres",
                "crop_size": {"height": size, "width": size},
                "do_center_crop": True,
                "image_mean": CLIP_MEAN,
                "image_std": CLIP_STD,
                "size": {"shortest_edge": size},
                **tiled,
            },
        )
    elif configuration.vision["model_type"] == "siglip_vision_model":
        kind, own = (
            "SiglipImageProcessor",
            {
                "image_mean": SIGLIP_MEAN,
                "image_std": SIGLIP_STD,
                "size": {"height": size, "width": size},
            },
        )
    else:
        kind, own = (
            "CLIPImageProcessor",
            {
                "crop_size": {"height": size, "width": size},
                "do_center_crop": True,
                "image_mean": CLIP_MEAN,
                "image_std": CLIP_STD,
                "size": {"shortest_edge": size},
            },
        )
    processor_class = PROCESSORS[configuration.model_type]
    written = {"image_processor_type": kind, **common, **own} | configuration.image_processor
    written = {key: value for key, value in written.items() if value is not None}
    return written | ({} if nested else {"processor_class": processor_class})


def write_text_and_processor_files(configuration: Configuration, folder: Path, tokenizer: dict) -> None:
    write_json(folder / "tokenizer.json", tokenizer)
    begin, end, pad = tokenizers_tiny.SPECIALS[configuration.tokenizer]
    template = tokenizers_tiny.TEMPLATES[configuration.template]
    tokenizer_config = {
        "bos_token": begin,
        "clean_up_tokenization_spaces": False,
        "eos_token": end,
        "model_max_length": 512,
        "pad_token": pad,
        "processor_class": PROCESSORS[configuration.model_type],
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    processor = {
        "image_token": tokenizers_tiny.IMAGE,
        "processor_class": PROCESSORS[configuration.model_type],
        "vision_feature_select_strategy": configuration.llava.get("vision_feature_select_strategy", "default"),
    }
    if configuration.model_type == "llava_onevision":
        processor |= {
            "num_image_tokens": vision_patches(configuration),
            "vision_aspect_ratio": configuration.llava["vision_aspect_ratio"],
        }
    else:
        processor |= {
            "num_additional_image_tokens": configuration.additional_image_tokens,
            "patch_size": configuration.vision["patch_size"],
        }
    processor = dict(sorted(processor.items()))
    if configuration.processor_files == FEATURES_NESTED:
        write_json(folder / "processor_config.json", {"image_processor": image_processor(configuration, True)} | processor)
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    else:
        write_json(folder / "preprocessor_config.json", image_processor(configuration, False))
        write_json(folder / "processor_config.json", processor)
        if configuration.processor_files == FEATURES_IN_TEMPLATE_JSON:
            write_json(folder / "chat_template.json", {"chat_template": template})
        elif configuration.processor_files == FEATURES_IN_TOKENIZER_CONFIG:
            tokenizer_config["chat_template"] = template
        else:
            raise ValueError(configuration.processor_files)
    write_json(folder / "tokenizer_config.json", tokenizer_config)
    ids = tokenizers_tiny.token_ids(tokenizer)
    stops = ids[end] if configuration.second_stop is None else [ids[end], configuration.second_stop]
    write_json(folder / "generation_config.json", {"eos_token_id": stops, "pad_token_id": ids[pad]})


def random_tensor(name: str, shape: tuple[int, ...], seed: int, tied: bool) -> torch.Tensor:
    """
    Weights large enough that a random network is alive: attention with peaks, logits with spread. HF's own
    initialisation (0.02) would make attention uniform, and a wrong mask or scale would hardly show.
    """
    normal = np.random.default_rng([seed, zlib.crc32(name.encode())]).standard_normal(shape)
    if "norm" in name.split(".")[-2]:
        values = 1 + 0.2 * normal if name.endswith("weight") else 0.1 * normal
    elif name.endswith("bias"):
        values = 0.3 * normal
    elif name.endswith("embed_tokens.weight"):
        values = (0.5 if tied else 1.0) * normal
    elif "position_embedding" in name or "class_embedding" in name or name.endswith("probe"):
        values = 0.6 * normal
    elif name.endswith("lm_head.weight"):
        values = 2.5 / np.sqrt(shape[-1]) * normal
    else:
        gain = 1.6 if ("q_proj" in name or "k_proj" in name) else 1.3
        values = gain / np.sqrt(np.prod(shape[1:])) * normal
    return torch.from_numpy(values.astype(np.float32))


def on_disk_name(name: str, generation: str) -> str:
    """From the names of transformers 5 in memory to those of a generation of files."""
    if generation == V5:
        return name
    name = name.replace("model.vision_tower.", "model.vision_tower.vision_model.", 1)
    if generation == V452:
        return name
    if generation == HUB:
        name = name.replace("lm_head.", "language_model.lm_head.", 1)
        name = name.replace("model.language_model.", "language_model.model.", 1)
        return name.removeprefix("model.")
    raise ValueError(generation)


def memory_shapes(config_folder: Path) -> dict[str, tuple[int, ...]]:
    """Parameter names and shapes as transformers has them, from the config.json just written."""
    from transformers import AutoConfig, AutoModelForImageTextToText

    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(config_folder))
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def write_checkpoint(configuration: Configuration, folder: Path, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tokenizers_tiny.TOKENIZERS[configuration.tokenizer]()
    config = config_json(configuration, tokenizers_tiny.token_ids(tokenizer))
    write_json(folder / "config.json", config)
    write_text_and_processor_files(configuration, folder, tokenizer)

    tied = bool(config.get("tie_word_embeddings") or config["text_config"].get("tie_word_embeddings"))
    dtype = getattr(torch, configuration.dtype)
    tensors = {
        on_disk_name(name, configuration.names): random_tensor(name, shape, seed, tied).to(dtype)
        for name, shape in memory_shapes(folder).items()
    }
    write_weights(tensors, folder, configuration.shards)


def save_shard(tensors: dict[str, torch.Tensor], path: Path) -> None:
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)


def write_weights(tensors: dict[str, torch.Tensor], folder: Path, shards: int) -> None:
    if shards == 1:
        save_shard(tensors, folder / "model.safetensors")
        return
    files: list[dict[str, torch.Tensor]] = [{} for _ in range(shards)]
    for index, name in enumerate(sorted(tensors)):
        # Dealt out like cards: a layer's tensors lie in several files, as the reader must expect.
        files[index % shards][name] = tensors[name]
    weight_map = {}
    for index, part in enumerate(files):
        file_name = f"model-{index + 1:05d}-of-{shards:05d}.safetensors"
        save_shard(part, folder / file_name)
        weight_map |= dict.fromkeys(part, file_name)
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    write_json(
        folder / "model.safetensors.index.json",
        {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))},
    )
