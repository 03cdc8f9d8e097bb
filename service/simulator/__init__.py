"""A stand-in for Midtrans over HTTP: ``django_midtrans.testing`` with Basic auth, sending and a page.

``app.py`` puts it together; ``core_api.py`` is what Midtrans has (``/v2``), ``control.py`` and ``page.py``
are what only a simulator has (``/simulator`` and ``/``), ``sender.py`` posts the notifications,
``server.py`` runs it beside a test.
"""
