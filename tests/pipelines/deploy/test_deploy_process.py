"""The contract of going live, for the API as a process."""

from dataclasses import replace

import pytest
from deploy_contract import DeploymentContract
from promotion_parts import House

pytestmark = pytest.mark.tensorflow


class TestProcess(DeploymentContract):
    @pytest.fixture
    def house(self, tmp_path, tiny_models):
        made = House(tmp_path, tiny_models)
        for kind in ("dull", "thirds", ""):
            made.publish(kind)
        yield made
        made.stop()

    @pytest.fixture
    def more_workers(self, house):
        """A process does not get other settings without a stop: it is told, and goes on."""

        def change():
            house.config = replace(house.config, serving=replace(house.config.serving, workers=3))

        return change
