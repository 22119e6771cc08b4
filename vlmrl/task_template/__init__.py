"""The task that `vlmrl tasks new` copies: complete, small, and made to be changed."""
