"""The message that makes a pipeline is pypsrp's own, byte for byte, and is kept for whoever asks the same."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from pypsrp.powershell import PowerShell, RunspacePool
from pypsrp.wsman import WSMan

from exremote.transport.pipelines import CREATE_PIPELINE, create_pipeline
from exremote.transport.wire import Secret, Value

SCRIPT = "param($Path, $Count)\n'a_x000A_b <&> \U0001f600'"


class Overheard(Exception):
    """What a command would have been started with."""


def pool_of(version: str) -> RunspacePool:
    pool = RunspacePool(
        WSMan("127.0.0.1", encryption="never", ssl=False, auth="basic", username="u", password="p")
    )
    pool.protocol_version = version
    return pool


def made(pool: RunspacePool, script: str, parameters: Mapping[str, Value]) -> PowerShell:
    shell = PowerShell(pool)
    shell.add_script(script, use_local_scope=True)
    for name, value in parameters.items():
        if value is not None:
            shell.add_parameter(name, "sealed" if isinstance(value, Secret) else value)
    return shell


def own(pool: RunspacePool, script: str, parameters: Mapping[str, Value], fed: bool) -> bytes:
    """Return the body that pypsrp's `begin_invoke` hands to its fragmenter."""
    shell = made(pool, script, parameters)
    shell._invoke = lambda msg: (_ for _ in ()).throw(Overheard(msg))  # type: ignore[method-assign]
    with pytest.raises(Overheard) as heard:
        shell.begin_invoke(iter([None]) if fed else None, remote_stream_options=0)
    (fragment,) = pool._fragmenter.fragment(heard.value.args[0], pool.id, shell.id)
    assert int.from_bytes(fragment[21 + 4 : 21 + 8], "little") == CREATE_PIPELINE
    return fragment[21 + 40 :]


@pytest.mark.parametrize("version", ["2.1", "2.2", "2.3"])
@pytest.mark.parametrize("fed", [False, True])
def test_it_is_what_pypsrp_sends(version: str, fed: bool) -> None:
    """The first time and every time; numbers, truths and texts that look alike are told apart."""
    pool = pool_of(version)
    asked: list[Mapping[str, Value]] = [
        {"Path": "C:\\x", "Count": 1},
        {"Path": "C:\\x", "Count": True},
        {"Path": "C:\\x", "Count": "1"},
        {"Path": ["C:\\x", "C:\\y"], "Count": None},
        {"Path": ["C:\\x"]},
        {"Path": "x" * 70_000},
        {},
    ]
    for _ in range(2):
        for parameters in asked:
            body = create_pipeline(made(pool, SCRIPT, parameters), pool, SCRIPT, parameters, fed=fed)
            assert body == own(pool, SCRIPT, parameters, fed)


def test_another_pool_gets_the_same_and_a_secret_is_not_kept() -> None:
    first, second = pool_of("2.3"), pool_of("2.3")
    plain: Mapping[str, Value] = {"Path": "C:\\kept"}
    bodies = [create_pipeline(made(p, SCRIPT, plain), p, SCRIPT, plain, fed=False) for p in (first, second)]
    assert bodies[0] is bodies[1]
    hidden: Mapping[str, Value] = {"Path": "C:\\kept", "Password": Secret("x")}
    bodies = [create_pipeline(made(p, SCRIPT, hidden), p, SCRIPT, hidden, fed=False) for p in (first, second)]
    assert bodies[0] == bodies[1]
    assert bodies[0] is not bodies[1]
