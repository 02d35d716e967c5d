from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditsim.errors import InputError
from llm_bridge.policies.base import Stream
from llm_bridge.policies.draws import DRAWS_PER_DECISION, decision_uniforms, inverse_cdf, margin

LAWS = st.lists(st.floats(0.01, 1.0), min_size=1, max_size=12).map(lambda w: np.asarray(w) / sum(w))


def test_draws_depend_on_the_stream_and_their_number_alone() -> None:
    streams = [Stream(3, i, i % 4) for i in range(8)]
    whole = decision_uniforms(streams, 10)
    assert np.array_equal(decision_uniforms(streams, 4), whole[:, :4])
    for i in (5, 0, 7):
        assert np.array_equal(decision_uniforms([streams[i]], 10)[0], whole[i])
    assert len(np.unique(whole)) == whole.size


def test_steps_episodes_and_seeds_differ() -> None:
    streams = [Stream(0, 0, 0), Stream(0, 0, 1), Stream(0, 1, 0), Stream(1, 0, 0)]
    assert len(np.unique(decision_uniforms(streams, 3))) == 12


def test_more_draws_than_a_decision_has_are_refused() -> None:
    with pytest.raises(InputError, match="draws of one decision"):
        decision_uniforms([Stream(0, 0, 0)], DRAWS_PER_DECISION + 1)


@given(LAWS, st.floats(0, 1, exclude_max=True))
def test_choice_is_the_cell_of_the_distribution_function(law: np.ndarray, uniform: float) -> None:
    index = inverse_cdf(law, uniform)
    cumulative = np.concatenate([[0.0], np.cumsum(law)])
    assert cumulative[index] - 1e-12 <= uniform < cumulative[index + 1] + 1e-12


@given(LAWS, st.floats(0, 1, exclude_max=True), st.integers(0, 10_000))
def test_choice_cannot_turn_within_the_margin(law: np.ndarray, uniform: float, seed: int) -> None:
    room = margin(law, uniform)
    if not np.isfinite(room):
        assert len(law) == 1
        return
    noise = np.random.default_rng(seed).uniform(-1, 1, len(law))
    noise -= noise.mean()
    # Moves every value of the distribution function by less than the margin.
    other = law + noise * room / (4 * max(np.abs(np.cumsum(noise)).max(), 1e-9))
    if other.min() > 0 and room > 1e-9:
        assert inverse_cdf(other, uniform) == inverse_cdf(law, uniform)


def test_margin_by_hand() -> None:
    law = np.asarray([0.2, 0.5, 0.3])
    assert margin(law, 0.25) == pytest.approx(0.05)
    assert margin(law, 0.65) == pytest.approx(0.05)
    assert margin(law, None) == pytest.approx(0.2)
    assert margin(np.asarray([1.0]), None) == np.inf
