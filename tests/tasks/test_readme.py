"""The task file on the tasks' page can be copied: it is read, and its world asks for its target."""

import re
from pathlib import Path

from unlearnbench.bench.planning.plan import PromptSizes
from unlearnbench.bench.planning.tasks import build_tasks, read_task_file
from unlearnbench.bench.running.catalog import registry

PAGE = Path(__file__).resolve().parents[2] / "tasks" / "README.md"


def test_the_file_on_the_page_is_a_task_of_the_emoji_world(tmp_path: Path) -> None:
    found = re.search(r"<!-- example -->\n```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    (tmp_path / "mine.toml").write_text(found[1])
    task = build_tasks([read_task_file(tmp_path / "mine.toml")])["classes/fox@emoji"]
    world = registry("worlds")["emoji"].load()()
    prompts = world.prompts(task, PromptSizes())
    forget = [prompt for prompt in prompts if prompt.split == "forget"]
    assert forget
    assert all(prompt.asked["subject"] == "fox" for prompt in forget)
    assert {prompt.asked["subject"] for prompt in prompts if prompt.given} <= set(
        task.concept.given["subject"]
    )
