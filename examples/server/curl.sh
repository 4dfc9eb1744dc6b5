#!/bin/sh
# The server with curl: ./curl.sh [http://127.0.0.1:8080]
set -eu
url=${1:-http://127.0.0.1:8080}

echo "# a chat, as OpenAI has it"
curl -sS --fail-with-body "$url/v1/chat/completions" \
  -d '{"messages": [{"role": "user", "content": "Tell me of a fox."}], "max_tokens": 16}'

printf '\n\n# a stream\n'
curl -sSN --fail-with-body "$url/v1/completions" -d '{"prompt": "Once upon a time", "max_tokens": 4, "stream": true}'

printf '# as llama-server has it, several prompts at once\n'
curl -sS --fail-with-body "$url/completion" \
  -d '{"prompt": ["A fox", "A boat"], "n_predict": 8, "response_fields": ["content", "timings/predicted_per_second"]}'

printf '\n\n# JSON of a schema\n'
curl -sS --fail-with-body "$url/completion" \
  -d '{"prompt": "A number:", "n_predict": 8, "json_schema": {"type": "integer", "minimum": 0, "maximum": 999}}' \
  | sed 's/.*"content":\("[^"]*"\).*/\1/'

printf '\n# slots, and the first figures\n'
curl -sS --fail-with-body "$url/slots?fail_on_no_slot=1" | cut -c 1-120
curl -sS --fail-with-body "$url/metrics" | grep '^llamacpp:'
