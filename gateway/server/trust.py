"""Whom an upstream that speaks TLS has to be vouched for by."""

from __future__ import annotations

import functools
import ssl


@functools.cache
def verifying() -> ssl.SSLContext:
    """Against the certificates that the system trusts, or those that SSL_CERT_FILE names; read when first needed."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
