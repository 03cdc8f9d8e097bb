"""Storage: one store, tables, and the queries by table. No SQL and no row object leaves this package."""
