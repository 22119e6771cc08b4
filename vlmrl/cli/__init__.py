"""The command line: one module per command, each with ``add_parser`` and the function it runs.

Modules here import nothing heavy at the top, so that ``--help`` and a mistyped setting are answered at once.
"""
