"""Parameters of the load from the environment, beside Locust's own `--users`, `--spawn-rate` and `--run-time`.

DOC_CORPUS              directory made by `python -m docpipeline.corpus` (needed)
LOCUST_COUNTS           file for the exact counts, see `counts.py`
LOAD_THINK_MIN, _MAX    seconds between two actions of a user (0.3, 1.5); below the server's keep-alive time of
                        5 s, so that a connection is not closed by the server just when it is used again
LOAD_UPLOAD_MIN, _MAX   seconds between two uploads of a user (1, 4)
LOAD_BAD_UPLOADS        share of the uploads that must be refused (0.25)
LOAD_STALE_EDITS        share of the edits made on an old version on purpose (0.2)
LOAD_RECONNECTS         share of the viewers' sessions that drop their WebSocket and open a new one (0.1)
LOAD_COMPLETE_S         seconds within which a document must be through all stages (60)
"""

import os
from pathlib import Path


def _number(name: str, default: float) -> float:
    return float(os.environ.get(f"LOAD_{name}", default))


CORPUS = Path(os.environ.get("DOC_CORPUS", "corpus"))
COUNTS_FILE = os.environ.get("LOCUST_COUNTS")
THINK_S = (_number("THINK_MIN", 0.3), _number("THINK_MAX", 1.5))
UPLOAD_PAUSE_S = (_number("UPLOAD_MIN", 1), _number("UPLOAD_MAX", 4))
BAD_UPLOADS = _number("BAD_UPLOADS", 0.25)
STALE_EDITS = _number("STALE_EDITS", 0.2)
RECONNECTS = _number("RECONNECTS", 0.1)
COMPLETE_S = _number("COMPLETE_S", 60)
STAGES = 15
