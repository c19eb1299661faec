"""Reading and writing files. This package does not import torch."""
