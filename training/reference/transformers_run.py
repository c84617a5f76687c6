"""Runs transformers on a checkpoint folder in float32 and collects what the engine's tests compare with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

ANSWER_TOKENS = 32
# Decode steps whose attention is stored; step s is the pass that reads answer token s-1 and predicts answer token s.
ATTENTION_STEPS = (1, 8, 31)


@dataclass
class Run:
    tensors: dict[str, torch.Tensor]
    shapes: dict[str, str]
    facts: dict


def load(folder: Path):
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model, report = AutoModelForImageTextToText.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report[problem]:
            raise RuntimeError(f"{folder.name}: {problem}: {report[problem]}")
    if model.config.model_type == "llava_onevision":
        return model.eval(), onevision_processor(folder)
    return model.eval(), AutoProcessor.from_pretrained(folder, backend="pil")


def onevision_processor(folder: Path):
    """OneVision's processor for pictures alone: AutoProcessor would also make one for video, which wants torchvision."""
    from transformers import AutoTokenizer, LlavaOnevisionProcessor
    from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil

    class PictureProcessor(LlavaOnevisionProcessor):
        def check_argument_for_proper_class(self, argument_name, argument):
            if argument_name == "video_processor" and argument is None:
                return type(None)
            return super().check_argument_for_proper_class(argument_name, argument)

    described = json.loads((folder / "processor_config.json").read_text(encoding="utf-8"))
    own = {key: described[key] for key in ("num_image_tokens", "vision_feature_select_strategy", "vision_aspect_ratio")}
    return PictureProcessor(
        LlavaOnevisionImageProcessorPil.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
        None,
        chat_template=(folder / "chat_template.jinja").read_text(encoding="utf-8"),
        **own,
    )


def messages(images: int, question: str, system: str | None) -> list[dict]:
    content = [{"type": "image"}] * images + [{"type": "text", "text": question}]
    user = [{"role": "user", "content": content}]
    return user if system is None else [{"role": "system", "content": [{"type": "text", "text": system}]}, *user]


def prompt(processor, images: list[Image.Image], question: str, system: str | None):
    """The chat template's text, the ids of the expanded prompt and the pixels, the way a user of transformers gets them."""
    conversation = messages(len(images), question, system)
    # Where the template lives in tokenizer_config.json, transformers 5 finds it on the tokenizer only.
    template = processor.chat_template or processor.tokenizer.chat_template
    text = processor.apply_chat_template(conversation, chat_template=template, add_generation_prompt=True, tokenize=False)
    begin = processor.tokenizer.bos_token
    writes_begin = begin is not None and text.startswith(begin)
    # OneVision tells one picture per message from several by the nesting, as apply_chat_template hands it over.
    nested = [images] if hasattr(processor, "vision_aspect_ratio") else images
    inputs = processor(images=nested, text=text, return_tensors="pt", add_special_tokens=not writes_begin)
    return conversation, text, inputs


