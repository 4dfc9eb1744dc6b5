//! C and C++ programs against the library as it is installed: they are compiled as a user would, then run.
//!
//! `scripts/install.sh` builds and installs it first, so these tests see what is in the sources now.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

const STRICT: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace is there")
}

fn model() -> PathBuf {
    root().join("models/demo.gguf")
}

/// Where the library is installed for these tests.
fn prefix() -> &'static Path {
    static PREFIX: OnceLock<PathBuf> = OnceLock::new();
    PREFIX.get_or_init(|| {
        let prefix = Path::new(env!("CARGO_TARGET_TMPDIR")).join("prefix");
        fs::create_dir_all(&prefix).expect("a folder for the installation");
        // Tests may be processes of their own, at the same time.
        let lock = File::create(prefix.with_extension("lock")).expect("a lock file");
        lock.lock().expect("the lock");
        let mut install = Command::new("bash");
        install.arg(root().join("scripts/install.sh")).arg(&prefix).env("KEEP_BUILD_ENVIRONMENT", "1");
        expect_success(&mut install);
        prefix
    })
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"))
}

fn expect_success(command: &mut Command) -> String {
    let output = run(command);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    out.into_owned()
}

/// The compilers of this machine among gcc and clang; `c++` says which language.
fn compilers(plus_plus: bool) -> Vec<&'static str> {
    let all = if plus_plus { ["g++", "clang++"] } else { ["gcc", "clang"] };
    let found: Vec<_> = all.into_iter().filter(|name| Command::new(name).arg("--version").output().is_ok()).collect();
    assert!(!found.is_empty(), "neither {} nor {} is installed", all[0], all[1]);
    found
}

/// What pkg-config says of the installed library.
fn flags() -> Vec<String> {
    let mut pkg_config = Command::new("pkg-config");
    pkg_config.env("PKG_CONFIG_PATH", prefix().join("lib/pkgconfig")).args(["--cflags", "--libs", "llama_concurrent"]);
    let mut flags: Vec<_> = expect_success(&mut pkg_config).split_whitespace().map(str::to_owned).collect();
    flags.push(format!("-Wl,-rpath,{}", prefix().join("lib").display()));
    flags
}

/// Compiles a program as its own comment says, with all warnings, and gives the path of the binary.
fn compile(compiler: &str, source: &Path, options: &[&str]) -> PathBuf {
    let name = format!("{}-{compiler}{}", source.file_stem().unwrap().to_string_lossy(), options.join(""));
    let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name.replace(['=', ',', '/'], "_"));
    expect_success(
        Command::new(compiler)
            .args(STRICT)
            .args(options)
            .arg(source)
            .arg("-o")
            .arg(&binary)
            .arg("-pthread")
            .args(flags()),
    );
    binary
}

fn example(name: &str) -> PathBuf {
    root().join("examples/c").join(name)
}

fn compile_example(name: &str) -> PathBuf {
    let plus_plus = name.ends_with(".cpp");
    let standard = if plus_plus { "-std=c++17" } else { "-std=gnu11" };
    let binaries: Vec<_> =
        compilers(plus_plus).into_iter().map(|compiler| compile(compiler, &example(name), &[standard])).collect();
    binaries.into_iter().next().unwrap()
}

