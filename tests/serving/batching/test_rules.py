"""When requests are batched, which, and for how long one waits: pure rules, tried with whatever there may be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.batching.rules import SAVES, SIZES, Costs, choose, decide, enough, patience

MEMORY_BOUND = Costs(((1, 0.0060), (2, 0.0061), (4, 0.0063), (8, 0.0070), (16, 0.0100), (32, 0.0200)))
COMPUTE_BOUND = Costs(((1, 0.010), (2, 0.020), (4, 0.040)))

seconds = st.floats(1e-6, 10)
costs = st.lists(seconds, min_size=1, max_size=len(SIZES)).map(lambda s: Costs(tuple(zip(SIZES, s, strict=False))))
waiting = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 40)), max_size=70)


@given(waiting, st.integers(1, 64))
def test_a_batch_has_the_first_that_waits_and_only_its_kind_and_never_more_rows_than_allowed(queue, most):
    chosen = choose(queue, most)
    assert chosen == sorted(set(chosen))
    assert chosen[:1] == [0] * bool(queue)
    assert {queue[i][0] for i in chosen} <= {kind for kind, _ in queue[:1]}
    assert len(chosen) <= 1 or sum(queue[i][1] for i in chosen) <= most


@given(waiting, st.integers(1, 64))
def test_whoever_is_left_out_would_not_have_fitted(queue, most):
    chosen = choose(queue, most)
    rows = sum(queue[i][1] for i in chosen)
    for i, (kind, count) in enumerate(queue):
        assert i in chosen or kind != queue[0][0] or rows + count > most


@given(waiting, st.integers(1, 64))
def test_everybody_is_in_a_batch_at_last(queue, most):
    for _ in range(len(queue)):
        chosen = choose(queue, most)
        queue = [each for i, each in enumerate(queue) if i not in chosen]
    assert not queue


@given(costs, st.integers(1, 32))
def test_what_is_batched_saves_more_than_it_costs_and_has_no_more_rows_than_allowed(found, most):
    decision = decide(found, most)
    assert decision.rows <= most
    assert decision.why
    if decision.rows:
        assert found.calls[0][1] * decision.rows > found.seconds(decision.rows)
        assert found.calls[0][1] >= SAVES


@given(costs, st.floats(0, 1))
def test_nobody_waits_longer_than_is_set_or_than_a_row_takes_alone(found, most):
    assert 0 <= patience(found, most) <= min(most, found.calls[0][1])


@given(costs, st.integers(1, 64))
def test_what_a_call_takes_is_what_was_measured_and_between_it_something_between(found, rows):
    sizes = dict(found.calls)
    if rows in sizes:
        assert found.seconds(rows) == pytest.approx(sizes[rows])
    elif rows < max(sizes):
        below, above = max(each for each in sizes if each < rows), min(each for each in sizes if each > rows)
        assert min(sizes[below], sizes[above]) * 0.999 <= found.seconds(rows) <= max(sizes[below], sizes[above]) * 1.001


def test_a_model_that_mostly_reads_weights_is_batched_and_why_is_said_with_what_was_measured():
    decision = decide(MEMORY_BOUND, 32)
    assert decision.rows == 16
    assert decision.why == "16 rows take 10 ms, one 6 ms: 9.6 times the rows per second"


def test_a_model_that_computes_is_not_batched():
    decision = decide(COMPUTE_BOUND, 32)
    assert decision == decide(COMPUTE_BOUND, 1)
    assert not decision.rows
    assert "4 rows take 40 ms, one 10 ms: too little to gain" in decision.why


def test_a_model_that_is_done_at_once_is_not_batched():
    assert "nothing to gain" in decide(Costs(((1, 0.00002),)), 32).why


def test_one_row_per_request_is_the_end_of_batches():
    assert not decide(MEMORY_BOUND, 1).rows


def test_who_has_no_company_waits_for_none():
    assert enough(requests=1, rows=1, company=1, best=32)
    assert not enough(requests=1, rows=1, company=2, best=32)
    assert enough(requests=2, rows=2, company=2, best=32)
    assert enough(requests=2, rows=32, company=60, best=32)
