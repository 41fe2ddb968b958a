"""Forgetting a shopper or a shop, and telling a shopper what is kept."""
