"""Presentation: text tables, Markdown, HTML pages, numbers, pictures, and escaping of text from outside.

This room knows nothing of what it shows: other rooms pass it sections, numbers and series of values.
"""
