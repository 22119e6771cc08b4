"""Reinforcement fine-tuning of vision-language models on tasks whose answers a rule can check."""

__version__ = "0.1.0"
