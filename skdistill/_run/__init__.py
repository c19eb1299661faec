"""One run: its outer loop, its state, its checkpoint, and what is told of it."""


def __getattr__(name: str):
    # Pickles of 0.1.0 have them here, where they stood.
    if name in ("Best", "Point", "Run"):
        from . import state

        return state.RunState if name == "Point" else getattr(state, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
