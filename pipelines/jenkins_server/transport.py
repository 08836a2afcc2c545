"""python-jenkins with verified TLS, without redirects, every answer unchanged. Imported when a Jenkins is needed."""

from __future__ import annotations

import ssl
from typing import Any

import requests
from requests.adapters import HTTPAdapter

# attributes: without python-jenkins `import jenkins` finds our folder jenkins/
from jenkins import CRUMB_URL, Jenkins, TimeoutException


class Server(Jenkins):  # type: ignore[misc]
    """python-jenkins' connection, which raises only for requests without an answer.

    It would follow redirects, and turn a POST into a GET on its way; it would verify no certificate when
    PYTHONHTTPSVERIFY is 0; and of a refusal it would keep the page, but not the headers, which name the missing permission.
    """

    crumb: Any  # None: not fetched yet; False: this Jenkins has none
    _auths: list[Any]

    def __init__(self, url: str, user: str, token: str, seconds: float, ca_file: str) -> None:
        super().__init__(url, user, token, timeout=seconds)
        self._auths = self._auths[:1]  # otherwise it would try Kerberos first where that is installed
        self._session.verify = True
        self._session.mount("https://", _Trusting(_trust(ca_file)))

    def ask(self, request: requests.Request, *, crumb: bool) -> requests.Response:
        """Send the request; with `crumb` it carries the session's crumb, which a password needs and a token does not."""
        try:
            answer: requests.Response = self.jenkins_request(request, add_crumb=crumb)
        except TimeoutException as error:  # only its cause shows whether the request was sent
            if isinstance(error.__context__, requests.RequestException):
                raise error.__context__ from None
            raise requests.Timeout(str(error)) from None
        return answer

    def forget_crumb(self) -> None:
        """The next crumb is a new one."""
        self.crumb = None

    def _request(self, req: requests.Request, stream: Any = None) -> requests.Response:
        prepared = self._session.prepare_request(req)
        settings = self._session.merge_environment_settings(prepared.url, {}, stream, self._session.verify, None)
        answer: requests.Response = self._session.send(
            prepared, **settings, timeout=self.timeout, allow_redirects=False
        )
        return answer

    def _response_handler(self, response: requests.Response) -> requests.Response:
        return response

    def maybe_add_crumb(self, req: requests.Request) -> None:
        """Ask for a crumb once; a Jenkins without crumbs has no such page."""
        if self.crumb is None:
            response = self._request(requests.Request("GET", self._build_url(CRUMB_URL)))
            self.crumb = response.json() if response.status_code == 200 else False
        if self.crumb:
            req.headers[self.crumb["crumbRequestField"]] = self.crumb["crumb"]


class _Trusting(HTTPAdapter):
    """Connections that trust what the given context trusts."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **more: Any) -> None:
        """Pass the context to the pool."""
        super().init_poolmanager(*arguments, **more, ssl_context=self._context)

    def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
        """The same through a proxy."""
        return super().proxy_manager_for(proxy, **more, ssl_context=self._context)


def _trust(ca_file: str) -> ssl.SSLContext:
    """The system's authorities, and a company's own."""
    context = ssl.create_default_context()
    if ca_file:
        context.load_verify_locations(ca_file)
    return context
