"""Stage 5: a training state becomes a checkpoint in the HF format, and transformers must give the same logits on it."""

import argparse
import json
import pathlib
import tempfile

import torch
from PIL import Image
from transformers import (
    AutoProcessor, CLIPImageProcessor, CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor,
    PreTrainedTokenizerFast,
)

from .batch import AFTER_IMAGE, BEFORE_IMAGE, MEAN, DEVIATION, PATCHES, BatchSource, Plan, normalise
from .canvas import FRAME, PATCH
from .checkpoint import LONGEST_ANSWER, modules_of, save_weights
from .modules import Size
from .tokenizer import BEGIN, END, IMAGE, PADDING, encode, save_tokenizer, vocabulary_size

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


def export(state: pathlib.Path, folder: pathlib.Path, half: bool = True) -> None:
    size = torch.load(state, map_location="cpu", weights_only=False)["extra"]["size"]
    config = configuration(size)
    config.architectures = ["LlavaForConditionalGeneration"]
    config.dtype = torch.float16 if half else torch.float32
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    # transformers leaves the name out; the folder is called "model", which tells nobody what it is.
    written = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({"_name_or_path": "fovea-nano", **written}, indent=2) + "\n")
    save_weights(state, folder, half)
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
