"""The plan of the claims: which runs decide each of them, and which numbers must be above which.

`CLAIMS` says which scripts run with which data, arguments, seeds and time. All of it is written
down before a run starts. The runs of a claim take some six hours of one core.
"""

from itertools import pairwise

from claims_rows import (
    BACKWARD,
    FORWARD,
    GAIN,
    LACK,
    MOST,
    NEVER,
    OFTEN,
    SELDOM,
    has_not_moved,
    lines_of_curves,
    lines_of_hardness,
    lines_of_sets,
    of_curves,
    of_hardness,
    of_methods,
    of_parametrizations,
    of_sets,
    of_transfer,
)
from claims_rule import Claim, Finding, Part, Statement

FASHION, CIFAR = "fashion-mnist", "cifar10-folder"


# What suits narrow networks in minutes: see settings.py.
NARROW = "--window 20 --unroll 30 --inner-lr 0.003"
BOOSTING = f"--ipc 10 --block-size 2 --width 16 {NARROW} --max-iter 1500 --networks 5 --draws 5"
STRONG, WEAK, JOINT, KIP, REAL = (
    "strongly boosted",
    "weakly boosted",
    "distilled at that size",
    "KIP",
    "random real samples",
)


def sets(*names: str) -> Part:
    """Return runs of boosting.py on Fashion-MNIST."""
    file = "boosting-fashion-mnist-10.json"
    return Part("boosting", FASHION, file, BOOSTING, "set", names, (0, 1))


BOOSTED = Claim(
    title="Boosting",
    parts=(sets(STRONG, WEAK, JOINT),),
    values=of_sets,
    findings=(
        Finding(
            "Boosting costs next to nothing at large budgets (figure 8).",
            (
                # Two points: no more is a "minor sacrifice" on ten classes.
                Statement(f"{STRONG}, 10 per class", f"{JOINT}, 10 per class, in equal time", -2),
                Statement(f"{WEAK}, 10 per class", f"{JOINT}, 10 per class, in equal time", -2),
            ),
        ),
        Finding(
            "In the end weak boosting is better than joint distillation (figure 8).",
            (Statement(f"{WEAK}, 10 per class", f"{JOINT}, 10 per class, in equal time", 0),),
        ),
        Finding(
            "Later blocks are worse than the first, and far better than a part of a joint set of "
            "their size (figure 9).",
            (
                Statement(f"{STRONG}, first block", f"{STRONG}, later blocks alone", 0),
                Statement(f"{STRONG}, later blocks alone", f"{JOINT}, 2 random of 10", 2),
            ),
        ),
    ),
    hours=5,
    lines=lines_of_sets,
)

INTERCORRELATION = Claim(
    title="Intercorrelation",
    # The first are those of the claim before.
    parts=(sets(JOINT, REAL, KIP),),
    values=of_sets,
    findings=(
        *(
            Finding(
                f"{words}: a part of a joint set is far below a set of its size, and, if it is "
                "small, below as many real samples (figure 7).",
                (
                    Statement(f"{name}, 2 per class", f"{name}, 2 random of 10", 2),
                    Statement(f"{REAL}, 2 per class", f"{name}, 2 random of 10", 0),
                ),
            )
            for name, words in ((JOINT, "RaT-BPTT"), (KIP, "KIP"))
        ),
        Finding(
            "Parts of sets by RaT-BPTT are better than those of KIP's (figure 7).",
            tuple(
                Statement(f"{JOINT}, {k} random of 10", f"{KIP}, {k} random of 10", 0)
                for k in (4, 6)
            ),
        ),
    ),
    hours=0.5,
    lines=lines_of_sets,
)


def ordered(axis: str, *names: str, least: float = 0.5) -> tuple[Statement, ...]:
    """Return that each number is above the next one.

    Half a point is the standard error of an accuracy on 10,000 test samples: what is less is not
    worth a claim.
    """
    return tuple(Statement(f"{a}, {axis}", f"{b}, {axis}", least) for a, b in pairwise(names))


