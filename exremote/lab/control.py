"""The lab's control channel: JSON over HTTP on loopback, for whoever has the token.

It changes the lab's world, never the host that the lab runs on. `client.py` has the other end.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from exremote.lab import losing, security
from exremote.lab.breaking import break_host, trouble_service
from exremote.lab.files import Generated, Lying, Sparse
from exremote.lab.machine import SERVICES, Disk, Machine, ticks
from exremote.lab.ntbackup import end_job, settle
from exremote.lab.registry import Kind
from exremote.lab.site import Bulk, add_bulk
from exremote.lab.tasks import set_task
from exremote.lab.wine import Prefix
from exremote.lab.world import World

_MOST = 256 * 1024 * 1024


def edit(machine: Machine, prefix: Prefix | None, op: str, args: Mapping[str, Any]) -> object:
    """Change one thing of a machine, and of the Wine prefix that plays it. Return what there is to say.

    Raise ValueError for an unknown change, KeyError for a missing argument or an unknown service.
    """
    files = machine.files
    with machine.lock:
        match op:
            case "write_file":
                content: bytes | Generated | Sparse
                if "sha256" in args:
                    content = Sparse(int(args["size"]), bytes.fromhex(args["sha256"]))
                elif "size" in args:
                    content = Generated(
                        int(args["size"]), int(args.get("seed", 1)), bool(args.get("text", False))
                    )
                else:
                    content = base64.b64decode(args["data"])
                modified = args.get("modified") or ticks(machine.now())
                node = files.write(args["path"], content, modified=modified)
                node.attributes = int(args.get("attributes", node.attributes))
                if prefix:
                    prefix.write_file(args["path"])
            case "read_file":
                return base64.b64encode(b"".join(files.find(args["path"]).content.chunks())).decode()  # type: ignore[union-attr]
            case "list":
                _simulated(prefix, op)
                there = files.get(args["path"])
                return [child.name for child in there.children.values()] if there is not None else []
            case "make_directory":
                files.make_directory(args["path"])
                if prefix:
                    prefix.write_file(args["path"])
            case "remove_file":
                files.remove(args["path"])
                if prefix:
                    prefix.remove_file(args["path"])
            case "lock_file":
                locked, shared = bool(args.get("locked", True)), bool(args.get("shared", False))
                node = files.find(args["path"])
                node.locked, node.pinned = locked and not shared, locked and shared
                if prefix and not locked:
                    raise ValueError("under Wine a lock stays")
                if prefix:
                    prefix.lock_file(args["path"], shared)
            case "change_while_read":
                _simulated(prefix, op)
                files.find(args["path"]).changing = int(args.get("times", 1))
            case "vanish":
                _simulated(prefix, op)
                files.find(args["path"]).vanishing = 1 + int(args.get("after", 0))
            case "lie":
                _simulated(prefix, op)
                node = files.find(args["path"])
                if node.content is not None:
                    node.content = Lying(node.content)
            case "close_folder":
                _simulated(prefix, op)
                node = files.find(args["path"])
                node.closing, node.closed = bool(args.get("closing", True)), False
            case "spoil_writes":
                _simulated(prefix, op)
                machine.spoils = int(args["files"])
            case "deny":
                _simulated(prefix, op)
                _deny(machine, args["path"], bool(args.get("denied", True)))
            case "bulk":
                if prefix:
                    raise ValueError("under Wine ask for bulk when the lab starts")
                add_bulk(machine, Bulk(**args))
            case "set_security":
                _simulated(prefix, op)
                node = files.find(args["path"])
                node.security, node.strayed = args["list"], bool(args.get("strayed", False))
            case "hold_list":
                _simulated(prefix, op)
                hold = machine.held_lists.add if args["held"] else machine.held_lists.discard
                hold(args["path"].lower())
            case "security":
                _simulated(prefix, op)
                return security.seen(files, args["path"])
            case "set_service":
                machine.set_service(args["name"], args["state"])
                service = machine.services[args["name"].lower()]
                service.stop_delay_s = float(args.get("stop_delay_s", service.stop_delay_s))
                if prefix:
                    # Under Wine no service drags another along.
                    for name in (service.name, *(service.drags if args["state"] == "Stopped" else ())):
                        prefix.set_service(name, args["state"])
            case "trouble_service":
                trouble_service(machine, prefix, **args)
            case "set_program":
                _simulated(prefix, op)
                _set_program(machine, args["name"], bool(args["runs"]))
            case "set_task":
                _simulated(prefix, op)
                set_task(machine, **args)
            case "tasks":
                _simulated(prefix, op)
                return sorted(machine.tasks)
            case "end_job":
                _simulated(prefix, op)
                end_job(machine)
            case "unplug_share":
                _simulated(prefix, op)
                settle(machine)
                machine.unplug_share(args["name"], bool(args["away"]))
            case "filter_wmi":
                _simulated(prefix, op)
                machine.behind[args["host"].lower()].wmi = not args["filtered"]
            case "run_guards":
                _simulated(prefix, op)
                machine.run_guards(float("inf"))
            case "add_service":
                _simulated(prefix, op)
                machine.add_service(args["name"], args["title"], args["image"])
            case "remove_service":
                _simulated(prefix, op)
                machine.services.pop(args["name"].lower())
                machine.registry.remove(rf"{SERVICES}\{args['name']}")
            case "set_registry":
                kind = Kind[args["kind"]] if args.get("kind") else None
                data = args["data"]
                if kind is Kind.Binary:
                    data = base64.b64decode(data)
                machine.registry.set(
                    args["key"], args.get("name", ""), tuple(data) if isinstance(data, list) else data, kind
                )
                if prefix:
                    prefix.set_registry(args["key"])
            case "remove_registry":
                _simulated(prefix, op)
                machine.registry.remove(args["key"], args.get("name"))
            case "set_clock":
                _simulated(prefix, op)
                machine.clock_offset_s = float(args["offset_s"])
            case "set_disk":
                _simulated(prefix, op)
                machine.disks = [
                    Disk(disk.root, disk.total, int(args["free"])) if disk.root == args["root"] else disk
                    for disk in machine.disks
                ]
            case "set":
                _simulated(prefix, op)
                if args["name"] not in (
                    "directory_available",
                    "event_log_available",
                    "administrator",
                    "foreign_ntbackup",
                ):
                    raise ValueError(f"{args['name']} is not to be set")
                setattr(machine, args["name"], bool(args["value"]))
            case _:
                raise ValueError(f"no change is called {op}")
    return None


def _simulated(prefix: Prefix | None, op: str) -> None:
    if prefix is not None:
        raise ValueError(f"{op} is not to be had under Wine")


def _set_program(machine: Machine, name: str, runs: bool) -> None:
    """Let a program run beside the services' own, or end it: one of a service's own does not come again."""
    if runs:
        machine.programs.add(name)
        return
    machine.programs = {one for one in machine.programs if one.lower() != name.lower()}
    for service, children in machine.children.items():
        machine.children[service] = tuple(one for one in children if one.lower() != name.lower())


def _deny(machine: Machine, path: str, denied: bool) -> None:
    if path.upper().startswith("HK"):
        # What was denied cannot be found, only made: making what is there changes nothing.
        key = machine.registry.find(path) if denied else machine.registry.make(path)
        if key is None:
            raise KeyError(path)
        key.denied = denied
    else:
        machine.files.find(path).denied = denied


def _options(question: Mapping[str, Any]) -> dict[str, Any]:
    return dict(question.get("options") or {})


class Control:
    """The server of the channel."""

    def __init__(self, world: World) -> None:
        """Listen on a free port of 127.0.0.1."""
        self.world = world
        self.token = secrets.token_urlsafe(18)
        self.ended = threading.Event()
        """Set when somebody asks the lab to end."""
        control = self

        class Handler(BaseHTTPRequestHandler):
            """One request."""

            def do_POST(self) -> None:
                """Answer one question."""
                size = int(self.headers.get("Content-Length", 0))
                if (
                    not secrets.compare_digest(self.headers.get("X-Lab-Token", ""), control.token)
                    or size > _MOST
                ):
                    self.send_error(403)
                    return
                try:
                    answer: dict[str, object] = {"result": control.perform(json.loads(self.rfile.read(size)))}
                except ValueError as error:  # ours: a fault, a change or a host that cannot be
                    answer = {"error": str(error)}
                except KeyError as error:
                    answer = {"error": f"the lab has no {error.args[0]}, or it is down"}
                except Exception as error:  # whatever it is, the other end has to hear it
                    answer = {"error": f"{type(error).__name__}: {error}"}
                data = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        # By default it looks every half second whether it is to end, and each end takes as long.
        threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="lab control", daemon=True
        ).start()

    def perform(self, question: Mapping[str, Any]) -> object:
        """Do what a question asks. Return the answer. Raise whatever is wrong with it."""
        world = self.world
        name = str(question.get("host", "")).upper()
        match question["do"]:
            case "hosts":
                return {
                    key: {
                        "port": host.port,
                        "down": host.machine is None,
                        "connectors": list(host.spec.connectors),
                        "machine": "" if host.machine is None else host.machine.name,
                        "away": host.away,
                        "lost": host.loss is not None and not host.loss.moved,
                        "original_port": host.port if host.loss is None else host.loss.port,
                    }
                    for key, host in world.hosts.items()
                }
            case "counters":
                return world.counters(name)
            case "reset_counters":
                world.endpoint.counters(world.listener(name)).reset()
            case "shells":
                return world.shells(name)
            case "drop_shell":
                return world.endpoint.drop_shell(world.listener(name), question["shell_id"])
            case "set_limits":
                world.set_limits(name, question["limits"])
            case "set_line":
                world.endpoint.set_line(
                    world.listener(name),
                    float(question.get("latency_s", 0.0)),
                    question.get("bandwidth_bps"),
                )
            case "fault":
                return world.fault(question["text"])
            case "faults":
                return [
                    {"text": str(fault), "seen": fault.seen, "struck": fault.struck}
                    for fault in world.schedule.all()
                ]
            case "clear_faults":
                return world.clear_faults(name)
            case "break":
                machine = world.machine(name)
                with machine.lock:
                    return break_host(machine, world.hosts[name].prefix)
            case "replace":
                return losing.replace_machine(world, name, **_options(question))
            case "act":
                return losing.act(world, name, str(question["what"]), _options(question))
            case "lost":
                return losing.lost(world, name, bool(question.get("now")))
            case "revive":
                return losing.revive(world, name, bool(question.get("off")))
            case "edit":
                prefix = world.hosts[name].prefix
                return edit(world.machine(name), prefix, question["op"], question.get("args", {}))
            case "end":
                self.ended.set()
            case other:
                raise ValueError(f"the lab cannot {other}")
        return None

    def close(self) -> None:
        """End the channel."""
        self._server.shutdown()
        self._server.server_close()
