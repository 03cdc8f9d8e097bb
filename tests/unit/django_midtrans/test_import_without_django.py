from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
BLOCK = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"django", "service", "pydantic", "fastapi"}:
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Refuse())
"""


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_client_imports_and_works_where_django_cannot_be_imported() -> None:
    code = f"""{BLOCK}
import os
os.environ["MIDTRANS_SERVER_KEY"] = "key"
from django_midtrans import MidtransClient, get_client
import django_midtrans.client
assert isinstance(get_client(), MidtransClient)
assert MidtransClient.verify_signature("1", "200", "1.00", "no") is False
print(get_client())
"""
    assert run(code).strip() == "<MidtransClient of https://api.sandbox.midtrans.com>"


def test_importing_the_client_imports_no_event_loop() -> None:
    code = f"{BLOCK}import django_midtrans.client, sys; print('asyncio' in sys.modules)"
    assert run(code).strip() == "False"


def test_an_unconfigured_django_is_never_touched() -> None:
    code = """
import sys, types
conf = types.ModuleType("django.conf")
class Settings:
    configured = False
    def __getattr__(self, name):
        raise RuntimeError("touched")
conf.settings = Settings()
sys.modules["django.conf"] = conf
from django_midtrans.settings import find_base_url
print(find_base_url())
"""
    assert "sandbox" in run(code)
