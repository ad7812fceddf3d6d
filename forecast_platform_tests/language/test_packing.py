"""Packing: no token lost, none twice, documents kept apart, rows nearly full."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecast_platform.language.packing import IGNORED, one_by_one, pack, row, used


@settings(max_examples=60)
@given(st.lists(st.integers(0, 70), max_size=40), st.integers(1, 32), st.booleans())
def test_every_token_stands_in_exactly_one_row(lengths: list[int], context: int, packing: bool) -> None:
    packed = (pack if packing else one_by_one)(lengths, context)
    seen = [np.zeros(length, int) for length in lengths]
    for document, start, stop in packed.pieces:
        assert 0 < stop - start <= context
        seen[document][start:stop] += 1
    assert all((counts == 1).all() for counts in seen)
    assert all(used(packed, number) <= context for number in range(len(packed)))
    assert packed.tokens == sum(lengths)


@settings(max_examples=40)
@given(st.lists(st.integers(1, 32), min_size=1, max_size=60))
def test_rows_are_those_of_best_fit_by_a_slow_obvious_way(lengths: list[int]) -> None:
    room: list[int] = []
    for length in sorted(lengths, reverse=True):
        fits = [place for place, left in enumerate(room) if left >= length]
        if fits:
            room[min(fits, key=lambda place: room[place])] -= length
        else:
            room.append(32 - length)
    packed = pack(lengths, 32)
    assert sorted(32 - used(packed, number) for number in range(len(packed))) == sorted(room)


def test_documents_of_uneven_length_fill_their_rows() -> None:
    lengths = np.random.default_rng(1).geometric(1 / 150, 2000)
    assert pack(lengths, 256).filled > 0.98
    assert one_by_one(lengths, 256).filled < 0.6


def test_positions_begin_anew_and_first_tokens_and_padding_are_nobody_s_prediction() -> None:
    tokens = np.arange(10, 20, dtype=np.int32)
    packed = pack([4, 3, 3], 8)
    offsets = np.array([0, 4, 7, 10])
    found = row(packed, 0, tokens, offsets, 8, pad=0)
    assert found["input_ids"].tolist() == [10, 11, 12, 13, 14, 15, 16, 0]
    assert found["position_ids"].tolist() == [0, 1, 2, 3, 0, 1, 2, 0]
    assert found["labels"].tolist() == [IGNORED, 11, 12, 13, IGNORED, 15, 16, IGNORED]


def test_an_end_of_text_that_is_also_the_padding_is_learnt() -> None:
    found = row(pack([3], 5), 0, np.array([5, 6, 0], np.int32), np.array([0, 3]), 5, pad=0)
    assert found["labels"].tolist() == [IGNORED, 6, 0, IGNORED, IGNORED]


def test_a_document_longer_than_the_context_is_cut_and_nothing_dropped() -> None:
    packed = pack([25], 10)
    assert sorted(map(tuple, packed.pieces.tolist())) == [(0, 0, 10), (0, 10, 20), (0, 20, 25)]
    assert len(packed) == 3


@pytest.mark.parametrize("way", [pack, one_by_one])
def test_the_same_lengths_give_the_same_rows(way) -> None:
    lengths = np.random.default_rng(3).integers(1, 400, 300)
    assert np.array_equal(way(lengths, 128).pieces, way(lengths, 128).pieces)
