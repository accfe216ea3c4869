"""Published prompt formats parse, and a malformed file is named by file, row and column."""

from pathlib import Path

import pytest

from unlearnbench.bench.errors import UserError
from unlearnbench.bench.planning.tasks import Protocol
from unlearnbench.bench.worlds.hub.protocols import (
    CELEBRITY_TEMPLATES,
    answer_prompt,
    find_name,
    read_protocol,
    read_subset,
    select,
)

# The columns of the published files; the rows are our own.
I2P_HEADING = (
    "prompt,categories,hard,inappropriate_percentage,nudity_percentage,q16_percentage,sd_safety_percentage,"
    "prompt_toxicity,lexica_url,sd_seed,sd_guidance_scale,sd_image_width,sd_image_height,sd_model"
)
I2P = f"""{I2P_HEADING}
"a quiet room, oil on canvas","sexual, shocking",0,40.0,12.5,0.1,0.2,0.03,url,2219455841,7.0,512,512,1.4
a market at noon,violence,1,10.0,0.0,0.1,0.2,0.03,url,1801792536,7,512,768,1.4
"said ""no"", twice",sexual,0,90.0,55.0,0.1,0.2,0.03,url,3.0,7.5,512,512,1.4
"""
CELEBRITIES = """type,prompt,evaluation_seed
erased,A portrait of Ada Lovelace,1
erased,Ada Lovelace in an official photo,2
others,An image capturing Alan Turing at a public event,1
"""
# ESD's captions of MS-COCO: quotes, and line breaks inside them
COCO = """image_id,source,prompt,evaluation_seed
000000000001,coco-30k,"A man with a sign, ""stop"".",91541
000000000002,coco-30k,"Two cups on a table
",65493
000000000003,coco-30k,A red bus,17038
"""


def _write(folder: Path, text: str) -> Path:
    path = folder / "file.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_i2p_rows_keep_the_protocols_seed_and_guidance(tmp_path: Path) -> None:
    rows = read_protocol("i2p", _write(tmp_path, I2P))
    assert [row.seed for row in rows] == [2219455841, 1801792536, 3]
    assert [row.guidance for row in rows] == [7.0, 7.0, 7.5]
    assert rows[0].prompt == "a quiet room, oil on canvas"
    assert rows[2].prompt == 'said "no", twice'
    assert rows[0].categories == ("sexual", "shocking")
    assert [row.line for row in rows] == [2, 3, 4]


def test_subsets_are_by_strict_comparison_and_category(tmp_path: Path) -> None:
    rows = read_protocol("i2p", _write(tmp_path, I2P))
    assert [row.line for row in select(rows, nudity_above=0)] == [2, 4]  # "> 0", the 854's rule
    assert [row.line for row in select(rows, nudity_above=55)] == []  # "> 50" excludes its bound
    assert [row.line for row in select(rows, category="violence")] == [3]
    bare = read_protocol("i2p", _write(tmp_path, "prompt,sd_seed\na room,1\n"))
    with pytest.raises(UserError, match=r"row 2: nudity_percentage: is empty"):
        select(bare, nudity_above=0)


def test_a_byte_order_mark_and_blank_lines_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(b"\xef\xbb\xbfprompt,evaluation_seed\r\na room,5\r\n\r\na hall,6\r\n")
    assert [(row.prompt, row.seed) for row in read_protocol("prompts", path)] == [
        ("a room", 5),
        ("a hall", 6),
    ]


def test_a_caption_may_be_quoted_and_broken_over_lines(tmp_path: Path) -> None:
    rows = read_protocol("prompts", _write(tmp_path, COCO))
    assert [(row.prompt, row.line, row.seed) for row in rows] == [
        ('A man with a sign, "stop".', 2, 91541),
        ("Two cups on a table", 3, 65493),
        ("A red bus", 5, 17038),
    ]


def test_unlearndiffatks_columns_give_seed_and_guidance(tmp_path: Path) -> None:
    heading = I2P_HEADING.replace("sd_seed", "evaluation_seed").replace(
        "sd_guidance_scale", "evaluation_guidance"
    )
    text = f"Unnamed: 0,{heading},case_number\n"
    text += '21," a hall, at night ",self-harm,1,60.0,0.0,60.0,60.0,0.04,url,932309623,13,512,512,sd,21\n'
    [row] = read_protocol("i2p", _write(tmp_path, text))
    assert (row.prompt, row.seed, row.guidance, row.nudity) == ("a hall, at night", 932309623, 13.0, 0.0)


def test_another_number_of_rows_than_the_published_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path, I2P)
    named = Protocol(kind="i2p", file="file.csv", nudity_above=0.0, rows=2)
    assert [row.line for row in read_subset(named, tmp_path)] == [2, 4]
    for rows, category, what in ((854, "", ""), (1, "violence", ", category violence")):
        other = named.model_copy(update={"rows": rows, "category": category})
        with pytest.raises(UserError) as caught:
            read_subset(other, tmp_path)
        found = 2 if rows == 854 else 0
        said = f"{path}: {found} rows with nudity_percentage > 0{what}, the published file has {rows}: "
        assert str(caught.value).startswith(said)
        assert "\n" not in str(caught.value)
    path.write_text(I2P.replace(",0.0,0.1", ",,0.1"), encoding="utf-8")
    with pytest.raises(UserError, match=rf"{path}: row 3: nudity_percentage: is empty"):
        read_subset(named, tmp_path)


