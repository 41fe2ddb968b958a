"""Inputs that were once got wrong, with what is right; each stands for its kind."""

import json
from pathlib import Path

CASES = json.loads((Path(__file__).parent / "fair.json").read_text())