#[test]
fn the_header_is_valid_c_and_cpp() {
    let include = format!("-I{}", root().join("include").display());
    let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join("header_only.c");
    // Twice, and first: it needs nothing but itself.
    let text = "#include <llama_concurrent.h>\n#include <llama_concurrent.h>\n\
                int main(void) { return (int)sizeof(llama_infer_params) == 0; }\n";
    fs::write(&source, text).unwrap();
    let check = |compiler: &str, language: &str, standard: &str| {
        let mut command = Command::new(compiler);
        command.args(STRICT).args(["-fsyntax-only", "-x", language, standard, &include]).arg(&source);
        expect_success(&mut command);
    };
    for compiler in compilers(false) {
        check(compiler, "c", "-std=c11");
        check(compiler, "c", "-std=c99");
    }
    for compiler in compilers(true) {
        check(compiler, "c++", "-std=c++17");
        check(compiler, "c++", "-std=c++20");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn only_our_symbols_are_exported() {
    let library = prefix().join("lib/libllama_concurrent.so");
    let header = fs::read_to_string(root().join("include/llama_concurrent.h")).unwrap();
    let listed = expect_success(Command::new("nm").args(["--dynamic", "--defined-only"]).arg(&library));
    let symbols: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().last()).collect();
    assert!(symbols.len() > 20, "{symbols:?}");
    for symbol in &symbols {
        assert!(header.contains(&format!("{symbol}(")), "{symbol} is exported and not in the header");
    }
    let declared = header.lines().filter(|line| !line.starts_with([' ', '/', '#'])).filter_map(|line| {
        let (before, _) = line.split_once('(')?;
        let name = before.rsplit([' ', '*']).next()?;
        (name.starts_with("llama_") && !line.starts_with("static")).then_some(name)
    });
    let declared: Vec<&str> = declared.collect();
    assert!(declared.len() == symbols.len(), "exported: {symbols:?}\ndeclared: {declared:?}");
    let dynamic = expect_success(Command::new("readelf").arg("--dynamic").arg(&library));
    let major = env!("CARGO_PKG_VERSION_MAJOR");
    assert!(dynamic.contains(&format!("soname: [libllama_concurrent.so.{major}]")), "{dynamic}");
    // Nothing that a plain machine does not have.
    for needed in dynamic.lines().filter(|line| line.contains("NEEDED")) {
        let known = ["libstdc++", "libgcc_s", "libm.", "libc.", "ld-linux", "libpthread", "libdl", "librt"];
        assert!(known.iter().any(|name| needed.contains(name)), "{needed}");
    }
}

#[test]
fn the_simple_example_prints_a_text() {
    let text = expect_success(Command::new(compile_example("simple.c")).arg(model()));
    assert!(text.starts_with("Once upon a time") && text.len() > 100, "{text}");
    let refused = run(Command::new(compile_example("simple.c")).arg("no such file"));
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("no such file"));
}

#[test]
fn the_concurrent_example_serves_twenty() {
    let text = expect_success(Command::new(compile_example("concurrent.c")).arg(model()));
    for number in 0..20 {
        assert!(text.contains(&format!("[{number:2}] ")), "{number} is missing in\n{text}");
    }
}

#[test]
fn the_event_loop_example_serves_its_input() {
    let input = Path::new(env!("CARGO_TARGET_TMPDIR")).join("prompts.txt");
    fs::write(&input, "A small boat\nOne cold morning\nwithout a last newline").unwrap();
    let binary = compile_example("event_loop.c");
    let text = expect_success(Command::new(binary).arg(model()).stdin(File::open(input).unwrap()));
    for prompt in ["A small boat ", "One cold morning", "without a last newline"] {
        assert!(text.lines().any(|line| line.starts_with(prompt) && line.len() > prompt.len() + 20), "{text}");
    }
}

#[test]
fn the_tools_example_makes_a_call_and_tells_its_result() {
    let text = expect_success(Command::new(compile_example("tools.c")).arg(model()));
    let (call, answer) = text.split_once("]\n").expect("a call and an answer");
    assert!(call.starts_with("[lamp {") && call.contains("\"state\": \"o"), "{text}");
    assert!(!answer.trim().is_empty(), "{text}");
}

