"""What does a worker on another machine need to join, and how is it handed over?

One file, made by `python -m gateway.keys worker`, as secret as a password.
"""

import json
import re
from dataclasses import asdict, dataclass

_ADDRESS = re.compile(r"tcp://(\[[0-9a-fA-F:.%\w]+\]|[\w.-]+):(\d{1,5})")
_KEY = re.compile(r"[0-9a-zA-Z.:+=^!/*?&<>()\[\]{}@%$#-]{40}")
"""Z85, as ZeroMQ writes its keys."""


class BadJoining(ValueError):
    """The file is none of ours. One sentence, without what is in it."""


@dataclass(frozen=True, slots=True)
class Joining:
    gateway: str
    """`tcp://host:port`."""
    gateway_key: str
    """Public: who else answers there is not talked to."""
    worker_key: str
    """Secret: the gateway lets in whom it knows."""
    secret: str
    """Goes into Hello; the gateway of a run folder has others."""

    @property
    def port(self) -> int:
        return int(self.gateway.rpartition(":")[2])


def write(joining: Joining) -> str:
    return json.dumps(asdict(joining), indent=1) + "\n"


def parse(text: str) -> Joining:
    """Raise BadJoining."""
    try:
        joining = Joining(**json.loads(text))
        fit = is_address(joining.gateway) and bool(joining.secret)
        keys = (joining.gateway_key, joining.worker_key)
        if fit and all(_KEY.fullmatch(key) for key in keys):
            return joining
    except (ValueError, TypeError, AttributeError, RecursionError):
        pass
    raise BadJoining("it is not what `python -m gateway.keys worker` writes")


def is_address(text: str) -> bool:
    found = _ADDRESS.fullmatch(text)
    return bool(found) and 0 < int(found[2]) < 65536  # type: ignore[index]