def test_a_celebrity_prompt_gives_its_name_and_side(tmp_path: Path) -> None:
    rows = read_protocol("five-template", _write(tmp_path, CELEBRITIES))
    assert [(row.name, row.erased, row.seed) for row in rows] == [
        ("Ada Lovelace", True, 1),
        ("Ada Lovelace", True, 2),
        ("Alan Turing", False, 1),
    ]
    assert all(find_name(template.format("Mary O'Neil")) == "Mary O'Neil" for template in CELEBRITY_TEMPLATES)


def test_an_answer_set_is_read_from_its_file_names(tmp_path: Path) -> None:
    for name in ("Van_Gogh_Cats_seed188.jpg", "Van_Gogh_Cats_seed288.jpg", "Rust_Horses_seed888.jpg"):
        (tmp_path / name).write_bytes(b"")
    rows = read_protocol("unlearncanvas", tmp_path)
    assert [(row.style, row.name, row.seed) for row in rows] == [
        ("Rust", "Horses", 888),
        ("Van_Gogh", "Cats", 188),
        ("Van_Gogh", "Cats", 288),
    ]
    assert rows[1].prompt == answer_prompt("Van_Gogh", "Cats") == "A Cats image in Van Gogh style."


@pytest.mark.parametrize(
    ("kind", "text", "complaint"),
    [
        ("i2p", "text,sd_seed\na,1\n", r"row 1: no column 'prompt'; its columns: text, sd_seed"),
        ("i2p", I2P.replace("2219455841", "many"), r"row 2: sd_seed: is 'many', not a number"),
        ("i2p", I2P.replace("2219455841", "inf"), r"row 2: sd_seed: is 'inf', not a number"),
        ("i2p", I2P.replace("2219455841", "1.5"), r"row 2: sd_seed: is '1\.5', not a whole number"),
        ("i2p", I2P.replace("12.5", "125"), r"row 2: nudity_percentage: is 125\.0, not a percentage"),
        ("i2p", I2P.replace("a market at noon", " "), r"row 3: prompt: is empty"),
        ("i2p", I2P.replace("a market at noon", "a market, at noon"), r"row 3: 15 cells for 14 columns"),
        ("i2p", I2P_HEADING + "\n", "no rows in it"),
        ("prompts", 'prompt\n"never closed\n', "not readable as a CSV file"),
        ("prompts", COCO.replace("17038", "often"), r"row 5: evaluation_seed: is 'often', not a number"),
        ("prompts", COCO.replace("A red bus,", "A red, long bus,"), r"row 5: 5 cells for 4 columns"),
        ("five-template", CELEBRITIES.replace("others", "other"), r"row 4: type: is 'other'"),
        (
            "five-template",
            CELEBRITIES.replace("A portrait of", "Portrait:"),
            r"row 2: prompt: .*five templates",
        ),
        ("five-template", CELEBRITIES.replace("photo,2", "photo,"), r"row 3: evaluation_seed: is empty"),
    ],
)
def test_a_malformed_file_is_named(tmp_path: Path, kind: str, text: str, complaint: str) -> None:
    path = _write(tmp_path, text)
    with pytest.raises(UserError, match=complaint) as caught:
        read_protocol(kind, path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_other_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="known: i2p, five-template, unlearncanvas, prompts"):
        read_protocol("i3p", tmp_path)
    with pytest.raises(UserError, match="the user's to supply"):
        read_protocol("i2p", tmp_path / "absent.csv")
    with pytest.raises(UserError, match="is a folder of images"):
        read_protocol("unlearncanvas", _write(tmp_path, I2P))
    (tmp_path / "cat.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"cat\.jpg: row 1: name: not of the form"):
        read_protocol("unlearncanvas", tmp_path)


@pytest.mark.parametrize(
    ("column", "cell"),
    [("sd_guidance_scale", "nan"), ("sd_guidance_scale", "inf"), ("sd_seed", "nan"), ("sd_seed", "-1")],
)
def test_what_no_image_can_be_drawn_with_is_named(tmp_path: Path, column: str, cell: str) -> None:
    path = tmp_path / "i2p.csv"
    path.write_text(f"prompt,{column}\na person,{cell}\n", encoding="utf-8")
    with pytest.raises(UserError, match=rf"row 2: {column}: is "):
        read_protocol("i2p", path)


def test_a_long_seed_is_read_to_its_last_digit(tmp_path: Path) -> None:
    path = tmp_path / "i2p.csv"
    path.write_text("prompt,sd_seed\na person,9007199254740993\n", encoding="utf-8")
    assert read_protocol("i2p", path)[0].seed == 2**53 + 1
