"""The endpoint: several simulated hosts in one process, each a listener on 127.0.0.1.

    endpoint = Endpoint("admin", secrets.token_urlsafe(18))
    ex01 = endpoint.add(Site("EX01", run_script=my_engine))
    ...  # any WinRM client: ex01.host, ex01.port, user `admin`, NTLM with sealing
    endpoint.stop()

It binds to loopback by construction: there is no setting for another address. Ports are free ones, chosen by
the system. Whoever has the password runs what the sites run, as the user of this process.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from exremote.lab.wsman.auth import Users
from exremote.lab.wsman.connection import Connection, Line, Service
from exremote.lab.wsman.site import (
    WINRM_2,
    Counters,
    Hook,
    Limits,
    Misfortune,
    RequestInfo,
    ShellInfo,
    Site,
)
from exremote.lab.wsman.tls import Certificate, self_signed

__all__ = [
    "WINRM_2",
    "Counters",
    "Endpoint",
    "Hook",
    "Limits",
    "Listening",
    "Misfortune",
    "RequestInfo",
    "ShellInfo",
    "Site",
]

_HOST = "127.0.0.1"
_JANITOR_S = 0.2
_MAX_CONNECTIONS = 256


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a site is reached."""

    name: str
    host: str
    port: int
    scheme: str

    @property
    def url(self) -> str:
        """The address as clients write it."""
        return f"{self.scheme}://{self.host}:{self.port}/wsman"


def _bound(port: int) -> socket.socket:
    """Return a socket that has a port and listens to nobody."""
    holder = socket.socket()
    if os.name != "nt":
        # As create_server does: connections that have just ended leave the port in use for a while.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((_HOST, port))
    return holder


class _Listener:
    """One listening socket, its site and its connections."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._socket = socket.create_server((_HOST, 0), backlog=64)
        self._connections: set[Connection] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._holder: socket.socket | None = None
        self.where = Listening(
            service.site.name, _HOST, self._socket.getsockname()[1], "https" if service.site.https else "http"
        )
        self._listen()

    def close(self) -> None:
        """End the listener, its connections and its shells."""
        self.refuse()
        self._let_go()
        self.service.verbs.close()

    def refuse(self, hold: bool = False) -> None:
        """Refuse connections from now on; end those that are there, then all shells. May be called twice.

        `hold`: nobody else gets the port, however long that is.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            connections = list(self._connections)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes accept
        self._socket.close()
        for connection in connections:
            connection.close()
        self.service.verbs.restart()
        if hold:
            self._holder = _bound(self.where.port)

    def accept(self) -> None:
        """Take connections again, on the same port. Does nothing if it does so already. Raise OSError."""
        with self._lock:
            if not self._closed:
                return
            self._let_go()
            self._socket = socket.create_server((_HOST, self.where.port), backlog=64)
            self._closed = False
        self._listen()

    def _let_go(self) -> None:
        if self._holder is not None:
            self._holder.close()
            self._holder = None

    def _listen(self) -> None:
        name = f"wsman {self.service.site.name}"
        threading.Thread(target=self._accept, args=(self._socket,), name=name, daemon=True).start()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                sock, address = listening.accept()
            except OSError:
                return
            connection = Connection(sock, str(address[0]), self.service)
            with self._lock:
                if self._closed or len(self._connections) >= _MAX_CONNECTIONS:
                    sock.close()
                    continue
                self._connections.add(connection)
            threading.Thread(
                target=self._serve, args=(connection,), name="wsman connection", daemon=True
            ).start()

    def _serve(self, connection: Connection) -> None:
        try:
            connection.serve()
        finally:
            with self._lock:
                self._connections.discard(connection)


