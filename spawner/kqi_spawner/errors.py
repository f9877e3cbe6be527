"""What an engine can refuse."""


class BackendError(Exception):
    """The engine could not do it now; another try may."""


class CannotStart(BackendError):
    """This workload cannot be started, however often one tries. The message says why and what to do."""


class UnknownImage(CannotStart):
    """No image (on the local engine: no Python environment) goes by that name."""
