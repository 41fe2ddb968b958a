"""The engine of the reports: what is counted of stored events, kept up to date, and read.

`rollups` tells how the counts are kept, and is what others call. `measures` names what is counted,
`visitor` counts it, `reading` sums it up; `plain` counts the same in plain SQL, as a check.
README.md says how all of it works, and what it can cost.
"""
