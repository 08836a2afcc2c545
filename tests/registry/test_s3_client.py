"""What an object store's errors mean for a person, and that nothing secret gets into a setting."""

import re

import pytest
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from registry.errors import ConfigError, TryAgain
from registry.s3_client import Place, check_endpoint, connect, parse_url, typed_errors
from registry.store_options import Access

PLACE = Place("models", "trainyard", "[registry]")


@pytest.mark.parametrize(
    ("url", "bucket", "prefix"),
    [
        ("s3://models", "models", ""),
        ("s3://models/", "models", ""),
        ("s3://my.models-1/a/b c/ü/", "my.models-1", "a/b c/ü"),
    ],
)
def test_a_url_names_bucket_and_prefix(url, bucket, prefix):
    place = parse_url(url, "[registry]")
    assert (place.bucket, place.prefix) == (bucket, prefix)
    assert place.key("a/b") == (f"{prefix}/a/b" if prefix else "a/b")


@pytest.mark.parametrize(
    "url", ["s3://", "s3:///x", "s3://a", "s3://-models/x", "s3://models/a//b", "s3://models/../x", "s3://models/.store",
            "s3://models/x?versionId=1", "s3://models/x#y", "s3://mod els", "s3://models/a\nb"]
)  # fmt: skip
def test_what_is_no_bucket_and_prefix_is_refused(url):
    with pytest.raises(ConfigError, match=r"\[registry\] url"):
        parse_url(url, "[registry]")


def test_a_secret_in_url_or_endpoint_is_refused_and_not_repeated():
    for check, text in ((parse_url, "s3://me:secret@models/x"), (check_endpoint, "https://me:secret@s3.example.org")):
        with pytest.raises(ConfigError, match="password") as error:
            check(text, "[dataset]")
        assert "secret@" not in f"{error.value} {error.value.hint}"
        assert "[dataset]" in str(error.value)


@pytest.mark.parametrize("endpoint", ["s3.example.org", "ftp://x", "http://x/y", "http://x?y", "http://a b"])
def test_an_endpoint_is_a_scheme_and_a_host(endpoint):
    check_endpoint("", "[registry]")
    check_endpoint("http://127.0.0.1:8333", "[registry]")
    check_endpoint("http://[::1]:8333/", "[registry]")
    with pytest.raises(ConfigError, match=r"\[registry\] endpoint"):
        check_endpoint(endpoint, "[registry]")


def refused(code, status, headers=None, **error):
    facts = {"HTTPStatusCode": status, "HTTPHeaders": {"server": "MyStore/1.0"} | (headers or {})}
    return boto.ClientError({"Error": {"Code": code, **error}, "ResponseMetadata": facts}, "PutObject")


