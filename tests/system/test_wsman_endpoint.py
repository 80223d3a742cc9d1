"""The endpoint as a network service: who is let in, what is sealed, what is refused, what is counted.

Everything is asked by pypsrp, pywinrm or requests, unmodified, over real sockets.
"""

from __future__ import annotations

import base64
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from pypsrp.exceptions import AuthenticationError, WinRMTransportError, WSManFaultError
from pypsrp.powershell import PowerShell, RunspacePool
from pypsrp.wsman import WSMan
from winrm.exceptions import InvalidCredentialsError
from wsman_support import PASSWORD, USER, connect, protocol, run, run_command, run_script

from exremote.lab.wsman.server import Endpoint, Limits, Listening, Site

IDENTIFY = (
    '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Header/><s:Body>'
    '<i:Identify xmlns:i="http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd"/></s:Body></s:Envelope>'
)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with Endpoint(USER, PASSWORD, users={"guest": "guest-pw"}) as endpoint:
        endpoint.add(Site("PLAIN", run_script, run_command))
        endpoint.add(Site("TLS", run_script, run_command, https=True))
        endpoint.add(Site("OPEN", run_script, run_command, allow_unencrypted=True, allow_basic=True))
        endpoint.add(Site("DENIES", run_script, run_command, denied_users={"guest"}))
        yield endpoint


def where(endpoint: Endpoint, name: str) -> Listening:
    return endpoint._listeners[name].where


def who(connection: WSMan) -> str:
    with connection, RunspacePool(connection) as pool:
        return str(run(pool, "who").output[0])


@pytest.mark.parametrize("site", ["PLAIN", "TLS"])
@pytest.mark.parametrize("auth", ["negotiate", "ntlm"])
@pytest.mark.parametrize("encryption", ["auto", "always"])
def test_pypsrp_is_let_in(endpoint: Endpoint, site: str, auth: str, encryption: str) -> None:
    """SPNEGO and raw NTLM, sealed and with TLS, and both at once."""
    assert who(connect(endpoint, where(endpoint, site), auth=auth, encryption=encryption)) == "LAB\\admin"


@pytest.mark.parametrize("name", ["admin", "ADMIN", "LAB\\admin", "lab\\Admin"])
def test_one_principal_by_any_name(endpoint: Endpoint, name: str) -> None:
    """A shell belongs to the same user however the user wrote the name."""
    assert who(connect(endpoint, where(endpoint, "PLAIN"), username=name)) == "LAB\\admin"


@pytest.mark.parametrize("site", ["PLAIN", "TLS"])
def test_pywinrm_is_let_in(endpoint: Endpoint, site: str) -> None:
    """pywinrm's own NTLM, with its own sealing and channel binding."""
    client = protocol(where(endpoint, site))
    shell = client.open_shell()
    command = client.run_command(shell, "echo", ["a", "b"])
    assert client.get_command_output(shell, command) == (b"a b\r\n", b"", 0)
    client.close_shell(shell)


@pytest.mark.parametrize("site", ["PLAIN", "TLS"])
def test_wrong_password(endpoint: Endpoint, site: str) -> None:
    """Both clients say it in their own words, and it is counted by user."""
    counters = endpoint.counters(site)
    before = counters.auth_failures["LAB\\admin"]
    with pytest.raises(AuthenticationError):
        who(connect(endpoint, where(endpoint, site), password="wrong"))
    with pytest.raises(InvalidCredentialsError):
        protocol(where(endpoint, site), password="wrong").open_shell()
    assert counters.auth_failures["LAB\\admin"] == before + 2
    with pytest.raises(AuthenticationError):
        who(connect(endpoint, where(endpoint, site), username="nobody"))


def test_missing_channel_binding_is_refused(endpoint: Endpoint) -> None:
    """On https a client must bind itself to the certificate, and "none" is no binding."""
    with pytest.raises(AuthenticationError):
        who(connect(endpoint, where(endpoint, "TLS"), negotiate_send_cbt=False))


