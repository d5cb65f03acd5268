"""Who may ask the review: this machine's browser that was given the address, and nobody else.

The address that is printed holds a token; opening it sets a cookie and leaves the token out of the address bar. Every
other request needs the cookie (or the token), a Host that is this server's own, and, where something is written, an
Origin that is. Pages carry a policy that runs no script but the review's own file and loads nothing from elsewhere.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from urllib.parse import urlsplit

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def is_own_host(host: str, port: int) -> bool:
    """Whether a Host header names this server: a loopback name with its port (other names may be pointed here)."""
    name, _, given = host.rpartition(":")
    return name.lower() in LOOPBACK and given == str(port)


def is_own_origin(headers: Mapping[str, str], port: int) -> bool:
    """Whether a request that writes comes from one of the review's own pages; other clients name none."""
    if headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("Origin")
    if origin is None:
        return True
    parts = urlsplit(origin)
    return parts.scheme == "http" and is_own_host(parts.netloc, port)


def is_same(given: str | None, token: str) -> bool:
    """Whether a token is the right one, in a time that does not tell how much of it is."""
    return given is not None and hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def local_path(address: str | None) -> str:
    """Return an address inside the review, `/` for any other."""
    if not address or not address.startswith("/") or address.startswith(("//", "/\\")):
        return "/"
    return address if address.isprintable() else "/"
