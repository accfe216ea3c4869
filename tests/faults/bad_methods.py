"""Methods that misbehave, written as a plug-in that needs no pip: a folder for PYTHONPATH."""

from pathlib import Path

HEAD = '''"""A method that misbehaves: {name}."""
import torch
from pydantic import BaseModel, ConfigDict

REGISTER = {{"summary": "misbehaves: {name}", "function": "unlearn", "config": "Config"}}


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    steps: int = 1


{decorate}def unlearn(pipeline, problem, config, save):
{body}
'''
NUDGE = 'next(iter(pipeline.unet.parameters())).mul_(1.01)\nsave(1, {"step": [1]})'
ACTS = '''"""A method that acts while images are drawn: {name}."""
from contextlib import contextmanager
import torch
from pydantic import BaseModel, ConfigDict

REGISTER = {{
    "summary": "{name}", "function": "unlearn", "config": "Config",
    "apply": "apply", "trains": [], "needs": [],
}}


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def unlearn(pipeline, problem, config, save):
    save(1, {{"step": [1]}})


@contextmanager
def apply(pipeline, tensors, config):
{body}
'''
REFUSED = {
    "textenc": ("for p in pipeline.text_encoder.parameters(): p.zero_()\n" + NUDGE, "text_encoder"),
    "vae": ("for p in pipeline.vae.parameters(): p.mul_(0.5)\n" + NUDGE, "vae"),
    "hook": ("pipeline.unet.register_forward_hook(lambda m, a, o: o)\n" + NUDGE, "hooks"),
    "pre-hook": (
        "pipeline.unet.mid_block.register_forward_pre_hook(lambda m, a: None)\n" + NUDGE,
        "hooks of mid_block",
    ),
    "backward-hook": ("pipeline.unet.register_full_backward_hook(lambda m, a, o: None)\n" + NUDGE, "hooks"),
    "monkey": (
        "f = pipeline.unet.forward\n"
        "pipeline.unet.forward = lambda *a, **k: tuple(0.5 * o for o in f(*a, **k))\n" + NUDGE,
        "unet (forward, replaced)",
    ),
    "submodule": ("pipeline.unet.mid_block.forward = lambda x, *a, **k: x\n" + NUDGE, "mid_block, replaced"),
    "encode": (
        "e = pipeline.encode_prompt\npipeline.encode_prompt = lambda *a, **k: e(*a, **k)\n" + NUDGE,
        "encode_prompt on the object itself",
    ),
    "class-patch": (
        "type(pipeline.unet).forward = lambda self, x, *a, **k: (x,)\n" + NUDGE,
        "UNet2DConditionModel.forward",
    ),
    "module-call": ("torch.nn.Conv2d.forward = lambda self, x: x\n" + NUDGE, "Conv2d.forward"),
    "functional": ("torch.nn.functional.silu = torch.nn.functional.relu\n" + NUDGE, "functional.silu"),
    "own-code": (
        "import unlearnbench.bench.models.sampling as sampling\nsampling.encode_png = lambda image: b''\n"
        + NUDGE,
        "sampling.encode_png",
    ),
    "scheduler": (
        "s = pipeline.scheduler\n"
        "pipeline.scheduler = type(s).from_config(s.config, timestep_spacing='linspace')\n" + NUDGE,
        "scheduler (its configuration",
    ),
    "betas": ("pipeline.scheduler.alphas_cumprod.mul_(0.9)\n" + NUDGE, "scheduler (its schedule"),
    "processor": (
        "class Mine:\n"
        "    def __call__(self, attn, hidden, *a, **k): return hidden\n"
        "pipeline.unet.set_attn_processor(Mine())\n" + NUDGE,
        "processor",
    ),
    "scale": (
        "for m in pipeline.unet.modules():\n    if hasattr(m, 'heads'): m.scale = 0.0\n" + NUDGE,
        "the attribute scale",
    ),
    "activation": (
        "pipeline.unet.conv_act = torch.nn.Identity()\n" + NUDGE,
        "the class of conv_act",
    ),
    "buffer": ("pipeline.unet.register_buffer('extra', torch.ones(1), persistent=False)\n" + NUDGE, "extra"),
    "text-buffer": (
        "next(iter(pipeline.text_encoder.buffers())).zero_()\n" + NUDGE,
        "the buffer",
    ),
    "tokens": ("pipeline.tokenizer.add_tokens(['unlearned'])\n" + NUDGE, "tokenizer (its vocabulary"),
    "short": ("pipeline.tokenizer.model_max_length = 3\n" + NUDGE, "tokenizer (its settings"),
    "half-vae": ("pipeline.vae.half()\n" + NUDGE, "vae"),
    "half": ("pipeline.unet.half()\n" + NUDGE, "the type of its weights"),
    "factor": ("pipeline.vae.register_to_config(scaling_factor=0.1)\n" + NUDGE, "vae"),
    "deleted": ("pipeline.text_encoder = None\n" + NUDGE, "its components"),
    "caught": (
        "pipeline.vae.half()\ntry:\n    save(1, {})\nexcept Exception:\n    pass\n"
        "pipeline.vae.float()\n" + NUDGE,
        "vae",
    ),
    "late-hook": (NUDGE + "\npipeline.unet.register_forward_hook(lambda m, a, o: o)", "when it ended"),
    "nan": (
        "for p in pipeline.unet.parameters(): p.fill_(float('nan'))\nsave(1, {'loss': [float('nan')]})",
        "training diverged",
    ),
    "infinite": ("next(iter(pipeline.unet.parameters())).fill_(float('inf'))\nsave(1, {})", "not finite"),
    "quits": ("import sys\nsys.exit(0)", "SystemExit"),
    "closes": ("raise GeneratorExit()", "GeneratorExit"),
    "raises": ('raise ValueError("boom")', "ValueError: boom"),
    "saves-nothing": ("pass", "saved no point"),
    "bad-step": ("save('last', {})", "TypeError"),
    "bad-log": ("save(1, {'loss': ['high']})", "save: log: must be columns"),
}
"""Name -> (body, part of what the failed record says)."""
ACTING = {
    "apply-fine": (
        "handle = pipeline.unet.register_forward_hook(lambda m, a, o: tuple(0.9 * x for x in o))\n"
        "yield\nhandle.remove()",
        "",
    ),
    "apply-hook": (
        "pipeline.unet.register_forward_hook(lambda m, a, o: tuple(0.5 * x for x in o))\nyield",
        "unet (hooks",
    ),
    "apply-scale": (
        "for m in pipeline.unet.modules():\n    if hasattr(m, 'heads'): m.scale = 0.0\nyield",
        "the attribute scale",
    ),
    "apply-weight": ("yield\nwith torch.no_grad(): next(pipeline.vae.parameters()).zero_()", "the weights"),
    "apply-raises": (
        "for m in pipeline.unet.modules():\n    if hasattr(m, 'heads'): m.scale = 0.0\n"
        "raise ValueError('boom')\nyield",
        "ValueError: boom",
    ),
    "apply-patch": ("torch.nn.functional.silu = torch.nn.functional.relu\nyield", "functional.silu"),
}
"""Methods that act while images are drawn: name -> (body of `apply`, part of what the failed record says)."""
HARMLESS = {
    "grads": "unet = pipeline.unet.requires_grad_(True)\n"
    "size = unet.config.sample_size\n"
    "unet(torch.randn(2, unet.config.in_channels, size, size), 1,\n"
    "     torch.randn(2, 4, unet.config.cross_attention_dim)).sample.sum().backward()\n"
    'save(1, {"step": [1]})',
    "late": NUDGE + "\nfor p in pipeline.unet.parameters(): p.zero_()",
    "dropout": "pipeline.unet.train()\n" + NUDGE,
    "draws": "pipeline(['a cat'], num_inference_steps=2, height=32, width=32, output_type='np')\n" + NUDGE,
    "random": "import random, numpy\n"
    "next(iter(pipeline.unet.parameters())).mul_(1 + 0.01 * torch.rand(()) + random.random() / 99)\n"
    'torch.manual_seed(99); random.seed(99); numpy.random.seed(99)\nsave(1, {"step": [1]})',
    "settings": "import os, sys, warnings\n" + NUDGE + "\n"
    "torch.set_default_dtype(torch.float64)\ntorch.set_default_device('meta')\n"
    "torch.set_grad_enabled(False)\ntorch.set_num_threads(2)\ntorch.set_flush_denormal(False)\n"
    "torch.use_deterministic_algorithms(True)\ntorch.set_float32_matmul_precision('medium')\n"
    "torch.set_autocast_enabled('cpu', True)\n"
    "torch.nn.modules.module.register_module_forward_hook(lambda m, a, o: o)\n"
    "os.chdir('/')\nos.environ['HF_HOME'] = '/nowhere'\nsys.argv[:] = ['x']\nsys.stdout = None",
    "images": "problem.forget_set.images.zero_()\nproblem.retain_set.images.zero_()\n" + NUDGE,
    "copy": "import copy\npipeline.unet = copy.deepcopy(pipeline.unet)\n" + NUDGE,
}
"""Methods that leave much behind of which no point and no later cell knows."""


def write_plugin(folder: Path) -> Path:
    """Write all of them as a plug-in; return the folder that Python has to search."""
    bodies = {name: body for name, (body, _) in REFUSED.items()} | HARMLESS
    package, info = folder / "badmethods", folder / "badmethods-0.1.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    (package / "__init__.py").write_text("")
    for name, body in bodies.items():
        decorate = "" if name == "grads" else "@torch.no_grad()\n"
        text = HEAD.format(name=name, decorate=decorate, body=indent(body))
        (package / f"{module(name)}.py").write_text(text)
    for name, (body, _) in ACTING.items():
        (package / f"{module(name)}.py").write_text(ACTS.format(name=name, body=indent(body)))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: badmethods\nVersion: 0.1\n")
    entries = "\n".join(f"{name} = badmethods.{module(name)}" for name in (*bodies, *ACTING))
    (info / "entry_points.txt").write_text(f"[unlearnbench.methods]\n{entries}\n")
    return folder


def module(name: str) -> str:
    return name.replace("-", "_")


def indent(body: str) -> str:
    return "\n".join("    " + line for line in body.splitlines())
