"""The engine of the reports: what is counted of stored events, kept up to date, and read."""
