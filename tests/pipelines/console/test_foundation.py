"""The console's frame: who sees what, forms, headers, errors."""

from __future__ import annotations

import pytest
from console_parts import PASSWORD, ConsoleProject
from flask import request

from pipelines.console.needs import needs, takes_files


@pytest.fixture
def project(tmp_path):
    return ConsoleProject(tmp_path)


def test_who_has_not_signed_in_is_asked_to_and_comes_back(project):
    browser = project.browser()
    answer = browser.get("/audit?model=thirds")
    assert answer.status_code == 303
    assert answer.location == "/sign-in?next=/audit?model%3Dthirds"
    assert "Password" in browser.get(answer.location).text
    browser.as_("a-viewer")
    assert browser.get(answer.location).location == "/audit?model=thirds"


@pytest.mark.parametrize("next_", ["//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nX: y", ""])
def test_the_sign_in_leads_nowhere_else(project, next_):
    assert project.browser("viewer").get("/sign-in", query_string={"next": next_}).location == "/"


def test_a_wrong_password_says_nothing_of_who_exists(project):
    browser = project.browser("viewer")
    texts = set()
    for name in ("a-viewer", "nobody"):
        other = project.browser(app=browser.app)
        answer = other.post("/sign-in", {"name": name, "password": "wrong password"}, page="/sign-in")
        assert answer.status_code == 403
        texts.add(answer.text.replace(name, "").replace(other.token("/sign-in"), ""))
    assert all("Name or password are not right." in each for each in texts)


def test_too_many_wrong_passwords_have_to_wait_even_with_the_right_one(project):
    app = project.browser("viewer").app
    stranger = project.browser(app=app)
    for _ in range(5):
        stranger.post("/sign-in", {"name": "a-viewer", "password": "wrong password"}, page="/sign-in")
    answer = stranger.post("/sign-in", {"name": "a-viewer", "password": PASSWORD}, page="/sign-in")
    assert answer.status_code == 429
    assert "Wait 15 minutes" in answer.text


def test_after_signing_out_the_cookie_is_worth_nothing(project):
    browser = project.browser("admin")
    stolen = browser.client.get_cookie("trainyard").value
    assert browser.get("/audit").status_code == 200
    assert browser.post("/sign-out").status_code == 303
    browser.client.set_cookie("trainyard", stolen)
    assert browser.get("/audit").status_code == 303


def test_what_the_console_keeps_of_a_session_opens_none(project):
    browser = project.browser("admin")
    value = browser.client.get_cookie("trainyard").value
    files = [each for each in (project.home / "console").rglob("*") if each.is_file()]
    assert {"sessions.sqlite", "users.json", "secret"} <= {each.name for each in files}
    assert not [each for each in files if value.encode() in each.read_bytes()]
    assert not [each for each in files if each.stat().st_mode & 0o077]


def test_a_sign_in_makes_a_new_session(project):
    browser = project.browser("viewer")
    first = browser.client.get_cookie("trainyard").value
    browser.client.delete_cookie("trainyard")
    browser.as_("a-viewer")
    assert browser.client.get_cookie("trainyard").value != first


@pytest.mark.parametrize("headers", [{}, {"Sec-Fetch-Site": "cross-site"}], ids=["no token", "from another site"])
def test_a_form_of_somewhere_else_is_refused(project, headers):
    browser = project.browser("admin")
    data = {"csrf": browser.token()} if headers else {}
    assert browser.client.post("/sign-out", data=data, headers=headers).status_code == 403
    assert browser.get("/audit").status_code == 200


def test_a_form_of_another_session_is_refused(project):
    one = project.browser("admin")
    other = project.browser("viewer", one.app)
    assert one.client.post("/sign-out", data={"csrf": other.token()}).status_code == 403


def test_every_answer_has_the_headers(project):
    browser = project.browser("admin")
    for path in ("/", "/sign-in", "/nothing", "/audit", "/settings"):
        headers = browser.get(path).headers
        assert "script-src 'self'; img-src 'self' data:" in headers["Content-Security-Policy"], path
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"