def test_wrong_channel_binding_is_refused(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if somebody stood between."""
    monkeypatch.setattr(
        "pypsrp.negotiate.HTTPNegotiateAuth._get_cbt_data", lambda _: b"tls-server-end-point:" + b"x" * 32
    )
    with pytest.raises(AuthenticationError):
        who(connect(endpoint, where(endpoint, "TLS")))


def test_ntlm_version_1_is_refused(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only NTLMv2 is taken."""
    monkeypatch.setenv("LM_COMPAT_LEVEL", "2")
    with pytest.raises(AuthenticationError):
        who(connect(endpoint, where(endpoint, "PLAIN")))


def test_clear_text_over_http_is_refused(endpoint: Endpoint) -> None:
    """Unless the site says otherwise."""
    with pytest.raises(WinRMTransportError, match="403"):
        who(connect(endpoint, where(endpoint, "PLAIN"), encryption="never"))
    assert who(connect(endpoint, where(endpoint, "OPEN"), encryption="never")) == "LAB\\admin"


def test_basic(endpoint: Endpoint) -> None:
    """Only where it is allowed, only with the right password."""
    basic = {"auth": "basic", "encryption": "never"}
    assert who(connect(endpoint, where(endpoint, "OPEN"), username=USER, **basic)) == "LAB\\admin"
    for site, password in (("OPEN", "wrong"), ("PLAIN", PASSWORD)):
        with pytest.raises(AuthenticationError):
            who(connect(endpoint, where(endpoint, site), username=USER, password=password, **basic))


def test_access_denied(endpoint: Endpoint) -> None:
    """A user who may not is known, and told so."""
    guest = {"username": "guest", "password": "guest-pw"}
    assert who(connect(endpoint, where(endpoint, "PLAIN"), **guest)) == "LAB\\guest"
    with pytest.raises(WSManFaultError) as caught:
        who(connect(endpoint, where(endpoint, "DENIES"), **guest))
    assert caught.value.code == 5


def test_shells_belong_to_their_user(endpoint: Endpoint) -> None:
    """Another user sees no shell of mine and cannot delete it."""
    site = where(endpoint, "PLAIN")
    mine, theirs = connect(endpoint, site), connect(endpoint, site, username="guest", password="guest-pw")
    with mine, theirs, RunspacePool(mine) as pool:
        assert pool.shell.id not in [other.id for other in RunspacePool.get_runspace_pools(theirs)]
        with pytest.raises(WSManFaultError) as caught:
            theirs.delete(pool.shell.resource_uri, selector_set=pool.shell._selector_set)
        assert caught.value.code == 5


def test_a_later_run_deletes_what_an_earlier_one_left(endpoint: Endpoint) -> None:
    """Enumerate and Delete from another connection of the same user."""
    site = where(endpoint, "PLAIN")
    dead = connect(endpoint, site)
    pool = RunspacePool(dead)
    pool.open()
    PowerShell(pool).add_script("forever").begin_invoke()
    dead.close()
    later = connect(endpoint, site, username=USER)
    left = [found for found in RunspacePool.get_runspace_pools(later) if found.id == pool.id.upper()]
    assert len(left) == 1
    assert len(left[0].pipelines) == 1
    later.delete(
        "http://schemas.microsoft.com/powershell/Microsoft.PowerShell", selector_set=pool.shell._selector_set
    )
    assert pool.id.upper() not in [shell.id for shell in endpoint.shells("PLAIN")]


def test_requests_from_web_pages_are_refused(endpoint: Endpoint) -> None:
    """No Origin, no other name than loopback's, no other method, no other path."""
    url = where(endpoint, "PLAIN").url
    session = requests.Session()
    session.trust_env = False
    assert session.post(url).status_code == 401
    assert session.post(url, headers={"Origin": "http://example.org"}).status_code == 403
    assert session.post(url, headers={"Host": "example.org"}).status_code == 403
    assert session.get(url).status_code == 405
    assert session.post(url + "/other").status_code == 404


def test_large_bodies_are_not_read(endpoint: Endpoint) -> None:
    """A length beyond all limits is refused before a byte of it is read."""
    site = where(endpoint, "PLAIN")
    with socket.create_connection((site.host, site.port)) as client:
        client.sendall(b"POST /wsman HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 413")


def test_a_silent_client_does_not_stop_tls(endpoint: Endpoint) -> None:
    """The handshake is not made where connections are accepted."""
    site = where(endpoint, "TLS")
    with socket.create_connection((site.host, site.port)):
        assert who(connect(endpoint, site)) == "LAB\\admin"


def test_document_types_are_refused(endpoint: Endpoint) -> None:
    """No entities, hence none to expand."""
    url = where(endpoint, "OPEN").url
    token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    answer = requests.post(
        url,
        data=b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        headers={"Authorization": f"Basic {token}"},
        proxies={"http": ""},
    )
    assert answer.status_code == 500
    assert 'Code="2150858819"' in answer.text


def test_identify_needs_no_authentication(endpoint: Endpoint) -> None:
    """As scanners ask it."""
    answer = requests.post(
        where(endpoint, "PLAIN").url,
        data=IDENTIFY,
        headers={"WSMANIDENTIFY": "unauthenticated"},
        proxies={"http": ""},
    )
    assert answer.status_code == 200
    assert "IdentifyResponse" in answer.text


def test_config(endpoint: Endpoint) -> None:
    """Get of the service's configuration tells the quotas, and pypsrp takes its envelope from there."""
    endpoint.add(Site("CONFIG", run_script, limits=Limits(max_envelope_kb=150, max_shells_per_user=5)))
    with connect(endpoint, where(endpoint, "CONFIG"), max_envelope_size=32768) as client:
        client.update_max_payload_size()
        assert client.max_envelope_size == 150 * 1024
        config = client.get_server_config("config/winrs")
        found = [element.text for element in config.iter() if element.tag.endswith("MaxShellsPerUser")]
        assert found == ["5"]
    endpoint.remove("CONFIG")


def test_counters(endpoint: Endpoint) -> None:
    """Requests by action, bytes both ways, shells, authentication; and back to nothing."""
    counters = endpoint.counters("PLAIN")
    counters.reset()
    with connect(endpoint, where(endpoint, "PLAIN")) as client, RunspacePool(client) as pool:
        run(pool, "blocks", n=1)
        assert counters.shells_open == 1
        assert [shell.owner for shell in endpoint.shells("PLAIN")] == ["LAB\\admin"]
    assert counters.shells_open == 0
    assert counters.shells_created == 1
    assert counters.auth_successes == {"LAB\\admin": 1}
    assert counters.actions["Create"] == counters.actions["Delete"] == counters.actions["Command"] == 1
    assert counters.requests == sum(counters.actions.values())
    assert counters.bytes_out > 256 * 1024
    counters.reset()
    assert (counters.requests, counters.bytes_in, counters.bytes_out) == (0, 0, 0)


def test_nothing_is_left_behind() -> None:
    """No setting in the environment, no accounts, no listener; and two endpoints live side by side."""
    first, second = Endpoint(USER, "one"), Endpoint(USER, "two")
    sites = [first.add(Site("A", run_script)), second.add(Site("A", run_script))]
    folder = first._users.folder
    accounts = folder / "users"
    assert accounts.stat().st_mode & 0o777 == 0o600
    assert "one" not in accounts.read_text()
    assert who(connect(first, sites[0], password="one")) == who(connect(second, sites[1], password="two"))
    with pytest.raises(AuthenticationError):
        who(connect(second, sites[1], password="one"))
    first.stop()
    second.stop()
    assert not Path(folder).exists()
    assert "NTLM_USER_FILE" not in os.environ
    with pytest.raises(OSError):
        socket.create_connection((sites[0].host, sites[0].port), timeout=1)


def test_latency_and_bandwidth() -> None:
    """A slow wire costs its round trips and its width."""
    with Endpoint(USER, PASSWORD, latency_s=0.05) as endpoint:
        far = endpoint.add(Site("FAR", run_script))
        thin = endpoint.add(Site("THIN", run_script, latency_s=0.0, bandwidth_bps=8 * 1024 * 1024))
        begun = time.monotonic()
        who(connect(endpoint, far))
        assert time.monotonic() - begun >= 0.05 * endpoint.counters("FAR").exchanges
        with connect(endpoint, thin) as client, RunspacePool(client) as pool:
            begun = time.monotonic()
            run(pool, "blocks", n=2)  # 0.5 MiB, 0.9 in base64 twice, at 1 MiB/s
            assert 0.7 < time.monotonic() - begun < 2.5
