"""Whether a request is answered, as pure rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.access.policy import Asked, Rules, decide, host_name, too_many
from serving.access.tokens import Token

ORIGIN = "https://shop.example"
HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
TOKENS = {
    "good": Token("shop", ("predict",), "1" * 64, "2026-01-01T00:00:00Z"),
    "labels": Token("labels", ("feedback",), "2" * 64, "2026-01-01T00:00:00Z"),
    "all": Token("ops", ("operate", "predict"), "3" * 64, "2026-01-01T00:00:00Z"),
}


def asked(**more):
    return Asked(**{"method": "POST", "path": "/predict", "host": "localhost:8500", "address": "10.1.1.1"} | more)


def status(decision):
    return decision.refused.status if decision.refused else 200


class TestTokens:
    RULES = Rules(role="predict")

    @pytest.mark.parametrize(
        ("authorization", "expected"),
        [
            ("Bearer good", 200),
            ("bearer good", 200),
            ("Bearer  good ", 200),
            ("Bearer all", 200),
            ("Bearer labels", 403),
            ("", 401),
            ("good", 401),
            ("Bearer", 401),
            ("Bearer ", 401),
            ("Basic good", 401),
            ("Bearer good good", 401),
            ("Bearer GOOD", 401),
        ],
    )
    def test_a_token_that_holds_and_has_the_role_is_needed(self, authorization, expected):
        assert status(decide(asked(authorization=authorization), self.RULES, TOKENS.get)) == expected

    def test_without_a_rule_for_tokens_none_is_looked_at(self):
        assert status(decide(asked(authorization="Bearer nonsense"), Rules(), TOKENS.get)) == 200

    def test_a_refusal_says_how_to_ask_and_never_what_was_sent(self):
        for given_ in ("", "Bearer hunter2"):
            refused = decide(asked(authorization=given_), self.RULES, TOKENS.get).refused
            assert dict(refused.headers)["WWW-Authenticate"].startswith("Bearer realm=")
            assert "hunter2" not in f"{refused} {refused.hint} {refused.reason} {refused.headers}"

    def test_a_client_without_a_token_reads_something_else_than_one_whose_token_does_not_hold(self):
        found = {}
        for given_ in ("", "Bearer unknown", "Bearer labels"):
            refused = decide(asked(authorization=given_), self.RULES, TOKENS.get).refused
            found[given_] = str(refused), dict(refused.headers)["WWW-Authenticate"]
        realm = 'Bearer realm="trainyard"'
        assert found == {
            "": ("a token is needed", realm),
            "Bearer unknown": (
                "this token does not hold: it is unknown, revoked or expired",
                f'{realm}, error="invalid_token"',
            ),
            "Bearer labels": (
                "this token does not allow to predict",
                f'{realm}, error="insufficient_scope", scope="predict"',
            ),
        }

    @pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
    def test_health_needs_no_token_no_name_and_counts_for_nobody(self, path):
        decision = decide(asked(path=path, host="10.9.9.9"), Rules(HOSTS, role="predict"), TOKENS.get)
        assert (status(decision), decision.counts_as) == (200, "")

    @pytest.mark.parametrize("path", ["/", "/version", "/nothing", "/health/live/", "/health", "//health/live"])
    def test_all_else_does_also_what_does_not_exist(self, path):
        assert status(decide(asked(path=path), self.RULES, TOKENS.get)) == 401


class TestHosts:
    @pytest.mark.parametrize(
        "host", ["localhost", "LOCALHOST:1", "127.0.0.1:8500", "[::1]:8500", "[::1]", "localhost."]
    )
    def test_its_own_names_are_answered(self, host):
        assert status(decide(asked(host=host), Rules(HOSTS), TOKENS.get)) == 200

    @pytest.mark.parametrize(
        "host", ["evil.example", "evil.example:8500", "", "localhost.evil.example", "127.0.0.1.nip.io"]
    )
    def test_other_names_are_not(self, host):
        assert status(decide(asked(host=host), Rules(HOSTS), TOKENS.get)) == 421

    @pytest.mark.parametrize(
        "host",
        ["localhost:x@evil.example", "localhost/evil", "localhost:80:80", "x@localhost", "[::1]x", "[localhost]"],
    )
    def test_what_is_not_a_name_and_a_port_is_none_of_them(self, host):
        refused = decide(asked(host=host), Rules(HOSTS), TOKENS.get).refused
        assert refused.status == 421
        assert repr(host) in str(refused)

    def test_of_a_long_name_the_beginning_is_shown(self):
        refused = decide(asked(host="a" * 50 + "b" * 51), Rules(HOSTS), TOKENS.get).refused
        assert str(refused) == f"Host: {'a' * 50 + 'b' * 50!r} is not a name of this API"

    @given(st.text())
    def test_whatever_a_host_header_holds_it_has_a_name(self, header):
        assert host_name(header) == host_name(header).lower()


class TestOrigins:
    RULES = Rules(origins=frozenset({ORIGIN}), role="predict")

    def test_a_page_of_an_allowed_origin_may_read_the_answer_also_a_refusal(self):
        for token, expected in (("good", 200), ("none", 401)):
            found = decide(asked(origin=ORIGIN, authorization=f"Bearer {token}"), self.RULES, TOKENS.get)
            assert status(found) == expected
            assert ("Access-Control-Allow-Origin", ORIGIN) in found.headers
            assert ("Vary", "Origin") in found.headers

    @pytest.mark.parametrize(
        "origin", ["", "null", "https://evil.example", ORIGIN + ":8443", ORIGIN.replace("s:", ":"), "*"]
    )
    def test_others_get_no_such_header(self, origin):
        found = decide(asked(origin=origin, authorization="Bearer good"), self.RULES, TOKENS.get)
        assert found.headers == (("Vary", "Origin"),)

    def test_a_preflight_is_answered_without_a_token_that_a_browser_cannot_send(self):
        found = decide(asked(method="OPTIONS", origin=ORIGIN, preflight=True), self.RULES, TOKENS.get)
        assert (found.preflight, found.refused) == (True, None)
        assert "authorization" in dict(found.headers)["Access-Control-Allow-Headers"]

    def test_a_browser_may_remember_the_answer_for_ten_minutes(self):
        found = decide(asked(method="OPTIONS", origin=ORIGIN, preflight=True), self.RULES, TOKENS.get)
        assert dict(found.headers)["Access-Control-Max-Age"] == "600"

    def test_without_origins_no_header_speaks_of_them(self):
        assert decide(asked(origin=ORIGIN), Rules(), TOKENS.get).headers == ()

    def test_a_preflight_of_another_origin_is_refused(self):
        found = decide(asked(method="OPTIONS", origin="https://evil.example", preflight=True), self.RULES, TOKENS.get)
        assert (status(found), found.preflight) == (403, False)

    @given(st.text(), st.booleans(), st.booleans())
    def test_no_answer_ever_allows_every_origin_or_credentials(self, origin, preflight, with_origins):
        rules = Rules(origins=frozenset({ORIGIN}) if with_origins else frozenset())
        headers = decide(asked(origin=origin, preflight=preflight), rules, TOKENS.get).headers
        assert not any(name == "Access-Control-Allow-Credentials" or value == "*" for name, value in headers)


class TestWhoseRequestItIs:
    def test_with_a_token_it_is_the_tokens_and_without_the_addresses(self):
        rules = Rules(role="predict")
        assert decide(asked(authorization="Bearer good"), rules, TOKENS.get).counts_as == f"token {'1' * 64}"
        assert decide(asked(authorization="Bearer wrong"), rules, TOKENS.get).counts_as == "address 10.1.1.1"
        assert decide(asked(authorization="Bearer good"), Rules(), TOKENS.get).counts_as == "address 10.1.1.1"

    @pytest.mark.parametrize(
        ("addresses", "counts_as"),
        [
            (("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"), "address 2001:db8:1:2::"),
            (("10.1.1.1", "::ffff:10.1.1.1"), "address 10.1.1.1"),
            (("::1",), "address ::1"),
            (("unknown",), "address unknown"),
        ],
    )
    def test_a_site_is_one_client_however_many_addresses_of_its_network_it_has(self, addresses, counts_as):
        assert {decide(asked(address=each), Rules(), TOKENS.get).counts_as for each in addresses} == {counts_as}

    @given(st.floats(0.001, 10_000))
    def test_retry_after_is_never_too_early(self, seconds):
        refused = too_many(seconds)
        assert refused.status == 429
        assert int(dict(refused.headers)["Retry-After"]) >= seconds

    @pytest.mark.parametrize(("seconds", "header"), [(0.0, "1"), (0.2, "1"), (0.9, "1"), (1.2, "2"), (2.3, "3")])
    def test_retry_after_is_the_next_whole_second(self, seconds, header):
        assert dict(too_many(seconds).headers)["Retry-After"] == header


@given(
    st.builds(
        Asked,
        st.sampled_from(["GET", "POST", "OPTIONS"]),
        st.text(),
        st.text(),
        st.text(),
        st.text(),
        st.text(),
        st.booleans(),
    ),
    st.builds(
        Rules,
        st.none() | st.frozensets(st.text()),
        st.frozensets(st.text(min_size=1)),
        st.sampled_from([None, "predict", "operate"]),
    ),
)
def test_whoever_has_no_token_gets_nothing_but_health_where_tokens_are_asked_for(request_, rules):
    decision = decide(request_, rules, lambda _token: None)
    if rules.role and not request_.path.startswith("/health/"):
        assert decision.refused or decision.preflight
    if not decision.refused and rules.hosts is not None and not request_.path.startswith("/health/"):
        assert host_name(request_.host) in rules.hosts
