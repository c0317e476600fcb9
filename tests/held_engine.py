"""An engine that computes when a test lets it."""

import threading

from m3e_runtime import Encoder


class Held:
    """Keeps the engine of an encoder busy until ``free`` is set; knows the sizes of its runs."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.runs: list[int] = []
        self.error: Exception | None = None
        self.busy = threading.Event()
        self.free = threading.Event()
        self._run = encoder._backend.run
        encoder._backend.run = self.run

    def run(self, token_ids, prompt_lengths=None, token_types=None):
        self.runs.append(len(token_ids))
        self.busy.set()
        assert self.free.wait(30)
        if self.error is not None:
            raise self.error
        return self._run(token_ids, prompt_lengths, token_types)
