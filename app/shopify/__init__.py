"""What Shopify signs. Pure functions, no Flask."""
