"""The order of the examples in the gallery: from first steps to advanced uses."""

FIRST = ["digits", "image_folder", "tables", "mixed_table", "export_pytorch", "coresets"]
THEN = [
    "grid_search", "truncations", "boosting", "learned_labels", "linear_basis", "hardness",
    "zca_pipeline", "continual_learning", "architecture_ranking", "active_learning",
]  # fmt: skip


class Order:
    """A sort key for Sphinx-Gallery; an example that is not named here comes last."""

    def __init__(self, folder):
        self.names = [f"plot_{name}.py" for name in FIRST + THEN]

    def __call__(self, name):
        """Return a file's place."""
        place = self.names.index(name) if name in self.names else len(self.names)
        return place, name