RAT, EARLY = "RaT-BPTT", "favors first steps"
STEPS, TIME = "equal steps", "equal time"
WINDOW = Claim(
    title="The random window",
    parts=(
        Part(
            "truncations",
            CIFAR,
            "truncations-cifar10-folder.json",
            # A third of the unrolling, as in figures 4 and 6: narrow networks take less, but then a
            # window has no room to move.
            "--small --ipc 1 --width 16 --window 20 --unroll 60 --inner-lr 0.003 "
            # The mean of the loss has a memory of some fifty steps: with the paper's patience, or
            # 150, a window would hardly move in so short a run.
            "--augmentation flip_rotate --patience 75 --smoothing 0.98 "
            "--minutes 12 --every 100 --networks 3",
            "method",
            (RAT, "BPTT", "T-BPTT", "R-BPTT", FORWARD, BACKWARD, EARLY),
            (0, 1, 2),
        ),
    ),
    values=of_curves(""),
    findings=(
        Finding(
            "RaT-BPTT is better than BPTT, at equal steps and at equal time (figure 4).",
            ordered(STEPS, RAT, "BPTT") + ordered(TIME, RAT, "BPTT"),
        ),
        Finding(
            "BPTT is better than T-BPTT and R-BPTT (figure 4).",
            ordered(STEPS, "BPTT", "T-BPTT") + ordered(STEPS, "BPTT", "R-BPTT"),
        ),
        Finding(
            "A random window is better than one that moves (figure 6).",
            ordered(STEPS, RAT, FORWARD) + ordered(STEPS, RAT, BACKWARD),
        ),
        Finding(
            "A window that favors the first steps is better still (section 4.3: 0.4 points).",
            ordered(STEPS, EARLY, RAT, least=0),
        ),
    ),
    hours=5.5,
    lines=lines_of_curves(""),
    obstacle=has_not_moved,
)


def lengths(window: int, unroll: int) -> str:
    """Return what figure11.py calls a window."""
    return f"{window} of {unroll} in the paper"


PAIRS = tuple(
    lengths(*pair) for pair in ((40, 80), (40, 120), (40, 200), (40, 300), (60, 200), (100, 200))
)
SIZES = {
    "28 pixels": (FASHION, "--width 32 --every 200"),
    "32 pixels": (CIFAR, "--width 16 --augmentation flip_rotate --every 200"),
}


def of_lengths(part: int, size: str) -> tuple[Finding, ...]:
    """Return the findings of figure 11 for images of a size, from a part of the claim."""

    def above(better: tuple[int, int], worse: tuple[int, int], least: float) -> Statement:
        names = (f"{size}, {lengths(*pair)}, {STEPS}" for pair in (better, worse))
        return Statement(*names, least)

    return (
        Finding(
            f"{size}: three times the window is as good as two and five times (figure 11, left).",
            (above((40, 120), (40, 80), -2), above((40, 120), (40, 200), -2)),
            parts=(part,),
        ),
        Finding(
            f"{size}: an unrolling of seven and a half times the window does harm (figure 11, "
            "left).",
            (above((40, 120), (40, 300), 0.5),),
            parts=(part,),
        ),
        Finding(
            f"{size}: a window of about a third is better than a fifth, and as good as a half "
            "(figure 11, right).",
            (above((60, 200), (40, 200), 0.5), above((60, 200), (100, 200), -2)),
            parts=(part,),
        ),
    )


LENGTHS = Claim(
    title="Window and unrolling",
    parts=tuple(
        Part(
            "figure11",
            name,
            f"figure11-{name.replace(' ', '-')}.json",
            # Three times the learning rate and a quarter of the steps: about as far in all.
            f"--small --ipc 1 {own} --divide 4 --inner-lr 0.003 --minutes 7.5 --networks 3",
            "method",
            PAIRS,
            (0, 1, 2),
        )
        for name, own in SIZES.values()
    ),
    values=of_curves(*SIZES),
    findings=tuple(finding for pair in enumerate(SIZES) for finding in of_lengths(*pair)),
    hours=6,
    lines=lines_of_curves(*SIZES),
)

