"""What is registered from outside: models, notifiers, sources and computes of the modules that `plugins` names."""
