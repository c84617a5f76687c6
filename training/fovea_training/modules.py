"""The parts of fovea-nano as plain modules with the parameter names of transformers, so that export is a renaming.

Written out (and not taken from transformers) because training needs packed masks, dropped patches and supervised
attention; `export.py` proves that the exported checkpoint gives the same logits in transformers.
"""

import dataclasses
import math

import torch
import torch.nn.functional as F
from torch import nn

from .canvas import CHARACTER_CLASSES, COLOUR_NAMES, FRAME, GRID, LONGEST_RUN, MOST_INSTANCES, MOST_LINES, PATCH, ROLES, SLOTS


@dataclasses.dataclass(frozen=True)
class Size:
    """Sizes of a checkpoint. `tower_layers` are the layers in use: the exported tower has one more, since LLaVA reads layer -2."""

    tower_width: int = 160
    tower_layers: int = 4
    tower_heads: int = 4
    width: int = 192
    layers: int = 6
    heads: int = 4
    feed_forward: int = 512
    rope_theta: float = 1e6


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Scaled dot-product attention over [B, heads, L, dim]; the mask is boolean (True = seen) or is added to the scores.

    On a CPU in bf16 two plain products are twice as fast as the fused operator (torch 2.13), forward and backward. A mask that is learnt takes them
    everywhere: CUDA's memory-efficient kernel keeps what its backward needs (the log-sum-exp) only where queries, keys or values have a gradient, and in
    the first layer of a frozen decoder nothing has one but the mask."""
    slow = query.device.type == "cpu" and query.dtype == torch.bfloat16
    learnt = mask is not None and mask.requires_grad
    if not slow and not learnt:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask.to(scores.dtype)
    return torch.softmax(scores, -1, dtype=query.dtype) @ value


SIZES = {
    "small": Size(),
    "large": Size(tower_width=384, tower_layers=8, tower_heads=6, width=384, layers=8, heads=6, feed_forward=1024),
}
"""What `--size` may name: a CPU's evening, or twenty minutes of a large GPU (about 28 M parameters)."""


class VisionAttention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        split = lambda projected: projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        mixed = attend(split(self.q_proj(x)), split(self.k_proj(x)), split(self.v_proj(x)))
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class VisionFeedForward(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.fc1(x)
        return self.fc2(x * torch.sigmoid(1.702 * x))


class VisionLayer(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.self_attn, self.mlp = VisionAttention(width, heads), VisionFeedForward(width)
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class Tower(nn.Module):
    """The CLIP tower up to the layer that LLaVA reads: [B, 3, 192, 192] -> [B, 1 + 576, width]."""

    def __init__(self, size: Size):
        super().__init__()
        width, heads = size.tower_width, size.tower_heads
        self.class_embedding = nn.Parameter(torch.randn(width) * 0.5)
        self.patch_embedding = nn.Conv2d(3, width, PATCH, PATCH, bias=False)
        self.position_embedding = nn.Embedding(GRID * GRID + 1, width)
        self.pre_layrnorm = nn.LayerNorm(width)
        self.layers = nn.ModuleList([VisionLayer(width, heads) for _ in range(size.tower_layers)])
        self._initialise(width, heads)

    @torch.no_grad()
    def _initialise(self, width: int, heads: int) -> None:
        """Small weights; position codes as rotations, and heads that start by looking at a patch's neighbours."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.7 / math.sqrt(module.in_features))
                nn.init.zeros_(module.bias)
        filters = torch.randn_like(self.patch_embedding.weight) * 0.08
        local = 3 * width // 4
        filters[:local] -= filters[:local].mean((2, 3), keepdim=True)
        filters[local:] *= 0.4
        head = width // heads
        bands = head // 4
        code = 4 * bands
        frequency = math.pi * (torch.arange(bands) + 0.5) / bands
        angle = torch.arange(GRID)[:, None] * frequency
        axis = torch.stack([angle.cos(), angle.sin()], -1).reshape(GRID, 2 * bands)
        position = torch.cat([axis[None].expand(GRID, GRID, -1), axis[:, None].expand(GRID, GRID, -1)], -1)
        self.position_embedding.weight.normal_(std=0.01)
        self.position_embedding.weight[1:, :code] = position.reshape(GRID * GRID, code)
        filters[:code] = 0
        self.class_embedding[:code] = 0
        self.patch_embedding.weight.copy_(filters)
        sharpness = math.sqrt(5 * math.sqrt(head) / bands)
        neighbours = [[(0, -1), (0, 1), (-1, 0), (1, 0)], [(-1, 0), (1, 0), (-2, 0), (2, 0)]]
        for number, layer in enumerate(self.layers):
            attention = layer.self_attn
            attention.out_proj.weight *= 0.5
            layer.mlp.fc2.weight *= 0.5
            for index, (right, down) in enumerate((neighbours[number] if number < 2 else [(-1, 0), (1, 0)])[:heads]):
                rows = slice(index * head, (index + 1) * head)
                coded = slice(index * head, index * head + code)
                attention.q_proj.weight[rows] *= 0.1
                attention.k_proj.weight[rows] *= 0.1
                attention.q_proj.weight[coded, :code] += sharpness * _shift(frequency, right, down)
                attention.k_proj.weight[coded, :code] += sharpness * torch.eye(code)
            attention.out_proj.weight[:code] *= 0.05
            layer.mlp.fc2.weight[:code] *= 0.05

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        patches = self.patch_embedding(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.to(patches.dtype).expand(len(patches), 1, -1), patches], 1)
        x = self.pre_layrnorm(x + self.position_embedding.weight)
        for layer in self.layers:
            x = layer(x)
        return x


def _shift(frequency: torch.Tensor, right: int, down: int) -> torch.Tensor:
    """The rotation that turns a position's code into that of the patch `right` and `down` of it."""
    blocks = []
    for distance in (right, down):
        for angle in (frequency * distance).tolist():
            blocks.append(torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]))
    return torch.block_diag(*blocks)


