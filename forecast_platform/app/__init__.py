"""The workbench: a page of training jobs. It speaks to the API alone, and keeps nothing that a reload would lose."""
