"""Process signals: extra columns that some methods need, and all that learns or remembers them; one file each."""

from creditsim.signals.base import SIGNALS, signal

__all__ = ["SIGNALS", "signal"]