@torch.no_grad()
def vision(model, pixel_values: torch.Tensor) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tower outputs of the selected layer(s); hidden state index i is what encoder layer i-1 put out."""
    config, tower = model.config, model.model.vision_tower
    layers = tower.encoder.layers
    keys: dict[int, torch.Tensor] = {}
    hooks = [
        layer.self_attn.k_proj.register_forward_hook(
            lambda _module, _inputs, output, index=index: keys.__setitem__(index, output)
        )
        for index, layer in enumerate(layers)
    ]
    outputs = tower(pixel_values, output_hidden_states=True, output_attentions=True, return_dict=True)
    for hook in hooks:
        hook.remove()
    selected = config.vision_feature_layer if isinstance(config.vision_feature_layer, list) else [config.vision_feature_layer]
    has_class = config.vision_config.model_type == "clip_vision_model"
    features = torch.cat([outputs.hidden_states[index] for index in selected], dim=-1)
    if config.vision_feature_select_strategy == "default":
        features = features[:, 1:]
    indices = [index % len(outputs.hidden_states) - 1 for index in selected]
    tensors = {
        "pixel_values": pixel_values,
        "vision_features": features,
        "projected": model.model.multi_modal_projector(features),
        "vision_keys": torch.stack([keys[index] for index in indices]),
    }
    shapes = {
        "pixel_values": "[images, 3, height, width]",
        "vision_features": "[images, tokens, visionHidden * feature layers], after the select strategy",
        "projected": "[images, tokens, textHidden]",
        "vision_keys": "[feature layers, images, positions, visionHidden]: key projection with bias, heads side by side; CLIP: position 0 is CLS",
    }
    attention = torch.stack([outputs.attentions[index] for index in indices])
    if has_class:
        tensors["class_attention"] = attention[:, :, :, 0]
        shapes["class_attention"] = (
            "[feature layers, images, heads, positions]: softmax row of the CLS query, its own column first"
        )
    tensors["received_attention"] = attention.mean(dim=(2, 3))
    shapes["received_attention"] = (
        "[feature layers, images, positions]: mean over heads and over all queries (a patch's own included)"
    )
    return tensors, shapes


PACKED = "[image tokens, textHidden]: overview, then the tiles' patches without padding row by row, a newline after each row"


def packed_features(model, inputs) -> torch.Tensor:
    arguments = {key: value for key, value in inputs.items() if key in ("pixel_values", "image_sizes", "batch_num_images")}
    return torch.cat(model.model.get_image_features(**arguments, return_dict=True).pooler_output)


@torch.no_grad()
def picture_case(folder: Path, images: list[Image.Image], question: str, smallest_margin: float) -> tuple[dict, dict]:
    """A question about pictures of some shapes: (tensors, facts)."""
    model, processor = load(folder)
    _, _, inputs = prompt(processor, images, question, None)
    ids = inputs["input_ids"][0]
    pixels = inputs["pixel_values"]
    several = "batch_num_images" in inputs and int(inputs["batch_num_images"][0]) > 1
    tiles = [1 if several else tile_count(model, size) for size in inputs["image_sizes"]]
    image_rows = torch.nonzero(ids == model.config.image_token_id).flatten()
    logits = model(**inputs).logits[0]
    tensors = {
        "pixels": torch.cat([image[:count] for image, count in zip(pixels, tiles, strict=True)]),
        "packed": packed_features(model, inputs),
        "logits": logits[int(image_rows[-1]) :],
    }
    answered = answer(model, processor, images, question, None, smallest_margin)
    return tensors, {"tiles": tiles, "promptIds": ids.tolist(), "answerIds": answered["answerIds"]}


def tile_count(model, size) -> int:
    from transformers.models.llava_next.modeling_llava_next import image_size_to_num_patches

    return image_size_to_num_patches(size, model.config.image_grid_pinpoints, model.config.vision_config.image_size)


def over_all_keys(attention: torch.Tensor, keys: int) -> torch.Tensor:
    """The cache of a layer with a sliding window keeps the last keys only; nobody looks at those before them."""
    return torch.nn.functional.pad(attention, (keys - attention.shape[-1], 0))


@torch.no_grad()
def run(folder: Path, images: list[Image.Image], question: str, system: str | None) -> Run:
    model, processor = load(folder)
    conversation, text, inputs = prompt(processor, images, question, system)
    ids = inputs["input_ids"]
    pixel_values = inputs["pixel_values"]
    tiled = pixel_values.dim() == 5
    # The towers of tiled models see [images, tiles, 3, size, size]; here there is one image.
    tensors, shapes = vision(model, pixel_values[0] if tiled else pixel_values)
    if tiled:
        tensors["packed"] = packed_features(model, inputs)
        shapes["packed"] = PACKED

    prefill = model(**inputs, output_attentions=True)
    attention = torch.stack(prefill.attentions)[:, 0]  # [layers, heads, queries, keys]
    generated = model.generate(
        **inputs,
        do_sample=False,
        max_new_tokens=ANSWER_TOKENS,
        output_attentions=True,
        output_logits=True,
        return_dict_in_generate=True,
    )
    answer = generated.sequences[0, ids.shape[1] :].tolist()
    steps = torch.stack(generated.logits)[:, 0]
    tensors |= {
        "prompt_ids": ids[0].to(torch.int32),
        "prompt_logits": prefill.logits[0],
        "answer_ids": torch.tensor(answer, dtype=torch.int32),
        "answer_logits": steps,
        "attention_last_query": attention[:, :, -1].mean(dim=1),
        "attention_column_sum": attention.mean(dim=1).sum(dim=1),
    }
    shapes |= {
        "prompt_ids": "[prompt]: every image's placeholder already repeated once per image token",
        "prompt_logits": "[prompt, vocabulary]",
        "answer_ids": "[answer]: greedy",
        "answer_logits": "[answer, vocabulary]: row s is what answer token s was picked from",
        "attention_last_query": "[layers, prompt]: prefill, row of the last position, mean over heads",
        "attention_column_sum": "[layers, prompt]: prefill, attention received summed over all queries, mean over heads",
    }
    for step in ATTENTION_STEPS:
        if step < len(answer):
            name = f"attention_step_{step}"
            keys = ids.shape[1] + step
            tensors[name] = torch.stack([over_all_keys(layer[0, :, -1], keys) for layer in generated.attentions[step]])
            shapes[name] = f"[layers, heads, prompt + {step}]: the row of the pass that predicts answer token {step}"
    return Run(
        {name: tensor.detach().contiguous() for name, tensor in tensors.items()},
        shapes,
        {
            "messages": conversation,
            "promptText": text,
            "answerText": processor.tokenizer.decode(answer, skip_special_tokens=True),
            "promptIds": ids[0].tolist(),
            "answerIds": answer,
            **({"imageTokens": len(tensors["packed"])} if tiled else {}),
            **liveliness(steps, attention),
        },
    )


@torch.no_grad()
def answer(model, processor, images: list[Image.Image], question: str, system: str | None, clear: float) -> dict:
    """Prompt and greedy answer as ids only; the answer is cut before the first step that is no clearer than `clear`."""
    _, text, inputs = prompt(processor, images, question, system)
    generated = model.generate(
        **inputs, do_sample=False, max_new_tokens=ANSWER_TOKENS, output_logits=True, return_dict_in_generate=True
    )
    ids = generated.sequences[0, inputs["input_ids"].shape[1] :].tolist()
    top = torch.stack(generated.logits)[:, 0].topk(2, dim=-1).values
    unclear = ((top[:, 0] - top[:, 1]) < clear).nonzero()
    ids = ids[: int(unclear[0])] if len(unclear) else ids
    stops = model.generation_config.eos_token_id
    return {
        "promptText": text,
        "promptIds": inputs["input_ids"][0].tolist(),
        "answerIds": ids,
        "endsWithStop": bool(ids) and ids[-1] in (stops if isinstance(stops, list) else [stops]),
    }


@torch.no_grad()
def logits_with_hidden_rows(model, embeddings: torch.Tensor, layer: int, hidden: list[int]) -> torch.Tensor:
    """
    Logits [positions, vocabulary] when, from `layer` on, nobody sees the rows `hidden`. For all other rows that is the
    same as dropping them there and keeping the positions of the rest.
    """
    layers = model.model.language_model.layers

    def blind(_module, arguments, keywords):
        mask = keywords["attention_mask"].clone()
        mask[..., hidden] = torch.finfo(mask.dtype).min
        return arguments, keywords | {"attention_mask": mask}

    hooks = [each.register_forward_pre_hook(blind, with_kwargs=True) for each in layers[layer:]]
    try:
        return model(inputs_embeds=embeddings[None].float()).logits[0]
    finally:
        for hook in hooks:
            hook.remove()


def liveliness(steps: torch.Tensor, attention: torch.Tensor) -> dict:
    """How far the run is from degenerate: clear greedy choices, several tokens, attention neither flat nor one-hot."""
    top = steps.topk(2, dim=-1).values
    last = attention[:, :, -1].clamp_min(1e-12)
    entropy = -(last * last.log()).sum(-1) / np.log(last.shape[-1])
    return {
        "greedyMargin": round(float((top[:, 0] - top[:, 1]).min()), 4),
        "logitScale": round(float(steps.abs().max()), 4),
        "distinctAnswerTokens": int(steps.argmax(-1).unique().numel()),
        "attentionEntropy": round(float(entropy.mean()), 4),
    }
