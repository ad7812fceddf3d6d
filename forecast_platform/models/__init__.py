"""The forecasting models: one small class a file, found by name through the registry."""
