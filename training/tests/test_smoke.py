"""The whole pipeline on a tiny model in about two minutes: every stage, resuming, export, parity, held-out set, evaluation, heads."""

import json

import torch

from fovea_training import decoder, export, heldout, joint, parity, reduction_heads, refine, tower
from fovea_training.evaluate import evaluate, table
from fovea_training.llama_vid import CONTENT_GRIDS
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
    first = tmp_path / "first"
    export.export(runs / "joint/state.pt", first)
    refine.train(runs / "refine", first, 0.1, images=2, fit_rounds=2)
    refine.train(runs / "again", first, 0.03, images=2, state=runs / "refine/state.pt")
    model = tmp_path / "model"
    export.export(runs / "again/state.pt", model)
    config = json.loads((model / "config.json").read_text())
    assert config["model_type"] == "llava" and config["vision_feature_layer"] == -2
    assert (model / "chat_template.jinja").exists() or "chat_template" in (model / "tokenizer_config.json").read_text()
    heldout.write(tmp_path / "heldout", 16)
    result = evaluate(model, tmp_path / "heldout")
    assert result["all"]["n"] == 16
    assert "95 % interval" in table(result)
    reduction_heads.train_dyrate(model, runs, [0.1], 0.02, images=1)
    reduction_heads.train_llama_vid(model, runs, 0.02, runs / "again/state.pt", images=1)
    assert {path.name for path in (model / "heads").iterdir()} == {f"{name}.safetensors" for name in ("dyrate-gumbel-0.1", "dyrate-expectation-0.1", "llamavid")}
    expected = parity.parity(model, tmp_path / "heldout")
    assert len(expected["hashes"]) == 4
    assert all(set(screen["llamavid"]) == {str(grid) for grid in CONTENT_GRIDS} and len(screen["dyrate"]) == 2 for screen in expected["screens"])
