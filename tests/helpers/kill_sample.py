"""Which of many moments a writer is killed at when there is no time for all of them: `make fuzz` tries all, CI a sample."""

import random

ONE_IN = 5


def sample(kinds: list[str]) -> list[int]:
    """The numbers, from 1, of the moments to try: of each kind the first, and one in five of the others.

    `kinds` says of each moment what happens at it; the choice is the same whenever the kinds are.
    """
    chosen = {kind: number for number, kind in reversed(list(enumerate(kinds, 1)))}.values()
    others = sorted(set(range(1, len(kinds) + 1)).difference(chosen))
    return sorted([*chosen, *random.Random(len(kinds)).sample(others, len(others) // ONE_IN)])
