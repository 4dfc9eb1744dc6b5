//! The templates of the tests beside this file.

/// ChatML.
pub(super) const CHATML: &str = r#"{% for turn in messages %}
{{ '<|im_start|>' ~ turn['role'] }}
{{ turn['content'] + '<|im_end|>\n' }}
{%- endfor %}
{% if add_generation_prompt %}
{{- '<|im_start|>' + 'assistant' }}
{% endif %}
"#;

/// Llama 2: the system message moves into the first instruction, and roles must alternate.
pub(super) const LLAMA2: &str = r#"{% set opening = '' %}
{% if messages[0]['role'] == 'system' %}
    {% set opening = '<<SYS>>\n' ~ messages[0]['content'] ~ '\n<</SYS>>\n\n' %}
    {% set messages = messages[1:] %}
{% endif %}
{% for turn in messages %}
    {% set expected = ['user', 'assistant'][loop.index0 % 2] %}
    {% if turn['role'] != expected %}
        {{ raise_exception('message ' ~ loop.index ~ ' must be of role ' ~ expected) }}
    {% endif %}
    {% if expected == 'user' %}
        {{- bos_token + '[INST] ' + (opening if loop.first else '') + turn['content'].strip() + ' [/INST]' -}}
    {% else %}
        {{- ' ' + turn['content'].strip() + ' ' + eos_token -}}
    {% endif %}
{% endfor %}
"#;

/// Llama 3: headers around roles, the content trimmed, the date of today unless another is given.
pub(super) const LLAMA3: &str = r#"{%- macro header(role) -%}
    {{ '<|start_header_id|>' ~ role ~ '<|end_header_id|>\n\n' }}
{%- endmacro %}
{{- bos_token ~ header('system') }}
{%- set today = date_string | default(strftime_now("%d %b %Y"), true) %}
{{- "Today: " ~ today ~ "\n" }}
{%- if tools is not none and tools is iterable %}
    {%- for tool in tools %}
        {{- tool | tojson(indent=4) ~ "\n" }}
    {%- endfor %}
{%- endif %}
{%- set start = 0 %}
{%- if messages and messages[0].role == 'system' %}
    {{- messages[0].content | trim }}
    {%- set start = 1 %}
{%- endif %}
{{- "<|eot_id|>" }}
{%- for turn in messages[start:] %}
    {{- header(turn.role) + turn.content | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ header('assistant') }}{% endif %}
"#;

/// Mistral 0.3: the system message and the tools come with the last question; unknown roles are refused.
pub(super) const MISTRAL: &str = r#"{%- set turns = messages | rejectattr("role", "equalto", "system") | list %}
{%- set asked = turns | selectattr("role", "eq", "user") | list | last %}
{%- if messages[0]["role"] == "system" %}{% set instructions = messages[0]["content"] %}{% endif %}
{{- bos_token }}
{%- for turn in turns %}
    {%- if turn["role"] == "assistant" %}
        {{- " " + turn["content"] | trim + eos_token }}
        {%- continue %}
    {%- elif turn["role"] != "user" %}
        {{- raise_exception("unknown role: " + turn["role"] | tojson) }}
    {%- endif %}
    {%- if tools is defined and tools and turn == asked %}
        {{- "[AVAILABLE_TOOLS] [" }}
        {%- for tool in tools %}
            {{- ", " if not loop.first }}
            {{- '{' }}
            {%- for key, field in tool["function"].items() if key != "return" %}
                {%- set field = '"' ~ field ~ '"' if field is string else field | tojson %}
                {{- '"%s": ' | format(key) ~ field ~ ("" if loop.last else ", ") }}
            {%- endfor %}
            {{- '}' }}
        {%- endfor %}
        {{- "][/AVAILABLE_TOOLS]" }}
    {%- endif %}
    {{- "[INST] " ~ (instructions ~ "\n\n" if loop.last and instructions is defined else "") ~ turn["content"] ~ "[/INST]" }}
{%- endfor %}
"#;

/// Gemma: the assistant is called model, a system message is refused, and so are two turns of one role.
pub(super) const GEMMA: &str = r#"{{ bos_token }}
{%- set names = {'user': 'user', 'assistant': 'model'} -%}
{% for turn in messages %}
    {% if turn['role'] not in names %}
        {{ raise_exception('role ' + turn['role'] + ' is not supported') }}
    {% elif loop.previtem is defined and loop.previtem['role'] == turn['role'] %}
        {{ raise_exception('two messages of role ' + turn['role'] + ' in a row') }}
    {% endif %}
