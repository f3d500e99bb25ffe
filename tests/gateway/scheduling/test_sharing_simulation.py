"""Sharing over long times: nobody starves, no slot is lost, no free slot is left unused."""

from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings

from gateway.scheduling.policy import Policy
from tests.support.sharing.checks import Checks
from tests.support.sharing.clients import Connection
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


def play(world: World, seed: int, owners: list[str], seconds: float, **options: float) -> Checks:
    """Let each owner's connection ask for a while, then wait until all has ended."""
    server = Server(world, seed)
    until = server.clock.now + seconds
    clients = [
        Connection(
            server=server, owner=owner, session=f"s{number % 7}", keys=list(world.models),
            until=until, sizes=(1, TOKENS), stalls=STALLS, **options,
        )
        for number, owner in enumerate(owners)
    ]  # fmt: skip
    checks = Checks(server, clients)
    for client in clients:
        client.start()
    server.clock.run(until)
    server.calm = True
    server.clock.run(until + 3000)
    checks.all_has_ended()
    checks.nobody_starved()
    return checks


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
    world = World(models=dict.fromkeys(KEYS, 1), policy=Policy(slice=2.0, max_models=2))
    world = replace(world, policy=replace(world.policy, processes=lambda binding: 0))
    while steps < STEPS:
        steps += play(world, steps, ["a", "b", "b", "c"] * 3, 300, **CHANCES).steps