@pytest.mark.parametrize(
    ("error", "kind", "says", "hint"),
    [
        (refused("NoSuchBucket", 404), ConfigError, "MyStore/1.0 answered NoSuchBucket", "create the bucket"),
        (refused("AccessDenied", 403, Message="no\nway"), ConfigError, "no way", "s3:PutObject"),
        (refused("403", 403), ConfigError, "403", "s3:GetObject"),
        (refused("403", 403), ConfigError, "403", "are the credentials right"),
        (refused("403", 403, {"date": "Sat, 21 Nov 2020 10:00:00 GMT"}), ConfigError, "clock", "clock"),
        (refused("403", 403, {"date": "x"}), ConfigError, "403", "credentials"),
        (refused("InternalError", 500), TryAgain, "", r"`sse`"),
        (refused("500", 500), TryAgain, "", "may be full"),
        (refused("NoSuchUpload", 404), TryAgain, "", "sends the file again"),
        (refused("InvalidAccessKeyId", 403), ConfigError, "", r"\[registry\] profile"),
        (refused("ExpiredToken", 400), ConfigError, "", "renew the credentials"),
        (refused("RequestTimeTooSkewed", 403), ConfigError, "", "clock"),
        (refused("PermanentRedirect", 301, {"x-amz-bucket-region": "eu-west-1"}), ConfigError, "", r"\[registry\] region to eu-west-1"),
        (refused("AuthorizationHeaderMalformed", 400, Region="eu-west-1"), ConfigError, "", "region to eu-west-1"),
        (refused("400", 400, {"x-amz-bucket-region": "eu-west-1"}), ConfigError, "", "region to eu-west-1"),
        (refused("KMS.NotFoundException", 400), ConfigError, "", r"\[registry\] kms_key"),
        (refused("NotImplemented", 501), ConfigError, "", "support"),
        (refused("InvalidArgument", 400), ConfigError, "", "`sse`"),
        (refused("SlowDown", 503), TryAgain, "", "nothing was lost"),
        (refused("TooManyRequests", 429), TryAgain, "", "nothing was lost"),
        (refused("QuotaExceeded", 403), TryAgain, "", "full"),
        (refused("XMinioStorageFull", 507), TryAgain, "", "full"),
        (refused("BadDigest", 400), TryAgain, "", "altered on the way"),
        (boto.EndpointConnectionError(endpoint_url="http://x"), TryAgain, "http://x", "endpoint"),
        (boto.ReadTimeoutError(endpoint_url="http://x"), TryAgain, "", "endpoint"),
        (boto.IncompleteReadError(actual_bytes=1, expected_bytes=2), TryAgain, "", "endpoint"),
        (boto.SSLError(endpoint_url="x", error="CERTIFICATE_VERIFY_FAILED: unable to get local issuer"), ConfigError, "", "AWS_CA_BUNDLE"),
        (boto.SSLError(endpoint_url="x", error="CERTIFICATE_VERIFY_FAILED: certificate has expired"), ConfigError, "", "renewed"),
        (boto.SSLError(endpoint_url="x", error="UNEXPECTED_EOF_WHILE_READING"), TryAgain, "", "endpoint"),
        (boto.NoCredentialsError(), ConfigError, "credentials", "AWS_ACCESS_KEY_ID"),
        (boto.ProfileNotFound(profile="x"), ConfigError, "x", r"\[registry\] profile"),
        (ResponseParserError("invalid XML"), TryAgain, "invalid XML", "endpoint"),
    ],
    ids=lambda each: str(each)[:40] if isinstance(each, Exception) else "",
)  # fmt: skip
def test_an_error_names_the_setting_and_the_next_action(error, kind, says, hint):
    with pytest.raises(kind, match=rf"\[registry\] url: s3://models/trainyard: .*{says}") as found, typed_errors(PLACE):
        raise error
    assert re.search(hint, found.value.hint)


@pytest.mark.parametrize(
    "error",
    [
        boto.EndpointConnectionError(endpoint_url="https://s3.example.org:9000/models?list-type=2&prefix=x%2Fkeys"),
        boto.ConnectTimeoutError(endpoint_url="https://s3.example.org:9000/models/x/keys/first"),
        boto.ConnectionClosedError(endpoint_url="https://s3.example.org:9000/models?list-type=2"),
        boto.ProxyConnectionError(proxy_url="https://me:secret@s3.example.org:9000/?x"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_store_that_does_not_answer_is_named_without_what_was_asked_of_it(error):
    with pytest.raises(TryAgain, match=r"\"https://s3.example.org:9000\"\.?$"), typed_errors(PLACE):
        raise error


def test_a_missing_and_a_taken_key_are_left_to_the_caller():
    for code, kind in (
        ("NoSuchKey", FileNotFoundError),
        ("404", FileNotFoundError),
        ("PreconditionFailed", FileExistsError),
    ):
        with pytest.raises(kind), typed_errors(PLACE, "a/b"):
            raise refused(code, 404)


def test_a_bug_keeps_its_traceback():
    with pytest.raises(KeyError), typed_errors(PLACE):
        raise KeyError("x")


def test_a_profile_that_is_not_there_is_reported(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="nobody") as error:
        connect(PLACE, Access(profile="nobody"))
    assert "[registry] profile" in error.value.hint
