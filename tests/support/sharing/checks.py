"""What is always so, and how long one waits at most."""

import math
from collections import Counter
from collections.abc import Iterable

from gateway.errors import Busy
from gateway.scheduling.actions import Reject
from gateway.scheduling.turns import COST_FACTOR, Turn, Waiter
from tests.support.sharing.clients import Connection, Generation
from tests.support.sharing.server import TICK, Server
from tests.support.sharing.world import World


def bound(world: World, *, connections: int, longest: float, disturbances: int = 0) -> float:
    """Seconds that a request waits at most for a slot in a worker that holds its model, if it is
    one of so many `connections` that ask for this model, one request at a time.

    Turns go round, so before its turn comes at most one of each other connection: `rounds` of
    turns, with as many at the same time as a worker has slots. A model that gets a worker keeps it
    for the time of one turn (`turn`: a slice, or four times what its start or load cost), then
    takes no new requests, and the turns in it end, each of which began at most one `turn` ago; a
    request that cannot be parked runs to its end, for `longest` seconds at most. Then the next
    model is loaded. Where memory is short all other models may have to go for one. At worst all
    models have their turns in each round. Each death, failed load, failed start and refused stop
    (`disturbances`) costs at most one more change of all of that.
    """
    policy, models = world.policy, len(world.models)
    load = world.load + 2 * world.latency
    cost = COST_FACTOR * max(load, world.prompt + 3 * world.latency)
    turn = max(policy.slice, cost) if policy.slice else 0.0
    give_way = 2 * turn + longest + world.stop + world.latency + 2 * TICK
    change = give_way * (models if world.memory_is_short else 1) + world.start + 2 * load
    rounds = math.ceil(connections / world.slots)
    return (rounds * models + disturbances) * change


def jain(shares: Iterable[float]) -> float:
    """Jain's fairness index: 1 if all have the same, 1/n if one has all."""
    values = list(shares)
    return sum(values) ** 2 / (len(values) * sum(value**2 for value in values))


class Checks:
    """Asserts after every pass of the scheduler what is always so."""

    def __init__(self, server: Server, connections: list[Connection]) -> None:
        self._server = server
        self._connections = connections
        self.passes = 0
        self.parks = {"unread": 0, "turns": 0}
        server.after_schedule = self._passed
        server.on_overflow = self._overflow
        server.on_park = self._parked

    def _passed(self) -> None:
        self.passes += 1
        self._work_is_conserved()
        if self.passes % 4 == 0:
            self._no_slot_is_lost()
            if not self._server.joining:
                self._limits_hold()

    def _work_is_conserved(self) -> None:
        server = self._server
        for key, queue in server.queue.queues():
            if key[1] and len(queue):
                for worker in server.fleet.holders(*key):
                    assert worker.draining or not queue.others
                    assert not (queue.generations and worker.has_room), (key, worker)

    def _no_slot_is_lost(self) -> None:
        server = self._server
        reserved = Counter(each.worker for each in server.promised.values() if each.turn)
        promised = Counter(each.worker for each in server.promised.values() if not each.turn)
        for worker in server.fleet.all():
            runs = server.runs.get(worker, {})
            load = {server.loads[worker]} if worker in server.loads else set()
            generations = {id for id, run in runs.items() if isinstance(run, Generation)}
            assert worker.requests == set(runs) | load
            assert worker.generations == generations
            assert (worker.reserved, worker.promised) == (reserved[worker], promised[worker])
            assert worker.occupied <= worker.slots
            assert not (worker.loading and (runs or worker.occupied or worker.promised))
        turns = set(server.queue.turns)
        running = {r.turn for c in self._connections for r in c.requests[-1:] if r.turn}
        assert turns == running | {each.turn for each in server.promised.values() if each.turn}
        for turn in turns:
            assert not turn.parking or (turn.waiter.parkable and turn.worker.resumable)

    def _limits_hold(self) -> None:
        server, policy = self._server, self._server.world.policy
        limited = [
            waiter
            for _, queue in server.queue.queues()
            for waiter in queue.generations
            if waiter.limited
        ]
        assert server.queue.limits.total == len(limited) <= policy.max_waiting
        counts = Counter((waiter.owner, waiter.key) for waiter in limited)
        assert all(count <= policy.max_queue for count in counts.values())
        held = {
            (worker.binding, worker.loading or worker.model)
            for worker in server.fleet.all()
            if not (worker.remote or worker.retiring or policy.processes(worker.binding))
        }
        models = sum(bool(model) for _, model in held)
        assert models <= policy.max_models or server.world.refused_stops

    def _parked(self, turn: Turn) -> None:
        now, policy = self._server.now, self._server.world.policy
        assert turn.waiter.parkable and turn.worker.resumable
        if policy.park_after and turn.unread_since and now - turn.unread_since >= policy.park_after:
            self.parks["unread"] += 1
        else:
            assert policy.slice and now - turn.began >= policy.slice
            self.parks["turns"] += 1

    def _overflow(self, newest: Waiter, reject: Reject) -> None:
        """Called before it is executed."""
        assert isinstance(reject.error, Busy) and reject.waiter.limited
        if reject.waiter is newest:
            return
        counts: Counter[str] = Counter()
        for _, queue in self._server.queue.queues():
            for owner in {waiter.owner for waiter in queue.generations}:
                mine = sum(each.limited and each.owner == owner for each in queue.generations)
                counts[owner] = max(counts[owner], mine)
        counts[reject.waiter.owner] += 1  # it has left already
        assert counts[reject.waiter.owner] >= max(counts.values()) - 1

    @property
    def slot_seconds(self) -> Counter[str]:
        """Of each owner, with those of turns that have not ended."""
        found: Counter[str] = Counter()
        for connection in self._connections:
            for request in connection.requests:
                found[connection.owner] += request.slot_seconds  # type: ignore[assignment]
                if request.turn:
                    found[connection.owner] += self._server.now - request.turn.began
        return found

    @property
    def waits(self) -> list[float]:
        return [seconds for _, seconds, _ in self._server.waited]

    @property
    def steps(self) -> int:
        return self._server.clock.events

    def nobody_starved(self) -> float:
        """Return the longest wait, as a share of the bound."""
        requests = [request for each in self._connections for request in each.requests]
        policy = self._server.world.policy
        stay = [each for each in requests if not (policy.slice and each.parkable)]
        longest = self._server.world.unary + max((each.most_seconds for each in stay), default=0.0)
        asking = Counter(key for each in self._connections for key in each.keys)
        worst = 0.0
        for waiter, seconds, disturbances in self._server.waited:
            limit = bound(
                self._server.world, connections=asking[waiter.key], longest=longest,
                disturbances=disturbances,
            )  # fmt: skip
            assert seconds <= limit, (waiter, seconds, limit)
            worst = max(worst, seconds / limit)
        return worst

    def all_has_ended(self) -> None:
        server = self._server
        for connection in self._connections:
            for request in connection.requests:
                assert request.outcome, request
        assert not (server.ready or server.promised or list(server.queue.turns))
        assert not list(server.queue.queues()) and not server.queue.limits.total
        for worker in server.fleet.all():
            assert worker.idle and not worker.draining, worker
        self._no_slot_is_lost()
