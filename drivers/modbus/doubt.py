"""Which block an answer on a serial line is of, where its form does not tell.

An RTU answer carries unit, function and number of bytes, and neither address nor number of the request. A late or
doubled answer to one block of a unit fits the request of another block of the same size. What can be told from:

- the planner gives blocks of one unit different sizes where that costs next to nothing;
- values: an answer is nearer to what its own block said last than to what the others of its form said;
- a second answer: where one is in doubt, or its unit has lately been late or spoken twice, the line is listened to
  for as long as the true answer may take; of two, the one whose values fit is taken, and neither where both may.

What comes in: answers, and what goes wrong on the line. What goes out: whether an answer is in doubt. Pure.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

RESTLESS_S = 10.0
"""So long after a unit was late or spoke out of turn, its answers are looked at twice."""
CLEAR = -0.5
"""An answer that leans so far towards its own block needs no second look."""


class Doubts:
    """The newest answers of all blocks of a line, by their form."""

    def __init__(self) -> None:
        self._said: dict[tuple[int, int, int], dict[Hashable, bytes]] = {}
        """By unit, function and size: of each block that is asked so, what it said last; empty: nothing yet."""
        self._restless: dict[int, float] = {}

    def asked(self, block: Hashable, form: tuple[int, int, int]) -> bool:
        """A block is read. Returns whether others of its unit have answers of the same form."""
        blocks = self._said.setdefault(form, {})
        blocks.setdefault(block, b"")
        return len(blocks) > 1

    def restless(self, unit: int, now_s: float, *, note: bool = False) -> bool:
        """Whether a unit has lately been late or spoken twice; `note`: it has, just now."""
        if note:
            self._restless[unit] = now_s
        return now_s - self._restless.get(unit, float("-inf")) < RESTLESS_S

    def leaning(self, block: Hashable, form: tuple[int, int, int], answer: bytes) -> float:
        """How much an answer looks like that of another block: 1 wholly, -1 wholly like its own, 0 like either."""
        blocks = self._said[form]
        own = blocks[block]
        if answer == own:
            return -1.0
        others = (said for other, said in blocks.items() if other != block and said)
        return max((_leaning(answer, own, said) for said in others), default=-1.0)

    def taken(self, block: Hashable, form: tuple[int, int, int], answer: bytes) -> None:
        """What a block said last, taken for good or not: said again, it will not be doubted."""
        self._said[form][block] = answer

    def knows(self, block: Hashable, form: tuple[int, int, int]) -> bool:
        """Whether a block has said anything yet."""
        return bool(self._said[form][block])

    def choose(self, block: Hashable, form: tuple[int, int, int], answers: Sequence[bytes]) -> bytes | None:
        """Of the answers to one request, the one that is its own block's; None where that cannot be told."""
        fit = {answer for answer in answers if self.leaning(block, form, answer) <= 0}
        if len(fit) == 1:
            return fit.pop()
        same = set(answers)
        return same.pop() if len(same) == 1 < len(answers) else None


def _leaning(answer: bytes, own: bytes, other: bytes) -> float:
    """Of its registers (or bits), how many more are nearer to another block's than to its own block's; a part of 1.

    Where its own block has said nothing yet: how many more are the other block's than are not.
    """
    if answer[0] <= 2:  # bits
        bits = 8 * (len(answer) - 2)
        from_other = _different_bits(answer, other)
        return ((_different_bits(answer, own) if own else bits / 2) - from_other) / bits
    votes = 0
    for at in range(2, len(answer), 2):
        word = int.from_bytes(answer[at : at + 2], "big")
        from_other = abs(word - int.from_bytes(other[at : at + 2], "big"))
        from_own = abs(word - int.from_bytes(own[at : at + 2], "big")) if own else 1
        votes += (from_other < from_own) - (from_other > from_own)
    return 2 * votes / (len(answer) - 2)


def _different_bits(one: bytes, two: bytes) -> int:
    return sum((a ^ b).bit_count() for a, b in zip(one[2:], two[2:], strict=True))
