"""Exit 0 if the address in the first argument, or in HARDMINE_HEALTH_URL, answers; containers' health checks run it.

Without an address a container is healthy as long as it runs: its program ends when it fails.
"""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request


def healthy(address: str, timeout: float = 4.0) -> bool:
    """Whether an HTTP server answers there without an error of its own; 401 and 403 are answers."""
    if not address:
        return True
    try:
        with urllib.request.urlopen(address, timeout=timeout):
            return True
    except urllib.error.HTTPError as answer:
        return answer.code < 500
    except (OSError, ValueError):
        return False


if __name__ == "__main__":
    sys.exit(0 if healthy(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("HARDMINE_HEALTH_URL", "")) else 1)
