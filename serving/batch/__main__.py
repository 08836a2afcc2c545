"""`python -P -m serving.batch`: the batch worker; see serving.batch.job."""

import sys

from serving.batch.work import main
from training.worker.protocol import work

if __name__ == "__main__":
    sys.exit(work(main))
