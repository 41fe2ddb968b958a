"""The process that moves accepted batches from the stream into Postgres, and keeps house."""
