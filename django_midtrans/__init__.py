"""Typed client and knowledge of Midtrans, Indonesia's payment gateway. Needs httpx; Django is optional."""

from django_midtrans._version import __version__
from django_midtrans.client import Answer, AsyncMidtransClient, MidtransClient, Timeouts, get_client
from django_midtrans.exceptions import (
    MidtransAPIError,
    MidtransAuthenticationError,
    MidtransConfigurationError,
    MidtransDuplicateOrderError,
    MidtransError,
    MidtransRateLimitError,
    MidtransSignatureError,
    MidtransTransportError,
    MidtransValidationError,
)

__all__ = [
    "Answer",
    "AsyncMidtransClient",
    "MidtransAPIError",
    "MidtransAuthenticationError",
    "MidtransClient",
    "MidtransConfigurationError",
    "MidtransDuplicateOrderError",
    "MidtransError",
    "MidtransRateLimitError",
    "MidtransSignatureError",
    "MidtransTransportError",
    "MidtransValidationError",
    "Timeouts",
    "__version__",
    "get_client",
]
