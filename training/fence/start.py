"""`confine.py` as a program, run by its path. Apart from it: of what it imports Python keeps the compiled form, of a program not."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))  # of the packages
from training.fence.confine import main

main(sys.argv[1:])
