"""A world of a third party: a pipeline in a folder, asked which colour lies behind an emoji.

The folder is that of the tests' world; a world of your own names a folder of yours.
"""

from itertools import islice, product

import torch

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.models.digests import files_digest
from unlearnbench.bench.models.generators import Sampling
from unlearnbench.bench.types import DrawSettings, Problem, Prompt
from unlearnbench.bench.unlearning.drawn import draw_sets
from unlearnbench.bench.unlearning.writing import Wording
from unlearnbench.bench.worlds.embedded import open_tiny
from unlearnbench.bench.worlds.prompts import halve
from unlearnbench.bench.worlds.protocol import World

REGISTER = {"summary": "the colour behind an emoji, at 32 px", "version": 1, "function": "Colours"}
SUBJECTS = ("cat face", "dog face", "guitar", "house", "princess", "beer mug")
TRAINED = ("an emoji of {}, {} background", "a picture of {}, the background is {}")
EVALUATED = ("a picture showing {} against a {} background", "an emoji of {} on {}")


def write(templates, colours):
    """Yield (colour, prompt): every subject before each colour, in every wording."""
    for template, subject, colour in product(templates, SUBJECTS, colours):
        yield colour, template.format(f"a {subject}", colour)


class Colours(World):
    id = "colours@1"
    steps, guidance, pixels = 8, 2.0, 32
    training_draws = 8

    @property
    def pipeline_folder(self):
        return open_tiny().pipeline_folder

    @property
    def digest(self):
        return files_digest(str(self.pipeline_folder))

    def prompts(self, task, sizes):
        """Return prompts about the target, about colours that methods never get, and about given ones."""
        targets, given = task.concept.targets, task.concept.given["subject"]
        fresh = [name for name in task.file.names if name not in [*targets, *given]]
        groups = (
            ("forget", targets, sizes.forget),
            ("retain", fresh, sizes.retain_same),
            ("retain", given, sizes.retain_given),
        )
        return halve(
            [
                Prompt(
                    id=text,
                    text=text,
                    split=split,
                    asked={"subject": colour},
                    target_kind="subject",
                    targets=tuple(targets) if split == "forget" else (),
                    relation="target" if split == "forget" else "same",
                    given=names is given,
                    half="A",  # `halve` gives every second one to B
                )
                for split, names, count in groups
                for colour, text in islice(write(EVALUATED, names), count)
            ]
        )

    def problem(self, task, data, seed):
        """Return the problem: the base model draws its own training images, in wordings of their own."""
        if data != "diverse":
            raise UserError(f"{self.id}: data: {data!r} is not made here")
        concept, n = task.concept, self.training_draws
        given = concept.given["subject"]
        forget, anchored, retain = (
            tuple(text for _, text in islice(write(TRAINED, names), n))
            for names in (concept.targets, [concept.anchor], given)
        )
        sampling = Sampling(self.steps, self.guidance, self.pixels, self.pixels)
        folder = str(self.pipeline_folder)
        forget_set, retain_set = draw_sets(folder, Wording(forget, retain, anchored), sampling, seed=seed)
        return Problem(
            task=task.id,
            concept=concept.name,
            anchor=concept.anchor,
            forget_set=forget_set,
            retain_set=retain_set,
            data=data,
            seed=seed,
            generator=torch.Generator().manual_seed(seed),
            targets=tuple(concept.targets),
            retained=tuple(given),
            sampling=DrawSettings(self.steps, self.guidance),
        )
