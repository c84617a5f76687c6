"""The whole pipeline on a tiny model in about two minutes: every stage, resuming, export, parity, held-out set, evaluation."""

import json

import torch

from fovea_training import decoder, export, heldout, joint, reduction_heads, tower
from fovea_training.evaluate import evaluate, table
from fovea_training.modules import Size

SIZE = Size(tower_width=32, tower_layers=2, tower_heads=2, width=64, layers=4, heads=4, feed_forward=64)


def test_from_nothing_to_an_evaluated_checkpoint(tmp_path):
    runs = tmp_path / "runs"
    tower.train(runs / "tower", 0.05, SIZE, images=2)
    before = torch.load(runs / "tower/state.pt", weights_only=False)["step"]
    tower.train(runs / "tower", 0.1, SIZE, images=2)
    assert torch.load(runs / "tower/state.pt", weights_only=False)["step"] > before, "a second call continues the first"
    decoder.train(runs / "decoder", 0.1, 0.5, SIZE, images=2)
    joint.train(runs / "joint", runs / "tower/state.pt", runs / "decoder/state.pt", 0.1, SIZE, images=2, fit_rounds=2)
    model = tmp_path / "model"
    export.export(runs / "joint/state.pt", model)
    config = json.loads((model / "config.json").read_text())
    assert config["model_type"] == "llava" and config["vision_feature_layer"] == -2
    assert (model / "chat_template.jinja").exists() or "chat_template" in (model / "tokenizer_config.json").read_text()
    heldout.write(tmp_path / "heldout", 16)
    result = evaluate(model, tmp_path / "heldout")
    assert result["all"]["n"] == 16
    assert "95 % interval" in table(result)
    reduction_heads.train_dyrate(model, runs, "gumbel", 0.1, 0.02, images=1)
    reduction_heads.train_dyrate(model, runs, "expectation", 0.1, 0.02, images=1)
    reduction_heads.train_llama_vid(model, runs, 4, 0.02, images=1)
    assert {path.name for path in (model / "heads").iterdir()} >= {"dyrate-gumbel-0.1.json", "llama-vid-4.safetensors"}
