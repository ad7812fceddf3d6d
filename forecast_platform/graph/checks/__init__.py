"""Asset checks: what was written is verified again, and each failure says what to do."""
