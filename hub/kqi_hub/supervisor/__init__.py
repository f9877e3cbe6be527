"""`kqi-hub up`: the proxy, the hub and the api as children that end with it; the work of people does not."""

from pathlib import Path

CONFIG_FILE = str(Path(__file__).parent / "jupyterhub_config.py")
