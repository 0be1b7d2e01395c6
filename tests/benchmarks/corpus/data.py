"""Where the data lies that is not part of the project."""

import os
from pathlib import Path

from tests import ROOT

DATA = Path(os.environ.get("DCZ_DATA", ROOT.parent / "shared" / "data"))
