"""
LLaVA in float64, straight from a checkpoint folder: no transformers, no dtype but float64. Written to be read, and
checked against transformers by the fixtures that are made with it. Reductions act where the methods say they act.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import gelu

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": gelu,
    "gelu_pytorch_tanh": lambda x: gelu(x, approximate="tanh"),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "silu": lambda x: x * torch.sigmoid(x),
}

# What the model classes assume where config.json is silent.
TEXT_DEFAULTS = {"num_attention_heads": 32, "rms_norm_eps": 1e-6, "hidden_act": "silu", "rope_theta": 10000.0}
VISION_DEFAULTS = {
    "clip_vision_model": {"num_attention_heads": 12, "layer_norm_eps": 1e-5, "hidden_act": "quick_gelu"},
    "siglip_vision_model": {"num_attention_heads": 12, "layer_norm_eps": 1e-6, "hidden_act": "gelu_pytorch_tanh"},
}
LLAVA_DEFAULTS = {"vision_feature_layer": -2, "vision_feature_select_strategy": "default", "projector_hidden_act": "gelu"}


def plain_name(name: str) -> str:
    """One spelling for all generations: tower.*, projector.*, text.*, head."""
    name = name.removeprefix("model.").replace("vision_tower.vision_model.", "vision_tower.")
    name = name.replace("language_model.lm_head.", "lm_head.").replace("language_model.model.", "language_model.")
    for long, short in (("vision_tower.", "tower."), ("multi_modal_projector.", "projector."), ("language_model.", "text.")):
        if name.startswith(long):
            return short + name.removeprefix(long)
    return name


@dataclass
class Vision:
    """One image. Position 0 is the class token where the tower has one."""

    features: Tensor  # [positions, dim * feature layers]
    attention: Tensor  # [heads, queries, keys] of the layer that made the (first) features
    keys: Tensor  # [positions, dim] key projection of that layer


@dataclass
class LayerCache:
    keys: Tensor  # [kvHeads, tokens, headDim], rotated
    values: Tensor
    positions: list[int]


@dataclass
class Decoded:
    answer_ids: list[int]
    answer_logits: Tensor  # [answer, vocabulary]
    prompt_logits: Tensor  # [positions that are left, vocabulary]
    cache: list[LayerCache] = field(repr=False, default_factory=list)


# Called before a layer at prefill with the attention of the layer before it [heads, queries, keys] and with what its last
# query's attention would be without the rotary embedding [heads, keys]; answers with the rows to keep (ascending), or None
# for all of them.
Drop = Callable[[Tensor, Tensor], list[int] | None]


class Llava64:
    def __init__(self, folder: Path):
        config = json.loads((folder / "config.json").read_text())
        self.llava = LLAVA_DEFAULTS | config
        vision, text = config["vision_config"], config["text_config"]
        self.vision_config = VISION_DEFAULTS[vision["model_type"]] | vision
        self.text_config = TEXT_DEFAULTS | text
        self.weights = {
            plain_name(name): tensor.double()
            for path in sorted(folder.glob("*.safetensors"))
            for name, tensor in load_file(path).items()
        }
        self.has_class = vision["model_type"] == "clip_vision_model"
        self.layers = text["num_hidden_layers"]
        heads = self.text_config["num_attention_heads"]
        self.head_dim = text.get("head_dim") or text["hidden_size"] // heads
        self.inverse_frequencies = self.rotary_frequencies()

    def linear(self, name: str, x: Tensor) -> Tensor:
        y = x @ self.weights[f"{name}.weight"].T
        bias = self.weights.get(f"{name}.bias")
        return y if bias is None else y + bias

    # --- vision ---

    def layer_norm(self, name: str, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + self.vision_config["layer_norm_eps"])
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def vision(self, pixels: Tensor) -> Vision:
        """pixels: [3, height, width], normalised."""
        config, weights = self.vision_config, self.weights
        patch, heads = config["patch_size"], config["num_attention_heads"]
        kernel = weights["tower.embeddings.patch_embedding.weight"]
        grid = config["image_size"] // patch
        # Pixels beyond the last whole patch are not looked at.
        cut = pixels.double()[:, : grid * patch, : grid * patch].unfold(1, patch, patch).unfold(2, patch, patch)
        x = cut.permute(1, 2, 0, 3, 4).reshape(grid * grid, -1) @ kernel.flatten(1).T
        if "tower.embeddings.patch_embedding.bias" in weights:
            x = x + weights["tower.embeddings.patch_embedding.bias"]
        if self.has_class:
            x = torch.cat([weights["tower.embeddings.class_embedding"][None], x])
        x = x + weights["tower.embeddings.position_embedding.weight"]
        if self.has_class:
            x = self.layer_norm("tower.pre_layrnorm", x)

        hidden, attentions, keys = [x], [], []
        for index in range(config["num_hidden_layers"]):
            name = f"tower.encoder.layers.{index}"
            normed = self.layer_norm(f"{name}.layer_norm1", x)
            q, k, v = (self.linear(f"{name}.self_attn.{part}_proj", normed) for part in "qkv")
            split = [part.unflatten(-1, (heads, -1)).transpose(0, 1) for part in (q, k, v)]
            attention = torch.softmax(split[0] @ split[1].transpose(1, 2) / math.sqrt(split[0].shape[-1]), dim=-1)
            mixed = (attention @ split[2]).transpose(0, 1).flatten(1)
            x = x + self.linear(f"{name}.self_attn.out_proj", mixed)
            inner = ACTIVATIONS[config["hidden_act"]](self.linear(f"{name}.mlp.fc1", self.layer_norm(f"{name}.layer_norm2", x)))
            x = x + self.linear(f"{name}.mlp.fc2", inner)
            hidden.append(x)
            attentions.append(attention)
            keys.append(k)
        selected = self.llava["vision_feature_layer"]
        selected = selected if isinstance(selected, list) else [selected]
        made_by = selected[0] % len(hidden) - 1
        return Vision(torch.cat([hidden[index] for index in selected], dim=-1), attentions[made_by], keys[made_by])

    def image_features(self, vision: Vision) -> Tensor:
        return vision.features[1:] if self.llava["vision_feature_select_strategy"] == "default" else vision.features

    def project(self, features: Tensor) -> Tensor:
        inner = ACTIVATIONS[self.llava["projector_hidden_act"]](self.linear("projector.linear_1", features))
        return self.linear("projector.linear_2", inner)

    # --- text ---

    def rotary_frequencies(self) -> Tensor:
        config = self.text_config
        rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
        kind = rope.get("rope_type") or rope.get("type") or "default"
        theta = rope.get("rope_theta") or config["rope_theta"]
        frequencies = theta ** (-torch.arange(0, self.head_dim, 2, dtype=torch.float64) / self.head_dim)
        if kind == "default":
            return frequencies
        if kind == "linear":
            return frequencies / rope["factor"]
        if kind != "llama3":
            raise ValueError(kind)
        # Llama 3: long wavelengths are stretched by the factor, short ones left alone, those between blended.
        wavelength = 2 * math.pi / frequencies
        low, high, trained = rope["low_freq_factor"], rope["high_freq_factor"], rope["original_max_position_embeddings"]
        blend = ((trained / wavelength - low) / (high - low)).clamp(0, 1)
        return (1 - blend) * frequencies / rope["factor"] + blend * frequencies

    def rotate(self, x: Tensor, positions: list[int]) -> Tensor:
        """x: [heads, tokens, headDim]; the first half of a head pairs with the second."""
        angles = torch.tensor(positions, dtype=torch.float64)[:, None] * self.inverse_frequencies
        cos, sin = torch.cos(angles), torch.sin(angles)
        first, second = x.chunk(2, dim=-1)
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)

    def rms_norm(self, name: str, x: Tensor) -> Tensor:
        return x / torch.sqrt((x**2).mean(-1, keepdim=True) + self.text_config["rms_norm_eps"]) * self.weights[f"{name}.weight"]

    def layer(
        self, index: int, x: Tensor, positions: list[int], cache: LayerCache | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor], LayerCache]:
        """New rows see everything cached and, among themselves, what is not later. Returns x, attention as `Drop` takes it, cache."""
        name, heads = f"text.layers.{index}", self.text_config["num_attention_heads"]
        normed = self.rms_norm(f"{name}.input_layernorm", x)
        q, k, v = (
            self.linear(f"{name}.self_attn.{part}_proj", normed).unflatten(-1, (-1, self.head_dim)).transpose(0, 1)
            for part in "qkv"
        )
        plain = torch.softmax(q[:, -1:] @ k.repeat_interleave(heads // k.shape[0], dim=0).transpose(1, 2) / math.sqrt(self.head_dim), dim=-1)
        q, k = self.rotate(q, positions), self.rotate(k, positions)
        past = 0 if cache is None else cache.keys.shape[1]
        if cache is not None:
            k, v = torch.cat([cache.keys, k], dim=1), torch.cat([cache.values, v], dim=1)
            positions = cache.positions + positions
        group = heads // k.shape[0]
        scores = q @ k.repeat_interleave(group, dim=0).transpose(1, 2) / math.sqrt(self.head_dim)
        rows, columns = scores.shape[1:]
        later = torch.arange(columns)[None, :] > torch.arange(rows)[:, None] + past
        attention = torch.softmax(scores.masked_fill(later, -math.inf), dim=-1)
        mixed = (attention @ v.repeat_interleave(group, dim=0)).transpose(0, 1).flatten(1)
        x = x + self.linear(f"{name}.self_attn.o_proj", mixed)
        normed = self.rms_norm(f"{name}.post_attention_layernorm", x)
        gate = ACTIVATIONS[self.text_config["hidden_act"]](self.linear(f"{name}.mlp.gate_proj", normed))
        x = x + self.linear(f"{name}.mlp.down_proj", gate * self.linear(f"{name}.mlp.up_proj", normed))
        return x, (attention, plain[:, 0]), LayerCache(k, v, positions)

    def logits(self, x: Tensor) -> Tensor:
        head = self.weights.get("lm_head.weight", self.weights["text.embed_tokens.weight"])
        return self.rms_norm("text.norm", x) @ head.T

    def embed(self, ids: list[int], images: list[Tensor]) -> tuple[Tensor, list[int]]:
        """Replaces every run of image placeholders by that image's embeddings (however many); also gives their rows."""
        placeholder = self.llava["image_token_index"]
        text = self.weights["text.embed_tokens.weight"]
        rows: list[Tensor] = []
        image_rows: list[int] = []
        waiting = iter(images)
        # Without a reduction every image has `per_image` placeholders; two images may stand next to each other.
        per_image = sum(token == placeholder for token in ids) // len(images)
        index = 0
        while index < len(ids):
            if ids[index] == placeholder:
                image = next(waiting)
                image_rows += range(len(rows), len(rows) + len(image))
                rows += list(image)
                index += per_image
            else:
                rows.append(text[ids[index]])
                index += 1
        return torch.stack(rows), image_rows

    def decode(self, embeddings: Tensor, answer_tokens: int, drop_before: dict[int, Drop] | None = None) -> Decoded:
        """Greedy. Rows dropped before a layer are gone from it on; whoever stays keeps its position."""
        x, positions, attention = embeddings, list(range(len(embeddings))), None
        cache: list[LayerCache] = []
        for index in range(self.layers):
            if drop_before and index in drop_before and (rows := drop_before[index](*attention)) is not None:
                x, positions = x[rows], [positions[row] for row in rows]
            x, attention, layer_cache = self.layer(index, x, positions, None)
            cache.append(layer_cache)
        prompt_logits = self.logits(x)
        steps, answer = [prompt_logits[-1]], [int(prompt_logits[-1].argmax())]
        while len(answer) < answer_tokens:
            x = self.weights["text.embed_tokens.weight"][answer[-1]][None]
            position = [len(embeddings) + len(answer) - 1]
            for index in range(self.layers):
                x, _, cache[index] = self.layer(index, x, position, cache[index])
            steps.append(self.logits(x)[0])
            answer.append(int(steps[-1].argmax()))
        return Decoded(answer, torch.stack(steps), prompt_logits, cache)
