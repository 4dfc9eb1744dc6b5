//! One table for each struct of parameters: what a field does, its type, default, range and names.
//!
//! [`parameters!`](macro@crate::parameters) makes the struct, its `Default`, its builder methods and its `FIELDS` of one list. The interfaces follow
//! `FIELDS` where they can (HTTP, the command line, Python's native module); what has to stand in a file (the C struct, the
//! Python class, tables in the documentation) is written by `tests/generated.rs`.

use std::{sync::Arc, time::Duration};

use serde_json::Map;

use crate::{
    choices::{KvType, LoadProgress, PackCache, Strategy},
    constraint::Constraint,
    ids::Token,
    placement::{PlacementPolicy, Replicate, WaitPolicy},
    speculation::Speculation,
};

/// A field of a struct of parameters, as every interface has to know it.
pub struct Field<P: 'static> {
    /// The name in Rust, C and Python.
    pub name: &'static str,
    /// What it does, in sentences that hold for every interface. Names of fields stand in backticks; the sentence that begins
    /// with "Unset:" says what holds where there is no value.
    pub doc: &'static str,
    /// The type.
    pub kind: Kind,
    /// How the interfaces name and bound it.
    pub traits: Traits,
    /// The value.
    pub get: fn(&P) -> Value,
    /// Sets the value, which is of [`kind`](Self::kind).
    pub set: fn(&mut P, Value),
}

/// Types of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `f32`.
    Number,
    /// A whole number, 0 or more.
    Count,
    /// The same, or nothing.
    OptionalCount,
    /// `bool`.
    Flag,
    /// A duration in milliseconds; outside of Rust its name ends in `_ms`.
    Millis,
    /// One of these names.
    Choice(&'static [&'static str]),
    /// A string, or nothing.
    OptionalText,
    /// Numbers, or nothing.
    OptionalList,
    /// A JSON object.
    Object,
    /// What each interface writes in a way of its own.
    ByHand,
    /// Strings.
    Texts,
    /// Tokens.
    Tokens,
    /// What is added to the logits of tokens.
    Biases,
    /// What the output has to look like: in each interface a field for each form.
    Constraint,
}

/// A value of a field.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "as the kinds of the same names")]
pub enum Value {
    Number(f32),
    Count(u64),
    OptionalCount(Option<u64>),
    Flag(bool),
    Millis(u64),
    Choice(&'static str),
    OptionalText(Option<String>),
    OptionalList(Option<Vec<usize>>),
    Object(Map<String, serde_json::Value>),
    ByHand,
    Texts(Vec<String>),
    Tokens(Vec<Token>),
    Biases(Vec<(Token, f32)>),
    Constraint(Option<Constraint>),
}

/// How interfaces name and bound a field.
#[derive(Clone, Copy, Debug)]
pub struct Traits {
    /// Which numbers are allowed; of lists, none is bounded here.
    pub range: Range,
    /// Names in requests over HTTP, of which the first that is there counts. The first is the one in answers.
    pub http: &'static [&'static str],
    /// What lies below the range and is taken over HTTP nevertheless, because clients of llama.cpp send it.
    pub lenient: Option<Lenient>,
    /// Names on the command line; those behind the first are not in the help.
    pub flags: &'static [&'static str],
    /// What stands for the value in the help.
    pub placeholder: &'static str,
    /// Whether it has 64 bits in C.
    pub is_wide: bool,
    /// The part of the C struct, between members that are written by hand.
    pub c_part: usize,
}

/// The part at the end of the C struct, where new fields go.
pub const LAST_C_PART: usize = usize::MAX;

/// The numbers that a field may have. Infinity and NaN never are.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// The least.
    pub least: f64,
    /// Whether the least itself is too little.
    pub is_open: bool,
    /// The most.
    pub most: f64,
    /// The range in words, behind "must be".
    pub words: &'static str,
}

/// Numbers from `least` up to the range of a field stand for `becomes`.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "said above")]
pub struct Lenient {
    pub least: f64,
    pub becomes: f64,
}

/// Numbers from `least` to `most`.
pub const fn from_to(least: f64, most: f64, words: &'static str) -> Traits {
    let range = Range { least, is_open: false, most, words };
    Traits { range, http: &[], lenient: None, flags: &[], placeholder: "", is_wide: false, c_part: LAST_C_PART }
}

/// Numbers from `least` on.
pub const fn from(least: f64, words: &'static str) -> Traits {
    from_to(least, f64::INFINITY, words)
}

/// Numbers above `least`, to `most`.
pub const fn above_to(least: f64, most: f64, words: &'static str) -> Traits {
    let mut traits = from_to(least, most, words);
    traits.range.is_open = true;
    traits
}

