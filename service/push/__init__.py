"""Pushing events to endpoints, each signed, over connections whose addresses were looked at.

```text
pusher: one thread, one event loop; looks which consumers are pushed to, and has a lane for each
   └► lane: takes turns with flow.push (what came of pushes, what is next), keeps the endpoint's pace
         └► sender: one POST at a time on each connection of its own pool
               └► network: name → addresses → those that may be pushed to → connection
```
"""
