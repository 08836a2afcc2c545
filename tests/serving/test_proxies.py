"""What a proxy says about the client counts when it is a trusted one, and from nobody else."""

import pytest

from serving.proxies import MOST_IN_A_ROW, Networks, TrustedProxies

PROXY, CLIENT, STRANGER = "10.0.0.7", "203.0.113.9", "198.51.100.1"
SAID = {
    "HTTP_X_FORWARDED_FOR": CLIENT,
    "HTTP_X_FORWARDED_PROTO": "https",
    "HTTP_X_FORWARDED_HOST": "models.example.org",
    "HTTP_X_FORWARDED_PREFIX": "/digits",
}


def seen(trusted, peer, **headers):
    """The environment in which the app is called."""
    found = {}
    app = TrustedProxies(lambda environ, _: found.update(environ) or [], Networks(trusted))
    environ = {"REMOTE_ADDR": peer, "wsgi.url_scheme": "http", "HTTP_HOST": "internal", "SCRIPT_NAME": ""}
    app({**environ, "PATH_INFO": "/predict", **headers}, lambda *_: None)
    return found


@pytest.mark.parametrize("trusted", [[PROXY], ["10.0.0.0/8"], ["::1", "10.0.0.0/24"]])
def test_a_trusted_proxy_says_who_the_client_is_and_what_it_asked_for(trusted):
    found = seen(trusted, PROXY, **SAID)
    assert (found["REMOTE_ADDR"], found["wsgi.url_scheme"], found["HTTP_HOST"]) == (
        CLIENT,
        "https",
        SAID["HTTP_X_FORWARDED_HOST"],
    )
    assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("/digits", "/predict")


@pytest.mark.parametrize("peer", [STRANGER, "10.1.0.1", "", "not an address"])
def test_nobody_else_does(peer):
    found = seen(["10.0.0.0/24"], peer, **SAID)
    assert (found["REMOTE_ADDR"], found["wsgi.url_scheme"], found["HTTP_HOST"]) == (peer, "http", "internal")
    assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("", "/predict")


def test_what_a_client_wrote_itself_before_the_proxy_does_not_count():
    assert seen([PROXY], PROXY, HTTP_X_FORWARDED_FOR=f"127.0.0.1, {CLIENT}")["REMOTE_ADDR"] == CLIENT


def test_several_trusted_proxies_in_a_row_are_seen_through():
    chain = f"{STRANGER}, {CLIENT}, 10.0.0.1, 10.0.0.2"
    assert seen(["10.0.0.0/24"], PROXY, HTTP_X_FORWARDED_FOR=chain)["REMOTE_ADDR"] == CLIENT
    assert seen(["10.0.0.0/24"], PROXY, HTTP_X_FORWARDED_FOR="10.0.0.1, 10.0.0.2")["REMOTE_ADDR"] == "10.0.0.1"
    endless = ", ".join(["10.0.0.1"] * (3 * MOST_IN_A_ROW))
    assert seen(["10.0.0.0/24"], PROXY, HTTP_X_FORWARDED_FOR=endless)["REMOTE_ADDR"] == "10.0.0.1"


def test_ten_proxies_in_a_row_are_seen_through_and_no_more():
    chain = [f"10.0.0.{number}" for number in range(1, 13)]
    assert seen(["10.0.0.0/24"], PROXY, HTTP_X_FORWARDED_FOR=", ".join(chain))["REMOTE_ADDR"] == chain[-10]
    assert seen(["10.0.0.0/24"], PROXY, HTTP_X_FORWARDED_FOR=", ".join(chain[-10:]))["REMOTE_ADDR"] == chain[-10]
    assert seen(["10.0.0.0/24"], PROXY, HTTP_X_FORWARDED_FOR=", ".join(chain[-9:]))["REMOTE_ADDR"] == chain[-9]


def test_an_ipv4_client_of_a_socket_for_both_families_is_known_by_its_ipv4_address():
    assert "::ffff:10.0.0.7" in Networks([PROXY])
    assert "fe80::1%eth0" in Networks(["fe80::/10"])


def test_links_on_the_first_page_lead_through_the_proxy(clients):
    client = clients("digits", trusted_proxies=[PROXY])
    lead = {
        peer: client.get("/", environ_overrides={**SAID, "REMOTE_ADDR": peer}).json["curl"][0]
        for peer in (PROXY, STRANGER)
    }
    assert "https://models.example.org/digits/predict" in lead[PROXY]
    assert "models.example.org" not in lead[STRANGER]


def test_a_prefix_cannot_smuggle_a_command_into_the_curl_line(clients):
    said = {**SAID, "HTTP_X_FORWARDED_PREFIX": "/x$(reboot)", "REMOTE_ADDR": PROXY}
    page = clients("digits", trusted_proxies=[PROXY]).get("/", environ_overrides=said)
    assert "reboot" not in page.text
