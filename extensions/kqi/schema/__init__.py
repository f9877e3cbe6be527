"""The wire models of `/services/kqi/api/v1`, shared by the hub and its clients."""

from kqi.schema.accounts import *  # noqa: F403
from kqi.schema.administration import *  # noqa: F403
from kqi.schema.base import *  # noqa: F403
from kqi.schema.credentials import *  # noqa: F403
from kqi.schema.data import *  # noqa: F403
from kqi.schema.datasets import *  # noqa: F403
from kqi.schema.runs import *  # noqa: F403
from kqi.schema.tenants import *  # noqa: F403
