"""Search with LangChain: ``python examples/langchain_search.py BUNDLE``. Needs the extra ``langchain``."""

import sys

from langchain_core.vectorstores import InMemoryVectorStore

from m3e_runtime.integrations.langchain import M3EEmbeddings

store = InMemoryVectorStore(M3EEmbeddings(bundle=sys.argv[1]))
store.add_texts(["如何更换花呗绑定银行卡", "今天天气很好"])
(found,) = store.similarity_search("花呗更改绑定银行卡", k=1)
print(found.page_content)
