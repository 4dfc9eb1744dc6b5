//! Request options in the formats of both APIs: one parser for all routes, as in llama-server.

use llama_concurrent::{
    Engine, Priority, SAMPLERS, SamplingParams, Token,
    parameters::{Field, Kind, Traits, Value as Parameter},
};
use serde_json::{Value, json};

use crate::{
    app::App,
    constraint,
    error::{ApiError, ApiResult},
    fields::{Fields, integer, wrong},
    unsupported_fields,
    work::Job,
};

/// The options of a request, without its prompts.
#[derive(Clone, Debug)]
pub(crate) struct RequestOptions {
    pub(crate) params: SamplingParams,
    /// Choices per prompt.
    pub(crate) n: usize,
    pub(crate) priority: Priority,
    pub(crate) stream: bool,
    /// Send a last chunk with token counts.
    pub(crate) include_usage: bool,
    /// Compute the prompt without output: `n_predict` 0.
    pub(crate) silent: bool,
    pub(crate) return_tokens: bool,
    pub(crate) timings_per_token: bool,
    pub(crate) return_progress: bool,
    /// Show the prompt of a chat, as `__verbose`.
    pub(crate) verbose: bool,
    /// Reuse cached KV: `cache_prompt`.
    pub(crate) prefix_reuse: bool,
    /// Log probabilities of the prompt's tokens, too.
    pub(crate) score_prompt: bool,
}

impl RequestOptions {
    pub(crate) fn read(fields: &Fields<'_>, app: &App, job: &Job) -> ApiResult<Self> {
        Self::read_beside(&[], fields, app, job)
    }

    /// As [`read`](Self::read), on a route that follows these fields itself, which most do not.
    pub(crate) fn read_beside(followed: &[&str], fields: &Fields<'_>, app: &App, job: &Job) -> ApiResult<Self> {
        unsupported_fields::check_generating(fields, followed)?;
        let config = &app.config;
        let mut params = config.defaults.clone();
        params.seed = config.seed.unwrap_or_else(|| fastrand::u32(..));
        for field in SamplingParams::FIELDS {
            if let Some(value) = value_of(field, fields, &app.engine, job)? {
                (field.set)(&mut params, value);
            }
        }
        samplers(fields, &mut params)?;
        let n = fields.integer(&["n", "n_cmpl"], 1..=config.limits.max_generations as i64)?.unwrap_or(1) as usize;
        let options = fields.object("stream_options")?;
        let include_usage = options.map(|options| options.boolean("include_usage")).transpose()?.flatten();
        Ok(Self {
            params,
            n,
            priority: priority(fields)?,
            stream: fields.boolean("stream")?.unwrap_or(false),
            include_usage: include_usage.unwrap_or(false),
            silent: max_tokens(fields)? == Some(0),
            score_prompt: false,
            return_tokens: fields.boolean("return_tokens")?.unwrap_or(false),
            timings_per_token: fields.boolean("timings_per_token")?.unwrap_or(false),
            return_progress: fields.boolean("return_progress")?.unwrap_or(false),
            verbose: fields.boolean("verbose")?.unwrap_or(config.verbose),
            prefix_reuse: fields.boolean("cache_prompt")?.unwrap_or(true),
        })
    }

    /// The parameters of choice number `choice` of a prompt, with its own seed.
    pub(crate) fn params_of(&self, choice: usize) -> SamplingParams {
        self.params.clone().seed(self.params.seed.wrapping_add(choice as u32))
    }
}

/// The value of a parameter in a request.
fn value_of(
    field: &Field<SamplingParams>,
    fields: &Fields<'_>,
    engine: &Engine,
    job: &Job,
) -> ApiResult<Option<Parameter>> {
    let name = fields.any(field.traits.http).map_or(field.name, |(name, _)| name);
    Ok(match (field.name, field.kind) {
        // A request without output still computes its prompt, which generates a token.
        ("max_tokens", _) => {
            max_tokens(fields)?.map(|n| Parameter::OptionalCount(u64::try_from(n).ok().map(|n| n.max(1))))
        }
        ("seed", _) => seed(fields)?.map(|seed| Parameter::Count(seed.into())),
        ("logprobs", _) => logprobs(fields)?.map(|n| Parameter::OptionalCount(Some(n.into()))),
        ("special", _) => special(fields)?.map(Parameter::Flag),
        (_, Kind::Number) => number_of(field, fields)?.map(|number| Parameter::Number(number as f32)),
        (_, Kind::Count) => number_of(field, fields)?.map(|number| Parameter::Count(number as u64)),
        (_, Kind::OptionalCount) => number_of(field, fields)?.map(|n| Parameter::OptionalCount(Some(n as u64))),
        (_, Kind::Flag) => fields.boolean(name)?.map(Parameter::Flag),
        (_, Kind::Choice(names)) => one_of(fields, name, names)?.map(Parameter::Choice),
        (_, Kind::Texts) => {
            // An empty string would end every output immediately; clients send it for "none".
            let texts = fields.texts(name)?;
            texts.map(|texts| Parameter::Texts(texts.into_iter().filter(|text| !text.is_empty()).collect()))
        }
        (_, Kind::Tokens) => tokens(fields, name)?.map(Parameter::Tokens),
        (_, Kind::Biases) => biases(fields, name, engine, job)?.map(Parameter::Biases),
        (_, Kind::Constraint) => constraint::read(fields)?.map(|constraint| Parameter::Constraint(Some(constraint))),
        (_, kind) => unreachable!("{name} has a type that no request has, {kind:?}"),
    })
}

