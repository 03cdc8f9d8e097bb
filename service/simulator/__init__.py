"""A stand-in for Midtrans over HTTP: ``django_midtrans.testing`` with Basic auth, sending, faults and a page.

``app.py`` puts it together; ``core_api.py`` is what Midtrans has (``/v2``), ``control.py`` and ``page.py``
are what only a simulator has (``/simulator`` and ``/``), ``sender.py`` posts the notifications, ``runs.py``
plays scenarios. ``faults.py`` says what goes wrong: with notifications in ``outbox.py``, with GET status in
``status_faults.py`` and ``lagging.py``. ``server.py`` runs it all beside a test.
"""
