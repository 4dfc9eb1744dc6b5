//! How to generate, as both families of clients write it: one reader for all routes, as in llama-server.

use llama_concurrent::{Engine, Priority, SamplingParams, Token};
use serde_json::{Value, json};

use crate::{
    app::App,
    config::ServerConfig,
    constraint,
    error::{ApiError, ApiResult},
    fields::{Fields, integer, wrong},
    known,
    work::Job,
};

/// What a request asks for besides its prompts.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) params: SamplingParams,
    /// Answers for each prompt.
    pub(crate) n: usize,
    pub(crate) priority: Priority,
    pub(crate) stream: bool,
    /// A last chunk with token counts.
    pub(crate) include_usage: bool,
    /// The prompt is computed, and nothing is answered: `n_predict` 0.
    pub(crate) silent: bool,
    pub(crate) return_tokens: bool,
    pub(crate) timings_per_token: bool,
    /// Start from KV that is there: `cache_prompt`.
    pub(crate) prefix_reuse: bool,
}

impl Wish {
    pub(crate) fn read(fields: &Fields<'_>, app: &App, job: &Job) -> ApiResult<Self> {
        known::check_generating(fields)?;
        let config = &app.config;
        let max_tokens = max_tokens(fields)?;
        let mut params = sampling(fields, config)?;
        params.max_tokens = match max_tokens {
            None => config.defaults.max_tokens,
            Some(limit) => limit.map(|n| n.max(1)),
        };
        params.logit_bias = logit_bias(fields, &app.engine, job)?;
        params.logprobs = logprobs(fields)?;
        params.constraint = constraint::read(fields)?;
        let n = fields.integer(&["n", "n_cmpl"], 1..=config.limits.max_generations as i64)?.unwrap_or(1) as usize;
        let options = fields.object("stream_options")?;
        let include_usage = options.map(|options| options.boolean("include_usage")).transpose()?.flatten();
        Ok(Self {
            params,
            n,
            priority: priority(fields)?,
            stream: fields.boolean("stream")?.unwrap_or(false),
            include_usage: include_usage.unwrap_or(false),
            silent: max_tokens == Some(Some(0)),
            return_tokens: fields.boolean("return_tokens")?.unwrap_or(false),
            timings_per_token: fields.boolean("timings_per_token")?.unwrap_or(false),
            prefix_reuse: fields.boolean("cache_prompt")?.unwrap_or(true),
        })
    }

    /// The parameters of the `choice`-th answer to a prompt: draws of their own.
    pub(crate) fn params_of(&self, choice: usize) -> SamplingParams {
        SamplingParams { seed: self.params.seed.wrapping_add(choice as u32), ..self.params.clone() }
    }
}

/// `Some(None)` is "as many as fit", which llama-server writes as -1.
fn max_tokens(fields: &Fields<'_>) -> ApiResult<Option<Option<u32>>> {
    let names = ["max_completion_tokens", "max_tokens", "n_predict"];
    Ok(fields.integer(&names, -1..=i64::from(u32::MAX))?.map(|n| u32::try_from(n).ok()))
}

