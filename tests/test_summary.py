from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from distnn.summary import (
    SummaryRow,
    SummaryTotals,
    print_summary,
    readable_size,
    summary_html,
    summary_text,
)

ROWS = [
    SummaryRow("dense", "Dense", "(None, 64)", 6464, True),
    SummaryRow("dense_1", "Dense", "(None, 10)", 650, True),
]

KERAS = """\
Model: "sequential"
┏━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━┓
┃ Layer (type)                    ┃ Output Shape           ┃       Param # ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━┩
│ dense (Dense)                   │ (None, 64)             │         6,464 │
├─────────────────────────────────┼────────────────────────┼───────────────┤
│ dense_1 (Dense)                 │ (None, 10)             │           650 │
└─────────────────────────────────┴────────────────────────┴───────────────┘
 Total params: 7,114 (27.79 KB)
 Trainable params: 7,114 (27.79 KB)
 Non-trainable params: 0 (0.00 B)
"""


@pytest.fixture(autouse=True)
def terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_is_the_table_of_keras() -> None:
    assert summary_text("sequential", ROWS, SummaryTotals(7114, 0)) == KERAS


def test_optimizer_params_count_in_the_total() -> None:
    lines = summary_text("m", ROWS, SummaryTotals(7114, 0, 2)).splitlines()
    assert lines[-4] == " Total params: 7,116 (27.80 KB)"
    assert lines[-1] == " Optimizer params: 2 (8.00 B)"


def test_wide_terminals_get_88_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    lines = summary_text("m", ROWS, SummaryTotals(7114, 0)).splitlines()
    assert len(lines[1]) == 88
    assert len(summary_text("m", ROWS, SummaryTotals(7114, 0), line_length=150).splitlines()[1]) == 150


def test_a_given_length_may_exceed_the_terminal() -> None:
    assert len(summary_text("m", ROWS, SummaryTotals(7114, 0), line_length=120).splitlines()[1]) == 120


def test_too_narrow_is_refused() -> None:
    with pytest.raises(ValueError, match="Insufficient console width to print summary"):
        summary_text("m", ROWS, SummaryTotals(0, 0), line_length=10)


def test_trainable_column_and_unbuilt_layers() -> None:
    rows = [
        *ROWS,
        SummaryRow("frozen", "Dense", "(None, 3)", 33, False),
        SummaryRow("drop", "Dropout", "?", None),
        SummaryRow("inner", "Dense", "?", 3, True, level=1),
    ]
    lines = summary_text("m", rows, SummaryTotals(1, 1), line_length=100, show_trainable=True).splitlines()
    by_name = {line.split("(")[0].strip("│ └"): line for line in lines if line.startswith("│")}
    assert "Traina" in lines[2]
    ends = {name: line.rstrip("│ ")[-1] for name, line in by_name.items()}
    assert ends == {"dense": "Y", "dense_1": "Y", "frozen": "N", "drop": "-", "inner": "Y"}
    assert "0 (unbuilt)" in by_name["drop"] and "│    └ inner (Dense)" in by_name["inner"]


def test_markup_in_names_stays_text() -> None:
    rows = [SummaryRow("[red]x[/]", "My[bold]", "[(None, 2), (None, 3)]", 1, True)]
    text = summary_text("[b]m", rows, SummaryTotals(1, 0), line_length=100)
    assert 'Model: "[b]m"' in text and "[red]x[/] (My[bold])" in text and "[(None, 2), (None, 3)]" in text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0.00 B"), (1023, "1023.00 B"), (1024, "1.00 KB"), (28464, "27.80 KB"), (5 * 2**20, "5.00 MB")]
    + [(3 * 2**30, "3.00 GB"), (2**40, "1.00 TB"), (2**60, "1024.00 PB")],
)
def test_readable_size(size: int, text: str) -> None:
    assert readable_size(size) == text


def test_html() -> None:
    rows = [SummaryRow("<x>", "Dense", "(None, 3)", 33, False), SummaryRow("d", "Drop", "?", None, level=1)]
    text = summary_html("a&b", rows, SummaryTotals(7114, 0, 2), show_trainable=True)
    assert "a&amp;b" in text and "&lt;x&gt; (Dense)" in text and "<td>33</td><td>N</td>" in text
    assert "0 (unbuilt)" in text and "Total params: 7,116 (27.80 KB)" in text
    assert text.count("<tr>") == 3


@dataclass
class FakeVariable:
    size: int


@dataclass
class FakeLayer:
    name: str
    variables: list[FakeVariable] = field(default_factory=list)
    inner: list[FakeLayer] = field(default_factory=list)
    built: bool = True
    trainable: bool = True

    def count_params(self) -> int:
        return sum(v.size for v in self.variables) + sum(layer.count_params() for layer in self.inner)

    def sublayers(self) -> Any:
        return ((layer.name, layer) for layer in self.inner)


class FakeModel:
    name = "sequential"
    trainable_variables = [FakeVariable(6)]
    non_trainable_variables = [FakeVariable(2)]

    def summary_rows(self) -> Any:
        block = FakeLayer("block", [], [FakeLayer("a", [FakeVariable(6)]), FakeLayer("b", [FakeVariable(2)])])
        return [(block, "(None, 3)"), (FakeLayer("c"), "(None, 3)")]

    def optimizer_params(self) -> int:
        return 0


def test_print_summary_of_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    printed: list[str] = []
    model: Any = FakeModel()
    print_summary(model, print_fn=printed.append, expand_nested=True)
    assert len(printed) == 1 and "└ a (FakeLayer)" in printed[0] and "Total params: 8 (32.00 B)" in printed[0]
    print_summary(model)
    out = capsys.readouterr().out
    assert "└ a" not in out and "block (FakeLayer)" in out and "Optimizer" not in out
