"""Stage 5: a training state becomes a checkpoint in the HF format, and transformers must give the same logits on it."""

import argparse
import json
import pathlib
import tempfile

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    AutoProcessor, CLIPImageProcessor, CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor,
    PreTrainedTokenizerFast,
)

from .batch import AFTER_IMAGE, BEFORE_IMAGE, MEAN, DEVIATION, PATCHES, BatchSource, Plan, normalise
from .canvas import FRAME, PATCH
from .joint import assemble
from .modules import Decoder, Projector, Size, Tower
from .run import load_modules
from .tokenizer import BEGIN, END, IMAGE, PADDING, encode, save_tokenizer, vocabulary_size

LONGEST_ANSWER = 128
EXPORTED = ("tower", "projector", "decoder")
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}USER: "
    "{% for part in message['content'] if part['type'] == 'image' %}<image>\n{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
    "{% else %} ASSISTANT: {% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}</s>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)


def configuration(size: Size) -> LlavaConfig:
    vision = CLIPVisionConfig(
        hidden_size=size.tower_width, intermediate_size=4 * size.tower_width, num_hidden_layers=size.tower_layers + 1,
        num_attention_heads=size.tower_heads, image_size=FRAME, patch_size=PATCH, projection_dim=size.tower_width, hidden_act="quick_gelu",
    )
    text = LlamaConfig(
        vocab_size=vocabulary_size(), hidden_size=size.width, intermediate_size=size.feed_forward, num_hidden_layers=size.layers,
        num_attention_heads=size.heads, num_key_value_heads=size.heads, max_position_embeddings=1024, rms_norm_eps=1e-5,
        bos_token_id=BEGIN, eos_token_id=END, pad_token_id=PADDING, tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": size.rope_theta},
    )
    return LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=IMAGE, image_seq_length=PATCHES, vision_feature_layer=-2,
        vision_feature_select_strategy="default", projector_hidden_act="gelu", tie_word_embeddings=False,
    )


