"""Why can a request not be served? Each text is one sentence for the client."""


class Busy(Exception):
    """The queue is full. Nothing was started; trying later may help."""


class NothingSelected(Exception):
    """Neither the session nor the server has a binding, or a model, selected."""


class NoWorker(Exception):
    """No process serves the binding and none can be started; the text says why."""


class StartFailed(NoWorker):
    """One was started and is gone, or never said a word: it would be the same the next time."""


class LoadFailed(Exception):
    """The model could not be loaded; the text says why. What was loaded still serves."""
