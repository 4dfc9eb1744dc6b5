//! Options for the model and the engine: one for each field of the engine's table that a command needs.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, builder::PossibleValuesParser};
use llama_concurrent::{EngineConfig, KvType, PackCache, parameters::Field};

use super::table::{argument, given};

/// Fields whose options have their own help heading.
const PLACEMENT: [&str; 8] = ["placement", "cpus", "nodes", "replicate", "workers", "pin", "poll", "wait_policy"];

/// The options, as they were given.
pub struct EngineOptions {
    pub model: Option<PathBuf>,
    config: EngineConfig,
}

/// Options with a special form.
#[derive(Args)]
#[command(next_help_heading = "Engine")]
struct Forms {
    /// GGUF file of the model [default: LLAMA_CONCURRENT_MODEL, else the demo model]
    #[arg(short, long, value_name = "FILE")]
    model: Option<PathBuf>,

    /// Element type of the KV cache; q8_0 takes about half the memory
    #[arg(long, alias = "cache-type-k", value_name = "TYPE", default_value = KvType::F16.as_str(),
        value_parser = PossibleValuesParser::new(KvType::ALL.map(KvType::as_str)))]
    kv_type: String,

    /// Use this program's kernels if the CPU supports them, or only those of ggml
    #[arg(long, value_name = "WHICH", default_value = "auto", value_parser = ["auto", "off"])]
    kernels: String,

    /// Cache packed weights beside the model or in this folder, so that later starts map them [default: pack at each
    /// start]
    #[arg(long, value_name = "FOLDER", num_args = 0..=1, require_equals = true)]
    pack_cache: Option<Option<PathBuf>>,

    /// Render chats with the template in this file
    #[arg(long, value_name = "FILE", value_parser = content, conflicts_with = "chat_template")]
    chat_template_file: Option<String>,
}

/// The contents of a file.
fn content(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("it cannot be read: {error}"))
}

fn fields() -> impl Iterator<Item = &'static Field<EngineConfig>> {
    EngineConfig::FIELDS.iter().filter(|field| !field.traits.flags.is_empty())
}

fn option(field: &'static Field<EngineConfig>) -> Arg {
    let argument = argument(field, EngineConfig::FIELDS, &field.default());
    if field.name == "threads" { argument.short('t') } else { argument }
}

impl Args for EngineOptions {
    fn augment_args(command: Command) -> Command {
        let (placement, others): (Vec<_>, Vec<_>) = fields().partition(|field| PLACEMENT.contains(&field.name));
        Forms::augment_args(command)
            .next_help_heading("Engine")
            .args(others.into_iter().map(option))
            .next_help_heading("Placement")
            .args(placement.into_iter().map(option))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for EngineOptions {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let Forms { model, kv_type, kernels, pack_cache, chat_template_file } = Forms::from_arg_matches(matches)?;
        let kv_type: KvType = kv_type.parse().unwrap_or_default();
        let pack_cache = pack_cache.map(|folder| folder.map_or(PackCache::BesideModel, PackCache::Folder));
        let mut config = EngineConfig::default().type_k(kv_type).type_v(kv_type).pack_cache(pack_cache);
        for field in fields() {
            if let Some(value) = given(field, matches) {
                (field.set)(&mut config, value);
            }
        }
        config.kernels = kernels != "off";
        config.chat_template = chat_template_file.or(config.chat_template);
        Ok(Self { model, config })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl EngineOptions {
    pub fn config(&self) -> EngineConfig {
        self.config.clone()
    }
}

#[cfg(test)]
mod tests {
    use llama_concurrent::parameters::{Kind, Value};

    use super::*;

    fn parse(words: &[&str]) -> EngineConfig {
        let command = EngineOptions::augment_args(Command::new("x"));
        let matches = command.try_get_matches_from([&["x"], words].concat()).unwrap_or_else(|error| panic!("{error}"));
        EngineOptions::from_arg_matches(&matches).unwrap().config()
    }

    #[test]
    fn every_option_sets_its_field_and_without_it_the_default_holds() {
        let untouched = parse(&[]);
        for field in fields() {
            assert_eq!((field.get)(&untouched), field.default(), "{}", field.name);
            let (words, wanted) = match field.kind {
                Kind::Count | Kind::Millis | Kind::OptionalCount => (vec!["17"], None),
                Kind::Flag => (vec![], Some(Value::Flag(field.default() == Value::Flag(false)))),
                Kind::Choice(names) => (vec![names[1]], Some(Value::Choice(names[1]))),
                Kind::OptionalText => (vec!["chatml"], Some(Value::OptionalText(Some("chatml".into())))),
                Kind::OptionalList => (vec!["0-2"], Some(Value::OptionalList(Some(vec![0, 1, 2])))),
                Kind::Object => (vec!["{\"a\": 1}"], None),
                kind => unreachable!("{kind:?}"),
            };
            let flag = format!("--{}", field.traits.flags[0]);
            let value = (field.get)(&parse(&[&[flag.as_str()], &words[..]].concat()));
            assert!(wanted.map_or(value != field.default(), |wanted| value == wanted), "{flag}: {value:?}");
        }
        assert_eq!(parse(&["--kv-type", "q8_0"]).type_v, KvType::Q8_0);
        assert!(!parse(&["--kernels", "off"]).kernels);
        assert_eq!(parse(&["--pack-cache"]).pack_cache, Some(PackCache::BesideModel));
        assert_eq!(parse(&["--pack-cache=x"]).pack_cache, Some(PackCache::Folder("x".into())));
    }
}