#[test]
fn the_vectors_example_compares_and_ranks_texts() {
    let reranker = root().join("models/rerank.gguf");
    let text = expect_success(Command::new(compile_example("vectors.c")).arg(model()).arg(reranker));
    let (cosines, ranks) = text.split_once("\nWhat does a fox eat?\n").expect("both");
    let number = |line: &str| line.trim_start().split_once(' ').and_then(|(number, _)| number.parse::<f32>().ok());
    let cosines: Vec<f32> = cosines.lines().filter_map(number).collect();
    assert!(cosines.len() == 3 && cosines[1] > cosines[0] && cosines[1] > cosines[2], "of the two foxes: {text}");
    let scores: Vec<f32> = ranks.lines().filter_map(number).collect();
    assert!(scores.len() == 4 && scores[0] > scores[1] && scores[0] > scores[3], "{text}");

    // A model that generates ranks nothing, and the program says so.
    let output = Command::new(compile_example("vectors.c")).arg(model()).arg(model()).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && complaint.contains("rank"), "{complaint}");
}

#[test]
fn the_cancel_example_ends_in_three_ways() {
    let text = expect_success(Command::new(compile_example("cancel.c")).arg(model()));
    for beginning in ["inside: cancelled", "outside: ", "limit: "] {
        assert!(text.lines().any(|line| line.starts_with(beginning)), "{text}");
    }
}

#[test]
fn the_cpp_example_turns_errors_into_exceptions() {
    let text = expect_success(Command::new(compile_example("cpp_raii.cpp")).arg(model()));
    assert_eq!(text.matches("as expected").count(), 2, "{text}");
}

#[test]
fn the_bench_of_the_call_runs() {
    let binary = compile(compilers(false)[0], &root().join("benches/call_overhead.c"), &["-std=gnu11", "-O2"]);
    let text = expect_success(Command::new(binary).arg(model()).arg("20"));
    assert_eq!(text.matches("median").count(), 4, "{text}");
}

#[test]
fn cmake_finds_the_library_shared_and_static() {
    let build = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let prefix = format!("-DCMAKE_PREFIX_PATH={}", prefix().display());
    expect_success(
        Command::new("cmake").arg("-S").arg(root().join("examples/c")).arg("-B").arg(build.path()).arg(prefix),
    );
    expect_success(Command::new("cmake").arg("--build").arg(build.path()));
    for program in ["simple", "simple_static", "cpp_raii"] {
        let text = expect_success(Command::new(build.path().join(program)).arg(model()));
        assert!(text.len() > 100, "{program}: {text}");
    }
}

/// `tests/abi` has the header of each release; the folder of a release is never changed.
#[test]
fn programs_of_every_release_run_with_this_library() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let releases: Vec<_> = fs::read_dir(tests.join("abi")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!releases.is_empty());
    for release in releases {
        let header = format!("-I{}", release.display());
        let binary = compile(compilers(false)[0], &tests.join("c/old_program.c"), &["-std=gnu11", &header]);
        let text = expect_success(Command::new(binary).arg(model()));
        assert_eq!(text, "an old program runs\n", "{}", release.display());
    }
}

/// A folder of files that are no models.
fn broken_models() -> tempfile::TempDir {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let whole = fs::read(model()).unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    write("empty.gguf", b"");
    write("text.gguf", b"This is a text and not a model.\n");
    write("cut.gguf", &whole[..whole.len() / 2]);
    write("zeros.gguf", &[0; 4096]);
    folder
}

const CONTRACT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/c/contract.c");

#[test]
fn the_contract_holds() {
    let broken = broken_models();
    for compiler in compilers(false) {
        let binary = compile(compiler, Path::new(CONTRACT), &["-std=gnu11"]);
        expect_success(Command::new(binary).arg(model()).arg(broken.path()));
    }
}

#[test]
fn the_contract_holds_under_address_and_undefined_behaviour_sanitizers() {
    let broken = broken_models();
    let options = ["-std=gnu11", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
    let binary = compile(compilers(false)[0], Path::new(CONTRACT), &options);
    let mut command = Command::new(binary);
    command.env("ASAN_OPTIONS", "detect_leaks=1:detect_stack_use_after_return=1").arg(model()).arg(broken.path());
    expect_success(&mut command);
}
