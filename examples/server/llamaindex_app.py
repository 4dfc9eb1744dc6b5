"""LlamaIndex over `llama-concurrent serve`.

    pip install llama-index-llms-openai-like
    python llamaindex_app.py [http://127.0.0.1:8080/v1]
"""

import sys

from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike

URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080/v1"

llm = OpenAILike(
    model="default", api_base=URL, api_key="none", is_chat_model=True, context_window=1024, max_tokens=24
)

print(llm.chat([ChatMessage(role="user", content="Tell me of a fox.")]).message.content)
for part in llm.stream_chat([ChatMessage(role="user", content="Tell me of a boat.")]):
    print(part.delta or "", end="", flush=True)
print()
