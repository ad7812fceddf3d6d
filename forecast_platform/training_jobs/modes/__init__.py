"""What a job can train with: one file a mode, each made of methods that share one contract (`base.Method`)."""