/// Whole numbers of 32 bits.
pub const fn whole() -> Traits {
    from_to(0.0, u32::MAX as f64, "0 to 4294967295")
}

/// No number.
pub const fn no_number() -> Traits {
    from(f64::NEG_INFINITY, "a finite number")
}

impl Traits {
    /// Sets the part of the C struct, for a field that does not stand at its end.
    pub const fn c(mut self, part: usize) -> Self {
        self.c_part = part;
        self
    }

    /// Gives it 64 bits in C.
    pub const fn wide(mut self) -> Self {
        self.is_wide = true;
        self
    }

    /// Sets the names over HTTP.
    pub const fn http(mut self, names: &'static [&'static str]) -> Self {
        self.http = names;
        self
    }

    /// Sets the names on the command line.
    pub const fn flags(mut self, names: &'static [&'static str], placeholder: &'static str) -> Self {
        self.flags = names;
        self.placeholder = placeholder;
        self
    }

    /// Takes numbers from `least` on over HTTP, as `becomes`.
    pub const fn lenient(mut self, least: f64, becomes: f64) -> Self {
        self.lenient = Some(Lenient { least, becomes });
        self
    }
}

impl Range {
    /// Whether a number is allowed.
    pub fn contains(&self, number: f64) -> bool {
        let is_enough = if self.is_open { number > self.least } else { number >= self.least };
        number.is_finite() && is_enough && number <= self.most
    }
}

impl<P: Default> Field<P> {
    /// The value where nobody says otherwise.
    pub fn default(&self) -> Value {
        (self.get)(&P::default())
    }

    /// The name outside of Rust.
    pub fn wire_name(&self) -> String {
        if self.kind == Kind::Millis { format!("{}_ms", self.name) } else { self.name.to_owned() }
    }

    /// The first sentence of [`doc`](Self::doc), without its full stop.
    pub fn summary(&self) -> &'static str {
        self.doc.split_once(". ").map_or(self.doc.trim_end_matches('.'), |(first, _)| first)
    }

    /// What holds where there is no value.
    pub fn unset(&self) -> Option<&'static str> {
        let (_, unset) = self.doc.split_once("Unset: ")?;
        Some(unset.split_once(". ").map_or(unset.trim_end_matches('.'), |(first, _)| first))
    }

    /// Refuses a number that is out of range: what it is and must be.
    pub(crate) fn check(&self, params: &P) -> Result<(), String> {
        let told = match (self.get)(params) {
            Value::Number(number) if !self.traits.range.contains(number.into()) => number.to_string(),
            Value::Count(n) | Value::Millis(n) | Value::OptionalCount(Some(n))
                if !self.traits.range.contains(n as f64) =>
            {
                n.to_string()
            }
            _ => return Ok(()),
        };
        Err(format!("{} is {told}, but must be {}", self.name, self.traits.range.words))
    }
}

/// The type of a field.
pub trait Typed: Sized {
    /// Which of the kinds it is.
    const KIND: Kind;
    /// The value of a field.
    fn value(&self) -> Value;
    /// The field of a value, which is of this kind.
    fn of(value: Value) -> Self;
}

/// Makes a type that one of the kinds holds as it is.
macro_rules! typed {
    ($($type:ty: $kind:ident, $value:pat => $of:expr, $this:ident => $get:expr;)*) => {$(
        impl Typed for $type {
            const KIND: Kind = Kind::$kind;

            fn value(&self) -> Value {
                let $this = self;
                Value::$kind($get)
            }

            fn of(value: Value) -> Self {
                match value {
                    Value::$kind($value) => $of,
                    other => unreachable!("{other:?} is set where {} stands", stringify!($type)),
                }
            }
        }
    )*};
}

typed! {
    f32: Number, number => number, this => *this;
    usize: Count, n => usize::try_from(n).unwrap_or(usize::MAX), this => *this as u64;
    Option<usize>: OptionalCount, n => n.map(|n| usize::try_from(n).unwrap_or(usize::MAX)), this => this.map(|n| n as u64);
    Duration: Millis, n => Duration::from_millis(n), this => u64::try_from(this.as_millis()).unwrap_or(u64::MAX);
    Option<String>: OptionalText, text => text, this => this.clone();
    Option<Vec<usize>>: OptionalList, list => list, this => this.clone();
    Map<String, serde_json::Value>: Object, object => object, this => this.clone();
    u32: Count, n => u32::try_from(n).unwrap_or(u32::MAX), this => u64::from(*this);
    Option<u32>: OptionalCount, n => n.map(|n| u32::try_from(n).unwrap_or(u32::MAX)), this => this.map(u64::from);
    bool: Flag, flag => flag, this => *this;
    Vec<String>: Texts, texts => texts, this => this.clone();
    Arc<[String]>: Texts, texts => texts.into(), this => this.to_vec();
    Vec<Token>: Tokens, tokens => tokens, this => this.clone();
    Vec<(Token, f32)>: Biases, biases => biases, this => this.clone();
    Option<Constraint>: Constraint, constraint => constraint, this => this.clone();
}

