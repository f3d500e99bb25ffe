"""Sharing over long times: nobody starves, no slot is lost, no free slot is left unused."""

from collections import Counter
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from gateway.errors import Busy, LoadFailed
from gateway.scheduling.policy import Policy
from gateway.scheduling.turns import Waiter
from gateway.workers.worker import Key
from tests.support.sharing.checks import Checks, bound, jain
from tests.support.sharing.clients import Connection, Generation
from tests.support.sharing.server import Server
from tests.support.sharing.world import World

STEPS = 100_000
KEYS = [("a", "x"), ("a", "y"), ("b", "x"), ("b", "z"), ("frail", "x"), ("a", "z")]
"""Binding and model. The binding `frail` cannot resume."""
TOKENS = 60
STALLS = (0.5, 2.0, 20.0)
CHANCES = {
    "stalling": 0.2, "cancelling": 0.1, "unary": 0.2, "unparkable": 0.1, "insisting": 0.05,
}  # fmt: skip


def play(
    world: World,
    seed: int,
    owners: list[str],
    seconds: float,
    *,
    until_end: bool = True,
    sizes: tuple[int, int] = (1, TOKENS),
    **options: float,
) -> Checks:
    """Let each owner's connection ask for a while."""
    server = Server(world, seed)
    clients = [
        Connection(
            server=server, owner=owner, session=f"s{number % 7}", keys=list(world.models),
            until=server.now + seconds, sizes=sizes, stalls=STALLS, **options,  # type: ignore[arg-type]
        )
        for number, owner in enumerate(owners)
    ]  # fmt: skip
    checks = run(server, clients, seconds, until_end=until_end)
    checks.nobody_starved()
    return checks


def run(
    server: Server, clients: list[Connection], seconds: float, *, until_end: bool = True
) -> Checks:
    checks = Checks(server, clients)
    for client in clients:
        client.start()
    server.clock.run(server.now + seconds)
    if until_end:
        server.calm = True
        server.clock.run(server.now + 3000)
        checks.all_has_ended()
    return checks


def automatic(world: World) -> World:
    return replace(world, policy=replace(world.policy, processes=lambda binding: 0))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    keys = KEYS[: draw(st.integers(1, len(KEYS)))]
    limits = [{}, {"a": 1}, {"a": 1, "b": 2}, {"a": 2, "b": 1, "frail": 1}]
    processes: dict[str, int] = draw(st.sampled_from(limits))
    replicas = draw(st.integers(0, 2))
    seldom = st.sampled_from([0.0, 0.0, 0.1])
    return World(
        policy=Policy(
            slice=draw(st.sampled_from([2.0, 2.0, 0.0])),
            park_after=draw(st.sampled_from([1.0, 1.0, 0.0])),
            max_queue=draw(st.sampled_from([2, 16])),
            max_waiting=draw(st.sampled_from([5, 1000])),
            max_models=draw(st.integers(1, 3)),
            processes=lambda binding: processes.get(binding, 0),
            replicas=lambda binding, model: replicas,
        ),
        models={key: draw(st.integers(1, 4)) for key in keys},
        memory=draw(st.sampled_from([1e9, 1e9, 5, 8])),
        slots=draw(st.integers(1, 3)),
        load=draw(st.sampled_from([0.2, 1.0])),
        frail=frozenset({"frail"}),
        guests=draw(st.sampled_from([(), ("a",), ("a", "b", "b")])),
        deaths=draw(st.sampled_from([0, 0, 10, 50])),
        broken_loads=draw(seldom),
        broken_starts=draw(seldom),
        refused_stops=draw(st.sampled_from([0.0, 0.0, 0.3, 1.0])),
        idle_stops=draw(st.sampled_from([0, 0, 5])),
    )  # fmt: skip


def test_whatever_happens_all_get_their_turns() -> None:
    """Models, memory, limits, deaths, failures, stalls and cancellations at random."""
    steps = 0

    @settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
    @given(worlds(), st.integers(0, 2**32), st.integers(1, 12))
    def whatever(world: World, seed: int, connections: int) -> None:
        nonlocal steps
        owners = [f"o{number % 4}" for number in range(connections)]
        steps += play(world, seed, owners, 60, **CHANCES).steps

    whatever()
    world = automatic(World(models=dict.fromkeys(KEYS, 1), policy=Policy(slice=2.0, max_models=2)))
    while steps < STEPS:
        steps += play(world, steps, ["a", "b", "b", "c"] * 3, 300, **CHANCES).steps


@pytest.mark.parametrize(
    "slots, connections",
    [
        (1, [1, 30]),
        (1, [1, 2, 5, 12, 30]),
        (8, [8, 30, 30]),
        (8, [1, 2, 3, 5, 10, 20, 30, 30]),
        (8, [1] * 6 + [30] * 6),
    ],
    ids=str,
)
def test_greedy_owners_get_equal_times_however_many_connections_they_have(
    slots: int, connections: list[int]
) -> None:
    world = World(
        models={("a", "x"): 1}, slots=slots, token=0.5, cores=1,
        policy=Policy(slice=2.0, max_queue=100),
    )  # fmt: skip
    owners = [f"o{owner}" for owner, count in enumerate(connections) for _ in range(count)]
    checks = play(world, 1, owners, 800, until_end=False, sizes=(2, 30), think=0.0)
    assert jain(checks.slot_seconds.values()) >= 0.95
    assert checks.nobody_starved() <= 1


