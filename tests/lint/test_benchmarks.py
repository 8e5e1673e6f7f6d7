# SPDX-License-Identifier: Apache-2.0
"""docs/benchmarks.md and README's figures are what the JSON of the runs makes of them."""

import copy
import json
import pathlib
import shutil

import pytest
import report
import sources


def _files():
    return sorted((sources.ROOT / report.FOLDER).glob("*.json"))


@pytest.fixture
def copied(tmp_path):
    """A root of its own, so that a test may change what is in it."""
    for name in (report.PAGE, report.README):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(sources.ROOT / name, tmp_path / name)
    shutil.copytree(sources.ROOT / report.FOLDER, tmp_path / report.FOLDER)
    return tmp_path


def _change(root, **fields):
    """One field or more of the row of the time from memory."""
    file = root / report.FOLDER / "vllm.json"
    rows = json.loads(file.read_text())
    (row,) = (row for row in rows if row["name"] == "vllm_ttft_memory")
    row.update(fields)
    file.write_text(json.dumps(rows))


def test_pages_are_made_of_the_json():
    assert _files(), "no run on record"
    wrong = [
        str(path.relative_to(sources.ROOT))
        for path, text in report.pages(sources.ROOT).items()
        if path.read_text() != text
    ]
    assert not wrong, f"{', '.join(wrong)}: run ./dev bench report"


def test_another_figure_makes_other_pages(copied):
    assert report.update(copied) == []
    _change(copied, value=0.5)
    assert report.update(copied) == [report.PAGE, report.README]
    assert report.update(copied) == []
    assert "| 0.500 s |" in (copied / report.README).read_text()


def test_an_edited_page_is_made_anew(copied):
    page = copied / report.PAGE
    text = page.read_text()
    page.write_text(text.replace("vllm_ttft_memory", "vllm_ttft_of_memory"))
    assert report.update(copied) == [report.PAGE]
    assert page.read_text() == text


@pytest.mark.parametrize("field", report.FIELDS)
def test_a_row_has_every_field(tmp_path, field):
    row = copy.copy(report.load(_files()[0])[0])
    del row[field]
    file = tmp_path / "bench.json"
    file.write_text(json.dumps([row]))
    with pytest.raises(ValueError, match=f"has no {field}"):
        report.load(file)


def test_a_row_has_no_field_more(tmp_path):
    row = {**report.load(_files()[0])[0], "value_ms": 1}
    file = tmp_path / "bench.json"
    file.write_text(json.dumps([row]))
    with pytest.raises(ValueError, match="unknown field value_ms"):
        report.load(file)


def test_a_run_names_a_bench_that_exists():
    for file in _files():
        assert (sources.ROOT / "tests/bench" / f"{file.stem}.py").is_file(), file.name
        commands = {row["command"] for row in report.load(file)}
        assert all(line.startswith(f"./dev bench {file.stem}") for line in commands), file.name


@pytest.mark.parametrize(("goal", "ratio", "passed"), [("<= 0.05", 0.03, True), ("2", 1.0, False)])
def test_a_row_is_shown_with_its_goal(tmp_path, goal, ratio, passed):
    row = {**report.load(_files()[0])[0], "goal": goal, "ratio": ratio, "pass": passed}
    (tmp_path / report.FOLDER).mkdir(parents=True)
    (tmp_path / report.FOLDER / "x.json").write_text(json.dumps([row]))
    shown = f"| {ratio:.4g} | {goal} | {'yes' if passed else 'no'} |"
    assert shown in report.page(tmp_path)


def test_paths_of_machines_are_not_on_record():
    for file in _files():
        for row in report.load(file):
            paths = [part for part in row["command"].split() if pathlib.Path(part).is_absolute()]
            assert not paths, f"{file.name}: {row['name']}: {paths}"
