"""Experiments drawn by chance, to see that what the statistics promise holds."""
