"""Where raw prices, macro series and weather come from, and how they become the rows of unified_data."""
