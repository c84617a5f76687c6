"""HuggingFace transformers as `npm run bench:gpu` compares with it: transformersPeer.py CHECKPOINT TOKENS -> one line of JSON.

Prompt: as many tokens as the bench's question, with random pixels that lie on the device already. Medians of four runs after one that warms up.
"""

import json
import statistics
import sys
import time

import torch
import transformers
from transformers import LlavaForConditionalGeneration

TEXT_BEFORE, TEXT_AFTER, RUNS = 6, 26, 4


@torch.no_grad()
def run(model: LlavaForConditionalGeneration, ids: torch.Tensor, pixels: torch.Tensor, tokens: int) -> tuple[float, list[float]]:
    torch.cuda.synchronize()
    began = time.perf_counter()
    output = model(input_ids=ids, pixel_values=pixels, attention_mask=torch.ones_like(ids), use_cache=True, logits_to_keep=1)
    chosen = output.logits[:, -1:].argmax(-1)
    chosen.item()
    first, steps = time.perf_counter() - began, []
    for _ in range(tokens - 1):
        began = time.perf_counter()
        output = model(input_ids=chosen, past_key_values=output.past_key_values, use_cache=True)
        chosen = output.logits[:, -1:].argmax(-1)
        chosen.item()
        steps.append(time.perf_counter() - began)
    return first, steps


def main() -> None:
    folder, tokens = sys.argv[1], int(sys.argv[2])
    dtype = torch.bfloat16
    model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa").cuda().eval()
    vision = model.config.vision_config
    image = [model.config.image_token_id] * (vision.image_size // vision.patch_size) ** 2
    ids = torch.tensor([[10] * TEXT_BEFORE + image + [11] * TEXT_AFTER], device="cuda")
    pixels = torch.randn(1, 3, vision.image_size, vision.image_size, dtype=dtype, device="cuda")
    run(model, ids, pixels, tokens)
    firsts, steps = zip(*(run(model, ids, pixels, tokens) for _ in range(RUNS)))
    step = statistics.median(duration for each in steps for duration in each)
    print(
        json.dumps(
            {
                "versions": f"transformers {transformers.__version__}, torch {torch.__version__}, {torch.cuda.get_device_name()}",
                "dtype": "bf16",
                "firstToken": 1000 * statistics.median(firsts),
                "tokensPerSecond": 1 / step,
                "deviceBytes": torch.cuda.max_memory_allocated(),
            }
        )
    )


if __name__ == "__main__":
    main()