def test_style_and_script_are_kept_by_browsers_until_they_change(project):
    browser = project.browser("viewer")
    page = browser.get("/").text
    for kind in (".css", ".js", ".svg"):
        path = next(each for each in page.split('"') if each.endswith(kind))
        answer = browser.get(path, headers={"Accept-Encoding": "gzip"})
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["Content-Encoding"] == "gzip"
        assert browser.get(path.replace("/static/", "/static/0")).status_code == 404


def test_another_name_than_ours_in_the_host_header_is_refused(project):
    browser = project.browser("viewer")
    assert browser.get("/", headers={"Host": "evil.example"}).status_code == 400
    assert browser.get("/", headers={"Host": "localhost:8600"}).status_code == 200


def test_behind_tls_the_cookies_are_for_this_host_and_tls_only(tmp_path):
    project = ConsoleProject(tmp_path, url="https://trainyard.company.example")
    browser = project.browser()
    answer = browser.get("/sign-in", base_url="https://trainyard.company.example")
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-trainyard-form=")
    assert all(each in cookie for each in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"))


def test_a_role_opens_its_pages_and_no_others(project):
    viewer, engineer = project.browser("viewer"), project.browser("engineer")
    assert viewer.get("/").status_code == 200
    assert viewer.get("/audit").status_code == 403
    assert "Audit" not in viewer.get("/").text
    assert engineer.get("/audit").status_code == 200


def test_without_a_role_nothing_is_seen(tmp_path):
    project = ConsoleProject(tmp_path, roles={})
    assert project.browser("viewer").get("/").status_code == 403


def test_a_model_is_seen_by_those_with_a_role_there(project, tmp_path):
    other = ConsoleProject(tmp_path / "other", model="secret-model", roles={"a-owner": "owner"})
    app = project.app(other)
    assert "secret-model" not in project.browser("admin", app).get("/").text
    assert "secret-model" in project.browser("owner", app).get("/").text


def test_the_settings_hold_no_path_of_the_machine(project):
    page = project.browser("engineer").get("/settings").text
    assert "registry" in page
    assert str(project.folder) not in page


def test_settings_are_shown_of_one_model_at_a_time(project, tmp_path):
    other = ConsoleProject(tmp_path / "other", model="secret-model", roles={"a-owner": "owner"})
    app = project.app(other)
    owner, admin = project.browser("owner", app), project.browser("admin", app)
    page = owner.get("/settings?model=secret-model").text
    assert "<h1>Settings of secret-model</h1>" in page
    assert f'<option value="{project.model}">' in page
    assert owner.get("/settings?model=nothing").status_code == 404
    assert admin.get("/settings?model=secret-model").status_code == 404
    assert "secret-model" not in admin.get("/settings").text


def test_a_large_body_is_taken_only_where_a_page_says_so_and_from_who_has_signed_in(project):
    app = project.app()

    @needs("see")
    @takes_files(3_000_000)
    def received():
        return str(len(request.files["file"].read()))

    app.add_url_rule("/file", "file", received, methods=["POST"])
    viewer = project.browser("viewer", app)

    def sent(browser, path, size, page="/"):
        head = f'--x\r\nContent-Disposition: form-data; name="csrf"\r\n\r\n{browser.token(page)}\r\n--x\r\n'
        head += 'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        body = head.encode() + b"y" * size + b"\r\n--x--\r\n"
        return browser.client.post(path, data=body, content_type="multipart/form-data; boundary=x")

    assert sent(viewer, "/file", 2_000_000).text == "2000000"
    assert sent(viewer, "/file", 4_000_000).status_code == 413
    assert sent(viewer, "/sign-out", 2_000_000).status_code == 413
    assert sent(project.browser("", app), "/file", 2_000_000, "/sign-in").status_code == 413


def test_a_bug_is_a_page_without_its_traceback(project, caplog):
    app = project.app()
    app.add_url_rule("/broken", view_func=lambda: 1 / 0)
    answer = project.browser("viewer", app).get("/broken")
    assert answer.status_code == 500
    assert "division" not in answer.text
    assert "ZeroDivisionError" in caplog.text
