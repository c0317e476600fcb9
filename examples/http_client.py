"""Ask ``m3e-serve`` for vectors, with the standard library: ``python examples/http_client.py URL``.

URL is that of the service, such as http://localhost:8000.
"""

import json
import sys
import time
import urllib.error
import urllib.request

TOO_MANY_REQUESTS = 429


def embed(url: str, texts: list[str]) -> list[list[float]]:
    """Vectors of texts. A refused request is sent again after the time that the service names."""
    body = json.dumps({"input": texts, "model": served_model(url)}).encode()
    request = urllib.request.Request(f"{url}/v1/embeddings", body, {"Content-Type": "application/json"})
    while True:
        try:
            with urllib.request.urlopen(request) as response:
                return [each["embedding"] for each in json.load(response)["data"]]
        except urllib.error.HTTPError as error:
            if error.code != TOO_MANY_REQUESTS:
                raise
            time.sleep(float(error.headers["Retry-After"]))


def served_model(url: str) -> str:
    """The first model that the service has."""
    with urllib.request.urlopen(f"{url}/v1/models") as response:
        return json.load(response)["data"][0]["id"]


vectors = embed(sys.argv[1], ["今天天气很好", "Hello, world"])
print(f"{len(vectors)} vectors of {len(vectors[0])} dimensions")