PIXELS, BASIS, LABELS = "pixels", "linear basis", "learned labels"
STORED = (
    # The start whose size the learning rate of pixels goes by.
    f"--init gaussian --storage 1 10 --width 16 --test-width 32 {NARROW} --inner-batch-size 5 "
    # A thousand steps, because a set of bases has a thousand samples.
    "--networks 5 --test-steps 1000 --curve-networks 1"
)


def stored(data: str, own: str, names: tuple[str, ...], storage: int, seeds: tuple) -> Part:
    """Return runs of parametrizations.py."""
    file, where = f"parametrizations-{data}.json", ("storage", storage)
    arguments = STORED.replace("1 10", str(storage)) + own
    return Part("parametrizations", data, file, arguments, "name", names, seeds, where)


STORAGES = ("CIFAR-10", "Fashion-MNIST", "Fashion-MNIST, 10 per class")
PARAMETRIZED = Claim(
    title="Bases and labels",
    parts=(
        stored(CIFAR, " --augmentation flip_rotate --minutes 40", (PIXELS, BASIS), 1, (0, 1)),
        # Not in the paper, so that two seeds have to do.
        stored(FASHION, " --minutes 15", (PIXELS, BASIS), 1, (0, 1)),
        stored(FASHION, " --minutes 15", (PIXELS, LABELS), 10, (0, 1, 2)),
    ),
    values=of_parametrizations(*STORAGES),
    findings=(
        Finding(
            "A linear basis in the storage of one sample per class is far better than pixels "
            "(section 4.2: 15 points on CIFAR-10).",
            # A third of the paper's gain.
            (Statement(f"CIFAR-10, {BASIS}", f"CIFAR-10, {PIXELS}", 5),),
            parts=(0,),
        ),
        Finding(
            "It is better on gray images, too (not in the paper).",
            (Statement(f"Fashion-MNIST, {BASIS}", f"Fashion-MNIST, {PIXELS}", 0.5),),
            parts=(1,),
        ),
        Finding(
            "Learned labels make sets of ten per class better (appendix C.1 has them for large "
            "sets, without a number).",
            (
                Statement(
                    f"Fashion-MNIST, 10 per class, {LABELS}",
                    f"Fashion-MNIST, 10 per class, {PIXELS}",
                    0.5,
                ),
            ),
            parts=(2,),
        ),
    ),
    hours=6,
    lines=lines_of_curves(*STORAGES, key="name"),
)

HARD = (
    f"--ipc 10 --width 16 {NARROW} --max-iter 3000 --begin 1500 --renew-every 1 "
    "--epochs 20 --score-networks 5 --networks 5"
)
HARDNESS = Claim(
    title="Hardness",
    parts=(
        Part(
            "hardness",
            FASHION,
            "hardness-fashion-mnist-10.json",
            HARD,
            "name",
            ("scores",),
            (0,),
        ),
        Part(
            "hardness",
            FASHION,
            "hardness-fashion-mnist-10.json",
            HARD,
            "name",
            ("one per class", "uniform", "extremes", "medium", "whole training set"),
            (0, 1, 2),
        ),
    ),
    values=of_hardness,
    findings=(
        Finding(
            "What ten samples per class lack of training on everything, they lack of the samples "
            "that networks forget (figure 10).",
            (Statement(f"{LACK}, {OFTEN}", f"{LACK}, {NEVER}", 5),),
        ),
        Finding(
            "More samples per class help least where networks forget most (figure 10).",
            (Statement(f"{GAIN}, {SELDOM}", f"{GAIN}, {MOST}", 0),),
        ),
        Finding(
            "Batches by hardness, of one sign or the other, are better than uniform ones "
            "(figure 15).",
            (
                Statement("medium batches", "uniform batches", 0.5),
                Statement("extremes batches", "uniform batches", 0.5),
            ),
            needs="any",
        ),
    ),
    hours=4.5,
    lines=lines_of_hardness,
)

# The last three are told, and decide nothing. Only sets through the usual ConvNet need the wide
# ones, whose tests take most of the time.
ON, WIDE = "convnet-32 convnet resnet-small resnet18 vgg11 alexnet", " convnet_x4 convnet_x8"


