"""Does a model keep the symmetries of its input, and how far from it is it?"""