def test_models_that_are_always_wanted_take_turns_in_one_worker() -> None:
    models: dict[Key, float] = {("a", f"model {number}"): 1 for number in range(4)}
    world = World(models=models, policy=Policy(slice=2.0), load=0.5)
    server = Server(world, 1)
    clients = [
        Connection(
            server=server, owner=f"o{number}", session="", keys=[key], until=server.now + 300,
            sizes=(5, 60), think=0.1,
        )
        for key in models
        for number in range(4)
    ]  # fmt: skip
    checks = run(server, clients, 300)
    checks.nobody_starved()
    assert bound(world, connections=4, longest=world.unary) < 100
    times = Counter[Key]()
    for client in clients:
        times[client.keys[0]] += round(sum(each.slot_seconds for each in client.requests))
    assert jain(times.values()) >= 0.95


def test_a_large_model_gets_the_memory_of_small_ones_that_are_always_wanted() -> None:
    small: dict[Key, float] = {("a", f"small {number}"): 5 for number in range(4)}
    world = World(
        models={**small, ("b", "large"): 10}, memory=10, policy=Policy(slice=2.0, max_models=9)
    )
    world = automatic(world)
    server = Server(world, 1)
    clients = [
        Connection(
            server=server, owner=model, session=str(number), keys=[(binding, model)],
            until=server.now + 300, sizes=(5, 60), think=0.1,
        )
        for binding, model in world.models
        for number in range(3)
    ]  # fmt: skip
    checks = run(server, clients, 300)
    checks.nobody_starved()
    assert max(checks.waits) < 60
    assert not [error for client in clients for error in client.errors]


def test_a_model_that_never_fits_is_refused_and_the_others_go_on() -> None:
    models: dict[Key, float] = {("a", "x"): 5, ("a", "y"): 5, ("b", "huge"): 20}
    world = automatic(World(models=models, memory=10, policy=Policy(slice=2.0, max_models=9)))
    server = Server(world, 1)
    clients = [
        Connection(
            server=server, owner=model, session="", keys=[(binding, model)],
            until=server.now + 200, sizes=(5, 60),
        )
        for binding, model in models
    ]  # fmt: skip
    run(server, clients, 200)
    *others, huge = clients
    assert len(huge.errors) >= 10 and all(isinstance(each, LoadFailed) for each in huge.errors)
    assert all(len(client.requests) >= 10 and not client.errors for client in others)


def test_a_crowd_is_refused_before_those_who_ask_for_little() -> None:
    """`max_queue` for each owner; of too many in all, the newest of the owner with the most."""
    policy = Policy(slice=2.0, max_queue=8, max_waiting=20)
    world = World(models={("a", "x"): 1}, slots=2, policy=policy)
    server = Server(world, 1)
    crowds = ["crowd 1"] * 20 + ["crowd 2"] * 20 + ["crowd 3"] * 20
    clients = [
        Connection(
            server=server, owner=owner, session=str(number), keys=list(world.models),
            until=server.now + 200, sizes=(5, 60), think=0.2, stalling=0.1, stalls=STALLS,
        )
        for number, owner in enumerate([*crowds, "one", "two", "three"])
    ]  # fmt: skip
    run(server, clients, 200)
    refused = Counter(client.owner for client in clients for _ in client.errors)
    assert refused["crowd 1"] >= 20 and refused["crowd 2"] >= 20 and refused["crowd 3"] >= 20
    assert not (refused["one"] or refused["two"] or refused["three"])
    assert all(isinstance(error, Busy) for client in clients for error in client.errors)


@pytest.mark.parametrize("stalled", [1, 8, 64])
def test_clients_that_do_not_read_hold_nobody_up(stalled: int) -> None:
    world = World(models={("a", "x"): 1, ("a", "y"): 1}, slots=8, load=0.1)
    server = Server(world, 1)
    clients = [
        Connection(
            server=server, owner=f"o{number}", session="", keys=[("a", "x")],
            until=server.now + 1, sizes=(50, 50), think=0.1, stalling=0.99, stalls=[30.0],
        )
        for number in range(stalled)
    ]  # fmt: skip
    checks = Checks(server, clients)
    for client in clients:
        client.start()
    server.clock.run(server.now + 25)
    for key in world.models:
        newcomer = Generation(
            server=server, waiter=Waiter(binding=key[0], model=key[1], slot=True), tokens=5
        )
        clients.append(Connection(server=server, owner="", session="", keys=[key], until=0.0))
        clients[-1].requests.append(newcomer)
        newcomer.start()
        server.clock.run(server.now + 1.5)
        assert newcomer.work, key
    server.clock.run(server.now + 3000)
    checks.all_has_ended()


@pytest.mark.parametrize(
    "policy, parks",
    [
        (Policy(slice=2.0, park_after=1.0), {"unread", "turns"}),
        (Policy(slice=0.0, park_after=1.0), {"unread"}),
        (Policy(slice=2.0, park_after=0.0), {"turns"}),
        (Policy(slice=0.0, park_after=0.0), set()),
    ],
    ids=["both", "unread", "turns", "never"],
)
def test_parking_can_be_switched_off(policy: Policy, parks: set[str]) -> None:
    world = World(models={("a", "x"): 1, ("a", "y"): 1, ("frail", "x"): 1}, policy=policy)
    world = replace(world, frail=frozenset({"frail"}))
    checks = play(world, 1, ["a", "b"] * 4, 100, stalling=0.3)
    assert {why for why, count in checks.parks.items() if count} == parks