HEAD_CLASSES = {
    "characters": SLOTS * CHARACTER_CLASSES,
    "role": len(ROLES),
    "colour": len(COLOUR_NAMES) + 1,
    "theme": 3,
    "instance": MOST_INSTANCES + 1,
    "line": MOST_LINES + 1,
    "index": LONGEST_RUN + 1,
    "previous": CHARACTER_CLASSES,
    "following": CHARACTER_CLASSES,
}
BAG_CLASSES = CHARACTER_CLASSES + len(ROLES)


class LabelHeads(nn.Module):
    """What every patch, and CLS, must tell. Used in training only."""

    def __init__(self, size: Size):
        super().__init__()
        self.norm = nn.LayerNorm(size.tower_width)
        self.patch = nn.Linear(size.tower_width, sum(HEAD_CLASSES.values()))
        self.screen = nn.Linear(size.tower_width, BAG_CLASSES)

    def forward(self, hidden: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Logits by label [B, 576, classes] and of the bag [B, classes]."""
        hidden = self.norm(hidden)
        parts = self.patch(hidden[:, 1:]).split(list(HEAD_CLASSES.values()), -1)
        logits = dict(zip(HEAD_CLASSES, parts))
        logits["characters"] = logits["characters"].unflatten(-1, (SLOTS, CHARACTER_CLASSES))
        return logits, self.screen(hidden[:, 0])


SHOWN_CLASSES = {name: HEAD_CLASSES[name] for name in ("role", "colour", "theme")}


class ShownHeads(nn.Module):
    """What must still be told apart behind the projector, where the decoder looks: a projector that only pleases the copying of
    text loses half of the colours that the tower knows. Used in training only."""

    def __init__(self, size: Size):
        super().__init__()
        self.norm = RootMeanSquareNorm(size.width)
        self.patch = nn.Linear(size.width, sum(SHOWN_CLASSES.values()))

    def forward(self, projected: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits by label [B, 576, classes]."""
        return dict(zip(SHOWN_CLASSES, self.patch(self.norm(projected)).split(list(SHOWN_CLASSES.values()), -1)))


class Projector(nn.Module):
    def __init__(self, size: Size):
        super().__init__()
        self.linear_1 = nn.Linear(size.tower_width, size.width)
        self.linear_2 = nn.Linear(size.width, size.width)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.linear_2(F.gelu(self.linear_1(features)))


class RootMeanSquareNorm(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x.float(), (x.shape[-1],), self.weight, 1e-5)


class DecoderAttention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(width, width, bias=False) for _ in range(4))

    def rotated(self, x: torch.Tensor, rotation: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Queries and keys with their positions. [B, heads, L, dim] each"""
        cosine, sine = rotation

        def rotate(projected: torch.Tensor) -> torch.Tensor:
            split = projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            low, high = split.chunk(2, -1)
            return split * cosine.to(split.dtype) + torch.cat([-high, low], -1) * sine.to(split.dtype)

        return rotate(self.q_proj(x)), rotate(self.k_proj(x))

    def forward(self, x: torch.Tensor, rotation: tuple[torch.Tensor, torch.Tensor], mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The layer's output, and its rotated queries and keys (for the supervision of where it looks)."""
        query, key = self.rotated(x, rotation)
        value = self.v_proj(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        mixed = attend(query, key, value, mask)
        return self.o_proj(mixed.transpose(1, 2).flatten(2)), query, key


class DecoderFeedForward(nn.Module):
    def __init__(self, width: int, inner: int):
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(width, inner, bias=False), nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class DecoderLayer(nn.Module):
    def __init__(self, size: Size):
        super().__init__()
        self.self_attn = DecoderAttention(size.width, size.heads)
        self.mlp = DecoderFeedForward(size.width, size.feed_forward)
        self.input_layernorm, self.post_attention_layernorm = RootMeanSquareNorm(size.width), RootMeanSquareNorm(size.width)


@dataclasses.dataclass
class Trace:
    """What the supervision of the decoder looks at: by layer, the rotated queries and keys, and the state after the layer."""

    queries: list[torch.Tensor] = dataclasses.field(default_factory=list)
    keys: list[torch.Tensor] = dataclasses.field(default_factory=list)
    states: list[torch.Tensor] = dataclasses.field(default_factory=list)


class Decoder(nn.Module):
    """A Llama decoder over ready embeddings."""

    def __init__(self, size: Size, vocabulary: int):
        super().__init__()
        self.head_width, self.theta = size.width // size.heads, size.rope_theta
        self.embed_tokens = nn.Embedding(vocabulary, size.width)
        self.layers = nn.ModuleList([DecoderLayer(size) for _ in range(size.layers)])
        self.norm = RootMeanSquareNorm(size.width)
        self.lm_head = nn.Linear(size.width, vocabulary, bias=False)
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.7 / math.sqrt(module.in_features))
        for layer in self.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        nn.init.normal_(self.embed_tokens.weight, std=0.3)
        self.lm_head.weight.copy_(self.embed_tokens.weight * 0.1)

    def rotation(self, position: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        frequency = self.theta ** -(torch.arange(0, self.head_width, 2, device=position.device).float() / self.head_width)
        angle = position[..., None].float() * frequency
        angle = torch.cat([angle, angle], -1)
        return angle.cos()[:, None], angle.sin()[:, None]

    def forward(self, x: torch.Tensor, position: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, Trace]:
        """Embeddings [B, L, width], positions [B, L], mask [B, 1, L, L] -> normalised states [B, L, width] and the trace."""
        rotation, trace = self.rotation(position), Trace()
        for layer in self.layers:
            mixed, query, key = layer.self_attn(layer.input_layernorm(x), rotation, mask)
            x = x + mixed
            x = x + layer.mlp(layer.post_attention_layernorm(x))
            trace.queries.append(query)
            trace.keys.append(key)
            trace.states.append(x)
        return self.norm(x), trace


class PatchCode(nn.Module):
    """What the projector should say about a patch whose labels are known: the meeting point of tower and decoder.

    Characters enter through the decoder's own token embeddings and one map per slot, so that copying is one circuit for
    all characters; the index in the run enters as a sinusoidal code, so that finding "the seventh character" is a dot product.
    """

    def __init__(self, size: Size, tokens_of_characters: tuple[int, ...]):
        super().__init__()
        width = size.width
        self.register_buffer("tokens", torch.tensor(tokens_of_characters))
        classes = {name: HEAD_CLASSES[name] for name in ("role", "colour", "instance", "line", "index")}
        self.codes = nn.ModuleDict({name: nn.Embedding(count, width) for name, count in classes.items()})
        self.codes["row"], self.codes["column"] = nn.Embedding(GRID, width), nn.Embedding(GRID, width)
        self.codes["theme"] = nn.Embedding(3, width)
        for name, code in self.codes.items():
            nn.init.normal_(code.weight, std=0.35 if name in ("colour", "theme") else 0.12)
            if name in ("index", "row", "column", "line"):
                code.weight.data.copy_(_sinusoids(code.num_embeddings, width) * (0.3 if name == "index" else 0.15))
        self.maps = nn.ParameterList(nn.Parameter(_orthogonal(width)) for _ in range(SLOTS + 2))
        with torch.no_grad():
            self.maps[0].copy_(torch.eye(width))

    def forward(self, labels: dict[str, torch.Tensor], embeddings: nn.Embedding) -> torch.Tensor:
        """Labels [B, 576] -> codes [B, 576, width]."""
        place = torch.arange(GRID * GRID, device=labels["role"].device)
        x = self.codes["row"](place // GRID) + self.codes["column"](place % GRID)
        for name in ("role", "colour", "instance", "theme"):
            x = x + self.codes[name](labels[name])
        text = labels["characters"][..., 0] > 0
        parts = [*labels["characters"].unbind(-1), labels["previous"], labels["following"]]
        spelled = self.codes["index"](labels["index"][text]) + self.codes["line"](labels["line"][text])
        for characters, change in zip(parts, self.maps):
            shown = characters[text]
            spelled = spelled + (embeddings(self.tokens[shown]) * (shown > 0)[:, None]) @ change
        return x.index_put((text,), x[text] + spelled.to(x.dtype))


def _sinusoids(count: int, width: int) -> torch.Tensor:
    """[count, width]: neighbouring indices are similar, far ones are not; spread over the width by a fixed rotation."""
    frequency = torch.pi * torch.linspace(0.03, 0.9, width // 2)
    angle = torch.arange(count)[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], 1) @ _orthogonal(width)


def _orthogonal(width: int) -> torch.Tensor:
    return torch.linalg.qr(torch.randn(width, width))[0]


class Probes(nn.Module):
    """What the decoder must know before it looks: role, instance, row and index of the character to be written next."""

    CLASSES = {"role": len(ROLES), "instance": MOST_INSTANCES + 1, "index": LONGEST_RUN + 1 + SLOTS, "row": GRID}

    def __init__(self, size: Size):
        super().__init__()
        self.norm = RootMeanSquareNorm(size.width)
        self.heads = nn.Linear(size.width, sum(self.CLASSES.values()))

    def forward(self, state: torch.Tensor) -> dict[str, torch.Tensor]:
        return dict(zip(self.CLASSES, self.heads(self.norm(state)).float().split(list(self.CLASSES.values()), -1)))
