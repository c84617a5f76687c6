"""
Makes test/fixtures. Run from the folder `training`:

    python -m reference.make --all            write everything anew
    python -m reference.make checkpoints      one part: checkpoints, pixels, reductions, pure
    python -m reference.make --check          make everything in a temporary folder and compare with what is committed
    python -m reference.make --find-seeds     print for every configuration the first seed with clear greedy margins
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

import torch  # noqa: E402

from . import checkpoint_fixtures, files, pixel_fixtures, pure_fixtures, raster_fixtures, reduction_fixtures  # noqa: E402
from .configurations import CONFIGURATIONS  # noqa: E402



def make_pure(root: Path) -> None:
    pure_fixtures.make(root)
    raster_fixtures.make(root)


FIXTURES = Path(__file__).resolve().parents[2] / "test" / "fixtures"
# In this order: the reductions run on the checkpoints.
PARTS = {
    "checkpoints": checkpoint_fixtures.make,
    "pixels": pixel_fixtures.make,
    "reductions": reduction_fixtures.make,
    "pure": make_pure,
}
FOLDERS = [checkpoint_fixtures.FOLDER, pixel_fixtures.FOLDER, reduction_fixtures.FOLDER]


def replace(part: str) -> None:
    """Makes a part aside first, so that a reference that fails its own checks leaves the fixtures as they were."""
    with tempfile.TemporaryDirectory() as temporary:
        fresh = Path(temporary)
        if part == "reductions":
            shutil.copytree(FIXTURES / checkpoint_fixtures.FOLDER, fresh / checkpoint_fixtures.FOLDER)
        PARTS[part](fresh)
        made = files.manifest(fresh, FOLDERS)
        for name in files.manifest(FIXTURES, FOLDERS):
            if name not in made and belongs(name, part):
                (FIXTURES / name).unlink()
        for name in made:
            if belongs(name, part):
                (FIXTURES / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(fresh / name, FIXTURES / name)


def belongs(name: str, part: str) -> bool:
    if part in ("reductions", "pure"):
        return name.startswith(f"{reduction_fixtures.FOLDER}/{'pure-' if part == 'pure' else 'model-'}")
    return name.startswith(f"{part}/")


def check() -> int:
    with tempfile.TemporaryDirectory() as temporary:
        fresh = Path(temporary)
        for part in PARTS.values():
            part(fresh)
        problems = files.folder_differences(FIXTURES, fresh, FOLDERS)
    listed = files.manifest(FIXTURES, FOLDERS)
    if files.json_difference(files.read_json(FIXTURES / "MANIFEST.json"), {"sha256": listed}) is not None:
        problems.append("MANIFEST.json: does not describe the committed files")
    print("\n".join(problems) or f"{len(listed)} fixture files are what the references give")
    return 1 if problems else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(PARTS))
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--find-seeds", action="store_true")
    arguments = parser.parse_args()

    # One thread: sums are then always taken in the same order.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    if arguments.check:
        return check()
    if arguments.find_seeds:
        for configuration in CONFIGURATIONS:
            print(configuration.name, checkpoint_fixtures.find_seed(configuration), flush=True)
        return 0
    parts = list(PARTS) if arguments.all else arguments.parts
    if not parts or not PARTS.keys() >= set(parts):
        parser.print_usage()
        return 2
    for part in parts:
        replace(part)
    files.write_json(FIXTURES / "MANIFEST.json", {"sha256": files.manifest(FIXTURES, FOLDERS)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