def through(file: str, on: str, *names: str) -> Part:
    """Return runs of architectures.py."""
    arguments = f"--small --ipc 1 --minutes 12 --through {' '.join(names)} --on {on} --networks 2"
    file = f"architectures-fashion-mnist-{file}.json"
    return Part("architectures", FASHION, file, arguments, "through", names, (0, 1))


TRANSFER = Claim(
    title="Transfer",
    parts=(
        through("usual", ON + WIDE, "convnet"),
        through("others", ON, "convnet-32", "convnet-32-usual", "resnet-small"),
    ),
    values=of_transfer,
    findings=(
        Finding(
            "Sets do better on wider networks than on those that they were distilled through "
            "(Table 1, last row).",
            (
                Statement("through convnet, on convnet_x4", "through convnet, on convnet", 0),
                Statement("through convnet, on convnet_x8", "through convnet, on convnet", 0),
                Statement("through convnet-32, on convnet", "through convnet-32, on convnet-32", 0),
            ),
        ),
        Finding(
            "Narrow networks are good enough to distill through, with the loop that suits them and "
            "with that of the usual ones (section 4.1).",
            tuple(
                Statement(f"through {narrow}, on convnet", "through convnet, on convnet", -2)
                for narrow in ("convnet-32", "convnet-32-usual")
            ),
        ),
        Finding(
            "A residual network learns more from a set that was distilled through one than from "
            "one of a ConvNet (appendix C.3: 3.5 points).",
            (
                Statement(
                    "through resnet-small, on resnet-small", "through convnet, on resnet-small", 0.5
                ),
            ),
        ),
    ),
    hours=4,
)

BEST = "RaTBPTTDistiller"
# Those of Table 1, and of the table in section 4.2 the one that learns pixels. The others that the
# package has are near to one of these: DC to DSA, TESLA to MTT.
RIVALS = (
    "bptt",
    "KIPDistiller",
    "RFADDistiller",
    "FRePoDistiller",
    "RCIGDistiller",
    "dsa",
    "DistributionMatchingDistiller",
    "mtt",
    "ftd",
    "idc",
)
# By the step size that they learned. (Table 1 has KIP's by networks, and not by its regression.)
WITH_OWN = ("mtt", "ftd")
TABLES = {
    "Fashion-MNIST, 1 per class": (FASHION, 1, "--width 32 --curve-networks 1", (0, 1)),
    "Fashion-MNIST, 10 per class": (FASHION, 10, "--width 32", (0,)),
    "CIFAR-10, 1 per class": (CIFAR, 1, "--width 16", (0,)),
}
TABLE = Claim(
    title="Table 1",
    parts=tuple(
        Part(
            "methods",
            data,
            f"methods-{data}-{ipc}-6min.json",
            f"--ipc {ipc} --minutes 6 --networks 3 {own}",
            "method",
            (BEST, *RIVALS),
            seeds,
            # One seed is enough for a method that is far away: by more than twice the margin that
            # it has then, if accuracies scatter by a point or so from seed to seed.
            close=5.0,
        )
        for data, ipc, own, seeds in TABLES.values()
    ),
    values=of_methods(*TABLES),
    findings=tuple(
        Finding(
            f"{label}: RaT-BPTT is better than every other method{words}.",
            tuple(Statement(f"{label}, {BEST}", f"{label}, {rival}{end}", 0.5) for rival in rivals),
            parts=(part,),
        )
        for part, label in enumerate(TABLES)
        for words, end, rivals in (
            (
                ", all by our protocol (FRePo and RCIG by squared error, as their labels need)",
                "",
                RIVALS,
            ),
            (" that learns a step size, by that", ", own protocol", WITH_OWN),
        )
    ),
    hours=6,
    lines=lines_of_curves(*TABLES),
)

CLAIMS = {
    1: BOOSTED,
    2: INTERCORRELATION,
    3: WINDOW,
    4: LENGTHS,
    5: PARAMETRIZED,
    6: HARDNESS,
    7: TRANSFER,
    8: TABLE,
}