fn sampling(fields: &Fields<'_>, config: &ServerConfig) -> ApiResult<SamplingParams> {
    let mut params = config.defaults.clone();
    params.seed = seed(fields)?.unwrap_or_else(|| config.seed.unwrap_or_else(|| fastrand::u32(..)));
    let numbers = [
        (&mut params.temperature, &["temperature"][..]),
        (&mut params.top_p, &["top_p"]),
        (&mut params.min_p, &["min_p"]),
        (&mut params.repetition_penalty, &["repeat_penalty", "repetition_penalty"]),
        (&mut params.frequency_penalty, &["frequency_penalty"]),
        (&mut params.presence_penalty, &["presence_penalty"]),
        (&mut params.typical_p, &["typical_p"]),
        (&mut params.top_n_sigma, &["top_n_sigma"]),
        (&mut params.xtc_probability, &["xtc_probability"]),
        (&mut params.xtc_threshold, &["xtc_threshold"]),
        (&mut params.dynatemp_range, &["dynatemp_range"]),
        (&mut params.dynatemp_exponent, &["dynatemp_exponent"]),
        (&mut params.mirostat_tau, &["mirostat_tau"]),
        (&mut params.mirostat_eta, &["mirostat_eta"]),
    ];
    for (place, names) in numbers {
        if let Some(number) = fields.number(names)? {
            *place = number;
        }
    }
    // llama.cpp's spellings of "off" and "greedy".
    params.temperature = params.temperature.max(0.0);
    if params.top_p <= 0.0 {
        params.top_p = f32::MIN_POSITIVE;
    }
    // Off, as llama.cpp writes it.
    params.top_n_sigma = params.top_n_sigma.max(0.0);
    if let Some(version) = fields.integer(&["mirostat"], 0..=2)? {
        params.mirostat = version as u32;
    }
    let last_n = fields.integer(&["repeat_last_n", "penalty_last_n"], -1..=65_536)?;
    match last_n {
        Some(-1) => params.penalty_last_n = 65_536,
        Some(n) => params.penalty_last_n = n as u32,
        None => {}
    }
    if let Some(k) = fields.integer(&["top_k"], i64::from(i32::MIN)..=i64::from(i32::MAX))? {
        params.top_k = k.max(0) as u32;
    }
    if let Some(stop) = fields.texts("stop")? {
        // An empty one would end every text at once; clients send them for "none".
        params.stop = stop.into_iter().filter(|text| !text.is_empty()).collect();
    }
    if let Some(ignore) = fields.boolean("ignore_eos")? {
        params.ignore_eos = ignore;
    }
    if let Some(special) = special(fields)? {
        params.special = special;
    }
    if let Some(least) = fields.integer(&["min_tokens"], 0..=i64::from(u32::MAX))? {
        params.min_tokens = least as u32;
    }
    if let Some(tokens) = fields.list("stop_token_ids")? {
        let path = fields.path("stop_token_ids");
        let each = tokens.iter().enumerate();
        let read = each.map(|(i, token)| {
            integer(&format!("{path}[{i}]"), token, 0..=i64::from(Token::MAX)).map(|token| token as Token)
        });
        params.stop_token_ids = read.collect::<ApiResult<_>>()?;
    }
    samplers(fields, &mut params)?;
    Ok(params)
}

/// A seed of up to 64 bits, of which the lower half counts; a negative one is random, as is llama-server's unsigned -1.
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

/// llama-server's list of samplers: those that it leaves out are off. They run in the order that is theirs here.
fn samplers(fields: &Fields<'_>, params: &mut SamplingParams) -> ApiResult<()> {
    const ORDER: [(&str, &str, char); 9] = [
        ("penalties", "", 'e'),
        ("dry", "", 'd'),
        ("top_n_sigma", "", 's'),
        ("top_k", "top-k", 'k'),
        ("typ_p", "typical_p", 'y'),
        ("top_p", "top-p", 'p'),
        ("min_p", "min-p", 'm'),
        ("xtc", "", 'x'),
        ("temperature", "temp", 't'),
    ];
    let path = fields.path("samplers");
    let place = |name: &str| ORDER.iter().position(|(first, second, _)| name == *first || name == *second);
    let places: Option<Vec<usize>> = match fields.get("samplers") {
        None => return Ok(()),
        Some(Value::String(letters)) if letters.contains([';', '_']) => letters.split(';').map(place).collect(),
        Some(Value::String(letters)) => {
            letters.chars().map(|c| ORDER.iter().position(|(.., letter)| *letter == c)).collect()
        }
        Some(Value::Array(_)) => fields.texts("samplers")?.unwrap_or_default().iter().map(|name| place(name)).collect(),
        Some(other) => return Err(wrong(&path, "a list of names or a string of letters", other)),
    };
    let names = ORDER.map(|(name, ..)| name).join(", ");
    let places = places.ok_or_else(|| ApiError::field(&path, format!("can name these: {names}")))?;
    if places.is_sorted() {
        let off = SamplingParams::default();
        let is_off = |name: &str| place(name).is_none_or(|place| !places.contains(&place));
        let SamplingParams { penalty_last_n, top_n_sigma, top_k, typical_p, top_p, min_p, xtc_probability, .. } =
            params;
        for (name, set) in [
            ("penalties", &mut (|| *penalty_last_n = 0) as &mut dyn FnMut()),
            ("top_n_sigma", &mut || *top_n_sigma = off.top_n_sigma),
            ("top_k", &mut || *top_k = 0),
            ("typ_p", &mut || *typical_p = off.typical_p),
            ("top_p", &mut || *top_p = 1.0),
            ("min_p", &mut || *min_p = 0.0),
            ("xtc", &mut || *xtc_probability = off.xtc_probability),
        ] {
            if is_off(name) {
                set();
            }
        }
        if is_off("temperature") && params.temperature > 0.0 {
            (params.temperature, params.dynatemp_range) = (1.0, 0.0);
        }
        return Ok(());
    }
    Err(ApiError::field(
        path,
        format!("cannot change the order of samplers, which is {names}; leave it out, or name some in this order"),
    ))
}

