"""One host that cannot be asked refuses no other: a gateway, a secret or a certificate that is not there."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from conftest import Cli, World

pytestmark = pytest.mark.not_under_wine("apart")


GOOD = "EXNOTES01"
BAD = {
    "secret": (
        "credential = { environment = 'NOWHERE_SET', username = 'DOM\\svc' }".replace("'DOM\\svc'", "'svc'"),
        "NOWHERE_SET is not set",
    ),
    "prompt": ("credential = { prompt = true, username = 'svc' }", "there is no terminal to ask at"),
    "keyring": ("credential = { keyring = 'exremote-lab', username = 'svc' }", "keyring"),
    "verify": ("scheme = 'https'\nverify = 'nope.pem'", "there is no file"),
    "no certificate": ("scheme = 'https'\nverify = 'site.toml'", "holds no certificate"),
}


@pytest.fixture
def mixed(cli: Cli) -> Cli:
    """Return a site with a good host; `EXGW01` gets what a test wants."""
    cli.more["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"
    cli.init()
    return cli


def write(cli: Cli, extra: str) -> None:
    cli.inventory(GOOD, "EXGW01", extra={"EXGW01": extra}, top="")
    site = cli.folder / "site.toml"
    site.write_text(site.read_text(encoding="utf-8") + "[gateways.GW01]\n", encoding="utf-8")


@pytest.mark.not_under_wine("time")
@pytest.mark.parametrize("kind", BAD)
def test_one_unusable_host_is_its_own_outcome(mixed: Cli, world: World, kind: str) -> None:
    """3, with the sentence and the place; the other host is saved. Alone it is 2, at once, not asked."""
    extra, said = BAD[kind]
    write(mixed, extra)
    started = time.monotonic()
    ran = mixed("backup", "--json", code=3)
    hosts = {h["host"]: h for h in ran.json["hosts"]}
    assert hosts[GOOD]["state"] == "done"
    assert (hosts["EXGW01"]["state"], hosts["EXGW01"]["exit_code"]) == ("failed", 2)
    assert said in hosts["EXGW01"]["message"]
    assert mixed("health", "--json", code=3).json["hosts"][1]["exit_code"] == 2
    alone = mixed("health", "EXGW01", code=2)
    assert said in alone.out
    assert world.client.counters("EXGW01")["bytes_in"] == 0
    assert time.monotonic() - started < 20
    good, bad = (
        {s["stage"]: s for s in row["stages"]}
        for row in mixed("doctor", GOOD, "EXGW01", "--json", code=3).json["hosts"]
    )
    assert good["authentication"]["verdict"] == "ok"
    assert bad["authentication"]["verdict"] == "skipped"
    (failed,) = [s for s in bad.values() if s["verdict"] == "failed"]
    assert said in failed["sentence"]
    assert failed["fix"]


@pytest.mark.not_under_wine("time")
def test_a_certificate_that_is_not_there_has_file_line_and_key(mixed: Cli) -> None:
    write(mixed, BAD["verify"][0])
    said = mixed("health", "EXGW01", code=2).out
    lines = (mixed.folder / "site.toml").read_text(encoding="utf-8").splitlines()
    line = lines.index("verify = 'nope.pem'") + 1
    assert f"site.toml:{line}: hosts.EXGW01.verify: expected" in said
    assert str(mixed.folder / "nope.pem") in said
    assert "trying again" not in said


@pytest.mark.not_under_wine("time")
def test_the_second_hops_secret_blocks_nothing_but_its_own_finding(mixed: Cli) -> None:
    """The directory is unknown with the remedy; the rest is judged, and saved. The doctor says it early."""
    write(mixed, "api_credential = { environment = 'NW_PASSWORD', username = 'nw' }")
    ran = mixed("health", "EXGW01", "--json")
    (reach,) = [f for f in ran.json["findings"] if f["check"] == "api.reach"]
    assert reach["verdict"] == "unknown"
    assert "NW_PASSWORD is not set" in reach["evidence"]
    assert reach["remedy"] == "Set NW_PASSWORD for this process."
    assert mixed("backup", "--json").json["hosts"][1]["state"] == "done"
    (doctor,) = mixed("doctor", "EXGW01", "--json").json["hosts"]
    stage = next(s for s in doctor["stages"] if s["stage"] == "credential")
    assert stage["verdict"] == "warning"
    assert "api_credential is not to be had: the environment variable NW_PASSWORD" in stage["sentence"]
    assert "api_credential: the environment variable NW_PASSWORD" in mixed("inventory", "check").out


@pytest.mark.not_under_wine("local")
def test_check_looks_into_keyrings_and_files_of_secrets(mixed: Cli, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("user=svc\npassword=hidden-word\n", encoding="utf-8")
    secret.chmod(0o600)
    write(
        mixed, f"credential = {{ file = '{secret}' }}\napi_credential = {{ keyring = 'nw', username = 'u' }}"
    )
    said = mixed("inventory", "check").all
    assert f"EXGW01: credential: {secret}: line 1: expected username=... or password=..." in said
    assert "EXGW01: api_credential: this computer has no keyring" in said
    assert "hidden-word" not in said


@pytest.mark.not_under_wine("local")
def test_the_example_runs_as_it_is(cli: Cli) -> None:
    """What `inventory example` prints is a site: each of its hosts has an outcome of its own."""
    site = cli.folder / "site.toml"
    site.write_text(cli("inventory", "example").out, encoding="utf-8")
    cli.more["EXREMOTE_PASSWORD"] = "not-sent-anywhere"
    said = cli("inventory", "check").out
    assert "EXCH02: it cannot be asked" in said
    text = site.read_text(encoding="utf-8").replace("exch01.example.com", "exch01.invalid")
    site.write_text(text, encoding="utf-8")
    hosts = {h["host"]: h for h in cli("health", "--json", code=3).json["hosts"]}
    assert {name: h["exit_code"] for name, h in hosts.items()} == {"EXCH01": 20, "EXCH02": 2, "OLDEXCH": 2}
    assert (
        "oldexch.credential" in hosts["OLDEXCH"]["message"]
    )  # a secret of its own, which nobody has written yet
    assert json.dumps(hosts)
