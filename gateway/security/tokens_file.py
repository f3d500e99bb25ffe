"""The file of named tokens: one `name token [running=N] [waiting=N] [operator]` per line."""

from dataclasses import dataclass

from gateway.config.settings import Settings
from gateway.config.values import InvalidSecret, InvalidValue, token, whole
from gateway.errors import BadSetting
from gateway.storage.untrusted_files import NotPrivate, check_private, is_plain, read_regular

MAX_NAME = 64
MAX_LIMIT = 100_000
MAX_BYTES = 1_000_000
OPERATOR = "operator"
HOW_TO_MAKE_ONE = "`python -m gateway.keys token NAME` writes one"


@dataclass(frozen=True, slots=True)
class TokenHolder:
    """The user of a token, or everybody where none is needed."""

    name: str
    running: int
    """Generations that may run at the same time; 0 is no limit."""
    waiting: int
    """Generations that may wait for these."""
    operator: bool = False
    """Its selections become the server's defaults."""

    @property
    def has_own_defaults(self) -> bool:
        """Whether its selections become its own defaults, and not the server's."""
        return bool(self.name) and not self.operator


def read_tokens(settings: Settings) -> list[tuple[str, TokenHolder]]:
    """Token and holder of each line of the tokens file. Raise BadSetting."""
    path = settings.tokens_file
    try:
        check_private(path)
        lines = read_regular(path, MAX_BYTES).decode().splitlines()
    except FileNotFoundError:
        if "tokens_file" in settings.given:
            raise BadSetting(f"the tokens file {path} does not exist") from None
        return []
    except NotPrivate as error:
        raise BadSetting(str(error)) from None
    except (OSError, ValueError) as error:
        reason = "not text" if isinstance(error, ValueError) else error.strerror or error
        raise BadSetting(f"the tokens file {path} cannot be read: {reason}") from None
    read = []
    for number, line in enumerate(lines, 1):
        if words := line.partition("#")[0].split():
            try:
                read.append(_entry(words, settings))
            except (InvalidValue, InvalidSecret) as error:
                raise BadSetting(f"{path}, line {number}: {error}") from None
    return read


def _entry(words: list[str], settings: Settings) -> tuple[str, TokenHolder]:
    limits = {"running": settings.token_running, "waiting": settings.token_queue}
    if len(words) < 2:
        raise InvalidValue(f"a name and a token are expected; {HOW_TO_MAKE_ONE}")
    name, value, *rest = words
    if not is_plain(name) or not name.isprintable() or len(name) > MAX_NAME:
        raise InvalidValue(f"the name must be one word of up to {MAX_NAME} characters")
    for each in rest:
        if each == OPERATOR:
            continue
        key, _, number = each.partition("=")
        if key not in limits:
            raise InvalidValue(
                f"after the token only running=N, waiting=N and {OPERATOR} are expected"
            )
        limits[key] = whole(0, MAX_LIMIT)(number, settings.tokens_file)
    holder = TokenHolder(name, **limits, operator=OPERATOR in rest)
    return token(value, settings.tokens_file), holder
