"""The one map from the errors of the wire's libraries to ours. It decides nothing else."""

from __future__ import annotations

import http.client
import socket
import ssl
from binascii import Error as Base64Error
from collections.abc import Mapping
from xml.etree.ElementTree import ParseError
from xml.parsers.expat import ExpatError

import pypsrp._pool_manager
import pypsrp.exceptions
import requests.cookies
import requests.exceptions
import spnego.exceptions
import urllib3.exceptions
import urllib3.util.ssl_match_hostname
import winrm.exceptions

from exremote.errors import HostError
from exremote.transport.clixml import ClixmlError
from exremote.transport.door import AnswerTooLarge
from exremote.transport.failures import (
    Translator,
    bad_address,
    bad_settings,
    connection,
    damaged,
    http_status,
    hung_up,
    lost,
    no_context,
    no_name,
    no_route,
    not_installed,
    proxy,
    psrp_fault,
    refused_connection,
    refused_login,
    slow,
    unsendable,
    unserialisable,
    untrusted,
    winrm_other,
    winrs_fault,
    winrs_slow,
    wrong_state,
)
from exremote.transport.fragments import FramingError
from exremote.transport.frames import FrameError
from exremote.transport.receive import AnswerError
from exremote.transport.scene import Scene

P, W, R, U, S = (
    pypsrp.exceptions,
    winrm.exceptions,
    requests.exceptions,
    urllib3.exceptions,
    spnego.exceptions,
)

LIBRARY_ERRORS: Mapping[type[BaseException], Translator] = {
    # pypsrp
    P.WinRMError: winrm_other,
    P.AuthenticationError: refused_login,
    P.WinRMTransportError: http_status,
    P.WSManFaultError: psrp_fault,
    P._InvalidStateError: wrong_state,
    P.InvalidRunspacePoolStateError: wrong_state,
    P.InvalidPipelineStateError: wrong_state,
    P.InvalidPSRPOperation: wrong_state,
    P.FragmentError: damaged,
    P.SerializationError: unserialisable,
    pypsrp._pool_manager.NewConnectionDisabled: hung_up,
    # pywinrm
    W.WinRMError: winrm_other,
    W.WSManFaultError: winrs_fault,
    W.WinRMTransportError: http_status,
    W.WinRMOperationTimeoutError: winrs_slow,
    W.AuthenticationError: refused_login,
    W.BasicAuthDisabledError: refused_login,
    W.InvalidCredentialsError: refused_login,
    # requests
    R.RequestException: connection,
    R.InvalidJSONError: damaged,
    R.JSONDecodeError: damaged,
    R.HTTPError: http_status,
    R.ConnectionError: connection,
    R.ProxyError: proxy,
    R.SSLError: untrusted,
    R.Timeout: slow,
    R.ConnectTimeout: no_route,
    R.ReadTimeout: slow,
    R.URLRequired: bad_address,
    R.TooManyRedirects: bad_address,
    R.MissingSchema: bad_address,
    R.InvalidSchema: bad_address,
    R.InvalidURL: bad_address,
    R.InvalidHeader: bad_settings,
    R.InvalidProxyURL: proxy,
    R.ChunkedEncodingError: lost,
    R.ContentDecodingError: damaged,
    R.StreamConsumedError: damaged,
    R.RetryError: connection,
    R.UnrewindableBodyError: lost,
    requests.cookies.CookieConflictError: damaged,
    # urllib3, where requests lets it through
    U.HTTPError: connection,
    U.PoolError: connection,
    U.RequestError: connection,
    U.SSLError: untrusted,
    U.ProxyError: proxy,
    U.DecodeError: damaged,
    U.ProtocolError: connection,
    U.MaxRetryError: connection,
    U.HostChangedError: bad_address,
    U.TimeoutStateError: slow,
    U.TimeoutError: slow,
    U.ReadTimeoutError: slow,
    U.ConnectTimeoutError: no_route,
    U.NewConnectionError: connection,
    U.NameResolutionError: no_name,
    U.EmptyPoolError: lost,
    U.FullPoolError: lost,
    U.ClosedPoolError: lost,
    U.LocationValueError: bad_address,
    U.LocationParseError: bad_address,
    U.URLSchemeUnknown: bad_address,
    U.ResponseError: damaged,
    U.ResponseNotChunked: damaged,
    U.BodyNotHttplibCompatible: damaged,
    U.IncompleteRead: lost,
    U.InvalidChunkLength: damaged,
    U.InvalidHeader: damaged,
    U.ProxySchemeUnknown: proxy,
    U.ProxySchemeUnsupported: proxy,
    U.HeaderParsingError: damaged,
    U.UnrewindableBodyError: lost,
    urllib3.util.ssl_match_hostname.CertificateError: untrusted,
    # spnego
    S.SpnegoError: no_context,
    S.NativeError: no_context,
    S.FeatureMissingError: no_context,
    S.BadMechanismError: no_context,
    S.BadNameError: no_context,
    S.BadBindingsError: no_context,
    S.BadMICError: damaged,
    S.NoCredentialError: no_context,
    S.NoContextError: no_context,
    S.InvalidTokenError: no_context,
    S.InvalidCredentialError: refused_login,
    S.CredentialsExpiredError: refused_login,
    S.ContextExpiredError: lost,
    S.UnsupportedQop: no_context,
    S.OperationNotAvailableError: no_context,
    # what they all let through from below
    ssl.SSLError: untrusted,
    socket.gaierror: no_name,
    ConnectionRefusedError: refused_connection,
    TimeoutError: slow,
    PermissionError: refused_login,  # requests_ntlm, for a 401 without a challenge
    OSError: connection,
    http.client.HTTPException: lost,
    ImportError: not_installed,
    UnicodeEncodeError: unsendable,
    UnicodeError: damaged,
    ParseError: damaged,
    ExpatError: damaged,
    Base64Error: damaged,
    ClixmlError: damaged,
    FramingError: damaged,
    AnswerError: damaged,
    AnswerTooLarge: damaged,
    FrameError: damaged,
    ValueError: bad_settings,
    # a garbled answer trips both libraries in plain Python ways: a missing element, header or enum member
    LookupError: damaged,
    AttributeError: damaged,
    TypeError: damaged,
    AssertionError: damaged,
    StopIteration: damaged,
    ArithmeticError: damaged,
    RuntimeError: damaged,
}
"""Every error that the libraries can raise, and who says what it means. A contract test walks them."""


def translate(error: BaseException, scene: Scene) -> HostError:
    """Given an error of a library and the scene, return the error of ours to raise instead."""
    for kind in type(error).__mro__:
        if translator := LIBRARY_ERRORS.get(kind):
            return translator(error, scene)
    return lost(error, scene)
