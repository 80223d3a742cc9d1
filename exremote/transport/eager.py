"""Negotiate that begins with its first message, instead of asking first whether it may. One exchange less.

It never sends a proof of the password more often than pypsrp would, and falls back to pypsrp's own way where
the host does not take it. Over TLS it is not used: there the first message must know the certificate.
"""

from __future__ import annotations

from typing import Any

import spnego
from pypsrp._utils import get_hostname
from pypsrp.negotiate import HTTPNegotiateAuth

SCHEME = "Negotiate"
_SEALING = spnego.NegotiateOptions.wrapping_winrm


class EagerNegotiateAuth(HTTPNegotiateAuth):
    """pypsrp's authentication, one exchange shorter."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._begun: Any = None
        self._asked = False

    def __call__(self, request: Any) -> Any:
        """Given the first request of a connection, add the first message of the handshake to it."""
        request = super().__call__(request)  # type: ignore[no-untyped-call]
        if not self._asked:
            self._asked = True
            self._begun = spnego.client(
                self.username,
                self.password,
                hostname=self.hostname_override or spnego_host(request.url),
                service=self.service,
                protocol=self.auth_provider,
                options=_SEALING if self.wrap_required else spnego.NegotiateOptions.none,
            )
            self._set_auth_token(request, self._begun.step(), SCHEME)  # type: ignore[no-untyped-call]
        return request

    def handle_401(self, response: Any, **kwargs: Any) -> Any:
        """Given the host's challenge, answer it. Return the answer to that."""
        context, self._begun = self._begun, None
        challenge = None
        if context is not None:
            challenge = self._get_auth_token(response, self._regex)  # type: ignore[no-untyped-call]
        if not challenge:
            response.request.headers.pop("Authorization", None)
            return super().handle_401(response, **kwargs)  # type: ignore[no-untyped-call]
        kwargs.pop("_pypsrp_auth_provider")
        self.contexts[spnego_host(response.url)] = context
        context.response_auth_header = SCHEME.lower()  # pypsrp's sealing asks for it
        token = context.step(challenge)
        while token is not None:
            _ = response.content  # read to its end, so that the connection can be used again
            response.raw.release_conn()
            request = response.request.copy()
            self._set_auth_token(request, token, SCHEME)  # type: ignore[no-untyped-call]
            response = response.connection.send(request, **kwargs)
            challenge = self._get_auth_token(response, self._regex)  # type: ignore[no-untyped-call]
            token = context.step(challenge) if challenge and not context.complete else None
        return response


def spnego_host(url: str) -> str:
    """Given a URL, return its host as pypsrp keys its contexts."""
    return str(get_hostname(url))
