"""Ideas of policy optimisation as pure functions on tensors named by shape; a paper is a preset of them.

B prompts, G members of a group, T completion tokens, N = B * G rows. Every function takes what it needs as tensors and
holds no state; batch-wide statistics come in as numbers already gathered.
"""
