"""Where the API may listen, and which names it has there."""

import pytest

from registry.errors import ConfigError
from serving.access.exposure import accepted_hosts, is_loopback, refuse_exposed
from serving.job import ServeJob


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("api.example", False),
        ("", False),
    ],
)
def test_only_addresses_of_this_machine_are_loopback(host, loopback):
    assert is_loopback(host) is loopback


@pytest.mark.parametrize("name", ["host", "admin_host"])
class TestExposed:
    def test_beyond_loopback_the_api_is_refused(self, name):
        with pytest.raises(ConfigError, match=rf"\[serving\] {name}: 0.0.0.0 can be reached") as refused:
            refuse_exposed(ServeJob("m", **{name: "0.0.0.0"}))
        assert "trainyard token make" in refused.value.hint
        assert "open = true" in refused.value.hint

    @pytest.mark.parametrize("why", [{"auth": "tokens"}, {"open": True}])
    def test_unless_tokens_are_asked_for_or_it_is_open(self, name, why):
        refuse_exposed(ServeJob("m", **{name: "0.0.0.0"}, **why))

    def test_on_loopback_it_is_not(self, name):
        refuse_exposed(ServeJob("m", **{name: "127.0.0.1"}))


class TestHosts:
    def test_on_loopback_only_its_own_names_are_accepted(self):
        assert accepted_hosts(ServeJob("m"), "127.0.0.1") == {"localhost", "127.0.0.1", "::1"}
        assert accepted_hosts(ServeJob("m"), "127.0.0.2") == {"localhost", "127.0.0.1", "::1", "127.0.0.2"}

    def test_elsewhere_and_behind_a_proxy_all_are(self):
        assert accepted_hosts(ServeJob("m"), "10.0.0.1") is None
        assert accepted_hosts(ServeJob("m", trusted_proxies=("127.0.0.1",)), "127.0.0.1") is None

    def test_names_that_are_listed_are_accepted_beside_those_of_loopback(self):
        job = ServeJob("m", allowed_hosts=("API.example",))
        for host in ("127.0.0.1", "10.0.0.1"):
            assert accepted_hosts(job, host) == {"api.example", "localhost", "127.0.0.1", "::1"}
