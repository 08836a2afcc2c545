"""Near-duplicate images: what is found by neighbours is what comparing every pair finds."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.data.near_images import NEAR, near

BITS = st.sets(st.integers(0, 63), max_size=4)
HASH = st.builds(
    lambda base, flips: base ^ sum(1 << bit for bit in flips), st.sampled_from([0, 2**64 - 1, 3 << 40]), BITS
)


@given(st.lists(HASH, max_size=12), st.lists(HASH, max_size=12))
def test_those_that_differ_in_few_bits_are_found(small, large):
    found = dict(near(np.array(small, np.uint64), np.array(large, np.uint64)))
    assert set(found) == {i for i, one in enumerate(small) if any((one ^ other).bit_count() <= NEAR for other in large)}
    assert all((small[i] ^ large[j]).bit_count() <= NEAR for i, j in found.items())
