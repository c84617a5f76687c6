"""Writing, comparing and hashing of fixture files."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

# Floating-point results of another CPU or thread count may differ in the last bits; anything beyond this is a change.
RELATIVE_TOLERANCE = 1e-5


def write_json(path: Path, value: object) -> None:
    """Indented, but lists of plain values stay on one line: the files are read by people too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(value) + "\n", encoding="utf-8")


def render(value: object, indent: str = "") -> str:
    deeper = indent + "  "
    if isinstance(value, dict) and value:
        fields = (f"{deeper}{json.dumps(key)}: {render(item, deeper)}" for key, item in value.items())
        return "{\n" + ",\n".join(fields) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        return "[\n" + ",\n".join(deeper + render(item, deeper) for item in value) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def read_json(path: Path) -> object:
    return json.loads(path.read_text(encoding="utf-8"))


def write_tensors(path: Path, tensors: dict[str, torch.Tensor | np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: torch.as_tensor(tensor).contiguous().clone() for name, tensor in tensors.items()}, path)
    path.chmod(0o644)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def manifest(root: Path, folders: list[str]) -> dict[str, str]:
    files = sorted(path for folder in folders for path in (root / folder).rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): sha256(path) for path in files}


def close(a: float, b: float, scale: float) -> bool:
    return math.isfinite(a) and math.isfinite(b) and abs(a - b) <= RELATIVE_TOLERANCE * max(scale, 1e-12)


def json_difference(a: object, b: object, where: str = "$") -> str | None:
    if isinstance(a, dict) and isinstance(b, dict):
        if a.keys() != b.keys():
            return f"{where}: fields differ: {sorted(a.keys() ^ b.keys())}"
        return next((d for key in a if (d := json_difference(a[key], b[key], f"{where}.{key}"))), None)
    if isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            return f"{where}: {len(a)} and {len(b)} items"
        return next((d for i, (x, y) in enumerate(zip(a, b, strict=True)) if (d := json_difference(x, y, f"{where}[{i}]"))), None)
    if isinstance(a, float) and isinstance(b, float):
        # Margins are rounded when written, hence the floor of the scale.
        return None if close(a, b, max(abs(a), abs(b), 10.0)) else f"{where}: {a} and {b}"
    return None if a == b and type(a) is type(b) else f"{where}: {a!r} and {b!r}"


def tensors_difference(a: Path, b: Path) -> str | None:
    left, right = load_file(a), load_file(b)
    if left.keys() != right.keys():
        return f"tensors differ: {sorted(left.keys() ^ right.keys())}"
    for name, x in left.items():
        y = right[name]
        if x.shape != y.shape or x.dtype != y.dtype:
            return f"{name}: {tuple(x.shape)} {x.dtype} and {tuple(y.shape)} {y.dtype}"
        if not x.is_floating_point():
            if not torch.equal(x, y):
                return f"{name}: integers differ"
            continue
        x, y = x.double(), y.double()
        largest = float((x - y).abs().max()) if x.numel() else 0.0
        if not close(largest, 0.0, float(x.abs().max()) if x.numel() else 1.0):
            return f"{name}: off by {largest}"
    return None


def difference(a: Path, b: Path) -> str | None:
    """What tells two fixture files apart, or None: numbers within tolerance, everything else to the byte."""
    if a.read_bytes() == b.read_bytes():
        return None
    if a.suffix == ".json":
        return json_difference(read_json(a), read_json(b))
    if a.suffix == ".safetensors":
        return tensors_difference(a, b)
    return "bytes differ"


def folder_differences(committed: Path, fresh: Path, folders: list[str]) -> list[str]:
    def listed(root: Path) -> set[str]:
        return {p.relative_to(root).as_posix() for folder in folders for p in (root / folder).rglob("*") if p.is_file()}

    ours, theirs = listed(committed), listed(fresh)
    problems = [f"{name}: only committed" for name in sorted(ours - theirs)]
    problems += [f"{name}: not committed" for name in sorted(theirs - ours)]
    for name in sorted(ours & theirs):
        if (text := difference(committed / name, fresh / name)) is not None:
            problems.append(f"{name}: {text}")
    return problems
