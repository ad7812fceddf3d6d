"""The tables: their schemas, and where they are kept."""
