"""What the service costs, measured beside what could be in its place: ``make bench``; see README.md."""