/// One of some names.
fn one_of(fields: &Fields<'_>, field: &str, names: &[&'static str]) -> ApiResult<Option<&'static str>> {
    let Some(given) = fields.text(field)? else { return Ok(None) };
    let found = names.iter().find(|name| **name == given);
    let wrong =
        || ApiError::field(fields.path(field), format!("must be one of {}, but is '{given}'", names.join(", ")));
    found.copied().map(Some).ok_or_else(wrong)
}

/// A number in the range of its parameter, or llama.cpp's equivalent of one.
fn number_of(field: &Field<SamplingParams>, fields: &Fields<'_>) -> ApiResult<Option<f64>> {
    let Some((name, value)) = fields.any(field.traits.http) else { return Ok(None) };
    let number = match field.kind {
        Kind::Number => fields.number(&[name])?.map(f64::from),
        _ => fields.integer(&[name], i64::MIN..=i64::MAX)?.map(|number| number as f64),
    };
    let Traits { range, lenient, .. } = field.traits;
    match (number, lenient) {
        (Some(number), _) if range.contains(number) => Ok(Some(number)),
        (Some(number), Some(lenient)) if number >= lenient.least && number <= range.least => Ok(Some(lenient.becomes)),
        _ => Err(ApiError::field(fields.path(name), format!("must be {}, but is {value}", range.words))),
    }
}

/// -1 means "as many as fit".
fn max_tokens(fields: &Fields<'_>) -> ApiResult<Option<i64>> {
    fields.integer(&["max_completion_tokens", "max_tokens", "n_predict"], -1..=i64::from(u32::MAX))
}

fn tokens(fields: &Fields<'_>, name: &str) -> ApiResult<Option<Vec<Token>>> {
    let Some(tokens) = fields.list(name)? else { return Ok(None) };
    let path = fields.path(name);
    let each = tokens.iter().enumerate();
    let read =
        each.map(|(i, token)| integer(&format!("{path}[{i}]"), token, 0..=i64::from(Token::MAX)).map(|t| t as Token));
    read.collect::<ApiResult<_>>().map(Some)
}

/// A seed of up to 64 bits, of which the lower 32 are used. A negative one is random, as is llama-server's unsigned -1.
fn seed(fields: &Fields<'_>) -> ApiResult<Option<u32>> {
    if let Some(seed) = fields.get("seed").and_then(Value::as_u64) {
        return Ok(Some(if seed == u64::from(u32::MAX) { fastrand::u32(..) } else { seed as u32 }));
    }
    if fields.get("seed").and_then(Value::as_f64).is_some_and(|seed| seed.abs() >= 9e15) {
        return Err(ApiError::field(fields.path("seed"), format!("must be at most {}", u64::MAX)));
    }
    let seed = fields.integer(&["seed"], i64::MIN..=i64::MAX)?;
    Ok(seed.map(|seed| u32::try_from(seed).unwrap_or_else(|_| fastrand::u32(..))))
}

/// llama-server's list of samplers: omitted ones are off. Their order cannot be changed.
fn samplers(fields: &Fields<'_>, params: &mut SamplingParams) -> ApiResult<()> {
    let path = fields.path("samplers");
    let named = |name: &str| SAMPLERS.iter().position(|sampler| sampler.names.contains(&name));
    let lettered = |letter: char| SAMPLERS.iter().position(|sampler| sampler.letter == letter);
    let places: Option<Vec<usize>> = match fields.get("samplers") {
        None => return Ok(()),
        Some(Value::String(names)) if names.contains([';', '_']) => names.split(';').map(named).collect(),
        Some(Value::String(letters)) => letters.chars().map(lettered).collect(),
        Some(Value::Array(_)) => fields.texts("samplers")?.unwrap_or_default().iter().map(|name| named(name)).collect(),
        Some(other) => return Err(wrong(&path, "a list of names or a string of letters", other)),
    };
    let names: Vec<&str> = SAMPLERS.iter().map(|sampler| sampler.names[0]).collect();
    let names = names.join(", ");
    let places = places.ok_or_else(|| ApiError::field(&path, format!("can name these: {names}")))?;
    if !places.is_sorted() {
        let must =
            format!("cannot change the order of samplers, which is {names}; leave it out, or name some in this order");
        return Err(ApiError::field(path, must));
    }
    for (place, sampler) in SAMPLERS.iter().enumerate() {
        if !places.contains(&place) {
            (sampler.turn_off)(params);
        }
    }
    Ok(())
}