<start_of_turn>{{ names[turn['role']] }}
{{ turn['content'] | trim }}<end_of_turn>
{% endfor %}
{%+ if add_generation_prompt %}<start_of_turn>{{ names.assistant ~ '\n' }}{% endif %}
"#;

/// Phi 3: text between the tags instead of strings, and the EOS token where no answer is asked for.
pub(super) const PHI3: &str = r#"{% for turn in messages if turn['content'] %}
{% if turn['role'] in ('system', 'user', 'assistant') %}
<|{{ turn['role'] }}|>
{{ turn['content'] }}<|end|>
{% endif -%}
{% endfor %}
{{- '<|assistant|>\n' if add_generation_prompt else eos_token -}}
"#;

/// Qwen 2.5: a default system message, and tools as one JSON document per line.
pub(super) const QWEN: &str = r#"{%- set instructions = 'Answer well.' %}
{%- if messages[0].role == 'system' %}{% set instructions = messages[0].content %}{% endif %}
{{- '<|im_start|>system\n' + instructions }}
{%- if tools %}
    {{- "\n\n# Tools\n" }}
    {%- for tool in tools %}
        {{- "\n" ~ tool | tojson }}
    {%- endfor %}
    {{- "\n\nCall one with {\"name\": ..., \"arguments\": ...}" }}
{%- endif %}
{{- '<|im_end|>\n' }}
{%- for turn in messages %}
    {%- if turn.role == 'tool' %}
        {%- if loop.changed(turn.role) %}{{ '<|im_start|>user' }}{% endif %}
        {{- '\n<tool_response>' ~ turn.content ~ '</tool_response>' }}
        {%- if loop.last or loop.nextitem.role != 'tool' %}{{ '<|im_end|>\n' }}{% endif %}
    {%- elif not (loop.first and turn.role == 'system') and not turn.tool_calls %}
        {{- '<|im_start|>' + turn.role + '\n' + turn.content + '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}
"#;

/// DeepSeek: a namespace collects the system messages, and past reasoning is cut off.
pub(super) const DEEPSEEK: &str = r#"{%- set ns = namespace(system=[], answers=0) -%}
{%- for turn in messages if turn['role'] == 'system' -%}
  {%- set ns.system = ns.system + [turn['content']] -%}
{%- endfor -%}
{{ bos_token }}{{ ns.system | join('\n\n') }}
{%- for turn in messages -%}
  {%- if turn['role'] == 'system' -%}{%- continue -%}{%- endif -%}
  {%- if turn['role'] == 'user' -%}{{ '<｜User｜>' ~ turn['content'] }}
  {%- elif turn['content'] is not none -%}
    {%- set said = turn['content'].split('</think>', 1)[-1].lstrip('\n') -%}
    {%- set ns.answers = ns.answers + 1 -%}
    {{ '<｜Assistant｜>' ~ said ~ '<｜end▁of▁sentence｜>' }}
  {%- endif -%}
{%- endfor -%}
{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\n' if ns.answers else '<｜Assistant｜>' }}{% endif %}"#;

/// SmolLM: all on few lines, with line breaks within strings, and a default system message.
pub(super) const SMOLLM: &str = r#"{% for turn in messages %}{% if loop.first and turn.role != 'system' %}{{ '<|im_start|>system
You are small and helpful.<|im_end|>
' }}{% endif %}<|im_start|>{{ turn.role + '
' + turn.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}"#;

/// Newer templates: macros, the messages backwards, break, trained parts marked, a switch for reasoning.
pub(super) const THINKING: &str = r#"{%- macro shown(text, keep=false) -%}
    {%- if keep or '</think>' not in text -%}{{ text.strip() }}
    {%- else -%}{{ (text | string).rsplit('</think>', maxsplit=1)[1].strip() }}
    {%- endif -%}
{%- endmacro -%}
{%- set ns = namespace(last_user=-1) -%}
{%- for message in messages[::-1] -%}
    {%- if message.role == 'user' -%}
        {%- set ns.last_user = loop.revindex0 -%}
        {%- break -%}
    {%- endif -%}
{%- endfor -%}
[gMASK]<sop>
{#- comments vanish -#}
{% for message in messages -%}
    <|{{ message.role }}|>
{% if message.role == 'assistant' -%}
    {%- generation -%}
        {%- set text = shown(message.content, keep=loop.index0 > ns.last_user) -%}
        {{- text if not text.endswith('/nothink') else text[:-8].removesuffix(' ') -}}
    {%- endgeneration %}

{% else %}
{{ shown(message.get('content', '')) }}
{% endif %}
{%- endfor %}
{% if add_generation_prompt %}
<|assistant|>
{{ '<think></think>' if enable_thinking is defined and not enable_thinking else '' }}
{%- endif %}
"#;
