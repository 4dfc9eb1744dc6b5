//! Templates that come with this crate, for models whose file has none.

/// What is used where a model's file has no template: the format that most models of unknown origin understand.
pub const CHATML: &str = "{%- for message in messages -%}
  {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<|im_start|>assistant\\n' -}}
{%- endif -%}";

const LLAMA2: &str = "{%- set ns = namespace(system='') -%}
{%- for message in messages -%}
  {%- if message.role == 'system' -%}
    {%- set ns.system = '<<SYS>>\\n' + message.content + '\\n<</SYS>>\\n\\n' -%}
  {%- elif message.role == 'assistant' -%}
    {{- ' ' + message.content + ' ' + eos_token -}}
  {%- else -%}
    {{- bos_token + '[INST] ' + ns.system + message.content + ' [/INST]' -}}
    {%- set ns.system = '' -%}
  {%- endif -%}
{%- endfor -%}";

const LLAMA3: &str = "{{- bos_token -}}
{%- for message in messages -%}
  {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + message.content | trim + '<|eot_id|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
{%- endif -%}";

const GEMMA: &str = "{{- bos_token -}}
{%- for message in messages -%}
  {%- if message.role == 'system' -%}{{- raise_exception('no system role') -}}{%- endif -%}
  {%- set role = 'model' if message.role == 'assistant' else message.role -%}
  {{- '<start_of_turn>' + role + '\\n' + message.content | trim + '<end_of_turn>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<start_of_turn>model\\n' -}}
{%- endif -%}";

const PHI3: &str = "{%- for message in messages -%}
  {{- '<|' + message.role + '|>\\n' + message.content + '<|end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<|assistant|>\\n' -}}
{%- endif -%}";

const ZEPHYR: &str = "{%- for message in messages -%}
  {{- '<|' + message.role + '|>\\n' + message.content + eos_token + '\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<|assistant|>\\n' -}}
{%- endif -%}";

const MISTRAL: &str = "{{- bos_token -}}
{%- set ns = namespace(system='') -%}
{%- for message in messages -%}
  {%- if message.role == 'system' -%}
    {%- set ns.system = message.content + '\\n\\n' -%}
  {%- elif message.role == 'assistant' -%}
    {{- ' ' + message.content + eos_token -}}
  {%- else -%}
    {{- '[INST] ' + ns.system + message.content + ' [/INST]' -}}
    {%- set ns.system = '' -%}
  {%- endif -%}
{%- endfor -%}";

const VICUNA: &str = "{%- for message in messages -%}
  {%- if message.role == 'system' -%}
    {{- message.content + '\\n\\n' -}}
  {%- elif message.role == 'assistant' -%}
    {{- 'ASSISTANT: ' + message.content + eos_token + '\\n' -}}
  {%- else -%}
    {{- 'USER: ' + message.content + '\\n' -}}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- 'ASSISTANT:' -}}
{%- endif -%}";

const COMMAND_R: &str = "{%- for message in messages -%}
  {%- set role = 'CHATBOT' if message.role == 'assistant' else message.role | upper -%}
  {{- '<|START_OF_TURN_TOKEN|><|' + role + '_TOKEN|>' + message.content | trim + '<|END_OF_TURN_TOKEN|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' -}}
{%- endif -%}";

/// The names, in order.
pub const NAMES: [&str; 9] =
    ["chatml", "command-r", "gemma", "llama2", "llama3", "mistral-v1", "phi3", "vicuna", "zephyr"];

/// The source of a template by its name; the names are llama.cpp's.
pub fn builtin(name: &str) -> Option<&'static str> {
    match name {
        "chatml" => Some(CHATML),
        "command-r" => Some(COMMAND_R),
        "gemma" => Some(GEMMA),
        "llama2" => Some(LLAMA2),
        "llama3" => Some(LLAMA3),
        "mistral-v1" => Some(MISTRAL),
        "phi3" => Some(PHI3),
        "vicuna" => Some(VICUNA),
        "zephyr" => Some(ZEPHYR),
        _ => None,
    }
}
