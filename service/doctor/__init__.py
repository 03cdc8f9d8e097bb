"""The checks of ``python -m service doctor``: what was found, and what to do about it. Nothing is mended here.

```text
settings ─► keys ─► clock       each asks Midtrans one harmless question a key, and reads its clock
         ├► database, disk      opened beside the running service
         ├► token, work         what an operator has to look at
         ├► relays              does each broker let us in
         └► service, url        is it reachable, from here and through everything in front of it
```
"""

from service.doctor.checks import examine
from service.doctor.finding import Finding, Level

__all__ = ["Finding", "Level", "examine"]
