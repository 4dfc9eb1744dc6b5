//! Tools that are commands of the system.

use std::{
    collections::HashMap,
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    thread,
};

use llama_concurrent::Tool;
use serde_json::Value;

use crate::failure::Failure;

/// Characters of a result at most.
const MAX_RESULT: usize = 64 << 10;

/// The tools of a file, and the commands behind them.
#[derive(Debug, Default)]
pub struct Commands {
    tools: Vec<Tool>,
    commands: HashMap<String, Vec<String>>,
}

impl Commands {
    /// Reads a JSON list of functions, each with a `command`: a list of words.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(path)
            .map_err(|error| Failure::BadInput(format!("cannot read the tools of {}: {error}", path.display())))?;
        Self::read(&text).map_err(|why| Failure::BadInput(format!("the tools of {}: {why}", path.display())))
    }

    fn read(text: &str) -> Result<Self, String> {
        let list: Value = serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
        let tools = Tool::list(&list).map_err(|error| error.to_string())?;
        let mut commands = HashMap::new();
        for (tool, entry) in tools.iter().zip(list.as_array().into_iter().flatten()) {
            let command = entry.get("command").or_else(|| entry.get("function")?.get("command"));
            let words = command.and_then(Value::as_array).map(|words| words.iter().filter_map(Value::as_str));
            let words: Vec<String> = words.into_iter().flatten().map(str::to_owned).collect();
            if words.is_empty() {
                return Err(format!("'{}' has no 'command', a list of words such as [\"./{}\"]", tool.name, tool.name));
            }
            commands.insert(tool.name.clone(), words);
        }
        Ok(Self { tools, commands })
    }

    /// The tools, for the model.
    pub fn tools(&self) -> Vec<Tool> {
        self.tools.clone()
    }

    /// Runs the command of a tool. What goes wrong is a result, for the model to read.
    pub fn run(&self, name: &str, arguments: &str) -> String {
        let Some([program, words @ ..]) = self.commands.get(name).map(Vec::as_slice) else {
            return format!("Error: there is no tool '{name}'");
        };
        let child = Command::new(program).args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) => return format!("Error: {program} cannot be started: {error}"),
        };
        let mut stdin = child.stdin.take();
        let arguments = arguments.to_owned();
        // On a thread, as it may print before it reads. It need not read at all.
        let writer = thread::spawn(move || stdin.as_mut().map(|stdin| stdin.write_all(arguments.as_bytes())));
        let output = child.wait_with_output();
        let _ = writer.join();
        match output {
            Ok(output) if output.status.success() => {
                let text = String::from_utf8_lossy(&output.stdout);
                text.trim_end().chars().take(MAX_RESULT).collect()
            }
            Ok(output) => format!("Error: {program} ended with {}", output.status),
            Err(error) => format!("Error: {program}: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_gets_the_arguments_and_gives_the_result() {
        let list = r#"[{"name": "echo", "command": ["cat"]}, {"name": "no", "command": ["false"]},
            {"name": "none", "command": ["/no/such/program"]}]"#;
        let commands = Commands::read(list).unwrap();
        assert_eq!(commands.tools().len(), 3);
        assert_eq!(commands.run("echo", "{\"a\": 1}"), "{\"a\": 1}");
        for (name, part) in [("no", "exit status: 1"), ("none", "cannot be started"), ("other", "no tool 'other'")] {
            let result = commands.run(name, "{}");
            assert!(result.starts_with("Error:") && result.contains(part), "{result}");
        }
    }

    #[test]
    fn a_file_that_is_no_list_of_commands_is_refused_in_words() {
        for (text, part) in [
            ("{", "not JSON"),
            ("{}", "must be a list"),
            (r#"[{"name": "f"}]"#, "'f' has no 'command'"),
            (r#"[{"command": ["f"]}]"#, "no name"),
        ] {
            let why = Commands::read(text).unwrap_err();
            assert!(why.contains(part), "{text}: {why}");
        }
    }
}
