"""`trainyard jenkins export`: the folder and the Jenkins jobs as files, for a controller that is configured as code.

    <folder>/<full name>.xml    what `trainyard jenkins apply` would create on an empty Jenkins

`jenkins/jobs.groovy` loads them on a new controller.
"""

from __future__ import annotations

from pathlib import Path

from pipelines.config.schema import Config
from pipelines.jenkins_server import job_xml
from pipelines.jenkins_server.config_checks import check_config
from pipelines.jenkins_server.jobs import folder_of, folders_of, jobs_of
from registry.files import write_whole


def export(config: Config, folder: Path) -> list[Path]:
    """Write the files, parents first; raises ConfigError for a config that cannot work on Jenkins."""
    check_config(config)
    items = {name: job_xml.folder_xml(model) for name, model in folders_of(config).items()}
    for job in jobs_of(config):
        tree = job_xml.empty_job()
        job_xml.merge(tree, job)
        items[f"{folder_of(config)}/{job.name}"] = job_xml.write(tree)
    written = []
    for name, xml in items.items():
        path = folder / f"{name}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, xml.encode())
        written.append(path)
    return written
