"""What `forecast-platform doctor` looks at: each fault with its mend."""
