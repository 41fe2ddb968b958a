"""What a merchant reads about his shop: the page, its API, and the counts behind both."""
