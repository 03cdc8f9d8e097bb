"""Midtrans' payment notifications in, one event per confirmed change out.

```text
Midtrans ──POST──► api.notifications ─► flow.receive ─► receipt (on disk, then 200)
                                                          │
                      worker ─► flow.confirm ◄────────────┘   gateway: get_status, outside any transaction
                                    │  one database transaction
                                    ▼
                  payment + transition + event, in the log
                                    │
internal service ──HTTP──► api.consumers ─► flow.lease       each consumer has a cursor over the log
```

Pure decisions are in `domain`, one step a file in `flow`, everything that can fail at the edge (`api`, `db`,
`gateway`). `app` wires them.
"""
