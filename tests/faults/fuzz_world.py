"""What the cases damage: a small run of the tiny world, with its records, store, model and claim."""

import json
import shutil
from pathlib import Path
from typing import Any

try:
    from .fuzz_call import WrongError, call
except ImportError:  # run as a script
    from fuzz_call import WrongError, call


SIZES: dict[str, Any] = {
    "forget": 4,
    "forget_samples": 1,
    "retain_same": 2,
    "retain_other": 2,
    "retain_given": 2,
    "indirect": 0,
}
SUITE: dict[str, Any] = {
    "name": "fuzz",
    "summary": "a small run",
    "tasks": ["classes/cat-face@tiny"],
    "seeds": [0],
    "unscored_below": 0.0,
    "sizes": SIZES,
    "methods": [
        {"name": "none", "noise": 0},
        {"name": "balanced", "config": {"steps": 2, "checkpoints": [2], "batch": 4}},
    ],
}
POLICY: dict[str, Any] = {
    "name": "fuzz",
    "summary": "a small policy",
    "level": 0.95,
    "sizes": SIZES,
    "rules": [
        {"metric": "UA", "at_least": 0.0},
        {"metric": "VA", "drop_at_most": 0.9},
        {"metric": "AS", "change_at_most": 0.9, "per": "all"},
    ],
    "waivers": [{"metric": "VA", "reason": "known", "owner": "A. Person", "expires": "2099-12-31"}],
}
TASK: dict[str, Any] = {
    "family": "classes",
    "world": "tiny",
    "version": 1,
    "summary": "a task",
    "judge": "emoji-detector@1",
    "target_kind": "subject",
    "concepts": [
        {
            "name": "cat-face",
            "role": "evaluated",
            "targets": ["cat face"],
            "anchor": "dog face",
            "given": {"subject": ["fox", "owl"], "style": ["openmoji"]},
        }
    ],
}


class World:
    """A prepared folder, shared by all cases; no case writes into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.suite, self.policy = folder / "suite.toml", folder / "policy.toml"
        self.records, self.store, self.model = folder / "records", folder / "store", folder / "model"
        self.claim, self.lora, self.packed = folder / "claim.zip", folder / "lora", folder / "packed"

    @property
    def baseline(self) -> Path:
        return next(self.records.glob("*.none.*.json"))

    @property
    def candidate(self) -> Path:
        return next(self.records.glob("*.balanced.*.json"))

    def prepare(self) -> "World":
        """Make everything that is not there yet; raises WrongError where undamaged input does not work."""
        if self.claim.exists():
            return self
        from unlearnbench.bench.running.catalog import registry

        try:
            from .fuzz_damage import to_toml
        except ImportError:
            from fuzz_damage import to_toml

        self.folder.mkdir(parents=True, exist_ok=True)
        self.suite.write_text(to_toml(SUITE), encoding="utf-8")
        self.policy.write_text(to_toml(POLICY), encoding="utf-8")
        shutil.copytree(registry("worlds")["tiny"].load()().pipeline_folder, self.model)
        must(call(*self.run(self.records, self.store)))
        shutil.rmtree(self.records / "leaderboard", ignore_errors=True)
        make_lora(self.model, self.lora)
        for model in (self.model, self.lora):
            must(call(*self.check(model, self.store, self.folder / f"check-{model.name}")))
        must(call("validate", self.records))
        shutil.copytree(self.records, self.packed)
        must(call("pack", self.packed))
        must(call("validate", self.packed))
        must(call("submit", self.candidate, "--out", self.claim))
        must(call("validate", self.claim))
        return self

    def run(self, records: Path, store: Path) -> list[object]:
        """Return the arguments of the run."""
        return [
            "run",
            "--suite",
            self.suite,
            "--out",
            records,
            "--store",
            store,
            "--threads",
            1,
            "--device",
            "cpu",
        ]

    def check(self, candidate: Path, store: Path, out: Path, policy: Path | None = None) -> list[object]:
        """Return the arguments of a check of a candidate, a record or a model."""
        arguments = ["check", "--baseline", self.baseline, "--candidate", candidate]
        arguments += ["--policy", policy or self.policy, "--out", out, "--store", store]
        return [*arguments, "--threads", 1, "--device", "cpu"]


def make_lora(model: Path, folder: Path) -> None:
    """Save a LoRA of the model's UNet, of rank 2, that changes its images."""
    import torch
    from diffusers import StableDiffusionPipeline
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    pipeline = StableDiffusionPipeline.from_pretrained(model, local_files_only=True)
    parts: dict[str, Any] = {"r": 2, "lora_alpha": 2, "target_modules": ["to_q", "to_v"]}
    parts |= {"rank_pattern": {}, "alpha_pattern": {}}
    torch.manual_seed(0)
    pipeline.unet.add_adapter(LoraConfig(**parts, init_lora_weights="gaussian"))
    for name, tensor in pipeline.unet.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(tensor, std=1.0)
    state = get_peft_model_state_dict(pipeline.unet)
    StableDiffusionPipeline.save_lora_weights(str(folder), state, unet_lora_adapter_metadata=parts)


def must(done: Any) -> Any:
    """Return a call that worked; raises WrongError where it did not."""
    if done.code:
        raise WrongError("BAD preparation", f"status {done.code}: {(done.out + done.err)[-2000:]}")
    return done


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
