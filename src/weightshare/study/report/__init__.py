"""What a study says: the table in the terminal, the findings in words, the page with its pictures."""
