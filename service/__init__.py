"""Midtrans' payment notifications in, one event per confirmed change out.

```text
Midtrans ──POST──► api.notifications ─► flow.receive ─► receipt (on disk, then 200)
                    refused ones: oddities ─► flow.refused (when keys change)
                                                          │
shop ──────► api.expectations ─► flow.expect              │
                  │                                       ▼
                  └► flow.reconcile ─► worker ─► flow.ask ─► gateway: get_status, outside any transaction
                     (never heard of)               │
                                                    ▼  flow.confirm, flow.apply: one database transaction
                                       payment + transition + event, in the log
                                                    │
internal service ──HTTP──► api.leases ─► flow.lease, flow.consumers: each consumer has a cursor over the log
internal service ◄──HTTP── push ◄─────── flow.push: the same deliveries, sent to those that gave a URL
```

Pure decisions are in `domain`, one step a file in `flow`, everything that can fail at the edge (`api`, `db`,
`gateway`). `app` wires them; `cli` has a file a command.
"""
