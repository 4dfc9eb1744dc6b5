"""LangChain over `llama-concurrent serve`: a chain, its stream, and a batch that runs at once.

    pip install langchain-openai
    python langchain_app.py [http://127.0.0.1:8080/v1]
"""

import sys

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI

URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080/v1"

model = ChatOpenAI(model="default", base_url=URL, api_key="none", max_tokens=24, temperature=0.8)
chain = ChatPromptTemplate.from_messages([("system", "You tell short stories."), ("user", "Of {what}.")]) | model
chain = chain | StrOutputParser()

print(chain.invoke({"what": "a fox"}))
for piece in chain.stream({"what": "a boat"}):
    print(piece, end="", flush=True)
print()
for answer in chain.batch([{"what": what} for what in ["the sea", "a hill", "a storm", "a cat"]]):
    print("-", answer)
