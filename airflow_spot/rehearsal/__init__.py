"""
The rehearsal: a training script is run on Local SageMaker, interrupted in several ways, and judged by what is seen.

Importing this package loads nothing else of it: every pytest of an environment that has the package imports it.
"""
