// Writes what a case of llama.cpp's tests/test-chat.cpp expects, as a line of JSON. calls.py puts it into that file.

#include <cstdlib>
#include <fstream>

static std::string calls_template;

static json calls_message(const common_chat_msg & message) {
    json calls = json::array();
    for (const auto & call : message.tool_calls) {
        json one         = json::object();
        one["name"]      = call.name;
        one["arguments"] = call.arguments;
        one["id"]        = call.id;
        calls.push_back(one);
    }
    json out         = json::object();
    out["content"]   = message.content;
    out["reasoning"] = message.reasoning_content;
    out["calls"]     = calls;
    return out;
}

static void calls_write(const peg_test_case & test, const make_peg_parser & parser) {
    json tools = json::array();
    for (const auto & tool : test.params.tools) {
        json one          = json::object();
        one["name"]       = tool.name;
        one["parameters"] = tool.parameters.empty() ? json() : json::parse(tool.parameters);
        tools.push_back(one);
    }
    json out                 = json::object();
    out["template"]          = calls_template;
    out["input"]             = test.input;
    out["partial"]           = test.is_partial;
    out["generation_prompt"] = parser.params_.generation_prompt;
    out["tools"]             = tools;
    out["tool_choice"]       = (int) test.params.tool_choice;
    out["reasoning_format"]  = (int) test.params.reasoning_format;
    out["continuation"]      = (int) test.params.continue_final_message;
    out["json_schema"]       = test.params.json_schema;
    out["expect"]            = calls_message(test.expect);
    std::ofstream file(getenv("CALLS"), std::ios::app);
    file << out.dump() << "\n";
}
