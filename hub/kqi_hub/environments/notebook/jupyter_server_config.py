import importlib.metadata
import os

os.environ["JUPYTERLAB_VERSION"] = importlib.metadata.version("jupyterlab")
