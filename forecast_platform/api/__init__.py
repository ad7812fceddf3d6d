"""Training jobs over HTTP, as the existing front end speaks it: /api/v2/jobs. Routes alone; what they do is in `runs`."""
