"""The ports of the API as the master takes them."""

import socket
from contextlib import closing

import pytest

from registry.errors import ConfigError
from serving.access.checks import refuse_same_port
from serving.job import ServeJob
from serving.server import ports


def bound(port, **options):
    found = socket.socket()
    for name, value in options.items():
        found.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
    try:
        found.bind(("127.0.0.1", port))
        found.listen()
    except OSError:
        found.close()
        return None
    return found


def test_a_kept_port_is_shared_with_own_processes_and_with_nobody_else():
    with closing(ports.keep_for_grpc(ServeJob("m", grpc_port=0))) as kept:
        port = kept.getsockname()[1]
        with closing(bound(port, SO_REUSEPORT=1)), closing(bound(port, SO_REUSEPORT=1)):
            assert bound(port, SO_REUSEADDR=1) is None
        assert bound(port, SO_REUSEADDR=1) is None, "also while no server process listens"
        with pytest.raises(ConfigError, match=f"port {port} is in use"):
            ports.keep_for_grpc(ServeJob("m", grpc_port=port))
    with closing(ports.keep_for_grpc(ServeJob("m", grpc_port=port))):
        pass


def test_an_address_of_another_machine_is_reported_with_both_settings():
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1:9000") as caught:
        ports.keep_for_grpc(ServeJob("m", host="192.0.2.1", grpc_port=9000))
    assert caught.value.hint == "set [serving] host and grpc_port"


def test_what_is_not_installed_is_named_with_the_way_to_get_it(monkeypatch):
    ports.refuse_without_grpc()
    monkeypatch.setattr(ports, "GRPC_PACKAGES", {"no_such_module": "grpcio", "no_such_package.module": "protobuf"})
    with pytest.raises(ConfigError, match="grpcio and protobuf not installed") as caught:
        ports.refuse_without_grpc()
    assert 'pip install "trainyard[grpc]"' in caught.value.hint


@pytest.mark.parametrize(("taken", "name"), [({"port": 9000}, "port"), ({"admin_port": 9000}, "admin_port")])
def test_a_port_that_two_settings_name_is_refused(taken, name):
    with pytest.raises(ConfigError, match=f"grpc_port: 9000 is {name} already"):
        refuse_same_port(ServeJob("m", grpc_port=9000, **taken))
    refuse_same_port(ServeJob("m", port=0))
