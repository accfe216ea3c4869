"""Steering acts on a pipeline's own call, for each image by itself, and nothing of it is left behind."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.models.generators import Generator, Sampling
from unlearnbench.bench.models.sampling import Request, draw_batch
from unlearnbench.bench.models.saved.applied import Applied
from unlearnbench.bench.models.saved.steering import Call, Steering, Step, steered

from ..methods.families import EVERY, build_family

GUIDED = tuple(name for name in EVERY if name != "flux")
REQUESTS = [Request("a cat", 1), Request("a dog on a mat", 2), Request("fox", 3)]
Pipelines = Callable[[str], Any]


@pytest.fixture(scope="module")
def pipeline_of(tmp_path_factory: pytest.TempPathFactory) -> Pipelines:
    @cache
    def make(family: str) -> Any:
        pipeline = build_family(family, tmp_path_factory.mktemp(family))
        pipeline.set_progress_bar_config(disable=True)
        for part in pipeline.components.values():
            if isinstance(part, torch.nn.Module):
                part.eval()
        return pipeline

    return make


def _draw(pipeline: Any, make: Any = None, requests: list[Request] = REQUESTS, steps: int = 3) -> list[Any]:
    generator = Generator(pipeline, Sampling(steps, 3.0, 16, 16), "")
    if make is None:
        return [image.tolist() for image in draw_batch(generator, requests) if image is not None]
    with steered(pipeline, make):
        return [image.tolist() for image in draw_batch(generator, requests) if image is not None]


class Watching(Steering):
    """Changes nothing, and keeps what it was given."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.seen: list[tuple[Step, bool]] = []

    def condition(self, step: Step) -> Any:
        return dict(step.conditions)

    def guide(self, step: Step, uncond: Any, cond: Any) -> Any:
        torch.testing.assert_close(step.predict({}), cond, rtol=1e-4, atol=1e-5)
        self.seen.append((step, uncond is not None))
        return uncond, cond


@pytest.mark.parametrize("family", EVERY)
def test_a_steering_that_changes_nothing_draws_the_same_bits(pipeline_of: Pipelines, family: str) -> None:
    pipeline, made = pipeline_of(family), []

    def make(call: Call) -> Watching:
        made.append(Watching(call))
        return made[-1]

    before = _draw(pipeline)
    assert _draw(pipeline, make) == before
    assert _draw(pipeline) == before
    [watching] = made
    assert watching.call.prompts == tuple(request.prompt for request in REQUESTS)
    assert all(len(tensor) == 3 for tensor in watching.call.conditions.values())
    assert [(step.index, step.total, halves) for step, halves in watching.seen] == [
        (index, 3, family != "flux") for index in range(3)
    ]
    step = watching.seen[0][0]
    assert step.guidance == 3.0
    assert step.latents.shape == ((3, 16, 16) if family == "flux" else (3, 4, 8, 8))
    for name, tensor in watching.call.conditions.items():
        torch.testing.assert_close(step.conditions[name], tensor, rtol=0, atol=0)
    assert "encode_prompt" not in vars(pipeline)


@pytest.mark.parametrize("family", EVERY)
def test_conditions_of_other_prompts_draw_those_prompts(pipeline_of: Pipelines, family: str) -> None:
    pipeline, calls = pipeline_of(family), []
    others = [Request("a robot", request.seed) for request in REQUESTS]

    class Keeping(Steering):
        def __init__(self, call: Call) -> None:
            calls.append(call)

    wanted = _draw(pipeline, Keeping, others)

    class Other(Steering):
        def __init__(self, call: Call) -> None:
            pass

        def condition(self, step: Step) -> Any:
            return {name: tensor[:1] for name, tensor in calls[0].conditions.items()}

    assert _draw(pipeline, Other) == wanted
    assert _draw(pipeline) != wanted


