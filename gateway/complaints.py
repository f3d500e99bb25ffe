"""Was this said already? What is wrong with a file is logged once, for as long as it holds."""

import logging
from collections.abc import Collection

Complaint = tuple[str, str]
"""Whom it is about, and what it is."""


class Complaints:
    """Of one look at the files; made from those of the look before."""

    def __init__(self, log: logging.Logger, before: Collection[Complaint] = ()) -> None:
        self._log = log
        self._before = frozenset(before)
        self._now: set[Complaint] = set()

    def add(self, subject: str, what: str) -> None:
        if (subject, what) not in self._before | self._now:
            self._log.warning("%s: %s", subject, what)
        self._now.add((subject, what))

    def keep(self, subject: str) -> None:
        """It was not looked at again: what was wrong with it still is."""
        self._now |= {complaint for complaint in self._before if complaint[0] == subject}

    def all(self) -> frozenset[Complaint]:
        return frozenset(self._now)
