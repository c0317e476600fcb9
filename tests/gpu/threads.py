"""One encoder, several threads."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np


def encode_in_threads(encoder, texts):
    """Each of four threads gets the vectors of its own texts, to what fp16 gives in another batch."""
    expected = encoder.encode(texts)

    def work(offset):
        for at in range(offset, len(texts), 4):
            assert np.abs(encoder.encode(texts[at]) - expected[at]).max() <= 5e-3

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
