// What llama-server makes of chat templates: the other reference beside transformers.
//
//   g++ -std=c++17 -O1 -I $LLAMA/common -I $LLAMA/include -I $LLAMA/ggml/include -I $LLAMA/vendor llama_server.cpp
//       -L $OUT/lib -L $OUT/build/common -lllama-common -lllama-common-base -lllama -lggml -lggml-cpu -lggml-base -fopenmp -lpthread -ldl -o llama_server
//   ./llama_server DIR conversations.json > DIR/llama_server.json
//
// LLAMA is the source of llama.cpp in the registry of cargo, OUT the output folder of its build in target/.

#include "chat.h"
#include "json.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

static std::string read(const std::string & path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

// As the server reads the body of a chat.
static common_chat_templates_inputs inputs_of(const common_json & body) {
    common_chat_templates_inputs inputs;
    inputs.messages = common_chat_msgs_parse_oaicompat(body.at("messages"));
    if (body.contains("tools")) {
        inputs.tools = common_chat_tools_parse_oaicompat(body.at("tools"));
    }
    inputs.add_generation_prompt = body.value("add_generation_prompt", true);
    inputs.reasoning_format      = COMMON_REASONING_FORMAT_DEEPSEEK;
    if (body.contains("continue_final_message")) {
        inputs.continue_final_message = common_chat_continuation_parse(body.at("continue_final_message"));
    }
    if (body.contains("extra")) {
        for (const auto & item : body.at("extra").items()) {
            inputs.chat_template_kwargs[item.key()] = item.value().dump();
            if (item.key() == "enable_thinking") {
                inputs.enable_thinking = item.value().get<bool>();
            }
        }
    }
    inputs.now = std::chrono::system_clock::from_time_t(1767323045);  // 2026-01-02 03:04:05 UTC
    return inputs;
}

int main(int argc, char ** argv) {
    if (argc != 3) {
        return 2;
    }
    common_json conversations = common_json::parse(read(argv[2]));
    common_json all           = common_json::object();
    std::vector<std::filesystem::path> files;
    for (const auto & entry : std::filesystem::directory_iterator(argv[1])) {
        if (entry.path().extension() == ".jinja") {
            files.push_back(entry.path());
        }
    }
    std::sort(files.begin(), files.end());
    for (const auto & file : files) {
        common_json of_template = common_json::object();
        for (const auto & item : conversations.items()) {
            common_json result = common_json::object();
            try {
                auto templates = common_chat_templates_init(nullptr, read(file.string()), "<s>", "</s>");
                result["text"] = common_chat_templates_apply(templates.get(), inputs_of(item.value())).prompt;
            } catch (const std::exception & error) {
                result["error"] = std::string(error.what()).substr(0, 300);
            }
            of_template[item.key()] = result;
        }
        all[file.stem().string()] = of_template;
    }
    std::cout << all.dump_safe(1) << "\n";
}
