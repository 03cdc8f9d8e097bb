"""How the time is handed around: only ``app.py`` reads the clock."""

from collections.abc import Callable
from datetime import datetime

Clock = Callable[[], datetime]
"""Returns the time, aware, in UTC."""
