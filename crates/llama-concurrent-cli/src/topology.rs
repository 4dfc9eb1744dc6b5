//! `topology`: the machine, and the placement that the engine would use on it.

mod described;
mod json;
mod tree;

use std::{
    io::{Write, stdout},
    path::PathBuf,
};

use clap::Args;
use llama_concurrent_gguf::Header;
use llama_concurrent_topology::{Machine, ModelSize, plan};

use crate::{console::print_json, failure::Failure, options::EngineOptions};

const EXAMPLES: &str = "\
Examples:
  llama-concurrent topology
  llama-concurrent topology -m model.gguf --slots 32
  llama-concurrent topology --placement l3 --cpus 0-31
  llama-concurrent topology --xml other.xml
  llama-concurrent topology --synthetic \\
      'pack:2 numa:1(memory=128GB) l3:1 core:16 pu:2'

The last two are of other machines: one that `lstopo other.xml` described, and one that is not built yet. Options of the \
engine mean what they mean to the other commands. Nothing is loaded: of a model, only the header is read. Exit code 2 if \
no plan follows from them.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct TopologyArgs {
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,

    /// Use a machine in hwloc's synthetic description instead of this one
    #[arg(long, value_name = "SPEC", conflicts_with = "xml")]
    synthetic: Option<String>,

    /// Use a machine from an XML file of hwloc's lstopo instead of this one
    #[arg(long, value_name = "FILE")]
    xml: Option<PathBuf>,

    #[command(flatten)]
    engine: EngineOptions,
}

pub fn topology(args: &TopologyArgs) -> Result<(), Failure> {
    let machine = match (&args.synthetic, &args.xml) {
        (Some(spec), _) => described::synthetic(spec)?,
        (None, Some(file)) => described::from_xml(file)?,
        (None, None) => Machine::detect(),
    };
    let config = args.engine.config();
    config.validate()?;
    let model = args.engine.model.as_ref().map(|file| Header::read(file)?.check_model()).transpose()?;
    let size = model.as_ref().map(|model| ModelSize::of(model, &config));
    let placement = plan(&machine, &config, size.as_ref())?;
    let memory = size.as_ref().map(|size| tree::ModelMemory::of(size, &config));
    if args.json {
        return print_json(&json::of(&machine, &placement));
    }
    write!(stdout(), "{}", tree::of(&machine, &placement, memory.as_ref()))?;
    Ok(())
}
