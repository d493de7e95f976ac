"""One trial of a study: its network, its training and its measurements."""