/// Whether special tokens are written: llama-server's name, or the negated one of vLLM and others.
fn special(fields: &Fields<'_>) -> ApiResult<Option<bool>> {
    let written = fields.boolean("special")?;
    let skipped = fields.boolean("skip_special_tokens")?;
    match (written, skipped) {
        (Some(written), Some(skipped)) if written == skipped => {
            let must = format!("is {skipped}, which contradicts 'special'; give one of the two");
            Err(ApiError::field(fields.path("skip_special_tokens"), must))
        }
        (written, skipped) => Ok(written.or(skipped.map(|skipped| !skipped))),
    }
}

/// A chat's `logprobs: true` with `top_logprobs`, a text completion's `logprobs: 3`, or llama-server's `n_probs`.
fn logprobs(fields: &Fields<'_>) -> ApiResult<Option<u32>> {
    let range = 0..=i64::from(SamplingParams::MAX_LOGPROBS);
    let top = fields.integer(&["top_logprobs"], range.clone())?;
    let n_probs = fields.integer(&["n_probs"], range.clone())?.filter(|&n| n > 0);
    let requested = match fields.get("logprobs") {
        Some(Value::Bool(true)) => Some(top.unwrap_or(0)),
        Some(Value::Bool(false)) | None => None,
        Some(number @ Value::Number(_)) => Some(integer(&fields.path("logprobs"), number, range)?),
        Some(other) => return Err(wrong(&fields.path("logprobs"), "true, false or a whole number", other)),
    };
    Ok(requested.or(n_probs).map(|n| n as u32))
}

fn priority(fields: &Fields<'_>) -> ApiResult<Priority> {
    match fields.get("priority") {
        None => Ok(Priority::Interactive),
        Some(Value::String(name)) if name == "interactive" => Ok(Priority::Interactive),
        Some(Value::String(name)) if name == "batch" => Ok(Priority::Batch),
        Some(other) => Err(ApiError::field(
            fields.path("priority"),
            format!("must be \"interactive\" or \"batch\", but is {other}"),
        )),
    }
}

/// OpenAI's object `{"token": bias}`, or llama-server's list of pairs. Both allow texts for tokens, and llama-server
/// `false` for never.
fn biases(fields: &Fields<'_>, name: &str, engine: &Engine, job: &Job) -> ApiResult<Option<Vec<(Token, f32)>>> {
    let Some(value) = fields.get(name) else { return Ok(None) };
    let path = fields.path(name);
    let mut biases = Biases { path: &path, engine, job, found: Vec::new(), texts: 0 };
    match value {
        Value::Object(map) if map.len() <= Biases::MOST => {
            for (token, bias) in map {
                match token.parse::<Token>() {
                    Ok(token) => biases.add(token, bias, &|| format!("{path}.{token}"))?,
                    Err(_) => biases.add_text(token, bias, &|| format!("{path}.{token}"))?,
                }
            }
        }
        Value::Array(pairs) if pairs.len() <= Biases::MOST => {
            for (index, pair) in pairs.iter().enumerate() {
                let place = || format!("{path}[{index}]");
                match pair.as_array().map(Vec::as_slice) {
                    Some([Value::String(text), bias]) => match text.parse::<Token>() {
                        Ok(token) => biases.add(token, bias, &place)?,
                        Err(_) => biases.add_text(text, bias, &place)?,
                    },
                    Some([token, bias]) => {
                        let token = integer(&place(), token, 0..=i64::from(Token::MAX))? as Token;
                        biases.add(token, bias, &place)?;
                    }
                    _ => return Err(ApiError::field(place(), "must be a pair of a token and a number")),
                }
            }
        }
        Value::Object(_) | Value::Array(_) => return Err(biases.too_many(Biases::MOST, "entries")),
        other => return Err(wrong(&path, "an object or a list of pairs", other)),
    }
    Ok(Some(biases.found))
}

/// Collects biases.
struct Biases<'a> {
    path: &'a str,
    engine: &'a Engine,
    job: &'a Job,
    found: Vec<(Token, f32)>,
    texts: usize,
}

