"""What the package's own files are called in themselves, for readers that must not need torch."""

__all__ = [
    "BLOCKS",
    "BOOSTED_RUN",
    "DISTILLED",
    "NETWORK_SCORES",
    "PREPARED",
    "RUN",
    "VALIDATION",
    "VERSIONS",
]

# The formats of files.
DISTILLED = "skdistill.DistilledDataset"
RUN = "skdistill.Run"
BOOSTED_RUN = "skdistill.BoostedRun"
PREPARED = "skdistill.Prepared"
# The newest version of each. Raise it when older versions of skdistill would misread what a newer
# one writes.
VERSIONS = {DISTILLED: 1, RUN: 1, BOOSTED_RUN: 1, PREPARED: 1}
# The file in a folder of checkpoints that holds what all blocks of a boosted run share.
BLOCKS = "boosted.npz"
# What an identity in a run's file has beside parameters and data. How samples are validated: runs
# of 0.1.0 do not say it, or rather None: by the networks of the evaluation, without weights, and
# each block on a part of its own.
VALIDATION = "how samples are validated"
NETWORK_SCORES = "the network's scores of a few samples"
