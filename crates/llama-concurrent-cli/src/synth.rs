//! `synth`: a model file of a well-known shape with random weights.

use std::{
    io::{Write, stdout},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
};

use clap::{
    Args,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use llama_concurrent_bench::numbers::bytes;
use llama_concurrent_gguf::{GgufError, Header};
use llama_concurrent_gguf_synth::{self as synth, Shape, SynthOptions, SynthReport, WeightType};
use llama_concurrent_llama::tensors_of;

use crate::{console, failure::Failure, interrupt::Interrupts};

const EXAMPLES: &str = "\
Examples:
  llama-concurrent synth --preset tinyllama-1.1b -o tiny.gguf
  llama-concurrent synth --preset qwen2.5-0.5b --type q8_0 --vocab real-qwen.gguf -o qwen.gguf
  llama-concurrent synth --preset gpt-oss-20b --type mxfp4 --layers 6 -o part-of-gpt-oss.gguf
  llama-concurrent synth --arch gemma3 -o gemma3.gguf

The file is as large and as fast as the real model and says nothing sensible. Equal options give equal files.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct SynthArgs {
    /// Shape of the model
    #[arg(long, value_name = "NAME", value_parser = presets(), required_unless_present = "arch")]
    preset: Option<&'static Shape>,

    /// Write a tiny F32 model of this architecture instead, for tests; `list` prints all names
    #[arg(long, value_name = "NAME", conflicts_with_all = ["preset", "weight_type", "vocab", "layers"])]
    arch: Option<String>,

    /// Quantization of the weights: q4_0, q8_0, f16, or, for models with experts, mxfp4, which leaves all but these in Q8_0
    #[arg(long = "type", value_name = "TYPE", default_value_t = WeightType::Q4_0)]
    weight_type: WeightType,

    /// Take the tokenizer from this GGUF file; its vocabulary size then replaces the preset's
    #[arg(long, value_name = "FILE")]
    vocab: Option<PathBuf>,

    /// Random seed of the weights
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// Number of layers, for a model that is as wide and takes less memory [default: the preset's]
    #[arg(long, value_name = "N")]
    layers: Option<u32>,

    /// Output file
    #[arg(short, long, value_name = "FILE", required_unless_present = "arch")]
    output: Option<PathBuf>,

    /// Overwrite an existing file
    #[arg(long)]
    force: bool,
}

pub fn synth(args: &SynthArgs) -> Result<(), Failure> {
    if args.arch.as_deref() == Some("list") {
        let all = synth::architectures().into_iter().chain(synth::encoder_architectures());
        all.into_iter().try_for_each(|name| writeln!(stdout(), "{name}"))?;
        return Ok(());
    }
    let Some(output) = &args.output else {
        return Err(Failure::BadInput("--output is missing: the file to write".into()));
    };
    if output.is_dir() {
        let example = output.join("model.gguf");
        let message = format!("{} is a directory; give a file, as in {}", output.display(), example.display());
        return Err(Failure::BadInput(message));
    }
    if output.exists() && !args.force {
        return Err(Failure::BadInput(format!("{} exists; --force replaces it", output.display())));
    }
    match (&args.arch, args.preset) {
        (Some(name), _) => synth::write_architecture(name, args.seed, output, tensors_of)?,
        (None, Some(preset)) => _ = write(args, preset, output)?,
        (None, None) => return Err(Failure::BadInput("give --preset or --arch".into())),
    }
    let summary = Header::read(output).and_then(|header| header.check_model())?;
    let file_bytes = output.metadata()?.len();
    writeln!(stdout(), "{summary}\n\nwrote {} to {}", bytes(file_bytes as f64), output.display())?;
    Ok(())
}

/// Writes the file under a bar. Ctrl-C leaves nothing behind.
fn write(args: &SynthArgs, preset: &Shape, output: &Path) -> Result<SynthReport, Failure> {
    let options = SynthOptions {
        weight_type: args.weight_type,
        vocab_donor: args.vocab.clone(),
        seed: args.seed,
        n_layer: args.layers,
        ..SynthOptions::new(preset.clone())
    };
    let bar = console::progress_bar(0, "writing {wide_bar:.cyan/dim} {binary_bytes}/{binary_total_bytes} {eta}");
    let interrupts = Interrupts::listen();
    let mut progress = |written: u64, total: u64| {
        bar.set_length(total);
        bar.set_position(written);
        if interrupts.pressed() {
            // The writer cannot be stopped otherwise; unwinding removes its unfinished file.
            resume_unwind(Box::new(Failure::Interrupted));
        }
    };
    let written: Result<Result<SynthReport, GgufError>, _> =
        catch_unwind(AssertUnwindSafe(|| synth::write(&options, output, &mut progress)));
    bar.finish_and_clear();
    match written {
        Ok(report) => Ok(report?),
        Err(panic) => Err(*panic.downcast::<Failure>().unwrap_or_else(|panic| resume_unwind(panic))),
    }
}

fn presets() -> impl TypedValueParser<Value = &'static Shape> {
    PossibleValuesParser::new(Shape::PRESETS.iter().map(|shape| PossibleValue::new(shape.name)))
        .try_map(|name| Shape::by_name(&name).ok_or_else(|| format!("no preset is named '{name}'")))
}
