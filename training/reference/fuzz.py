"""
Random checkpoints and what transformers computes from them, for `npm run fuzz`. Run from the folder `training`:

    python -m reference.fuzz FOLDER --seeds 0:300

Every seed draws another family, tower, decoder, tokenizer, set of files and generation of names: what hub repositories vary in, and what their
config.json may leave out. A folder that transformers refuses says so in reference/questions.json, and has no questions.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch  # noqa: E402
import transformers  # noqa: E402

from . import checkpoints, files, images, tokenizers_tiny  # noqa: E402

QUESTIONS_EACH = 4
ANSWER_TOKENS = 6
SIZES = [(1, 1), (1, 40), (40, 1), (7, 5), (33, 33), (64, 48), (97, 31), (31, 97), (200, 30), (30, 200), (75, 76), (160, 90), (300, 10)]
QUESTIONS = [
    "What is in the picture?",
    "Größe: 12 × 34½? 日本語 🙂",
    "  two  spaces,\n\nlines\tand tabs ",
    "x",
    "It's 3,141.59% 'quoted'; don't {{ braces }} <b>tags</b>?",
    "¿Qué?  \u00a0a\u200bb",
    "\n",
]

# In these, text parts of the answer stand in a block that only jinja2's extension of transformers knows.
GENERATION = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + ' ' }}{# images first #}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\\n' }}{% endfor %}"
    "{% if message['role'] != 'assistant' %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ '\\n' + part['text'] }}{% endfor %}"
    "{% else %}{% for part in message['content'] %}{% generation %}{{ '\\n' + part['text'] }}{% endgeneration %}{% endfor %}{% endif %}"
    "{{ '<|im_end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


class Draw(random.Random):
    def maybe(self, probability: float) -> bool:
        return self.random() < probability

    def one_of(self, *choices):
        return self.choice(choices)

    def some(self, probability: float, **fields) -> dict:
        """Each field, if it is drawn, with one of its values."""
        return {key: self.choice(values) for key, values in fields.items() if self.maybe(probability)}


# ------------------------------------------------------------------------------------------------ tokenizer


def tokenizer(draw: Draw) -> tuple[dict, tuple[str | None, str, str], str]:
    """tokenizer.json, (begin, end, padding), and a chat template for it."""
    kind = draw.one_of("byte", "qwen", "sentencepiece", "metaspace", "metaspace")
    made = tokenizers_tiny.TOKENIZERS[kind]()
    if kind == "metaspace":
        made["pre_tokenizer"] |= {"prepend_scheme": draw.one_of("first", "always", "never"), "split": draw.maybe(0.3)}
    if kind in ("sentencepiece", "metaspace"):
        for token in made["added_tokens"]:
            if token["content"] == tokenizers_tiny.IMAGE:
                token |= draw.some(0.2, lstrip=[True], rstrip=[True], special=[False])
    if kind == "qwen":
        template = draw.one_of(tokenizers_tiny.TEMPLATES["chatml"], GENERATION)
    else:
        template = tokenizers_tiny.TEMPLATES[draw.one_of("vicuna", "mistral", "backslash")]
    return made, tokenizers_tiny.SPECIALS[kind], template


# ------------------------------------------------------------------------------------------------ config.json


def vision_config(draw: Draw, tower: str) -> dict:
    heads, patch = draw.randint(1, 4), draw.one_of(4, 6, 7, 8)
    return {
        "model_type": tower,
        "hidden_size": heads * draw.one_of(4, 8, 10),
        "intermediate_size": draw.one_of(24, 40, 51),
        "num_hidden_layers": draw.randint(2, 4),
        "num_attention_heads": heads,
        "image_size": patch * draw.randint(2, 5) + (draw.randrange(patch) if draw.maybe(0.3) else 0),
        "patch_size": patch,
    } | draw.some(
        0.4,
        hidden_act=["gelu", "gelu_pytorch_tanh", "quick_gelu", "silu", "gelu_new", "relu", "gelu_fast"],
        layer_norm_eps=[1e-5, 1e-6, 1e-12, 1e-3],
        num_channels=[3],
    )


def rotary(draw: Draw, head_dim: int) -> dict:
    """Fields of text_config, in the old spelling or the new one."""
    kind = draw.one_of(None, None, "default", "linear", "dynamic", "llama3", "yarn", "longrope")
    theta = draw.some(0.5, rope_theta=[1e4, 1e6, 5e3])
    if kind is None:
        return theta
    original = draw.one_of(32, 64, 1024)
    parameters = {
        "default": {},
        "linear": {"factor": draw.one_of(2.0, 2.5, 8.0)},
        "dynamic": {"factor": draw.one_of(2.0, 4.0)},
        "llama3": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": original},
        "yarn": {"factor": draw.one_of(1.5, 4.0), "original_max_position_embeddings": original}
        | draw.some(0.2, beta_fast=[16], beta_slow=[2], attention_factor=[1.3], truncate=[False]),
        "longrope": {
            "original_max_position_embeddings": original,
            "short_factor": [1 + 0.1 * index for index in range(head_dim // 2)],
            "long_factor": [1.5 + 0.3 * index for index in range(head_dim // 2)],
        }
        | draw.some(0.5, factor=[4.0]),
    }[kind]
    if draw.maybe(0.5):
        return {"rope_parameters": parameters | {"rope_type": kind, "rope_theta": draw.one_of(1e4, 1e6)}}
    return {"rope_scaling": parameters | {draw.one_of("type", "rope_type"): kind}} | theta


def text_config(draw: Draw, model: str, vocabulary: int) -> dict:
    shared, groups, size = draw.randint(1, 4), draw.randint(1, 3), draw.one_of(4, 6, 8, 16)
    fields = {
        "model_type": model,
        "hidden_size": shared * groups * size,
        "intermediate_size": draw.one_of(24, 40, 50),
        "num_hidden_layers": draw.randint(1, 4),
        "num_attention_heads": shared * groups,
        "num_key_value_heads": shared,
        "vocab_size": vocabulary,
    }
    fields |= draw.some(0.2, head_dim=[4, 8, 12, 32], hidden_act=["gelu", "relu"], _name_or_path=["lmsys/vicuna-7b-v1.5"])
    fields |= draw.some(0.6, max_position_embeddings=[512, 4096, 32768], rms_norm_eps=[1e-5, 1e-6])
    if model == "llama":
        fields |= draw.some(0.3, attention_bias=[True, False], mlp_bias=[True, False])
    if model == "mistral":
        fields |= draw.some(0.6, sliding_window=[None, 5, 20, 4096])
    if model == "qwen2":
        fields |= draw.some(0.5, use_sliding_window=[True, False], sliding_window=[None, 5, 9], max_window_layers=[0, 1, 2, 28])
    fields |= draw.some(0.2, tie_word_embeddings=[True, False])
    return fields | rotary(draw, fields.get("head_dim", size))


def config(draw: Draw, made: dict, specials: tuple[str | None, str, str]) -> dict:
    ids = tokenizers_tiny.token_ids(made)
    family = draw.one_of("llava", "llava", "llava_next", "llava_onevision")
    tower = "siglip_vision_model" if family == "llava_onevision" or draw.maybe(0.4) else "clip_vision_model"
    vision = vision_config(draw, tower)
    decoder = draw.one_of("llama", "mistral", "qwen2")
    text = text_config(draw, decoder, max(ids.values()) + 1 + draw.one_of(0, 0, 32))
    keeps_class = tower == "siglip_vision_model" or (family == "llava" and draw.maybe(0.3))
    made_of = {
        "architectures": [checkpoints.ARCHITECTURES[family]],
        "model_type": family,
        draw.one_of("image_token_index", "image_token_id"): ids[tokenizers_tiny.IMAGE],
        "vision_feature_select_strategy": "full" if keeps_class else "default",
        "vision_config": vision,
        "text_config": text,
    }
    layers = vision["num_hidden_layers"]
    made_of |= draw.some(
        0.4,
        vision_feature_layer=[-1, -2, 1, layers, -layers, [-1, -2], [-2, 1], [1, layers, -1]],
        projector_hidden_act=["gelu", "silu", "relu"],
        multimodal_projector_bias=[True, False],
        tie_word_embeddings=[True, False],
    )
    begin, end, pad = specials
    where = draw.one_of(made_of, text)
    where |= {"eos_token_id": ids[end], "pad_token_id": ids[pad]} | ({"bos_token_id": ids[begin]} if begin else {})
    if family != "llava":
        cells = [(rows, columns) for rows in range(1, 5) for columns in range(1, 5)]
        size = vision["image_size"]
        made_of["image_grid_pinpoints"] = [[size * rows, size * columns] for rows, columns in draw.sample(cells, draw.randint(1, 8))]
    if family == "llava_onevision":
        made_of["vision_aspect_ratio"] = draw.one_of("anyres_max_9", "anyres_max_4", "anyres_max_2", "anyres_max_1")
    for section, default in ((vision, "clip_vision_model"), (text, "llama")):
        if family != "llava_onevision" and section["model_type"] == default and draw.maybe(0.2):
            del section["model_type"]
    return made_of


# ------------------------------------------------------------------------------------------------ the other files


def image_processor(draw: Draw, described: dict) -> dict:
    family, size = described["model_type"], described["vision_config"]["image_size"]
    square = {"height": size, "width": size}
    siglip = described["vision_config"].get("model_type") == "siglip_vision_model"
    if family == "llava_onevision":
        fields = {"image_processor_type": "LlavaOnevisionImageProcessor", "size": square}
    elif family == "llava_next":
        fields = {
            "image_processor_type": "LlavaNextImageProcessor",
            "size": draw.one_of({"shortest_edge": size}, size, square),
            "crop_size": draw.one_of(square, size),
        }
    elif siglip and draw.maybe(0.7):
        fields = {"image_processor_type": "SiglipImageProcessor", "size": square}
    else:
        fields = {
            "image_processor_type": "CLIPImageProcessor" if siglip else draw.one_of("CLIPImageProcessor", "LlavaImageProcessor"),
            "size": draw.one_of({"shortest_edge": size}, size, {"shortest_edge": size + draw.randint(1, 9)}, square),
            "crop_size": draw.one_of(square, size),
        }
        if fields["image_processor_type"] == "LlavaImageProcessor":
            fields |= draw.some(0.5, do_pad=[True])
    if family != "llava":
        fields |= {"image_grid_pinpoints": described["image_grid_pinpoints"]} | draw.some(0.5, do_pad=[True])
    return fields | draw.some(
        0.3,
        image_mean=[[0.5, 0.5, 0.5], [0.1, 0.2, 0.3]],
        image_std=[[0.5, 0.5, 0.5], [0.3, 0.2, 0.4]],
        resample=[2, 3],
        rescale_factor=[1 / 255, 0.004],
        do_normalize=[True, True, False],
        do_convert_rgb=[True],
    )


def processor(described: dict) -> dict:
    vision, family = described["vision_config"], described["model_type"]
    side = vision["image_size"] // vision["patch_size"]
    fields = {"processor_class": checkpoints.PROCESSORS[family], "image_token": tokenizers_tiny.IMAGE}
    fields["vision_feature_select_strategy"] = described["vision_feature_select_strategy"]
    if family == "llava_onevision":
        return fields | {"num_image_tokens": side * side, "vision_aspect_ratio": described["vision_aspect_ratio"]}
    has_class = vision.get("model_type") != "siglip_vision_model"
    return fields | {"patch_size": vision["patch_size"], "num_additional_image_tokens": int(has_class)}


def write_files(draw: Draw, folder: Path, described: dict, made: dict, specials: tuple[str | None, str, str], template: str) -> None:
    write = checkpoints.write_json
    begin, end, pad = specials
    settings = {"eos_token": end, "pad_token": pad, "tokenizer_class": "PreTrainedTokenizerFast"} | ({"bos_token": begin} if begin else {})
    settings |= draw.some(0.3, clean_up_tokenization_spaces=[True, False], add_bos_token=[True, False], legacy=[True, False])
    added = {str(token["id"]): {key: token[key] for key in token if key != "id"} for token in made["added_tokens"]}
    if draw.maybe(0.4):
        settings["added_tokens_decoder"] = added
        if draw.maybe(0.3):
            # Those behind the vocabulary are then only here.
            made["added_tokens"] = [token for token in made["added_tokens"] if token["content"] in made["model"]["vocab"]]
    if draw.maybe(0.5):
        write(folder / "processor_config.json", {"image_processor": image_processor(draw, described)} | processor(described))
    else:
        write(folder / "preprocessor_config.json", image_processor(draw, described))
        write(folder / "processor_config.json", processor(described))
    match draw.one_of("jinja", "json", "tokenizer", "list"):
        case "jinja":
            (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
        case "json":
            write(folder / "chat_template.json", {"chat_template": template})
        case "tokenizer":
            settings["chat_template"] = template
        case "list":
            settings["chat_template"] = [{"name": "other", "template": "no"}, {"name": "default", "template": template}]
    write(folder / "tokenizer_config.json", settings)
    write(folder / "tokenizer.json", made)
    if draw.maybe(0.6):
        ends = tokenizers_tiny.token_ids(made).get(end, int(next(key for key, token in added.items() if token["content"] == end)))
        repetition = draw.one_of({}, {}, {"repetition_penalty": draw.one_of(1.1, 1.5, 0.8)})
        write(folder / "generation_config.json", {"eos_token_id": draw.one_of(ends, [ends, 5]), **repetition})


def write_weights(draw: Draw, folder: Path, seed: int) -> None:
    shapes = checkpoints.memory_shapes(folder)
    tied = "lm_head.weight" not in shapes
    types = draw.one_of([torch.float32], [torch.float16], [torch.bfloat16], [torch.float32, torch.float16, torch.bfloat16])
    generation = draw.one_of(checkpoints.HUB, checkpoints.V452, checkpoints.V5)
    tensors = {
        checkpoints.on_disk_name(name, generation): checkpoints.random_tensor(name, shape, seed, tied).to(draw.choice(types))
        for name, shape in shapes.items()
    }
    if generation == checkpoints.HUB and draw.maybe(0.3):
        tensors["vision_tower.vision_model.embeddings.position_ids"] = torch.arange(5)[None]
    checkpoints.write_weights(tensors, folder, draw.one_of(1, 1, 2, 3))


# ------------------------------------------------------------------------------------------------ reference


def load(folder: Path, described: dict):
    from transformers import AutoModelForImageTextToText, AutoProcessor, AutoTokenizer, LlavaOnevisionProcessor
    from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil

    class PictureProcessor(LlavaOnevisionProcessor):
        """AutoProcessor would also make a processor for video, which wants torchvision."""

        def check_argument_for_proper_class(self, argument_name, argument):
            if argument_name == "video_processor" and argument is None:
                return type(None)
            return super().check_argument_for_proper_class(argument_name, argument)

    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    if described["model_type"] != "llava_onevision":
        return model, AutoProcessor.from_pretrained(folder, backend="pil")
    own = {key: value for key, value in processor(described).items() if key not in ("processor_class", "image_token")}
    pictures = LlavaOnevisionImageProcessorPil.from_pretrained(folder)
    return model, PictureProcessor(pictures, AutoTokenizer.from_pretrained(folder), None, **own)


def forget_length(model) -> None:
    """Dynamic scaling keeps the longest length that it has seen, across questions too."""
    table = model.model.language_model.rotary_emb
    if hasattr(table, "max_seq_len_cached"):
        table.max_seq_len_cached = table.original_max_seq_len
        table.register_buffer("inv_freq", table.original_inv_freq.clone(), persistent=False)


@torch.no_grad()
def ask(draw: Draw, folder: Path, described: dict, template: str) -> tuple[list[dict], dict[str, torch.Tensor]]:
    model, prepare = load(folder, described)
    questions, tensors = [], {}
    for index in range(QUESTIONS_EACH):
        pictures = [images.screenshot(*draw.choice(SIZES), draw.randrange(10**6)) for _ in range(draw.one_of(1, 1, 2, 3))]
        question, system = draw.choice(QUESTIONS), draw.one_of(None, None, "Look closely.")
        if system is not None and template == tokenizers_tiny.TEMPLATES["mistral"]:
            system = None
        content = [{"type": "image"}] * len(pictures) + [{"type": "text", "text": question}]
        said = [{"role": "system", "content": [{"type": "text", "text": system}]}] if system else []
        conversation = [*said, {"role": "user", "content": content}]
        text = prepare.apply_chat_template(conversation, chat_template=template, add_generation_prompt=True, tokenize=False)
        begin = prepare.tokenizer.bos_token
        nested = [pictures] if described["model_type"] == "llava_onevision" else pictures
        begins = begin is not None and text.startswith(begin)
        inputs = prepare(images=nested, text=text, return_tensors="pt", add_special_tokens=not begins)
        forget_length(model)
        answer = model.generate(
            **inputs, do_sample=False, max_new_tokens=ANSWER_TOKENS, output_logits=True, return_dict_in_generate=True
        )
        names = [f"{index}-{number}.png" for number in range(len(pictures))]
        for name, picture in zip(names, pictures, strict=True):
            picture.save(folder / "reference" / name)
        ids = inputs["input_ids"][0]
        tensors |= {f"{index}.logits": torch.stack(answer.logits)[:, 0].float(), f"{index}.pixels": inputs["pixel_values"].float()}
        questions.append(
            {
                "images": names,
                "question": question,
                "system": system,
                "promptIds": ids.tolist(),
                "answerIds": answer.sequences[0, len(ids) :].tolist(),
            }
        )
    return questions, tensors


def make(seed: int, folder: Path) -> str | None:
    """Writes one checkpoint; says why transformers refuses it, if it does."""
    draw = Draw(seed)
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "reference").mkdir(parents=True)
    made, specials, template = tokenizer(draw)
    described = config(draw, made, specials)
    checkpoints.write_json(folder / "config.json", described)
    write_files(draw, folder, described, made, specials, template)
    refusal, questions = None, []
    try:
        write_weights(draw, folder, seed)
        questions, tensors = ask(draw, folder, described, template)
        files.write_tensors(folder / "reference" / "tensors.safetensors", tensors)
    except Exception as error:  # Whatever transformers says about a folder is the reference for it.
        refusal = f"{type(error).__name__}: {error}"[:300]
    files.write_json(folder / "reference" / "questions.json", {"refusal": refusal, "questions": questions})
    return refusal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", default="0:100", help="first:end")
    arguments = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    torch.set_num_threads(1)
    first, end = map(int, arguments.seeds.split(":"))
    for seed in range(first, end):
        refusal = make(seed, arguments.folder / f"{seed:05d}")
        if refusal:
            print(f"{seed}: {refusal}", flush=True)


if __name__ == "__main__":
    main()
