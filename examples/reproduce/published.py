"""What was published: test accuracy (%), by method and column.

`TABLE_1` is that of [Feng23]. "Ours" is RaT-BPTT. For the other methods, [Feng23] says that it
records the best value in the original paper; for FRePO and RCIG without a star, its own evaluation
with narrow networks. A star means evaluated with wider networks. `PARAMETRIZED` is the table of its
section 4.2, with equal storage. `FASHION` has what the README files of official codes say of
Fashion-MNIST, which [Feng23] does not have.
"""

COLUMNS = [
    ("cifar10", 1), ("cifar10", 10), ("cifar10", 50), ("cifar100", 1), ("cifar100", 10),
    ("cifar100", 50), ("cub200", 1), ("cub200", 10), ("tinyimagenet", 1), ("tinyimagenet", 10),
]  # fmt: skip

TABLE_1 = """
BPTT                    | 49.1±0.6 | 62.4±0.4 | 70.5±0.4 | 21.3±0.6 | 34.7±0.5 |          |          |          |          |
KIP*                    | 49.9±0.2 | 62.7±0.3 | 68.6±0.2 | 15.7±0.2 | 28.3±0.1 |          |          |          |          |
RFAD*                   | 53.6±1.2 | 66.3±0.5 | 71.1±0.4 | 26.3±1.1 | 33.0±0.3 |          |          |          |          |
FRePO*                  | 46.8±0.7 | 65.5±0.6 | 71.7±0.2 | 28.7±0.1 | 42.5±0.2 | 44.3±0.2 | 12.4±0.2 | 16.8±0.1 | 15.4±0.3 | 25.4±0.2
FRePO                   | 45.6±0.1 | 63.5±0.1 | 70.7±0.1 | 26.3±0.1 | 41.3±0.1 | 41.5±0.1 |          |          | 16.9±0.1 | 22.4±0.1
RCIG*                   | 53.9±1.0 | 69.1±0.4 | 73.5±0.3 | 39.3±0.4 | 44.1±0.4 | 46.7±0.1 | 12.1±0.2 | 15.7±0.3 | 25.6±0.3 | 29.4±0.2
RCIG                    | 49.6±1.2 | 66.8±0.3 |          | 35.5±0.7 |          |          |          |          | 22.4±0.3 |
DSA                     | 28.8±0.7 | 52.1±0.5 | 60.6±0.5 | 13.9±0.3 | 32.3±0.3 | 42.8±0.4 | 1.3±0.1  | 4.5±0.3  | 6.6±0.2  | 14.4±2.0
DM                      | 26.0±0.8 | 48.9±0.6 | 63.0±0.4 | 11.4±0.3 | 29.7±0.3 | 43.6±0.4 | 1.6±0.1  | 4.4±0.2  | 3.9±0.2  | 12.9±0.4
MTT                     | 46.3±0.8 | 65.3±0.7 | 71.6±0.2 | 24.3±0.3 | 40.1±0.4 | 47.7±0.3 | 2.2±0.1  |          | 8.8±0.3  | 23.2±0.2
FTD                     | 46.8±0.3 | 66.6±0.3 | 73.8±0.2 | 25.2±0.2 | 43.4±0.3 | 50.7±0.3 |          |          | 10.4±0.3 | 24.5±0.2
Ours                    | 53.2±0.7 | 69.4±0.4 | 75.3±0.3 | 35.3±0.4 | 47.5±0.2 | 50.6±0.2 | 13.8±0.3 | 17.7±0.2 | 20.1±0.3 | 24.4±0.2
Ours (transfer to wide) | 54.1±0.4 | 71.0±0.2 | 75.4±0.2 | 36.5±0.3 | 47.9±0.2 | 51.0±0.3 | 14.2±0.3 | 17.9±0.3 | 20.3±0.1 | 24.9±0.1
"""  # noqa: E501
PARAMETRIZED_COLUMNS = [("cifar10", 1), ("cifar10", 10)]
PARAMETRIZED = """
IDC               | 50.0±0.4 | 67.5±0.5
LinBa             | 66.4±0.4 | 71.2±0.4
HaBa              | 48.3±0.8 | 69.9±0.4
Linear + RaT-BPTT | 68.2±0.4 | 72.8±0.4
"""
FASHION_COLUMNS = [("fashion-mnist", 1), ("fashion-mnist", 10), ("fashion-mnist", 50)]
# github.com/VICO-UoE/DatasetCondensation, and github.com/snu-mllab/Efficient-Dataset-Condensation.
FASHION = """
DC    | 70.5 | 82.3 | 83.6
DSA   | 70.6 | 84.6 | 88.7
IDC-I | 70.7 | 85.3 | 89.1
IDC   | 81.0 | 86.0 | 86.2
"""


def rows(text: str) -> dict[str, list[str]]:
    """Return the cells of a table above, by the method's name; empty where there is no number."""
    lines = [[cell.strip() for cell in line.split("|")] for line in text.strip().splitlines()]
    return {name: cells for name, *cells in lines}


def column(dataset: str, ipc: int) -> dict[str, str]:
    """Return the column of Table 1 for these samples per class, by method; empty for other data."""
    if (dataset, ipc) not in COLUMNS:
        return {}
    place = COLUMNS.index((dataset, ipc))
    names = {"Ours": "the paper", "Ours (transfer to wide)": "the paper, transfer to wide"}
    return {
        names.get(name, f"{name} (as the paper reports)"): cells[place]
        for name, cells in rows(TABLE_1).items()
        if cells[place]
    }