@pytest.mark.parametrize("family", GUIDED)
def test_predictions_are_guided_by_what_guide_returns(pipeline_of: Pipelines, family: str) -> None:
    """With one prediction for both halves the guidance scale does not matter."""
    pipeline = pipeline_of(family)
    concept: dict[str, Any] = {}

    class Take(Steering):
        def __init__(self, call: Call) -> None:
            self.passes = 0  # a new object for each call

        def guide(self, step: Step, uncond: Any, cond: Any) -> Any:
            assert step.index == self.passes
            self.passes += 1
            found = step.predict(concept)
            return found, found

    class Keep(Steering):
        def __init__(self, call: Call) -> None:
            concept.update({name: tensor[:1] for name, tensor in call.conditions.items()})

    _draw(pipeline, Keep, [Request("a robot", 0)])
    first = torch.tensor(_draw(pipeline, Take))
    generator = Generator(pipeline, Sampling(3, 1.0, 16, 16), "")  # guidance 1: one half, the prompt's
    expected = draw_batch(generator, [Request("a robot", request.seed) for request in REQUESTS])
    for image, wanted in zip(first, expected, strict=True):
        assert wanted is not None
        assert (image - torch.tensor(wanted).int()).abs().max() <= 1  # batches of other sizes round otherwise
    assert _draw(pipeline, Take) == first.tolist()


def test_an_image_has_the_prompt_that_it_was_asked_for(pipeline_of: Pipelines) -> None:
    calls: list[Call] = []

    def make(call: Call) -> Steering:
        calls.append(call)
        return Steering()

    with steered(pipeline_of("sd"), make):
        for prompt in (["a cat", "a dog"], "a fox"):
            pipeline_of("sd")(prompt, num_inference_steps=1, num_images_per_prompt=2, output_type="latent")
    assert [call.prompts for call in calls] == [("a cat", "a cat", "a dog", "a dog"), ("a fox", "a fox")]
    assert [len(call.conditions["encoder_hidden_states"]) for call in calls] == [4, 2]


def test_a_second_set_of_prompts_in_one_call_is_refused(pipeline_of: Pipelines) -> None:
    with (
        steered(pipeline_of("flux"), lambda call: Steering()),
        pytest.raises(UserError, match="true_cfg_scale"),
    ):
        pipeline_of("flux")(
            "a cat", negative_prompt="a dog", true_cfg_scale=2.0, num_inference_steps=1, height=16, width=16
        )


def test_a_prediction_of_another_shape_is_refused(pipeline_of: Pipelines) -> None:
    class Half(Steering):
        def guide(self, step: Step, uncond: Any, cond: Any) -> Any:
            return None, cond

    with pytest.raises(ValueError, match="guide: "):
        _draw(pipeline_of("sd"), lambda call: Half())


def _hook(pipeline: Any) -> None:
    pipeline.unet.mid_block.register_forward_hook(lambda module, given, found: found)


def _processor(pipeline: Any) -> None:
    class Mine:
        def __call__(self, attn: Any, hidden: Any, *rest: Any, **named: Any) -> Any:
            return hidden

    pipeline.unet.set_attn_processor(Mine())


def _weight(pipeline: Any) -> None:
    with torch.no_grad():
        next(pipeline.unet.parameters()).mul_(1.5)


def _function(pipeline: Any) -> None:
    pipeline.encode_prompt = lambda *given, **named: None


def _patch(pipeline: Any) -> None:
    torch.nn.functional.silu = torch.nn.functional.relu  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("leave", "told"),
    [
        (_hook, "unet (hooks of mid_block"),
        (_processor, "processor"),
        (_weight, "unet (the weights"),
        (_function, "encode_prompt"),
        (_patch, "functional.silu"),
    ],
)
def test_what_apply_leaves_behind_is_refused_by_name(tmp_path: Any, leave: Any, told: str) -> None:
    pipeline, silu = build_family("sd", tmp_path), torch.nn.functional.silu

    @contextmanager
    def apply(pipeline: Any, tensors: Any, config: Any) -> Iterator[None]:
        yield None
        leave(pipeline)

    entry: Any = SimpleNamespace(name="messy", load_apply=lambda: apply)
    with pytest.raises(UserError) as error, Applied(entry, None, {}, "digest").acting(pipeline):
        pass
    assert told in str(error.value)
    assert "method messy" in str(error.value)
    assert "apply must put back" in str(error.value)
    assert torch.nn.functional.silu is silu
