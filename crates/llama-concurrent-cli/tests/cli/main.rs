//! The program as a person or a script meets it: run as a process on the demo model, judged by its output and exit
//! code. No test depends on timing, on the number of cores, or on what the model says.

mod bad_input;
mod bench;
mod chat;
mod demo;
mod files;
mod plan;
mod run;
#[cfg(unix)]
mod serve;
mod texts;
mod topology;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

/// What a process left behind.
struct Done {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Done {
    fn new(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the program writes UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Asserts success and silence on stderr.
    fn well(self) -> Self {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "stdout: {}", self.out);
        self
    }

    /// Asserts exit code 2 and one error message that contains each of the texts.
    fn refused(self, expected: &[&str]) -> Self {
        assert_eq!(self.code, Some(2), "stderr: {}", self.err);
        let errors = self.err.lines().filter(|line| line.starts_with("error: ")).count();
        assert!(self.err.starts_with("error: ") && errors == 1, "{}", self.err);
        for word in expected {
            assert!(self.err.contains(word), "'{word}' is missing in: {}", self.err);
        }
        self
    }

    fn json(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }
}

fn demo_model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/demo.gguf")
}

fn command<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_llama-concurrent"));
    command.args(args).env("LLAMA_CONCURRENT_MODEL", demo_model()).env_remove("LLAMA_CONCURRENT_LOG");
    command
}

fn call(args: &[&str]) -> Done {
    call_with(args, b"")
}

/// One compute thread each: tests run beside each other, and ggml's threads spin while they wait.
fn run(args: &[&str]) -> Done {
    call(&[&["run", "--threads", "1"], args].concat())
}

fn call_with(args: &[&str], input: &[u8]) -> Done {
    let mut child = spawn(args);
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // A program that refuses its arguments may be gone before it reads.
    let _ = stdin.write_all(input);
    drop(stdin);
    Done::new(child.wait_with_output().expect("the program can be waited for"))
}

fn spawn(args: &[&str]) -> Child {
    let piped = Stdio::piped;
    command(args).stdin(piped()).stdout(piped()).stderr(piped()).spawn().expect("the program starts")
}

/// A directory that is removed at the end of a test, and files in it.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("a path in UTF-8").to_owned()
    }

    fn write(&self, name: &str, contents: &[u8]) -> String {
        std::fs::write(self.path(name), contents).expect("a temporary file");
        self.path(name)
    }

    /// The demo model with one text of its header replaced by another of equal length.
    fn changed_model(&self, from: &str, to: &str) -> String {
        assert_eq!(from.len(), to.len());
        let mut bytes = std::fs::read(demo_model()).expect("the demo model");
        let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).expect(from);
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        self.write("changed.gguf", &bytes)
    }
}