/// Makes enums with names fields that are chosen from these.
macro_rules! choices {
    ($($type:ty: $names:expr;)*) => {$(
        impl Typed for $type {
            const KIND: Kind = Kind::Choice($names);

            fn value(&self) -> Value {
                Value::Choice(self.as_str())
            }

            fn of(value: Value) -> Self {
                let Value::Choice(name) = value else { unreachable!("{value:?} is no name") };
                Self::ALL.into_iter().find(|one| one.as_str() == name).expect("one of the names")
            }
        }
    )*};
}

choices! {
    Strategy: &["auto", "sequential", "round-robin", "batched"];
    KvType: &["f16", "q8_0", "f32", "q4_0"];
    PlacementPolicy: &["auto", "node", "l3", "none"];
    Replicate: &["auto", "always", "never"];
    WaitPolicy: &["auto", "active", "passive"];
    Speculation: &["auto", "off", "lookup", "draft"];
}

/// Makes types fields that each interface writes in a way of its own.
macro_rules! by_hand {
    ($($type:ty)*) => {$(
        impl Typed for $type {
            const KIND: Kind = Kind::ByHand;

            fn value(&self) -> Value {
                Value::ByHand
            }

            fn of(value: Value) -> Self {
                unreachable!("{value:?} is set where each interface has a way of its own")
            }
        }
    )*};
}

by_hand! { Option<PackCache> Option<LoadProgress> }

/// What the builder method of a field takes: a value of the field's type, or for an optional field what it holds.
///
/// `max_tokens(60)` and `max_tokens(None)` both set an `Option<u32>`.
pub trait IntoField<T> {
    /// The field's value.
    fn into_field(self) -> T;
}

impl<T> IntoField<T> for T {
    fn into_field(self) -> T {
        self
    }
}

impl<T> IntoField<Option<T>> for T {
    fn into_field(self) -> Option<T> {
        Some(self)
    }
}

impl IntoField<Option<String>> for &str {
    fn into_field(self) -> Option<String> {
        Some(self.to_owned())
    }
}

impl<F: Fn(f32) -> bool + Send + Sync + 'static> IntoField<Option<LoadProgress>> for Arc<F> {
    fn into_field(self) -> Option<LoadProgress> {
        Some(self)
    }
}

impl<const N: usize> IntoField<Vec<String>> for [&str; N] {
    fn into_field(self) -> Vec<String> {
        self.map(str::to_owned).into()
    }
}

impl<const N: usize> IntoField<Arc<[String]>> for [&str; N] {
    fn into_field(self) -> Arc<[String]> {
        self.map(str::to_owned).into()
    }
}

impl IntoField<Arc<[String]>> for Vec<String> {
    fn into_field(self) -> Arc<[String]> {
        self.into()
    }
}

/// Makes a struct of parameters, its `Default`, its builder methods and its `FIELDS` of a table with lines of the form `name:
/// type = default, traits;`.
#[macro_export]
macro_rules! parameters {
    (
        $(#[$attribute:meta])*
        pub struct $struct:ident {
            $( $(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:expr, $traits:expr; )+
        }
    ) => {
        $(#[$attribute])*
        ///
        /// Each field has a builder method of its name.
        #[non_exhaustive]
        pub struct $struct {
            $( $(#[doc = $doc])+ pub $name: $type, )+
        }

        impl Default for $struct {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        impl $struct {
            $(
                #[doc = concat!("Sets [`", stringify!($name), "`](Self::", stringify!($name), "): ", $($doc),+)]
                #[must_use]
                pub fn $name(mut self, $name: impl $crate::parameters::IntoField<$type>) -> Self {
                    self.$name = $name.into_field();
                    self
                }
            )+

            /// Every field, in the order of the table.
            pub const FIELDS: &'static [$crate::parameters::Field<Self>] = &[$(
                $crate::parameters::Field {
                    name: stringify!($name),
                    doc: concat!($($doc),+).trim_ascii(),
                    kind: <$type as $crate::parameters::Typed>::KIND,
                    traits: $traits,
                    get: |params| $crate::parameters::Typed::value(&params.$name),
                    set: |params, value| params.$name = $crate::parameters::Typed::of(value),
                },
            )+];
        }
    };
}
