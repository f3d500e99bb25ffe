"""Prefix affinity: which workers have computed the beginning of a text already.

A worker keeps the state of recent texts and continues from the longest beginning that they
share with a new one. So the next turn of a conversation is cheapest where the last one ran.
Only digests are kept, no texts, and each holder has its own: what somebody sent does not
influence where the requests of others run.
"""

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence

BLOCK = 128
"""Characters between two digests. The beginning of a shorter text is not remembered."""
MAX_BLOCKS = 1024
"""Digests of one text: the first 128 Ki characters are enough to tell conversations apart, and
one long text does not push out those of everybody else."""
MAX_WORKERS = 4
"""Workers that are remembered for one beginning."""

_KEY = secrets.token_bytes(16)
"""Nobody outside can make two texts with the same short digest."""


def prefixes(texts: Iterable[str], holder: str, model: str) -> list[bytes]:
    """Digests of the beginnings of the joined texts, the longest beginning last.

    Each digest covers all characters before it. Texts with the same beginning have the same
    first digests if their holder and model are the same, wherever the texts are split.
    """
    found: list[bytes] = []
    digest = _digest(f"{len(holder)} {holder}{model}".encode())
    rest = ""
    for text in texts:
        rest += text[: BLOCK * MAX_BLOCKS]
        whole = len(rest) - len(rest) % BLOCK
        for start in range(0, whole, BLOCK):
            # Clients may send lone surrogates.
            block = rest[start : start + BLOCK].encode(errors="surrogatepass")
            digest = _digest(digest + block)
            found.append(digest)
            if len(found) == MAX_BLOCKS:
                return found
        rest = rest[whole:]
    return found


class Affinity:
    """Remembers a bounded number of beginnings; the one recorded longest ago goes first."""

    def __init__(self, max_entries: int = 16384) -> None:
        self._max_entries = max_entries
        self._workers: OrderedDict[bytes, tuple[bytes, ...]] = OrderedDict()
        """By digest: the workers that computed this beginning, the latest first."""
        self._shared: set[bytes] = set()
        """Of these beginnings those that several texts had."""

    def record(self, prefixes: Sequence[bytes], worker: bytes, *, again: bool = False) -> None:
        """The worker, by its identity, has computed these beginnings; `again`, because the same
        text continues."""
        # The longest first, so that it goes before the shorter ones, which more texts share.
        for prefix in reversed(prefixes):
            others = self._workers.pop(prefix, ())
            if others and not again:
                self._shared.add(prefix)
            if others[:1] != (worker,):
                others = (worker, *(each for each in others if each != worker))[:MAX_WORKERS]
            self._workers[prefix] = others
        while len(self._workers) > self._max_entries:
            self._shared.discard(self._workers.popitem(last=False)[0])

    def best(self, prefixes: Sequence[bytes], among: Collection[bytes]) -> tuple[list[bytes], bool]:
        """Of these workers those that hold the longest beginning, the latest first; and whether
        several texts had that beginning: then it is hardly that of one conversation."""
        for prefix in reversed(prefixes):
            if found := [each for each in self._workers.get(prefix, ()) if each in among]:
                return found, prefix in self._shared
        return [], False

    def forget(self, worker: bytes) -> None:
        """It is gone, or loads another model. It costs a pass over all entries."""
        held = [prefix for prefix, workers in self._workers.items() if worker in workers]
        for prefix in held:
            others = tuple(each for each in self._workers[prefix] if each != worker)
            if others:
                self._workers[prefix] = others
            else:
                del self._workers[prefix]
                self._shared.discard(prefix)

    def __len__(self) -> int:
        return len(self._workers)


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=8, key=_KEY).digest()
