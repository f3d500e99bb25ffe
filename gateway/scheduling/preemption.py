"""Preemption: which generations give their slots, or their workers, to those who wait.

One whose client does not read gives way at once. Others give way after their slice, as long
as that makes the owners' shares more equal, or takes turns among requests of one owner.
"""

from collections import Counter
from collections.abc import Collection, Iterable

from gateway.scheduling.policy import Policy
from gateway.scheduling.turns import COST_FACTOR, Turn, Waiter
from gateway.workers.worker import Worker


def may_switch(worker: Worker, turns: Collection[Turn], now: float, policy: Policy) -> bool:
    """Whether a busy worker may make room for another model: it takes no new requests then."""
    if not policy.slice:
        return True  # its requests run to their ends
    if len(turns) == len(worker.requests) and all(turn.stalled(now, policy) for turn in turns):
        return True
    tenure = max(policy.slice, COST_FACTOR * worker.load_seconds)
    return now - worker.held_since >= tenure


def drained(turns: Iterable[Turn], now: float, policy: Policy) -> list[Turn]:
    """The turns that end now because their worker makes room for another model."""
    return [
        turn
        for turn in turns
        if turn.parkable
        and (turn.stalled(now, policy) or turn.past_slice(now, policy, turn.worker.load_seconds))
    ]


def displaced(
    turns: Collection[Turn], waiting: Iterable[Waiter], ending: int, now: float, policy: Policy
) -> list[Turn]:
    """The turns that end now for those who wait for the same model.

    `turns` are all turns in its workers, `waiting` the next requests in their order; `ending`
    slots will be free in a moment anyway.
    """
    able = [turn for turn in turns if turn.parkable]
    stalled = [turn for turn in able if turn.stalled(now, policy)]
    stalled.sort(key=lambda turn: turn.unread_since, reverse=True)
    past = [t for t in able if t not in stalled and t.past_slice(now, policy)]
    past.sort(key=lambda turn: turn.began)
    chosen: list[Turn] = []
    if not (stalled or past):
        return chosen
    slots = Counter(turn.owner for turn in turns if not turn.parking)
    for number, waiter in enumerate(waiting):
        if number >= ending:
            victim = stalled.pop() if stalled else _richest(past, waiter.owner, slots)
            if victim is None:
                continue
            if victim in past:
                past.remove(victim)
            slots[victim.owner] -= 1
            chosen.append(victim)
        slots[waiter.owner] += 1
    return chosen


def unchecked(turns: Iterable[Turn], now: float, policy: Policy) -> list[Turn]:
    """The turns whose clients are asked now whether they read, because others wait. They are
    marked as checked."""
    if not policy.park_after:
        return []
    found = [turn for turn in turns if turn.parkable and now - turn.checked_at >= policy.park_after]
    for turn in found:
        turn.checked_at = now
    return found


def _richest(past: list[Turn], owner: str, slots: Counter[str]) -> Turn | None:
    """Of the turns past their slice the one whose owner has the most slots; of these the oldest.
    An owner with fewer slots than that gets one, and so does the same owner's next request."""
    fair = [each for each in past if each.owner == owner or slots[each.owner] > slots[owner]]
    return max(fair, key=lambda turn: slots[turn.owner], default=None)
