"""Many asyncio tasks, one engine: ``python examples/async_encode.py BUNDLE``."""

import asyncio
import sys

from m3e_runtime import AsyncEncoder, Encoder, OverloadedError


async def answer(encoder: AsyncEncoder, text: str) -> int:
    """Encode one text; when too much is waiting, wait as long as the error says and try again."""
    while True:
        try:
            return len(await encoder.encode(text))
        except OverloadedError as error:
            await asyncio.sleep(error.retry_after)


async def main(bundle: str) -> None:
    """Encode a hundred texts, each in a task of its own."""
    async with AsyncEncoder(Encoder.load(bundle)) as encoder:
        lengths = await asyncio.gather(*(answer(encoder, f"问题 {number}") for number in range(100)))
    print(f"{len(lengths)} vectors of {lengths[0]} dimensions")


asyncio.run(main(sys.argv[1]))