class Endpoint:
    """A set of sites with one set of accounts."""

    def __init__(
        self,
        user: str,
        password: str,
        domain: str = "LAB",
        certificate: Certificate | None = None,
        latency_s: float = 0.0,
        bandwidth_bps: int | None = None,
        users: Mapping[str, str] | None = None,
    ) -> None:
        """Given an account, be ready for sites.

        `certificate`: for https; one is made if it is needed and missing. `latency_s`: seconds added to each
        exchange. `bandwidth_bps`: bits per second, each way, for each site. `users`: more accounts, name to
        password.
        """
        self.user = user
        self.domain = domain
        self._users = Users(domain)
        self._users.add(user, password)
        for name, secret in (users or {}).items():
            self._users.add(name, secret)
        self._certificate = certificate
        self._latency_s = latency_s
        self._bandwidth_bps = bandwidth_bps
        self._listeners: dict[str, _Listener] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        threading.Thread(target=self._keep_house, name="wsman janitor", daemon=True).start()

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def certificate(self) -> Certificate:
        """The certificate of the https sites."""
        with self._lock:
            if self._certificate is None:
                self._certificate = self_signed()
            return self._certificate

    @property
    def certificate_path(self) -> Path:
        """A file with that certificate in PEM, for clients to trust. It is removed by `stop`."""
        path = self._users.folder / "certificate.pem"
        path.write_bytes(self.certificate.pem)
        return path

    def add(self, site: Site) -> Listening:
        """Listen for one more host. Return where. Raise ValueError if there is one of that name."""
        if site.name in self._listeners:
            raise ValueError(f"there is a site {site.name} already")
        certificate = self.certificate if site.https else None
        line = Line(
            self._latency_s if site.latency_s is None else site.latency_s,
            self._bandwidth_bps if site.bandwidth_bps is None else site.bandwidth_bps,
        )
        service = Service(
            site,
            self._users,
            certificate.server_context(self._users.folder) if certificate else None,
            certificate.channel_binding if certificate else None,
            line,
        )
        listener = self._listeners[site.name] = _Listener(service)
        return listener.where

    def refuse(self, name: str, hold: bool = False) -> None:
        """Have a host refuse connections, as one that is down; its shells are gone. Raise KeyError.

        `hold`: its port stays its own meanwhile.
        """
        self._listeners[name].refuse(hold)

    def play(self, name: str, site: Site) -> None:
        """Have something else answer at a host's address. Its quotas and its wire stay. Raise KeyError."""
        here = self._service(name).site
        here.run_script, here.run_command = site.run_script, site.run_command
        here.relay, here.relay_environment = site.relay, site.relay_environment

    def accept(self, name: str) -> None:
        """Have it take connections again, on the same port. Raise KeyError."""
        self._listeners[name].accept()

    def remove(self, name: str) -> None:
        """End one host: its listener, connections and shells. Raise KeyError."""
        self._listeners.pop(name).close()

    def counters(self, name: str) -> Counters:
        """Return the counters of a site. Raise KeyError."""
        return self._service(name).counters

    def shells(self, name: str) -> list[ShellInfo]:
        """Return the shells of a site, the oldest first. Raise KeyError."""
        return self._service(name).verbs.info()

    def drop_shell(self, name: str, shell_id: str) -> bool:
        """Have a shell die. Return whether it was there. Raise KeyError for an unknown site."""
        return self._service(name).verbs.drop(shell_id)

    def set_limits(self, name: str, limits: Limits) -> None:
        """Change the quotas of a site. Open shells keep their idle time-out, queue and fragment size."""
        self._service(name).site.limits = limits

    def set_hook(self, name: str, hook: Hook | None) -> None:
        """Change what goes wrong on a site. Raise KeyError."""
        self._service(name).site.hook = hook

    def set_line(self, name: str, latency_s: float = 0.0, bandwidth_bps: int | None = None) -> None:
        """Change the wire to a site: seconds an exchange, bits per second each way. Raise KeyError."""
        self._service(name).line = Line(latency_s, bandwidth_bps)

    def stop(self) -> None:
        """End all listeners, connections, shells and child processes; remove the file of accounts."""
        self._stopped.set()
        for name in list(self._listeners):
            with contextlib.suppress(KeyError):
                self.remove(name)
        self._users.close()

    def _service(self, name: str) -> Service:
        return self._listeners[name].service

    def _keep_house(self) -> None:
        while not self._stopped.wait(_JANITOR_S):
            for listener in list(self._listeners.values()):
                listener.service.verbs.expire()
