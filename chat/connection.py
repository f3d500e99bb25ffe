"""Where is the server, what opens it, and how do we know that it is the one?"""

import argparse
import errno
import os
import ssl
from pathlib import Path

PREFIX = "LOLLMS_"
_END = "-----END CERTIFICATE-----"


def add_options(parser: argparse.ArgumentParser) -> None:
    """`url`, `api_key` and `ssl_certfile`, from what `make run` is told, too."""
    port = os.environ.get(f"{PREFIX}PORT") or "9601"
    certificate = os.environ.get(f"{PREFIX}SSL_CERTFILE") or ""
    scheme = "https" if certificate else "http"
    parser.add_argument(
        "--url", default=f"{scheme}://127.0.0.1:{port}", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--api_key", "--api-key", default=os.environ.get(f"{PREFIX}API_KEY") or "",
        help=f"the token, if it needs one; {PREFIX}API_KEY is better, which `ps` does not show",
    )  # fmt: skip
    parser.add_argument(
        "--ssl_certfile", "--ssl-certfile", default=certificate,
        help="the server's certificate, when nobody known has signed it",
    )  # fmt: skip


def trusting(certificate: str) -> ssl.SSLContext:
    """Of servers whose certificate somebody known has signed; or of none but the one that has
    the first certificate of this file, whatever its name. Raise OSError."""
    if not certificate:
        return ssl.create_default_context()
    head, end, _ = Path(certificate).read_text(errors="replace").partition(_END)
    if not end:
        raise OSError(errno.EINVAL, "there is no certificate in it")
    context = ssl.create_default_context(cadata=head + end)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    return context
