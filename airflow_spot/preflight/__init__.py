"""What would go wrong with a training job, before the first one is paid for: ``check``, and a task's ``preflight``."""