def file_tensors(modules: dict[str, torch.nn.Module]) -> dict[str, torch.Tensor]:
    """Tensors under the names of llava-hf/llava-1.5-7b-hf. The tower's last layer is not read by LLaVA: it is a copy of the one before."""
    tensors: dict[str, torch.Tensor] = {}
    vision = "vision_tower.vision_model."
    tower = modules["tower"].state_dict()
    layers = len(modules["tower"].layers)
    for name, tensor in tower.items():
        if name.startswith("layers."):
            tensors[vision + "encoder." + name] = tensor
            if name.startswith(f"layers.{layers - 1}."):
                tensors[vision + "encoder." + name.replace(f"layers.{layers - 1}.", f"layers.{layers}.", 1)] = tensor.clone()
        elif name.startswith("pre_layrnorm."):
            tensors[vision + name] = tensor
        else:
            tensors[vision + "embeddings." + name] = tensor
    width = tower["pre_layrnorm.weight"].shape[0]
    tensors[vision + "post_layernorm.weight"], tensors[vision + "post_layernorm.bias"] = torch.ones(width), torch.zeros(width)
    for name, tensor in modules["projector"].state_dict().items():
        tensors["multi_modal_projector." + name] = tensor
    for name, tensor in modules["decoder"].state_dict().items():
        tensors["language_model." + (name if name.startswith("lm_head") else "model." + name)] = tensor
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def modules_of(folder: pathlib.Path) -> dict[str, torch.nn.Module]:
    """Tower, projector and decoder of an exported checkpoint, as training modules."""
    config = json.loads((folder / "config.json").read_text())
    vision, text = config["vision_config"], config["text_config"]
    size = Size(
        tower_width=vision["hidden_size"], tower_layers=vision["num_hidden_layers"] - 1, tower_heads=vision["num_attention_heads"],
        width=text["hidden_size"], layers=text["num_hidden_layers"], heads=text["num_attention_heads"],
        feed_forward=text["intermediate_size"], rope_theta=text["rope_parameters"]["rope_theta"],
    )
    modules = {"tower": Tower(size), "projector": Projector(size), "decoder": Decoder(size, text["vocab_size"])}
    tensors = {name: tensor.float() for name, tensor in load_file(folder / "model.safetensors").items()}
    for name, empty in file_tensors(modules).items():
        assert tensors[name].shape == empty.shape, name
    take = lambda prefix: {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    vision_tensors = take("vision_tower.vision_model.")
    tower = {name.removeprefix("embeddings.").removeprefix("encoder."): tensor for name, tensor in vision_tensors.items()}
    modules["tower"].load_state_dict({name: tower[name] for name in modules["tower"].state_dict()})
    modules["projector"].load_state_dict(take("multi_modal_projector."))
    language = take("language_model.")
    modules["decoder"].load_state_dict({name.removeprefix("model."): tensor for name, tensor in language.items()})
    return {name: module.eval() for name, module in modules.items()}


def export(state: pathlib.Path, folder: pathlib.Path, half: bool = True) -> None:
    size = torch.load(state, map_location="cpu", weights_only=False)["extra"]["size"]
    modules = {name: module for name, module in assemble(size).items() if name in EXPORTED}
    load_modules(state, modules)
    config = configuration(size)
    config.architectures = ["LlavaForConditionalGeneration"]
    config.dtype = torch.float16 if half else torch.float32
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    # transformers leaves the name out; the folder is called "model", which tells nobody what it is.
    written = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({"_name_or_path": "fovea-nano", **written}, indent=2) + "\n")
    tensors = file_tensors(modules)
    save_file({name: tensor.half() if half else tensor for name, tensor in tensors.items()}, folder / "model.safetensors", {"format": "pt"})
    generation = {"bos_token_id": BEGIN, "eos_token_id": END, "pad_token_id": PADDING, "max_new_tokens": LONGEST_ANSWER, "do_sample": False, "use_cache": True}
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
    with tempfile.TemporaryDirectory() as scratch:
        file = pathlib.Path(scratch) / "tokenizer.json"
        save_tokenizer(file)
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_file=str(file), bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>", model_max_length=1024,
            clean_up_tokenization_spaces=False, extra_special_tokens={"image_token": "<image>"},
        )
    images = CLIPImageProcessor(size={"shortest_edge": FRAME}, crop_size={"height": FRAME, "width": FRAME}, image_mean=MEAN.tolist(), image_std=DEVIATION.tolist())
    LlavaProcessor(
        image_processor=images, tokenizer=tokenizer, patch_size=PATCH, vision_feature_select_strategy="default",
        num_additional_image_tokens=1, chat_template=CHAT_TEMPLATE,
    ).save_pretrained(folder)
    check_parity(folder)


@torch.no_grad()
def check_parity(folder: pathlib.Path, screens: int = 3) -> float:
    """The training modules and transformers on the exported files: same ids, same pixels, same logits. Returns the largest difference."""
    modules = modules_of(folder)
    model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(folder)
    batch = BatchSource(Plan(screens, 64, held_out=True, noise=False), seed=5).draw()
    largest = 0.0
    for screen, questions in zip(batch.screens, batch.questions):
        question = questions[0].text
        frame = screen.image()
        inputs = processor(images=Image.fromarray(frame), text=f"USER: <image>\n{question} ASSISTANT:", return_tensors="pt")
        after = AFTER_IMAGE + list(encode(question + " ASSISTANT:"))
        assert inputs["input_ids"][0].tolist() == BEFORE_IMAGE + [IMAGE] * PATCHES + after, "the processor's ids differ"
        pixels = normalise(frame[None])
        assert (inputs["pixel_values"] - pixels).abs().max() < 1e-4, "the processor's pixels differ"
        embed = modules["decoder"].embed_tokens
        image = modules["projector"](modules["tower"](pixels)[:, 1:])
        x = torch.cat([embed(torch.tensor([BEFORE_IMAGE])), image, embed(torch.tensor([after]))], 1)
        length = x.shape[1]
        mask = torch.ones(length, length, dtype=torch.bool).tril()[None, None]
        ours = modules["decoder"].lm_head(modules["decoder"](x, torch.arange(length)[None], mask)[0][0, -1])
        largest = max(largest, float((model(**inputs).logits[0, -1] - ours).abs().max()))
    assert largest < 1e-2, f"logits differ by {largest}"
    print(f"parity with transformers: largest logit difference {largest:.2e}")
    return largest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("state", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--single", action="store_true", help="store fp32 instead of fp16")
    options = parser.parse_args()
    export(options.state, options.folder, not options.single)


if __name__ == "__main__":
    main()
