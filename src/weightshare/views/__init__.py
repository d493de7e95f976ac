"""Presentation: text tables, Markdown, HTML pages, numbers, pictures, and escaping of text from outside.

Other subpackages pass it sections, numbers and series of values; it imports none of them.
"""
