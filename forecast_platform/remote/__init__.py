"""What runs on a cluster."""
