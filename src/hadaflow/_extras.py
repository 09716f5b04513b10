"""What is not installed with the library itself: asked for before the work begins, and told by the extra's name."""

from __future__ import annotations

from importlib.util import find_spec


def require(*modules: str, extra: str, what: str) -> None:
    """Make sure that modules of an extra are installed, without importing them.

    Parameters
    ----------
    *modules : str
        Names of what will be imported.
    extra : str
        Which brings them.
    what : str
        Who needs them, in the plural: the beginning of the message.

    Raises
    ------
    ImportError
        If one is missing; the message names the extra that brings it.
    """
    for name in modules:
        if find_spec(name) is None:
            raise ImportError(f"{what} need {name}: pip install 'hadaflow[{extra}]'", name=name)
