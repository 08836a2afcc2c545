"""A post-receive hook that notifies Jenkins of a push: `trainyard hooks install --jenkins`.

It is a script of its own, with curl: the user who pushes may not be able to read Trainyard. The git plugin accepts its
token in the body of a POST, where no server logs it. The shell reads the token and passes it to curl through a pipe, so that
no process list shows it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from pipelines.config.load import secret
from pipelines.config.schema import Config
from pipelines.jenkins_server.config_checks import is_remote
from registry.errors import ConfigError
from registry.files import write_new

TOKEN_FILE = "trainyard-notify-token"  # noqa: S105  (a file's name, beside the hook)
SECONDS = 5
"""The longest that a push waits; then curl is killed."""
TOKEN = re.compile(r"[A-Za-z0-9._~-]+")
UNQUOTED = re.compile(r"[!#-\[\]-~]+")  # no blank, no quote, no backslash: curl's own quoting is not needed
CREATED = "create one under Manage Jenkins > Security > Git plugin notifyCommit access tokens"

SCRIPT = r"""#!/bin/sh
@MARK@
# Notifies Jenkins of a push to a watched branch, so that it polls the repository at once. The push itself has succeeded
# by now, whatever happens here, and waits for at most @SECONDS@ seconds.
jenkins=@JENKINS@
repository=@REPOSITORY@
branches=@BRANCHES@
token_file="$(dirname "$0")/@TOKEN_FILE@"

say() { printf 'Trainyard: %s\n' "$1" >&2; }
missed() {
  say "Jenkins was not notified of this push: $1 (to start it by hand: trainyard jenkins trigger @NAME@)"
  exit 0
}

pushed=
while read -r _ new ref; do
  case $new in *[!0]*) case " $branches " in *" $ref "*) pushed=yes ;; esac ;; esac
done
[ "$pushed" ] || exit 0

for tool in curl timeout; do
  command -v "$tool" >/dev/null || missed "$tool is not installed"
done
token=$(cat "$token_file" 2>/dev/null)
case $token in
  '') missed "$(id -un) cannot read a token from $token_file" ;;
  *[!A-Za-z0-9._~-]*) missed "$token_file does not hold a token" ;;
esac

# The last line is the HTTP status; 0: no answer.
answer=$({ timeout -s KILL @SECONDS@ curl --disable --config - <<EOF || printf '\n0\n'
url = "$jenkins"
data-urlencode = "url=$repository"
data = "token=$token"
silent
show-error
max-time = @PATIENCE@
@MORE@write-out = "\n%{http_code}"
EOF
} 2>&1)
status=$(printf '%s\n' "$answer" | tail -n 1)
text=$(printf '%s\n' "$answer" | LC_ALL=C tr -c '\040-\176\n' '>' | tr -s '>')
first() { printf '%s\n' "$text" | grep "^$1" | head -n 1 | cut -c 1-300; }
case $status in
  200)
    scheduled=$(first 'Scheduled ')
    [ "$scheduled" ] && say "Jenkins: $scheduled" && exit 0
    why=$(first 'No git jobs')
    missed "${why:-it knows the repository, but none of its Jenkins jobs is enabled}" ;;
  401 | 403) missed "it rejects the token in $token_file ($status)" ;;
  404) missed "$jenkins does not exist (404); is the git plugin installed?" ;;
  503) missed "it is starting up (503)" ;;
  0)
    why=$(first 'curl: ')
    missed "${why:-no answer in @SECONDS@ seconds}" ;;
  *) missed "it answers with status $status" ;;
esac
"""


def script(watched: Sequence[tuple[Config, str]], mark: str) -> str:
    """The hook for a repository that is `code`, `dataset` or `tests` of these settings; raises ConfigError when a setting is missing
    or cannot be used."""
    config, name = watched[0]
    repository, server = str(getattr(config.repositories, name)), config.jenkins
    branches = dict.fromkeys(f"refs/heads/{each.repositories.branch_of(role)}" for each, role in watched)
    if not is_remote(repository):
        raise ConfigError(
            f"[repositories] {name}: {repository} is a folder, which Jenkins cannot poll",
            hint="serve it (HTTP, SSH, git daemon) and set its URL there; then `trainyard hooks install --jenkins "
            f"{name}={shlex.quote(repository.removeprefix('file://'))}`",
        )
    if not server.url:
        raise ConfigError("[jenkins] url is empty", hint="e.g. https://jenkins.example.org")
    texts = {f"[repositories] {name}": repository, "[jenkins] url": server.url, "[jenkins] ca_file": server.ca_file}
    for setting, value in texts.items():
        if value and not UNQUOTED.fullmatch(value):
            raise ConfigError(
                f"{setting}: {value!r} holds a blank, a quote or another character that a URL cannot hold"
            )
    if missing := [tool for tool in ("curl", "timeout") if not shutil.which(tool)]:
        raise ConfigError(f"the hook needs {' and '.join(missing)}", hint="apt install curl coreutils")
    filled = {
        "MARK": mark,
        "NAME": name,
        "SECONDS": str(SECONDS),
        "PATIENCE": str(SECONDS - 1),
        "JENKINS": shlex.quote(f"{server.url.rstrip('/')}/git/notifyCommit"),
        "REPOSITORY": shlex.quote(repository),
        "BRANCHES": shlex.quote(" ".join(branches)),
        "TOKEN_FILE": TOKEN_FILE,
        "MORE": re.sub(r"[$`]", r"\\\g<0>", f'cacert = "{server.ca_file}"\n') if server.ca_file else "",
    }
    return re.sub("@([A-Z_]+)@", lambda found: filled[found[1]], SCRIPT)


def notify_token() -> str:
    """`TRAINYARD_JENKINS_NOTIFY_TOKEN`, or the content of the file that `…_FILE` names; raises ConfigError."""
    token = secret("JENKINS_NOTIFY_TOKEN")
    if not token:
        raise ConfigError("TRAINYARD_JENKINS_NOTIFY_TOKEN is not set", hint=f"{CREATED}; it is not a user's API token")
    if not TOKEN.fullmatch(token):
        raise ConfigError(
            "TRAINYARD_JENKINS_NOTIFY_TOKEN holds characters that no token has", hint="copy it from Jenkins again"
        )
    return token


def write_token(hooks: Path, token: str) -> Path:
    """Put the token beside the hook, readable by the repository's owner only, as whom pushes run the hook."""
    path, owner = hooks / TOKEN_FILE, hooks.stat()
    path.unlink(missing_ok=True)
    write_new(path, token.encode() + b"\n", 0o600)
    if owner.st_uid != os.geteuid():
        with contextlib.suppress(PermissionError):  # only root may give files away; the hook reports who cannot read it
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
    return path
