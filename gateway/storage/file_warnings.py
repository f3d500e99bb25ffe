"""Was this said already? What is wrong with a file is logged once, for as long as it holds."""

import logging
from collections.abc import Collection

Complaint = tuple[str, str]
"""Whom it is about, and what it is."""


class Complaints:
    """Of one look at the files; made from those of the look before."""

    def __init__(self, log: logging.Logger, before: Collection[Complaint] = ()) -> None:
        self._log = log
        self._before: dict[str, set[str]] = {}
        for subject, what in before:
            self._before.setdefault(subject, set()).add(what)
        self._now: set[Complaint] = set()

    def add(self, subject: str, what: str) -> None:
        if what not in self._before.get(subject, ()) and (subject, what) not in self._now:
            self._log.warning("%s: %s", subject, what)
        self._now.add((subject, what))

    def keep(self, subject: str) -> None:
        """It was not looked at again: what was wrong with it still is."""
        self._now |= {(subject, what) for what in self._before.get(subject, ())}

    def all(self) -> frozenset[Complaint]:
        return frozenset(self._now)
