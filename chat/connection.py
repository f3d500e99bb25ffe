"""Options for connecting: the server's address, the access token, the trusted certificate."""

import argparse
import errno
import os
import ssl
from pathlib import Path

PREFIX = "LOLLMS_"
_END = "-----END CERTIFICATE-----"


def add_options(parser: argparse.ArgumentParser) -> None:
    """`url`, `api_key` and `ssl_certfile`; defaults are the variables that `make run` reads."""
    port = os.environ.get(f"{PREFIX}PORT") or "9601"
    certificate = os.environ.get(f"{PREFIX}SSL_CERTFILE") or ""
    scheme = "https" if certificate else "http"
    parser.add_argument(
        "--url",
        default=f"{scheme}://127.0.0.1:{port}",
        help="address of the server (default: %(default)s)",
    )
    parser.add_argument(
        "--api_key", "--api-key", default=os.environ.get(f"{PREFIX}API_KEY") or "",
        help=f"access token, if needed; {PREFIX}API_KEY is safer, because `ps` does not show it",
    )  # fmt: skip
    parser.add_argument(
        "--ssl_certfile", "--ssl-certfile", default=certificate,
        help="the server's certificate, if no known authority signed it",
    )  # fmt: skip


def ssl_context(certificate: str) -> ssl.SSLContext:
    """Trust certificates signed by known authorities; or, if a file is given, only the first
    certificate in it, for any host name. Raise OSError."""
    if not certificate:
        return ssl.create_default_context()
    head, end, _ = Path(certificate).read_text(errors="replace").partition(_END)
    if not end:
        raise OSError(errno.EINVAL, "contains no certificate")
    context = ssl.create_default_context(cadata=head + end)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    return context
