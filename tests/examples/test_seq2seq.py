"""The encoder-decoder's parts, and a translation from a small made-up file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from seq2seq import (
    BEGIN,
    DIGITS,
    END,
    LONGEST_SUM,
    PADDING,
    arrays,
    build_model,
    decode,
    encode,
    encoder_and_decoder,
    sentence_pairs,
    sums,
    write,
)

Train = Callable[..., dict[str, bytes]]


def test_texts_become_rows_and_rows_texts() -> None:
    rows = encode(["b", "", "abc"], "abc", 3)
    assert rows.tolist() == [[4, END, 0, 0], [END, 0, 0, 0], [3, 4, 5, END]]
    assert decode(rows, "abc") == ["b", "", "abc"]
    assert decode(np.array([[3, PADDING, BEGIN, 4]]), "abc") == ["ab"]


def test_the_decoder_is_given_what_came_before_each_character() -> None:
    (read, before), written = arrays([("1+2", "3")], DIGITS, LONGEST_SUM)
    assert read.shape == (1, 8) and before.shape == written.shape == (1, 5)
    assert before[0].tolist() == [BEGIN, *written[0][:-1]]


def test_sums_are_right_and_none_comes_twice() -> None:
    found = sums(3_000)
    assert all(sum(map(int, read.split("+"))) == int(written) for read, written in found)
    numbers = [sorted(map(int, read.split("+"))) for read, _ in found]
    assert len({tuple(pair) for pair in numbers}) == 3_000
    assert any(a < b for a, b in (map(int, read.split("+")) for read, _ in found))
    assert found == sums(3_000) != sums(3_000, seed=2)


def test_written_step_by_step_is_what_the_whole_model_finds_likeliest() -> None:
    model = build_model(units=8)
    model.ensure_initialized(5)
    model.set_weights([3 * weight for weight in model.get_weights()])
    (read, _), _ = arrays(sums(6), DIGITS, LONGEST_SUM)
    written = write(model, read)
    before = np.roll(written, 1, axis=1)
    before[:, 0] = BEGIN
    if PADDING not in written:  # otherwise the whole model leaves the step out
        np.testing.assert_array_equal(model.predict([read, before]).argmax(axis=-1), written)
    encoder, decoder = encoder_and_decoder(model)
    assert [state.shape for state in encoder.predict(read)] == [(6, 8), (6, 8)]
    assert decoder.output_shape[0] == (None, 1, len(DIGITS) + 3)


def test_sentence_pairs_leave_out_long_ones_and_further_columns(tmp_path: Path) -> None:
    file = tmp_path / "pairs.txt"
    file.write_text(
        "Go.\tVa !\tCC-BY\n" + "Hi.\t" + "long " * 9 + "\tCC-BY\nRun.\tCours.\n", encoding="utf-8"
    )
    assert sorted(sentence_pairs(str(file))) == [("Go.", "Va !"), ("Run.", "Cours.")]
    file.write_text("Go.\tVa !\nHi.\n")
    with pytest.raises(SystemExit, match="line 2 has no tab"):
        sentence_pairs(str(file))


def test_program_learns_sentence_pairs(
    tmp_path: Path, train_program: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pairs.txt"
    lines = [
        f"{animal} {i}\t{i} {animal[::-1]}é\tmade up" for animal in ("cat", "dog", "owl") for i in range(30)
    ]
    file.write_text("\n".join(lines), encoding="utf-8")
    train_program("seq2seq", "--pairs", str(file), EPOCHS=2)
    out = capsys.readouterr().out
    assert "of 9 sentences held out are written as in the file" in out
    assert "owl" in out and "(it should be: " in out


def test_program_and_spec_train_to_the_same_weights(
    train_program: Train, train_spec: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seq2seq.sums", lambda: sums(5_300))
    program = train_program("seq2seq", EPOCHS=1, SUMS_TO_REACH=0.0)
    schedule = "training.optimizer.learning_rate.decay_steps=5"
    assert program == train_spec("seq2seq", "training.epochs=1", schedule)
