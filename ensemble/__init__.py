"""Blend the members of a study and say honestly what the blend is worth."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ensemble.study import BlendResult, blend_study

__all__ = ["BlendResult", "blend_study"]


def __getattr__(name: str) -> Any:
    """Load the Python interface when it is first asked for, so that ``--help`` starts at once."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ensemble import study

    return getattr(study, name)
