"""The join file: address, keys and secret with which a worker on another machine joins.

`python -m gateway.keys worker` writes it. It is as secret as a password.
"""

import json
import re
from dataclasses import asdict, dataclass

_ADDRESS = re.compile(r"tcp://(\[[0-9a-fA-F:.%\w]+\]|[\w.-]+):(\d{1,5})")
_KEY = re.compile(r"[0-9a-zA-Z.:+=^!/*?&<>()\[\]{}@%$#-]{40}")
"""Z85, as ZeroMQ writes its keys."""


class BadJoinFile(ValueError):
    """The text is not a join file. The message is one sentence and quotes none of the text."""


@dataclass(frozen=True, slots=True)
class JoinFile:
    gateway: str
    """`tcp://host:port`."""
    gateway_key: str
    """The gateway's public key: the worker talks to no other server at that address."""
    worker_key: str
    """The worker's secret key: the gateway accepts the keys on its list only."""
    secret: str
    """Sent in Hello. Workers on the gateway's own machine read another one in the run folder."""

    @property
    def port(self) -> int:
        return int(self.gateway.rpartition(":")[2])


def write(join_file: JoinFile) -> str:
    return json.dumps(asdict(join_file), indent=1) + "\n"


def parse(text: str) -> JoinFile:
    """Raise BadJoinFile."""
    try:
        join_file = JoinFile(**json.loads(text))
        valid = is_address(join_file.gateway) and bool(join_file.secret)
        keys = (join_file.gateway_key, join_file.worker_key)
        if valid and all(_KEY.fullmatch(key) for key in keys):
            return join_file
    except (ValueError, TypeError, AttributeError, RecursionError):
        pass
    raise BadJoinFile("not a join file written by `python -m gateway.keys worker`")


def is_address(text: str) -> bool:
    match = _ADDRESS.fullmatch(text)
    return bool(match) and 0 < int(match[2]) < 65536  # type: ignore[index]
