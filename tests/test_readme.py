"""What README shows can be pasted: its Python runs, at a smaller size, block after block."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_python_blocks_run(digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL))
    smaller = {
        "random_state=0": "random_state=0, max_iter=2, n_networks=1, eval_steps=5",
        "max_iter=400": "max_iter=3",
        '"unroll": [20, 40]': '"unroll": [20]',
        "max_iter=1000": "max_iter=2, n_networks=1, eval_steps=5",
        "max_iter=100)": "max_iter=2, n_networks=1, eval_steps=5)",
    }
    for text, replacement in smaller.items():
        assert code.count(text) == 1, text
        code = code.replace(text, replacement)
    X_train, X_test, y_train, y_test = digits
    names = {"X_train": X_train, "X_test": X_test, "y_train": y_train, "y_test": y_test}
    exec(code, names)
    assert (tmp_path / "digits.npz").exists()
    assert names["distiller"].n_iter_ == 3
    assert names["X_syn"].shape == (10, 64)
    assert names["X_2"].shape == (20, 64)
