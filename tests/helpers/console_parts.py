"""An installation with a console: settings, a registry with small versions, and browsers that have signed in."""

from __future__ import annotations

import re
from dataclasses import replace

from promotion_parts import MODEL, Project

from pipelines.config.console_sections import Console
from pipelines.console.app import Options, create_console
from pipelines.console.installation import Installation
from pipelines.console.services import users_of
from pipelines.console.sign_in.local_users import Cost

CHEAP = Cost(n=2, r=1, p=1)
"""Passwords that take no time, and protect nothing."""
PASSWORD = "correct horse battery"
TOKEN = re.compile(r'name="csrf" value="([^"]+)"')
ROLES = {f"a-{role}": role for role in ("viewer", "labeller", "engineer", "owner", "admin")}
"""A person per role."""


class ConsoleProject(Project):
    """A team with a console: as `Project`, whose registry and versions it has (`publish`, `release_by_hand`, …)."""

    def __init__(self, folder, tiny_models=None, model=MODEL, roles=ROLES, **console):
        super().__init__(folder, tiny_models, model=model)
        settings = Console(roles=roles, **console)
        self.config = replace(self.config, console=settings, file=str(folder / "trainyard.toml"))

    def installation(self, *others):
        """This model, and those of other projects, which get this one's home and console."""
        shared = replace(self.config.console, roles={})
        configs = [
            replace(each.config, home=self.config.home, console=replace(shared, roles=each.config.console.roles))
            for each in others
        ]
        return Installation([self.config, *configs])

    def app(self, *others):
        """The console's Flask app, whose clients raise what is a bug."""
        app = create_console(self.installation(*others), Options(cost=CHEAP))
        app.testing = False  # as in production: errors become pages
        return app

    def browser(self, role="", app=None):
        """A browser; with a role, of a person who has signed in with that."""
        return Browser(app or self.app(), self).as_(f"a-{role}" if role else "")


class Browser:
    """Flask's test client, with forms: `post` brings the token that the page before had."""

    def __init__(self, app, project):
        self.app, self.project, self.client = app, project, app.test_client()

    def as_(self, name):
        """Sign in as a local user, who is made when needed."""
        if name:
            users = users_of(self.project.installation(), CHEAP)
            if all(each.name != name for each in users.all()):
                users.add(name, "", PASSWORD)
            answer = self.post("/sign-in", {"name": name, "password": PASSWORD}, page="/sign-in")
            assert answer.status_code == 303, answer.text
        return self

    def get(self, path, **more):
        return self.client.get(path, **more)

    def post(self, path, data=None, page="", **more):
        """Send a form of `page`, which is loaded for its token; without one, of the console's start page."""
        return self.client.post(path, data={"csrf": self.token(page or "/"), **(data or {})}, **more)

    def token(self, page="/"):
        found = TOKEN.search(self.get(page, follow_redirects=True).text)
        assert found, f"{page} has no form"
        return found[1]
