"""Record the protocol's messages: bump PROTOCOL_VERSION, then run this as a module."""

import sys

from tests.protocol.golden import current, remember, remembered


def main() -> int:
    now, before = current(), remembered()
    if now["messages"] != before["messages"] and now["version"] <= before["version"]:
        print("The messages changed: bump PROTOCOL_VERSION in protocol/__init__.py first.")
        return 1
    remember()
    return 0


if __name__ == "__main__":
    sys.exit(main())