impl Biases<'_> {
    /// More than the tokens of most vocabularies.
    const MOST: usize = 100_000;
    /// The limit for texts, each of which is tokenized.
    const MOST_TEXTS: usize = 1000;

    fn add(&mut self, token: Token, bias: &Value, place: &dyn Fn() -> String) -> ApiResult<()> {
        let bias = number(bias, place)?;
        self.found.push((token, bias));
        Ok(())
    }

    /// Biases each token of a text.
    fn add_text(&mut self, text: &str, bias: &Value, place: &dyn Fn() -> String) -> ApiResult<()> {
        let bias = number(bias, place)?;
        self.texts += 1;
        if self.texts > Self::MOST_TEXTS {
            return Err(self.too_many(Self::MOST_TEXTS, "texts; give token ids, which /tokenize returns"));
        }
        self.job.check()?;
        self.found.extend(self.engine.tokenize_with(text, false, false)?.into_iter().map(|token| (token, bias)));
        if self.found.len() > Self::MOST { Err(self.too_many(Self::MOST, "tokens")) } else { Ok(()) }
    }

    fn too_many(&self, most: usize, what: &str) -> ApiError {
        ApiError::field(self.path, format!("has more than {most} {what}"))
    }
}

fn number(bias: &Value, place: &dyn Fn() -> String) -> ApiResult<f32> {
    match bias {
        Value::Bool(false) => Ok(f32::NEG_INFINITY),
        other => {
            let number = other.as_f64().ok_or_else(|| wrong(&place(), "a number, or false for never", other))?;
            Ok(number as f32)
        }
    }
}

/// Parameters under llama-server's names, for responses and `/props`.
pub(crate) fn settings(params: &SamplingParams, stream: bool) -> Value {
    let n_predict = params.max_tokens.map_or(-1, i64::from);
    let mut settings =
        json!({"n_predict": n_predict, "max_tokens": n_predict, "n_probs": params.logprobs.unwrap_or(0)});
    for field in SamplingParams::FIELDS {
        let value = match (field.get)(params) {
            Parameter::Number(number) => number.into(),
            Parameter::Count(number) => number.into(),
            Parameter::Flag(flag) => flag.into(),
            Parameter::Choice(name) => name.into(),
            Parameter::Texts(texts) => texts.into(),
            Parameter::Tokens(tokens) => tokens.into(),
            // Optional numbers are handled above, and lists of biases may be long.
            _ => continue,
        };
        settings[field.traits.http[0]] = value;
    }
    settings["stream"] = stream.into();
    settings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn seeds_have_up_to_64_bits() {
        let read = |seed: Value| seed_of(&json!({"seed": seed}));
        assert_eq!(read(json!(7)).unwrap(), Some(7));
        assert_eq!(read(json!(u64::MAX - 1)).unwrap(), Some(u32::MAX - 1));
        assert_eq!(read(json!(1_u64 << 63)).unwrap(), Some(0));
        assert!(read(json!(-1)).unwrap().is_some(), "a random one");
        assert_eq!(read(Value::Null).unwrap(), None);
        let larger: Value = serde_json::from_str("18446744073709551616").unwrap();
        let error = read(larger).unwrap_err().json();
        assert!(error["error"]["message"].as_str().unwrap().contains("18446744073709551615"), "{error}");
        assert!(read(json!(1.5)).is_err() && read(json!("7")).is_err());
    }

    fn seed_of(body: &Value) -> ApiResult<Option<u32>> {
        seed(&Fields::body(body).unwrap())
    }

    #[test]
    fn samplers_that_are_left_out_are_off() {
        let read = |samplers: Value| {
            let body = json!({"samplers": samplers});
            let mut params = SamplingParams::default().temperature(0.8).xtc_probability(0.5).dry_multiplier(0.5);
            self::samplers(&Fields::body(&body).unwrap(), &mut params).map(|()| params)
        };
        let params = read(json!(["top_k", "temperature"])).unwrap();
        assert_eq!((params.top_k, params.top_p, params.min_p, params.temperature), (40, 1.0, 0.0, 0.8));
        assert_eq!((params.penalty_last_n, params.xtc_probability, params.dry_multiplier), (0, 0.0, 0.0));
        let all =
            ["penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature", "adaptive_p"];
        assert_eq!(read(json!(all)).unwrap(), read(Value::Null).unwrap());
        assert_eq!(read(json!("edskypmxta")).unwrap(), read(Value::Null).unwrap());
        for bad in [json!(["temperature", "top_k"]), json!(["infill"]), json!("tk"), json!(7), json!([1])] {
            let error = read(bad.clone()).unwrap_err().json();
            assert!(error["error"]["param"].as_str().unwrap().starts_with("samplers"), "{bad}: {error}");
        }
    }
}
