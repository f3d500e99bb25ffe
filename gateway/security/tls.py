"""TLS contexts: the server's own, and a client's that trusts exactly its certificate."""

import ssl

from gateway.config.settings import Settings
from gateway.errors import BadSetting

_END = "-----END CERTIFICATE-----"


def server_context(settings: Settings) -> ssl.SSLContext | None:
    """None when no certificate is set. Raise BadSetting when it cannot be used."""
    certificate, key = settings.ssl_certfile, settings.ssl_keyfile
    if certificate is None:
        if key is not None:
            raise BadSetting("--ssl_keyfile needs --ssl_certfile, the certificate of that key")
        return None

    def no_password() -> str:
        raise BadSetting(
            f"the TLS key {key or certificate} has a password, which cannot be entered here"
        )

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for path in (certificate, key):
        try:
            if path is not None:
                path.open("rb").close()
        except OSError as error:
            raise BadSetting(f"the TLS file {path} cannot be read: {error.strerror}") from None
    try:
        context.load_cert_chain(certificate, key, no_password)
    except ssl.SSLError as error:
        reason = (error.reason or "not PEM").replace("_", " ").lower()
        raise BadSetting(
            f"{certificate} and {key or 'itself'} are no certificate and its key: {reason}"
        ) from None
    return context


def client_context(settings: Settings) -> ssl.SSLContext | None:
    """For requests to our own server on this machine. It trusts exactly the server's first
    certificate, whatever its name and issuer. None without TLS."""
    if settings.ssl_certfile is None:
        return None
    head, end, _ = settings.ssl_certfile.read_text(errors="replace").partition(_END)
    context = ssl.create_default_context(cadata=head + end)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    return context
