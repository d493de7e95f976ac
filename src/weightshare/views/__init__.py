"""Showing things: pictures as data URIs, and text from outside made harmless."""
