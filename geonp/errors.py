"""The errors and warnings a user can meet: what was wrong, what would be right, what to do."""


class GeonpError(Exception):
    """Base of every error that geonp raises on purpose."""


class InputError(GeonpError, ValueError):
    """The data given cannot be used: nothing observed, a corrupt file, grids that do not match."""


class UsageError(GeonpError, ValueError):
    """The call cannot be carried out as it was written: an unknown name, a value outside its range."""


class ModelError(GeonpError, ValueError):
    """A model file is not one of ours, is damaged, or does not fit the data."""


class MethodError(GeonpError, TypeError):
    """A method was asked for what it does not give, such as a variance."""


class OutputError(GeonpError, OSError):
    """An output exists already or cannot be written."""


class GeonpWarning(UserWarning):
    """Something was assumed or left out; the message says what."""


class MissingCRSWarning(GeonpWarning):
    """A grid without a coordinate reference system is measured in its own units."""