/// Whether special tokens are written: llama-server's name for it, or that of vLLM and others, which says the opposite.
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
    let wished = match fields.get("logprobs") {
        Some(Value::Bool(true)) => Some(top.unwrap_or(0)),
        Some(Value::Bool(false)) | None => None,
        Some(number @ Value::Number(_)) => Some(integer(&fields.path("logprobs"), number, range)?),
        Some(other) => return Err(wrong(&fields.path("logprobs"), "true, false or a whole number", other)),
    };
    Ok(wished.or(n_probs).map(|n| n as u32))
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
fn logit_bias(fields: &Fields<'_>, engine: &Engine, job: &Job) -> ApiResult<Vec<(Token, f32)>> {
    let Some(value) = fields.get("logit_bias") else { return Ok(Vec::new()) };
    let path = fields.path("logit_bias");
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
    Ok(biases.found)
}

/// Biases as they are read.
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
    /// Of texts, each of which has to be tokenized.
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
            return Err(self.too_many(Self::MOST_TEXTS, "texts; give token ids, which /tokenize tells"));
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

/// Parameters under llama-server's names, as its answers and `/props` show them.
pub(crate) fn settings(params: &SamplingParams, stream: bool) -> Value {
    let n_predict = params.max_tokens.map_or(-1, i64::from);
    json!({
        "n_predict": n_predict,
        "max_tokens": n_predict,
        "seed": params.seed,
        "temperature": params.temperature,
        "top_k": params.top_k,
        "top_p": params.top_p,
        "min_p": params.min_p,
        "repeat_last_n": params.penalty_last_n,
        "repeat_penalty": params.repetition_penalty,
        "presence_penalty": params.presence_penalty,
        "frequency_penalty": params.frequency_penalty,
        "stop": params.stop,
        "ignore_eos": params.ignore_eos,
        "special": params.special,
        "min_tokens": params.min_tokens,
        "stop_token_ids": params.stop_token_ids,
        "n_probs": params.logprobs.unwrap_or(0),
        "typical_p": params.typical_p,
        "top_n_sigma": params.top_n_sigma,
        "xtc_probability": params.xtc_probability,
        "xtc_threshold": params.xtc_threshold,
        "dynatemp_range": params.dynatemp_range,
        "dynatemp_exponent": params.dynatemp_exponent,
        "mirostat": params.mirostat,
        "mirostat_tau": params.mirostat_tau,
        "mirostat_eta": params.mirostat_eta,
        "stream": stream,
    })
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
            let mut params = SamplingParams { temperature: 0.8, xtc_probability: 0.5, ..SamplingParams::default() };
            self::samplers(&Fields::body(&body).unwrap(), &mut params).map(|()| params)
        };
        let params = read(json!(["top_k", "temperature"])).unwrap();
        assert_eq!((params.top_k, params.top_p, params.min_p, params.temperature), (40, 1.0, 0.0, 0.8));
        assert_eq!((params.penalty_last_n, params.xtc_probability), (0, 0.0));
        let all = ["penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature"];
        assert_eq!(read(json!(all)).unwrap(), read(Value::Null).unwrap());
        assert_eq!(read(json!("edskypmxt")).unwrap(), read(Value::Null).unwrap());
        for bad in [json!(["temperature", "top_k"]), json!(["infill"]), json!("tk"), json!(7), json!([1])] {
            let error = read(bad.clone()).unwrap_err().json();
            assert!(error["error"]["param"].as_str().unwrap().starts_with("samplers"), "{bad}: {error}");
        }
    }
}
