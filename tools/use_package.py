"""Use the installed package alone: no Django, no service, nothing of the checkout. Run it with ``python -I``."""

import importlib.metadata
import importlib.util
import sys

import django_midtrans
import django_midtrans.client
from django_midtrans import AsyncMidtransClient, MidtransClient
from django_midtrans.signature import expected_signature

KEY = "SB-Mid-server-package-check"

for stranger in ("django", "service"):
    assert stranger not in sys.modules, f"{stranger} was imported"
    assert importlib.util.find_spec(stranger) is None, f"{stranger} is installed in the bare environment"

signature = expected_signature("order-1", "200", "150000.00", KEY)
assert MidtransClient.verify_signature("order-1", "200", "150000.00", signature, KEY)
assert not MidtransClient.verify_signature("order-1", "200", "150000.01", signature, KEY)
assert KEY not in repr(MidtransClient(KEY)) + repr(AsyncMidtransClient(KEY))
assert "site-packages" in str(django_midtrans.__file__), "the checkout was imported in place of the wheel"
print("django-midtrans", importlib.metadata.version("django-midtrans"), "works on its own")
