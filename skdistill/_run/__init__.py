"""One run: its outer loop, its state, its checkpoint, and its reports."""


def __getattr__(name: str):
    # Pickles of 0.1.0 look for them here, where they were.
    if name in ("Best", "Point", "Run"):
        from . import state

        return state.RunState if name == "Point" else getattr(state, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
