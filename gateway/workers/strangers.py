"""Answer peers that are no workers: they introduce themselves, or were dismissed.

Frames of a peer may have piled up while its connection was cut. One answer to all of them is
enough, and each Introduce more would be one join more.
"""

from protocol.errors import ErrorCode
from protocol.messages import Introduce, Quit, Refused

ANSWER_SECONDS = 1.0
"""One answer for each peer in this time."""
DISMISSAL = 60.0
"""Seconds that a dismissed worker stays out, unless the settings say otherwise."""
MANY = 1000
"""Peers that are remembered before the old ones are forgotten."""


class Strangers:
    """Times come in as arguments, in seconds."""

    def __init__(self, dismissal: float = DISMISSAL) -> None:
        """A dismissed worker stays out for so long, or until it ends: its identity is new for
        each process."""
        self._dismissal = dismissal
        self._answered: dict[bytes, float] = {}
        self._dismissed: dict[bytes, tuple[float, Quit | Refused]] = {}

    def dismiss(self, identity: bytes, farewell: Quit | Refused, now: float) -> None:
        """Do not let this process join again. `farewell` is what it hears."""
        over = [each for each, (until, _) in self._dismissed.items() if until < now]
        for each in over:
            del self._dismissed[each]
        self._dismissed[identity] = now + self._dismissal, farewell

    def objection(self, identity: bytes, now: float) -> str:
        """Why it may not join, in one sentence; "" if it was not dismissed."""
        until, farewell = self._dismissed.get(identity, (now, None))
        if until <= now or farewell is None:
            return ""
        return farewell.error if isinstance(farewell, Refused) else farewell.reason

    def answer(self, identity: bytes, now: float) -> Introduce | Quit | Refused | None:
        """The answer to a frame that is no Hello; None if it had one a moment ago."""
        if now < self._answered.get(identity, now):
            return None
        if len(self._answered) >= MANY:
            self._answered = {each: due for each, due in self._answered.items() if due > now}
        if len(self._answered) >= MANY:
            return None  # a flood of identities
        self._answered[identity] = now + ANSWER_SECONDS
        return self._dismissed[identity][1] if self.objection(identity, now) else Introduce()

    def forget(self, identity: bytes) -> None:
        """It has joined: once it is unknown again, it is answered at once."""
        self._answered.pop(identity, None)


def withdrawn() -> Refused:
    """For a remote worker whose key is not in the list any more."""
    return Refused(ErrorCode.REFUSED, "its key was withdrawn")
