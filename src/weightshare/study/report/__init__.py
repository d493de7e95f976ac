"""The report of a study: findings in words, charts, and the page that shows them."""
