"""Ask for eight devices before JAX starts, and make one check after the other."""

import importlib
import json
import os
import sys
import traceback
from pathlib import Path

from tests.support.on_devices import checks


def main():
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
    os.environ["JAX_PLATFORMS"] = "cpu"
    folder, thorough = Path(sys.argv[1]), "--thorough" in sys.argv
    for name in checks():
        wrong = None
        try:
            importlib.import_module(f"tests.support.on_devices.{name}").main(
                folder, thorough
            )
        except Exception:
            wrong = traceback.format_exc()
        print(json.dumps({"check": name, "wrong": wrong}), flush=True)


if __name__ == "__main__":
    main()
