"""What is evicted is what loses the least, and a flood evicts only its own."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sessions.retention import Kept, Kind, Retention

MAX_AWAY, MAX_BYTES = 8, 1000
OWNERS = ("alice", "bob", "mallory")

KEPT = st.builds(Kept, st.sampled_from(OWNERS), st.sampled_from(list(Kind)), st.integers(0, 400))
STEPS = st.lists(st.tuples(st.sampled_from([f"s{n}" for n in range(16)]), st.none() | KEPT))


class Model:
    """What is kept, as plain as can be."""

    def __init__(self) -> None:
        self.retention = Retention(MAX_AWAY, MAX_BYTES)
        self.kept: dict[str, Kept] = {}

    def put(self, token: str, kept: Kept | None) -> None:
        if kept is None:
            self.kept.pop(token, None)
            return self.retention.forget(token)
        self.kept[token] = kept
        self.retention.keep(token, kept)

    def of(self, *kinds: Kind) -> list[Kept]:
        return [kept for kept in self.kept.values() if kept.kind in kinds]

    @property
    def absent(self) -> list[Kept]:
        return self.of(Kind.NOTHING, Kind.ENDED, Kind.RUNNING)

    @property
    def bytes(self) -> int:
        return sum(kept.bytes for kept in self.kept.values())

    def share(self, owner: str) -> int:
        """Of what there is too much of."""
        if self.bytes > MAX_BYTES:
            return sum(kept.bytes for kept in self.kept.values() if kept.owner == owner)
        return sum(kept.owner == owner for kept in self.absent)

    def taken(self) -> list[Kept]:
        """Of a connected session that has texts, when bytes are short."""
        return [kept for kept in self.of(Kind.CONNECTED) if kept.bytes and self.bytes > MAX_BYTES]

    def evict(self) -> None:
        while excess := self.retention.excess():
            token, kind = excess
            lost = self.kept[token]
            assert lost.kind == kind
            assert len(self.absent) > MAX_AWAY or self.bytes > MAX_BYTES
            others = [*self.of(Kind.ENDED), *self.taken()]
            if kind != Kind.NOTHING:
                assert not self.of(Kind.NOTHING)
                # Whoever has more, has nothing of this kind to lose.
                rivals = self.of(Kind.RUNNING) if kind == Kind.RUNNING else others
                assert self.share(lost.owner) == max(self.share(each.owner) for each in rivals)
            if kind == Kind.RUNNING:
                assert not others
            if kind == Kind.CONNECTED:
                assert not [e for e in self.of(Kind.ENDED) if e.owner == lost.owner]
                self.put(token, Kept(lost.owner, kind, lost.bytes // 2))
            else:
                self.put(token, None)
        assert len(self.absent) <= MAX_AWAY and self.bytes <= MAX_BYTES


@settings(deadline=None, max_examples=300)
@given(STEPS)
def test_the_limits_hold_and_a_running_answer_goes_last(
    steps: list[tuple[str, Kept | None]],
) -> None:
    model = Model()
    for token, kept in steps:
        model.put(token, kept)
        model.evict()
        counted = model.retention
        assert counted.bytes == model.bytes
        assert counted.away == len(model.absent)
        assert counted.away_bytes == sum(kept.bytes for kept in model.absent)


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 60), max_size=4),
    st.lists(st.tuples(st.sampled_from([Kind.ENDED, Kind.RUNNING]), st.integers(0, 400)),
             max_size=60),
)  # fmt: skip
def test_who_floods_evicts_only_its_own(mine: list[int], flood: list[tuple[Kind, int]]) -> None:
    """Alice has less than half of each limit. What runs for mallory is bounded by the queue."""
    model = Model()
    for number, size in enumerate(mine):
        kind = Kind.RUNNING if number % 2 else Kind.ENDED
        model.put(f"alice {number}", Kept("alice", kind, size))
    for number, (kind, size) in enumerate(flood):
        few = len(model.of(Kind.RUNNING)) < 4
        kind = kind if few else Kind.ENDED
        model.put(f"mallory {number}", Kept("mallory", kind, min(size, 100) if few else size))
        model.evict()
        assert sum(kept.owner == "alice" for kept in model.kept.values()) == len(mine)


def test_among_equals_the_one_that_left_first_goes_first() -> None:
    model = Model()
    for number in range(MAX_AWAY + 2):
        model.put(f"s{number}", Kept("alice", Kind.ENDED, 10))
    model.put("s0", Kept("alice", Kind.ENDED, 20))  # measured anew, it keeps its place
    model.evict()
    assert list(model.kept) == [f"s{number}" for number in range(2, MAX_AWAY + 2)]
