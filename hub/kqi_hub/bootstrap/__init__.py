"""Put the service together; what it is made of meets nowhere else."""

from kqi_hub.bootstrap.application import Around, application
from kqi_hub.bootstrap.serve import seal_anew, serve

__all__ = ["Around", "application", "seal_anew", "serve"]
