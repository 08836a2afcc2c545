"""The contract of deployments, for the API as a process."""

from dataclasses import replace

import pytest
from deploy_contract import DeploymentContract
from promotion_parts import Project

pytestmark = pytest.mark.tensorflow


class TestProcess(DeploymentContract):
    @pytest.fixture
    def project(self, tmp_path, tiny_models):
        made = Project(tmp_path, tiny_models)
        for kind in ("dull", "thirds", ""):
            made.publish(kind)
        yield made
        made.stop()

    @pytest.fixture
    def more_workers(self, project):
        """A process does not get other settings without a stop: it keeps running with the old ones."""

        def change():
            project.config = replace(project.config, serving=replace(project.config.serving, workers=3))

        return change
