"""`rate`: the means of an independent loop over the same images, missing where one is not there."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import unlearnbench as ub
from unlearnbench.bench.cli.main import main
from unlearnbench.bench.judges import preference
from unlearnbench.bench.judges.lpips import open_lpips
from unlearnbench.bench.judges.preference import open_pickscore
from unlearnbench.bench.measuring.stored import Origin
from unlearnbench.bench.models.sampling import decode_png
from unlearnbench.bench.store import Store

from ..judges.rating_models import HPS, make_alexnet, make_hpsv2, make_pickscore

TASK = "classes/cat-face@tiny"
SIZES = {
    "forget": 2,
    "forget_samples": 2,
    "retain_same": 2,
    "retain_other": 2,
    "retain_given": 1,
    "indirect": 1,
}
KEYS = ["prompt_id", "sample"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("weights")
    pick, alex = make_pickscore(folder / "pick"), make_alexnet(folder / "alexnet.pth")
    return ["--pickscore", str(pick), "--lpips", str(alex)]


@pytest.fixture(scope="module")
def records(session_store: Path, tmp_path_factory: pytest.TempPathFactory) -> ub.Records:
    """The base model's record and UCE's."""
    out = tmp_path_factory.mktemp("rated")
    return ub.run(tasks=TASK, methods=["none", "uce"], sizes=SIZES, out=out, store=session_store, threads=1)


def read_images(record: ub.MeasuredRecord, store: Path) -> pd.DataFrame:
    """Return the item rows of a record's last point by prompt and sample, with the pixels as `image`."""
    items, point = record.items, record.points[-1]
    assert items is not None
    items = items[items["point"] == point.index].set_index(KEYS)
    origin, kept = Origin(record, point), Store(store, lambda line: None)
    found = [origin.find_image(kept, row["prompt"], int(row["seed"])) for _, row in items.iterrows()]
    return items.assign(image=[decode_png(png or b"") for png in found])


def rate(records: Path, models: list[str], store: Path, out: Path) -> pd.DataFrame:
    command = ["rate", str(records), *models, "--store", str(store), "--out", str(out), "--threads", "1"]
    assert main(command) == 0
    return pd.read_csv(out).set_index(["row", "metric"])


def test_equals_a_loop_over_the_images(
    records: ub.Records, models: list[str], session_store: Path, tmp_path: Path
) -> None:
    folder = records[0].path.parent
    before = {path: path.read_bytes() for path in sorted(folder.glob("*.json"))}
    table = rate(folder, models, session_store, tmp_path / "ratings.csv")
    assert {path: path.read_bytes() for path in sorted(folder.glob("*.json"))} == before
    pick, lpips = open_pickscore(Path(models[1])), open_lpips(Path(models[3]))
    base, own = (read_images(record, session_store) for record in records)
    scores = {
        name: pd.Series(
            [pick.score(r["image"][None], [r["prompt"]])[0] for _, r in rows.iterrows()], rows.index
        )
        for name, rows in (("none", base), ("uce", own))
    }
    retain = (own["split"] == "retain") & ~own["given"].astype(bool)
    forget = own["split"] == "forget"
    far = pd.Series(
        [lpips.distances(own["image"][k][None], base["image"][k][None])[0] for k in own.index], own.index
    )
    wanted = {
        "PickScore": scores["uce"][retain].mean(),
        "PickScore_forget": scores["uce"][forget].mean(),
        "PickScore_delta": (scores["uce"] - scores["none"].reindex(own.index))[retain].mean(),
        "LPIPS": far[retain].mean(),
        "LPIPS_forget": far[forget].mean(),
    }
    found = table.loc["uce"]
    assert list(found.index) == [
        "PickScore", "PickScore_forget", "PickScore_delta", "LPIPS", "LPIPS_forget",
    ]  # fmt: skip
    for name, value in wanted.items():
        assert found.loc[name, "value"] == pytest.approx(value, rel=1e-4, abs=1e-5), name
        assert found.loc[name, "low"] <= found.loc[name, "value"] <= found.loc[name, "high"]
        assert found.loc[name, "n"] == (forget if name.endswith("forget") else retain).sum()
    assert far[forget].min() > 0
    assert found["weights"].nunique() == 2
    for name in ("PickScore_delta", "LPIPS", "LPIPS_forget"):  # of the base itself
        assert np.isnan(table.loc[("none", name), "value"])
        assert table.loc[("none", name), "missing"] == "it is the base model"
    assert table.loc[("none", "PickScore"), "value"] == pytest.approx(scores["none"][retain].mean(), rel=1e-4)


def test_hpsv2_rates_by_its_own_file(
    records: ub.Records, session_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_hpsv2(tmp_path / "HPS.pt")
    monkeypatch.setattr(preference, "open_hpsv2", partial(preference.open_hpsv2, network=HPS))
    table = rate(records[0].path, ["--hpsv2", str(path)], session_store, tmp_path / "ratings.csv")
    own = read_images(records[0], session_store)
    own = own[own["split"] == "forget"]
    scorer = preference.open_hpsv2(path)
    wanted = [scorer.score(r["image"][None], [r["prompt"]])[0] for _, r in own.iterrows()]
    assert table.loc[("none", "HPSv2_forget"), "value"] == pytest.approx(np.mean(wanted), abs=1e-5)
    assert set(table.loc["none"].index) == {"HPSv2", "HPSv2_forget", "HPSv2_delta"}


def test_what_is_not_there_is_missing_and_never_a_number(
    records: ub.Records, models: list[str], session_store: Path, tmp_path: Path
) -> None:
    alone = rate(records[1].path, models, session_store, tmp_path / "alone.csv").loc["uce"]
    measured = alone["value"].notna()
    assert list(measured[measured].index) == ["PickScore", "PickScore_forget"]
    assert len(measured) == 5
    assert "give its folder, too" in alone.loc["LPIPS", "missing"]
    empty = rate(records[0].path.parent, models, tmp_path / "empty", tmp_path / "empty.csv")
    assert empty["value"].isna().all()
    assert "not in the store" in empty.loc[("uce", "PickScore"), "missing"]


def test_a_mistake_is_one_line_before_anything_is_rated(
    records: ub.Records, models: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there.csv").write_text("mine")
    for options, said in (
        ([], "give --pickscore, --hpsv2 or --lpips"),
        (["--pickscore", "yuvalkirstain/PickScore_v1"], "hf download yuvalkirstain/PickScore_v1"),
        (["--hpsv2", "no.pt"], "--hpsv2 no.pt: no such file; it is HPS_v2.1_compressed.pt"),
        (["--lpips", "no.pth"], "--lpips no.pth: no such file; it is torchvision's alexnet"),
        ([*models, "--out", str(tmp_path / "there.csv")], "is there already"),
        ([*models, "--point", "step-9"], "--point step-9: "),
    ):
        assert main(["rate", str(records[0].path), "--out", str(tmp_path / "new.csv"), *options]) == 2
        error = capsys.readouterr().err.strip()
        assert said in error
        assert "\n" not in error
    assert not (tmp_path / "new.csv").exists()
    assert (tmp_path / "there.csv").read_text() == "mine"
