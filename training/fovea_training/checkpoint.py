"""The weights of a checkpoint under the names of llava-hf/llava-1.5-7b-hf, and back.

    python -m fovea_training.checkpoint runs/refine/state.pt FOLDER

puts the weights of a state into a folder that holds the other files of a checkpoint of the same size already; it needs no transformers
(`export` writes all of them, and proves that transformers agrees).
"""

import argparse
import json
import pathlib

import torch
from safetensors.torch import load_file, save_file

from .modules import Decoder, Projector, Size, Tower
from .run import load_modules
from .tokenizer import vocabulary_size

LONGEST_ANSWER = 128


def empty_modules(size: Size, vocabulary: int) -> dict[str, torch.nn.Module]:
    return {"tower": Tower(size), "projector": Projector(size), "decoder": Decoder(size, vocabulary)}


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
    modules = empty_modules(size, text["vocab_size"])
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


def save_weights(state: pathlib.Path, folder: pathlib.Path, half: bool = True) -> None:
    modules = empty_modules(torch.load(state, map_location="cpu", weights_only=False)["extra"]["size"], vocabulary_size())
    load_modules(state, modules)
    tensors = file_tensors(modules)
    save_file({name: tensor.half() if half else tensor for name, tensor in tensors.items()}, folder / "model.safetensors", {"format": "pt"})


def keep_modules(state: pathlib.Path, file: pathlib.Path) -> None:
    """A state without its optimiser: what `refine --state` begins with."""
    whole = torch.load(state, map_location="cpu", weights_only=False)
    torch.save({name: whole[name] for name in ("modules", "step", "images", "spent", "extra")}, file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("state", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path, nargs="?")
    parser.add_argument("--modules", type=pathlib.Path, help="also write the state without its optimiser to this file")
    options = parser.parse_args()
    if options.folder:
        save_weights(options.state, options.folder)
    if options.modules:
        keep_modules(options.state, options.modules)


if __name__ == "__main__":
    main()
