"""A request that crashes its workers is refused for a while; one that was only there is not."""

from hashlib import blake2b

import pytest

from gateway.errors import Quarantined
from gateway.scheduling.quarantine import MAX_RECORDS, Fingerprint, Quarantine

TIME = 100.0
A, B, C = (Fingerprint("b", "m", name) for name in "abc")


def refused(quarantine: Quarantine, *fingerprints: Fingerprint, now: float = 10.0) -> list[str]:
    found = []
    for each in fingerprints:
        try:
            quarantine.check(each, now)
        except Quarantined:
            found.append(each.digest)
    return found


def test_two_deaths_alone_are_enough_and_one_is_not() -> None:
    quarantine = Quarantine(TIME)
    quarantine.record_crash([A], "w1", "died", 1)
    assert refused(quarantine, A) == []
    quarantine.record_crash([A], "w2", "was killed by SIGSEGV", 2)
    with pytest.raises(Quarantined) as told:
        quarantine.check(A, 3)
    assert str(told.value) == (
        "this request is refused for 99 s: 2 workers of the binding b died with it, "
        "the last one was killed by SIGSEGV"
    )
    assert refused(quarantine, B) == []
    assert quarantine.status(3) == [
        {
            "fingerprint": "a", "binding": "b", "model": "m", "deaths": 2,
            "how": "was killed by SIGSEGV", "refused": 1, "forgotten_in": 99.0,
        }
    ]  # fmt: skip


def test_twice_in_the_same_worker_is_one_death() -> None:
    quarantine = Quarantine(TIME)
    quarantine.record_crash([A, A], "w1", "died", 1)
    quarantine.record_crash([A], "w1", "died", 1)
    assert refused(quarantine, A) == []


def test_who_shared_both_deaths_may_be_the_cause_until_a_third_tells_them_apart() -> None:
    quarantine = Quarantine(TIME)
    quarantine.record_crash([A, B], "w1", "died", 1)
    quarantine.record_crash([A, B, C], "w2", "died", 2)
    assert refused(quarantine, A, B, C) == []
    quarantine.record_crash([A], "w3", "died", 3)
    assert refused(quarantine, A, B, C) == ["a"]


def test_who_runs_to_its_end_is_no_suspect_and_no_excuse_for_another() -> None:
    quarantine = Quarantine(TIME)
    for worker in ("w1", "w2"):
        quarantine.record_crash([A, B], worker, "died", 1)
    quarantine.clear(B)
    assert refused(quarantine, A, B) == ["a"]
    quarantine.clear(A)
    assert refused(quarantine, A) == []


def test_it_is_forgotten_after_a_while_and_never_begun_with_no_time() -> None:
    quarantine, off = Quarantine(TIME), Quarantine(0)
    for each in (quarantine, off):
        each.record_crash([A], "w1", "died", 1)
        each.record_crash([A], "w2", "died", 2)
    assert refused(off, A) == []
    assert refused(quarantine, A, now=2 + TIME - 1) == ["a"]
    assert refused(quarantine, A, now=2 + TIME) == [] and quarantine.status(2 + TIME) == []


def test_no_more_are_remembered_than_fit() -> None:
    quarantine = Quarantine(TIME)
    fingerprints = [Fingerprint("b", "m", str(n)) for n in range(MAX_RECORDS + 10)]
    for number, each in enumerate(fingerprints):
        for worker in ("w1", "w2"):
            quarantine.record_crash([each], f"{worker}.{number}", "died", 1)
    assert len(quarantine.status(1)) == MAX_RECORDS
    assert refused(quarantine, fingerprints[0], fingerprints[-1]) == [fingerprints[-1].digest]


def test_a_fingerprint_tells_prompts_bindings_and_models_apart() -> None:
    made = {
        Fingerprint.of("b", "m", b"x"),
        Fingerprint.of("b", "m", b"y"),
        Fingerprint.of("b", "n", b"x"),
        Fingerprint.of("c", "m", b"x"),
    }
    assert len(made) == 4 and Fingerprint.of("b", "m", b"x") in made


def test_nobody_can_try_prompts_against_a_fingerprint_that_the_status_shows() -> None:
    """Every holder of a token may read it: a plain digest would tell who guessed a prompt."""
    assert Fingerprint.of("b", "m", b"x").digest != blake2b(b"x", digest_size=8).hexdigest()
