"""Names that do not begin and end with a letter are found, and one name is one in every spelling."""

import unicodedata
from pathlib import Path

import pytest

from unlearnbench._tool import find_task
from unlearnbench.bench.cli.main import main
from unlearnbench.bench.errors import UserError
from unlearnbench.bench.planning.concept_names import holds_name, name_key
from unlearnbench.bench.unlearning.writing import replace_all, write_prompts
from unlearnbench.bench.worlds.hub.protocols import CELEBRITY_TEMPLATES, find_name

NAMES = ("Sample Person Jr.", "C++", "Yahoo!", ".NET", "...", "Jürgen Müller", "Sean O'Neil", "猫", "東京",
         "two   spaces", "(group)", "50%", "a.b.")  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_the_anchor_takes_the_names_place(name: str, form: str) -> None:
    other = "NFD" if form == "NFC" else "NFC"
    prompts = [
        unicodedata.normalize(form, text.format(name))
        for text in ("a photo of {} on a table", "{} in the rain", "a drawing of {}", "look: {}, at night")
    ]
    anchored = replace_all(prompts, unicodedata.normalize(other, name.upper()), "a man")
    assert anchored == ("a photo of a man on a table", "a man in the rain", "a drawing of a man",
                        "look: a man, at night")  # fmt: skip
    written = write_prompts(name, "person", 20, "a man")
    assert len(written.anchored) == 20
    assert not any(holds_name(prompt, name) for prompt in (*written.anchored, *written.retain))


@pytest.mark.parametrize(
    ("text", "name"),
    [("a caterpillar", "cat"), ("concat", "cat"), ("C++", "C"), ("cafe\u0301", "cafe"), ("Jr.", "J")],
)
def test_a_part_of_a_word_is_not_the_name(text: str, name: str) -> None:
    assert holds_name(text, name) == (name == "C")  # `C++` is written with the word `C`


def test_script_without_spaces_has_no_word_boundaries() -> None:
    assert replace_all(["一只猫在桌子上"], "猫", "狗") == ("一只狗在桌子上",)


def test_a_name_of_spaces_is_refused() -> None:
    with pytest.raises(UserError, match="concept: is empty"):
        write_prompts("  ", "object", 3)


def test_spellings_of_one_name_have_one_key() -> None:
    assert name_key("Jürgen  Müller") == name_key(unicodedata.normalize("NFD", "JÜRGEN MÜLLER "))
    assert name_key("Straße") == name_key("STRASSE")
    assert name_key("Sample Person Jr.") == name_key("sample person jr")
    assert name_key("C++") != name_key("C")
    assert name_key("...") != name_key("")
    assert find_task("GOLDEN\u00a0RETRIEVER", "sd14") == find_task("golden retriever", "sd14")


def test_a_published_name_that_ends_in_a_dot_is_the_tasks() -> None:
    for template in CELEBRITY_TEMPLATES:
        assert name_key(find_name(template.format("Sample Person Jr."))) == name_key("Sample Person Jr.")


@pytest.mark.parametrize("concept", ["Sample Person Jr.", "C++"])
def test_unlearn_takes_the_anchor_that_is_given(
    concept: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    command = ["unlearn", "--model", "tiny", "--concept", concept, "--kind", "person", "--anchor", "a man"]
    command += ["--method", "anchor_balanced", "--images", "2", "--sampling-steps", "1"]
    command += [
        "--set",
        "steps=1",
        "--set",
        "batch=2",
        "--set",
        "checkpoints=[1]",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(command) == 0, capsys.readouterr().err
