"""What all others talk about: the batch, JSON that Postgres can hold, e-mail addresses in it."""
