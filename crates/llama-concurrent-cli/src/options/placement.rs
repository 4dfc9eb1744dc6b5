//! Which cores and which memory the engine uses.

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use llama_concurrent::{EngineConfig, PlacementPolicy, Replicate};
use llama_concurrent_topology::parse_list;

use super::whole;

#[derive(Args)]
#[command(next_help_heading = "Placement")]
pub struct PlacementOptions {
    /// One worker for each NUMA node with a fair share of cores, for each NUMA node, for each group of cores that share a
    /// cache, or one for all that is bound to nothing
    #[arg(long, value_name = "HOW", default_value_t = PlacementPolicy::Auto, value_parser = policies())]
    pub placement: PlacementPolicy,

    /// Compute on these CPUs only, such as 0-7,16 [default: all that this process may use]
    #[arg(long, value_name = "LIST", value_parser = list)]
    pub cpus: Option<List>,

    /// Use the cores and the memory of these NUMA nodes only, such as 0,1
    #[arg(long, value_name = "LIST", value_parser = list)]
    pub nodes: Option<List>,

    /// Give each NUMA node a copy of the weights: where they fit, always, or never
    #[arg(long, value_name = "WHEN", default_value_t = Replicate::Auto, value_parser = replicate())]
    pub replicate: Replicate,

    /// Workers, which decode independently of each other [default: as --placement says]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole::<usize>)]
    pub workers: Option<usize>,

    /// Let the system move compute threads between the cores that they may use
    #[arg(long)]
    pub no_pin: bool,

    /// How long compute threads spin when there is nothing to do before they sleep, 0 to 100
    #[arg(long, value_name = "N", default_value_t = EngineConfig::default().poll)]
    pub poll: u32,
}

/// Numbers in one argument.
#[derive(Clone)]
pub struct List(pub Vec<usize>);

impl PlacementOptions {
    /// The configuration with these wishes.
    pub fn apply(&self, config: EngineConfig) -> EngineConfig {
        let numbers = |list: &Option<List>| list.as_ref().map(|list| list.0.clone());
        EngineConfig {
            placement: self.placement,
            cpus: numbers(&self.cpus),
            nodes: numbers(&self.nodes),
            replicate: self.replicate,
            workers: self.workers,
            pin: !self.no_pin,
            poll: self.poll,
            ..config
        }
    }
}

fn list(text: &str) -> Result<List, llama_concurrent::Error> {
    parse_list(text).map(List)
}

fn policies() -> impl TypedValueParser<Value = PlacementPolicy> {
    PossibleValuesParser::new(PlacementPolicy::ALL.map(PlacementPolicy::as_str))
        .try_map(|name| name.parse::<PlacementPolicy>())
}

fn replicate() -> impl TypedValueParser<Value = Replicate> {
    PossibleValuesParser::new(Replicate::ALL.map(Replicate::as_str)).try_map(|name| name.parse::<Replicate>())
}
