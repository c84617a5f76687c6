"""What every training stage shares: device, precision, time budget, checkpoints that resume, a log that can be plotted."""

import contextlib
import json
import os
import pathlib
import time

import torch
import torch.distributed as distributed
from torch import nn

from .optimiser import Muon, schedule


class Run:
    """One training stage in one folder: `state.pt` (weights, optimiser, counters) and `log.jsonl`."""

    def __init__(self, folder: pathlib.Path, modules: dict[str, nn.Module], minutes: float, rate: float, trained: list[str] | None = None, **optimiser: float):
        self.folder = folder
        self.modules = modules
        self.minutes = minutes
        self.rate = rate
        folder.mkdir(parents=True, exist_ok=True)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.rank = int(os.environ.get("RANK", "0"))
        """This process among those that `torchrun --nproc-per-node N` started; their gradients are averaged."""
        if "RANK" in os.environ and not distributed.is_initialized():
            distributed.init_process_group("gloo")
        if self.device.type == "cpu":
            torch.set_num_threads(int(os.environ.get("FOVEA_THREADS", "1")))
        for module in modules.values():
            module.to(self.device)
        self.trained = [modules[name] for name in trained or modules]
        self.parameters = [p for module in self.trained for p in module.parameters() if p.requires_grad]
        self.optimiser = Muon(self.trained, **optimiser)
        self.step, self.images, self.spent, self.extra = 0, 0, 0.0, {}
        self._means: dict[str, float] = {}
        if (folder / "state.pt").exists():
            self._resume()
        self._began, self._saved = time.monotonic() - self.spent * 60, time.monotonic()

    def begin(self) -> None:
        """Starts the clock: what came before (fitting, measuring) is not part of the budget."""
        self._began = time.monotonic() - self.spent * 60

    def _resume(self) -> None:
        state = torch.load(self.folder / "state.pt", map_location=self.device, weights_only=False)
        for name, module in self.modules.items():
            module.load_state_dict(state["modules"][name])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.images, self.spent, self.extra = state["step"], state["images"], state["spent"], state["extra"]
        print(f"resumed {self.folder.name} at step {self.step}, {self.spent:.1f} min", flush=True)

    @property
    def progress(self) -> float:
        """Share of the budget that is spent; processes that train together agree on it once a step."""
        if not distributed.is_initialized():
            self.spent = (time.monotonic() - self._began) / 60
        return self.spent / self.minutes

    def precision(self) -> contextlib.AbstractContextManager:
        """bf16 where the matrices are multiplied (twice as fast on current CPUs, more on a GPU); weights stay fp32."""
        return torch.autocast(self.device.type, torch.bfloat16)

    def update(self, loss: torch.Tensor, images: int, **figures: float) -> None:
        """One optimiser step, with the schedule's rate; keeps running means of the figures."""
        rate = self.rate * schedule(self.progress, self.step)
        for group in self.optimiser.param_groups:
            group["rate"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._share_gradients()
        nn.utils.clip_grad_norm_(self.parameters, 2.0)
        self.optimiser.step()
        self.step += 1
        self.images += images * (distributed.get_world_size() if distributed.is_initialized() else 1)
        for name, value in {"loss": float(loss.detach()), **figures}.items():
            self._means[name] = self._means.get(name, value) * 0.95 + value * 0.05
        if self.step % 50 == 0:
            self.log()
        if time.monotonic() - self._saved > 120:
            self.save()

    def _share_gradients(self) -> None:
        if not distributed.is_initialized():
            return
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in self.parameters]
        spent = torch.tensor([(time.monotonic() - self._began) / 60], device=self.device)
        flat = torch.cat([*(gradient.flatten() for gradient in gradients), spent]).cpu()
        distributed.all_reduce(flat)
        flat = (flat / distributed.get_world_size()).to(self.device)
        for parameter, part in zip(self.parameters, flat[:-1].split([gradient.numel() for gradient in gradients])):
            parameter.grad = part.view_as(parameter)
        self.spent = float(flat[-1])

    def share_weights(self) -> None:
        """Gives every process the weights of the first."""
        if distributed.is_initialized():
            for module in self.modules.values():
                for tensor in module.state_dict().values():
                    distributed.broadcast(tensor, 0)

    def log(self, **more: object) -> None:
        line = {"minutes": round(self.spent, 2), "step": self.step, "images": self.images}
        line |= {name: round(value, 4) for name, value in self._means.items()} | more
        if self.rank:
            return
        with open(self.folder / "log.jsonl", "a") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)

    def save(self) -> None:
        self._saved = time.monotonic()
        if self.rank:
            return
        state = dict(
            modules={name: module.state_dict() for name, module in self.modules.items()},
            optimiser=self.optimiser.state_dict(),
            step=self.step,
            images=self.images,
            spent=self.spent,
            extra=self.extra,
        )
        torch.save(state, self.folder / "state.tmp")
        (self.folder / "state.tmp").replace(self.folder / "state.pt")


def load_modules(path: pathlib.Path, modules: dict[str, nn.Module]) -> None:
    """Weights of another stage's `state.pt`."""
    state = torch.load(path, map_location="cpu", weights_only=False)
    for name, module in modules.items():
        module.load_state_dict(state["modules"][name])
