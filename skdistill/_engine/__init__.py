"""The torch engine: exact truncated meta-gradients and the loop around them.

Nothing in this package knows scikit-learn or the user's arrays: it is called with tensors and plain
settings.
"""
