"""What is wrong with a run, a distilled set or its test data, and what to do about it."""

from ._diagnose import CHECKS, diagnose
from ._report import Diagnosis, Finding

__all__ = ["CHECKS", "Diagnosis", "Finding", "diagnose"]
