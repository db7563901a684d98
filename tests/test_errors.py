from __future__ import annotations

import pickle

import pytest

from gpgen.errors import DatasetError, GpgenError


@pytest.mark.parametrize("text", ["a\nb", "\x1b[2Jgone", "a\0b", "\ud800", "\u202eright to left"])
def test_an_error_is_one_printable_line_whatever_it_quotes(text: str) -> None:
    error = GpgenError(f"what: {text}", f"do: {text}")
    assert str(error).isprintable()


def test_a_message_that_quotes_a_book_is_cut_and_its_end_is_kept() -> None:
    error = GpgenError(f"key {'x' * 10**6} is unknown", "give another")
    assert len(str(error)) < 1100
    assert str(error).endswith("x is unknown; give another")


def test_what_is_printable_is_left_as_it_is() -> None:
    error = DatasetError("größer als 1 µm", "tu's")
    assert str(error) == "größer als 1 µm; tu's"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301
