"""Training jobs over HTTP, as the existing front end speaks it. Routes alone; what they do is in `runs`."""
