"""What Postgres's planner is told before visitors are looked for."""

# Until the end of the transaction. Postgres's own costs are those of a turning disk: it reads all
# the visitors that a shop ever had to find two thousand of them.
PREFER_INDEXES = "SET LOCAL random_page_cost = 1.1"
