"""Taking a validated batch over for good: the journals, and the order they are asked in."""
