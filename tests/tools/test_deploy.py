"""The files for systemd, Docker and sysctl fit the program they are for."""

import argparse
import ast
import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from api.guard import OPEN_PATHS
from tools import config, document

PROJECT = Path(__file__).parents[2]
DEPLOY = PROJECT / "tools" / "deploy"
UNIT = (DEPLOY / "nasfeed.service").read_text()
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
README = (DEPLOY / "README.md").read_text()


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # as the library documents
    parser.read_string(UNIT)
    return parser


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile, comments and line ends taken away."""
    lines = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(" ", 1)) for line in lines.splitlines() if line]  # type: ignore[misc]  # two words each


def values_of(name: str) -> list[str]:
    return [value for instruction, value in instructions() if instruction == name]


def serve_arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    config.add_serve_options(parser)
    return parser.parse_args(words)


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze here")
    copy = tmp_path / "nasfeed.service"
    copy.write_text(UNIT.replace("/opt/nasfeed/bin/nasfeed", sys.executable))
    done = subprocess.run(
        [analyze, "verify", str(copy)], check=False, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_starts_a_server() -> None:
    program, command, *words = shlex.split(unit()["Service"]["ExecStart"])
    assert (program, command) == ("/opt/nasfeed/bin/nasfeed", "serve")
    assert serve_arguments(words).config == "/etc/nasfeed/server.yaml"


def test_the_unit_lets_it_read_all_and_write_its_state_only() -> None:
    service = unit()["Service"]
    assert service["ProtectSystem"] == "strict"
    assert service["ProtectHome"] == "read-only"
    assert service["StateDirectory"] == "nasfeed"
    assert service["CapabilityBoundingSet"] == "CAP_DAC_READ_SEARCH"
    assert service["NoNewPrivileges"] == "yes"
    assert int(service["LimitNOFILE"]) >= 2 * document.LimitsSection().connections
    assert "ReadWritePaths" not in service


def test_the_unit_lets_workers_lock_themselves_in() -> None:
    """Without Landlock they would still work, but less safely, and nobody would notice."""
    for call in ("create_ruleset", "add_rule", "restrict_self"):
        assert f"landlock_{call}" in unit()["Service"]["SystemCallFilter"]


def test_the_image_holds_every_package_and_what_is_copied_exists() -> None:
    project = [value for value in values_of("COPY") if not value.startswith("--from")]
    sources = [source for value in project for source in value.split()[:-1]]
    assert {"eventlog", "projections", "watcher", "api", "tools"} <= set(sources)
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    for source in sources:
        assert (PROJECT / source).exists(), source
        assert f"!{source}" in ignored


def test_the_image_runs_without_root_and_serves_by_default() -> None:
    assert not values_of("USER")[-1].startswith(("root", "0"))
    assert json.loads(values_of("ENTRYPOINT")[0]) == ["nasfeed"]
    command, *words = json.loads(values_of("CMD")[0])
    assert command == "serve"
    assert serve_arguments(words).config is None
    assert config.DEFAULT_FILE.startswith(f"{values_of('VOLUME')[0]}/")
    assert values_of("EXPOSE") == [str(config.DEFAULT_PORT)]


def test_the_health_check_needs_no_token() -> None:
    check = values_of("HEALTHCHECK")[0].partition("CMD ")[2]
    program, option, code = json.loads(check)
    assert (program, option) == ("python", "-c")
    ast.parse(code)
    [path] = re.findall(rf"http://127\.0\.0\.1:{config.DEFAULT_PORT}(/[a-z/]+)", code)
    assert path.encode() in OPEN_PATHS


def test_the_images_python_is_new_enough() -> None:
    for value in values_of("FROM"):
        version = re.findall(r"python:3\.(\d+)-slim", value)
        assert int(version[0]) >= 11, value


def test_the_kernel_knows_every_setting() -> None:
    settings = (DEPLOY / "60-nasfeed.conf").read_text()
    names = re.findall(r"^([a-z_.]+) = \d+$", settings, re.MULTILINE)
    assert len(names) == 3
    for name in names:
        assert Path("/proc/sys", *name.split(".")).exists(), name


def test_the_example_configuration_is_read() -> None:
    example = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)[0]
    assert document.parse(example, "README.md").watches


def test_every_file_is_explained() -> None:
    for file in DEPLOY.iterdir():
        if file.name not in {"README.md", "Dockerfile.dockerignore"}:
            assert f"tools/deploy/{file.name}" in README


def test_every_metric_that_is_named_exists() -> None:
    code = "".join((PROJECT / file).read_text() for file in ("tools/gauges.py", "api/metering.py"))
    named = set(re.findall(r"nasfeed_[a-z_]+", README))
    assert len(named) > 5
    for name in named:
        assert f'"{name.removesuffix("_total")}"' in code
