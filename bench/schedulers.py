"""Samplers that a protocol names, in the place of the one that a model's folder names."""

from typing import Any

from .errors import UserError

SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": (
        "DDIMScheduler",
        {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1, "timestep_spacing": "leading"},
    ),
}
"""Name -> diffusers' class and the settings that make it the published sampler. `ddim`: that of Stable
Diffusion's first code (Song et al. 2021); its eta is 0, the default of a pipeline's call, which
nothing here changes."""


def set_scheduler(pipeline: Any, name: str) -> None:
    """Give a pipeline the scheduler of a name, with the noise levels and the prediction type of its own.

    An empty name leaves the folder's. Raises UserError where there is no such name, or the pipeline's own
    scheduler has no noise levels to take over (flow matching).
    """
    if not name:
        return
    import diffusers

    if name not in SCHEDULERS:
        raise UserError(f"scheduler: {name!r} is not known; known: {', '.join(SCHEDULERS)}")
    own = pipeline.scheduler
    if "beta_schedule" not in own.config:
        raise UserError(
            f"{type(own).__name__}: has no noise levels that {name} could draw by: not such a model"
        )
    kind, settings = SCHEDULERS[name]
    pipeline.scheduler = getattr(diffusers, kind).from_config(own.config, **settings)
