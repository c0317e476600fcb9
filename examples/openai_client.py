"""Ask ``m3e-serve`` for vectors, with OpenAI's client: ``python examples/openai_client.py URL``.

URL is that of the service, such as http://localhost:8000. Needs the package ``openai``.
"""

import sys

from openai import OpenAI

client = OpenAI(base_url=f"{sys.argv[1]}/v1", api_key="none")
model = client.models.list().data[0].id
answer = client.embeddings.create(model=model, input=["今天天气很好", "Hello, world"])
print(f"{len(answer.data)} vectors of {len(answer.data[0].embedding)} dimensions")
