"""The TCP ports: where questd may listen, the sockets that its processes share, and what they are encrypted with."""

import errno
import ipaddress
import socket
import ssl
from pathlib import Path
from typing import Any

from questd.embedded import StartFailed
from questd.settings import Settings, flag

BACKLOG = 1024
"""Connections that may wait to be accepted."""


def check(settings: Settings) -> None:
    """Raise StartFailed when queues and console are to have the same port."""
    if settings.port and settings.port == settings.console_port:
        raise StartFailed(
            f"--port and --console-port are both {settings.port}: choose another one, or no console (off)"
        )


def bind(settings: Settings, name: str = "port") -> socket.socket:
    """Return a socket that listens where `settings` say, the port being the setting `name`. Raises StartFailed."""
    sock, address = _socket(settings, name)
    try:
        sock.bind(address)
        sock.listen(BACKLOG)  # on Linux, only listening claims a port that was bound with SO_REUSEADDR
    except OSError as error:
        sock.close()
        raise _refused(settings, name, error) from None
    sock.setblocking(False)  # noqa: FBT003  # socket's own
    return sock


def is_taken(settings: Settings, name: str) -> bool:
    """Tell whether somebody listens on a port by now. Raises StartFailed when it could not be had anyway."""
    sock, address = _socket(settings, name)
    with sock:
        try:
            sock.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            raise _refused(settings, name, error) from None
    return False


def _socket(settings: Settings, name: str) -> tuple[socket.socket, Any]:
    family, kind, address = place(settings, getattr(settings, name))
    sock = socket.socket(family, kind)
    # Not SO_REUSEPORT: with it a second questd would silently take a share of the requests.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return sock, address


def _refused(settings: Settings, name: str, error: OSError) -> StartFailed:
    text = f"cannot listen on {settings.host}, port {getattr(settings, name)}: {error.strerror}"
    return StartFailed(f"{text}. {_remedy(error, name)}")


def _remedy(error: OSError, name: str) -> str:
    """Return what to do when the port of a setting cannot be had."""
    if error.errno == errno.EADDRNOTAVAIL:
        return "Choose another --host, one that this machine has"
    if error.errno == errno.EACCES:
        return f"Choose another {flag(name)}, from 1024 on"
    return f"Choose another {flag(name)}, or stop what uses this one"


def place(settings: Settings, port: int) -> tuple[socket.AddressFamily, socket.SocketKind, Any]:
    """Return where a port of the setting `host` is; its family and kind first.

    Raises StartFailed when there is no such host, or when everybody could come in there.
    """
    try:
        found = socket.getaddrinfo(settings.host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise StartFailed(f"cannot listen on {settings.host}: {error.strerror}") from None
    # "localhost" is 127.0.0.1 here, also where it has an IPv6 address that this machine does not.
    family, kind, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    guarded = settings.anonymous or settings.keys_file or settings.keys
    if not (guarded or ipaddress.ip_address(address[0]).is_loopback):
        raise StartFailed(
            f"on {settings.host} anyone who reaches this machine could use every queue: listen on 127.0.0.1, "
            "give access keys with --keys-file, or allow it with --anonymous"
        )
    return family, kind, address


def address_of(sock: socket.socket) -> str:
    """Return where a socket listens, as it stands in a URL."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def tls(settings: Settings) -> ssl.SSLContext | None:
    """Return what connections are encrypted with, None for nothing. Raises StartFailed."""
    if settings.tls_cert is None:
        if settings.tls_key:
            raise StartFailed("--tls-key is the key of a certificate: give that too, with --tls-cert")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key, _no_passphrase)
    except OSError as error:  # also what OpenSSL says, and that with few words
        raise StartFailed(_unusable(settings, error)) from None
    return context


def _unusable(settings: Settings, error: OSError) -> str:
    """Return what is wrong with a certificate or its key, as far as it can be told."""
    cert, key, reason = settings.tls_cert, settings.tls_key, getattr(error, "reason", "")
    if reason == "KEY_VALUES_MISMATCH":
        return f"the key in {key or cert} is not that of --tls-cert {cert}"
    if reason not in {None, "PEM_LIB"}:  # which is all that OpenSSL says of a file without what it should have
        return f"--tls-cert {cert} cannot be used: {error}"
    if not _has_certificate(cert):
        return f"--tls-cert {cert} has no certificate in it that can be read (PEM)"
    if key is None:
        return f"--tls-cert {cert} has no key in it that can be read (PEM): name the file that has it with --tls-key"
    return f"--tls-key {key} has no key in it that can be read (PEM)"


def _has_certificate(file: Path | None) -> bool:
    try:
        ssl.create_default_context(cafile=file)
    except ssl.SSLError:
        return False
    return True


def _no_passphrase() -> str:
    # Without this, OpenSSL asks for it on the terminal: in each worker, and with nobody there, for ever.
    raise StartFailed(
        "--tls-key needs a passphrase: give a key without one (openssl pkey), that only its owner can read"
    )
