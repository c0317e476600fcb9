"""The files in ``deploy``: their commands are valid, and their limits match those of the service."""

import re
import shlex
from pathlib import Path

import pytest

from m3e_serve.cli import _parser
from m3e_serve.process.open_files import OTHER_FILES
from m3e_serve.settings import ModelSource, ServeSettings

DEPLOY = Path(__file__).parents[2] / "deploy"


def number(pattern, text):
    return int(re.search(pattern, text, re.MULTILINE)[1])


def test_the_unit_of_systemd():
    unit = (DEPLOY / "m3e-serve.service").read_text(encoding="utf-8")
    _, *arguments = shlex.split(re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)[1])
    options = _parser().parse_args(arguments)
    assert number(r"^TimeoutStopSec=(\d+)$", unit) > options.drain_delay + options.drain_timeout
    assert number(r"^LimitNOFILE=(\d+)$", unit) >= 2 * options.max_connections + OTHER_FILES


def test_the_example_for_kubernetes():
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    deployment, service = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8"))
    pod = deployment["spec"]["template"]
    assert service["spec"]["selector"] == pod["metadata"]["labels"]
    (container,) = pod["spec"]["containers"]
    options = _parser().parse_args(container["args"])
    assert options.drain_delay > container["readinessProbe"]["periodSeconds"]
    assert pod["spec"]["terminationGracePeriodSeconds"] > options.drain_delay + options.drain_timeout
    mounted = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert any(options.api_key_file.startswith(path) for path in mounted)


def test_the_limits_of_the_nginx_example_allow_those_of_the_service():
    settings = ServeSettings(models=(ModelSource("any", DEPLOY),))
    conf = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    assert number(r"^ *client_max_body_size (\d+)m;", conf) << 20 == settings.body_limit
    assert number(r"^ *proxy_read_timeout (\d+)s;", conf) > settings.request_timeout
    assert number(r"^ *proxy_send_timeout (\d+)s;", conf) > settings.receive_timeout
    assert number(r"^ *keepalive_timeout (\d+)s;", conf) < settings.keep_alive
    assert conf.count("{") == conf.count("}")
