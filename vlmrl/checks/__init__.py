"""Checks of data and rewards before training (`vlmrl check`, and the quick version at the start of every run)."""
