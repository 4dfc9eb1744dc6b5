//! Random weights, written in their stored form: drawing quantised blocks is a hundred times faster than quantising
//! floats, and speed does not depend on the values.
//!
//! The values are scaled so that activations and logits stay of order one through any number of layers (`tensors.rs`).

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use half::f16;

use llama_concurrent_gguf::{GgufError, GgufErrorKind, TensorType};

use crate::encode::TensorPlan;
use crate::shape::Shape;

/// How the matrices of a synthetic model are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[allow(non_camel_case_types)]
pub enum WeightType {
    /// 4.5 bits per weight.
    Q4_0,
    /// 8.5 bits per weight.
    Q8_0,
    /// 16 bits per weight.
    F16,
    /// 4.25 bits per weight of experts, and Q8_0 for all else, as in files of gpt-oss. For models with experts.
    MXFP4,
}

impl WeightType {
    /// All of them.
    pub const ALL: [WeightType; 4] = [WeightType::Q4_0, WeightType::Q8_0, WeightType::F16, WeightType::MXFP4];

    /// The type of a matrix, or of those of experts.
    pub(super) fn tensor_type(self, is_experts: bool) -> TensorType {
        match self {
            WeightType::Q4_0 => TensorType::Q4_0,
            WeightType::MXFP4 if is_experts => TensorType::MXFP4,
            WeightType::Q8_0 | WeightType::MXFP4 => TensorType::Q8_0,
            WeightType::F16 => TensorType::F16,
        }
    }

    /// Whether a model of this shape can be stored so.
    pub(super) fn check(self, shape: &Shape, out: &Path) -> Result<(), GgufError> {
        if self == WeightType::MXFP4 && shape.n_expert == 0 {
            let message =
                format!("mxfp4 is a type for experts, and '{}' has none; choose q4_0, q8_0 or f16", shape.name);
            return Err(GgufError::new(GgufErrorKind::Invalid, out, message));
        }
        Ok(())
    }

    /// The number in `general.file_type`.
    pub(super) fn file_type(self) -> u32 {
        match self {
            WeightType::Q4_0 => 2,
            WeightType::Q8_0 => 7,
            WeightType::F16 => 1,
            WeightType::MXFP4 => 38,
        }
    }
}

impl fmt::Display for WeightType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WeightType::Q4_0 => "q4_0",
            WeightType::Q8_0 => "q8_0",
            WeightType::F16 => "f16",
            WeightType::MXFP4 => "mxfp4",
        })
    }
}

impl FromStr for WeightType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = WeightType::ALL.into_iter().find(|weight_type| text.eq_ignore_ascii_case(&weight_type.to_string()));
        found.ok_or_else(|| format!("unknown weight type '{text}'; choose q4_0, q8_0, f16 or mxfp4"))
    }
}

/// What goes into a tensor.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fill {
    /// Weights with mean 0 and this standard deviation.
    Matrix { deviation: f64 },
    /// F32 from 0.9 to 1.1.
    Norm,
    /// F32 from -0.05 to 0.05: biases, sinks, and what chooses among experts, each of which is then as likely.
    Small,
}

/// Scores of attention get this standard deviation.
pub(super) const QUERY_FACTOR: f64 = 2.0;

/// Elements that are generated and written together: a few MiB in each type.
const CHUNK_ELEMENTS: u64 = 1 << 21;

/// Makes the bytes of tensors, chunk by chunk. Each chunk depends on the seed and its place alone.
pub(super) struct Generator {
    seed: u64,
    buffer: Vec<u8>,
}

impl Generator {
    pub fn new(seed: u64) -> Self {
        Generator { seed, buffer: Vec::new() }
    }

    /// Calls `sink` with the bytes of tensor number `index`, the padding behind it included, in order.
    pub fn each_chunk(
        &mut self,
        index: usize,
        tensor: &TensorPlan,
        fill: Fill,
        mut sink: impl FnMut(&[u8]) -> Result<(), GgufError>,
    ) -> Result<(), GgufError> {
        let tensor_type = tensor.tensor_type;
        let chunk_bytes = CHUNK_ELEMENTS / tensor_type.block_len() * tensor_type.block_bytes();
        let blocks = Blocks::new(tensor_type, fill);
        let bytes = tensor.bytes();
        for (chunk, start) in (0..bytes).step_by(chunk_bytes as usize).enumerate() {
            let len = chunk_bytes.min(bytes - start);
            self.buffer.resize(len as usize, 0);
            blocks.generate(&mut Random::new([self.seed, index as u64, chunk as u64]), &mut self.buffer);
            if start + len == bytes {
                self.buffer.resize((len + tensor.padding()) as usize, 0);
            }
            sink(&self.buffer)?;
        }
        Ok(())
    }
}

/// The F32 weights of a tensor of a tiny model, which its name tells apart: factors of norms lie around 1, what decays
/// has to be negative, and matrices have the deviation that keeps activations of order one.
pub(super) fn tiny(seed: u64, index: usize, name: &str, dims: &[u64]) -> Vec<u8> {
    let count = dims.iter().product::<u64>() as usize;
    let is_vector = dims[1..].iter().all(|&dim| dim == 1);
    let (middle, deviation) = match name {
        _ if name.ends_with("ssm_a") => (-1.0, 0.25),
        _ if is_vector && name.contains("norm") && name.ends_with("weight") => (1.0, 0.1),
        _ if is_vector => (0.0, 0.1),
        "token_embd.weight" => (0.0, 1.0),
        _ if name.contains("attn_q") => (0.0, QUERY_FACTOR / (dims[0] as f64).sqrt()),
        _ => (0.0, 1.0 / (dims[0] as f64).sqrt()),
    };
    let mut random = Random::new([seed, index as u64, u64::MAX]);
    // Uniform between -1 and 1 has a deviation of the root of a third.
    let mut draw = || (random.next() >> 11) as f64 / (1u64 << 52) as f64 - 1.0;
    (0..count).flat_map(|_| ((middle + draw() * 3f64.sqrt() * deviation) as f32).to_le_bytes()).collect()
}

/// Everything that is drawn has one of so many magnitudes, looked up by a random byte.
const LEVELS: usize = 256;

/// How to draw the blocks of a tensor.
enum Blocks {
    Q4_0 { scales: [[u8; 2]; LEVELS] },
    Q8_0 { scales: [[u8; 2]; LEVELS] },
    MXFP4 { exponents: [u8; LEVELS] },
    F16 { values: [[u8; 2]; LEVELS] },
    F32 { lowest: f32, highest: f32 },
}

/// Standard deviation of the values -7..=7 where 0 is twice as likely as each other.
const Q4_DEVIATION: f64 = 4.183_300_132_670_378; // sqrt(2 * (1 + 4 + 9 + 16 + 25 + 36 + 49) / 16)
/// Standard deviation of the values -127..=127 where 0 is twice as likely as each other.
const Q8_DEVIATION: f64 = 73.468_816_508_827_82; // sqrt(2 * (127 * 128 * 255 / 6) / 256)

/// Root mean square of the values that a nibble stands for in MXFP4, twice what they are: 0, 1, 2, 3, 4, 6, 8, 12 and their opposites.
const MXFP4_DEVIATION: f64 = 5.852_349_955_359_813; // sqrt((1 + 4 + 9 + 16 + 36 + 64 + 144) / 8)

impl Blocks {
    fn new(tensor_type: TensorType, fill: Fill) -> Blocks {
        let deviation = match fill {
            Fill::Matrix { deviation } => deviation,
            Fill::Norm => return Blocks::F32 { lowest: 0.9, highest: 1.1 },
            Fill::Small => return Blocks::F32 { lowest: -0.05, highest: 0.05 },
        };
        match tensor_type {
            TensorType::Q4_0 => Blocks::Q4_0 { scales: levels(deviation / Q4_DEVIATION, 0.75, 1.25) },
            TensorType::Q8_0 => Blocks::Q8_0 { scales: levels(deviation / Q8_DEVIATION, 0.75, 1.25) },
            TensorType::MXFP4 => Blocks::MXFP4 { exponents: exponents(deviation / MXFP4_DEVIATION) },
            // Uniform from -sqrt(3) to sqrt(3) has the deviation 1.
            _ => Blocks::F16 { values: levels(deviation * 3_f64.sqrt(), -1.0, 1.0) },
        }
    }

    fn generate(&self, random: &mut Random, out: &mut [u8]) {
        match self {
            Blocks::Q4_0 { scales } => {
                for block in out.chunks_exact_mut(TensorType::Q4_0.block_bytes() as usize) {
                    block[..2].copy_from_slice(&scales[random.byte()]);
                    block[2..10].copy_from_slice(&centred_nibbles(random.next()).to_le_bytes());
                    block[10..18].copy_from_slice(&centred_nibbles(random.next()).to_le_bytes());
                }
            }
            Blocks::Q8_0 { scales } => {
                for block in out.chunks_exact_mut(TensorType::Q8_0.block_bytes() as usize) {
                    block[..2].copy_from_slice(&scales[random.byte()]);
                    for eight in block[2..].chunks_exact_mut(8) {
                        let drawn = random.next().to_le_bytes();
                        // -128 has no counterpart; as 0 it leaves the mean at 0.
                        eight.copy_from_slice(&drawn.map(|byte| if byte == 0x80 { 0 } else { byte }));
                    }
                }
            }
            Blocks::MXFP4 { exponents } => {
                for block in out.chunks_exact_mut(TensorType::MXFP4.block_bytes() as usize) {
                    block[0] = exponents[random.byte()];
                    block[1..9].copy_from_slice(&random.next().to_le_bytes());
                    block[9..].copy_from_slice(&random.next().to_le_bytes());
                }
            }
            Blocks::F16 { values } => {
                for eight in out.chunks_mut(16) {
                    let drawn = random.next().to_le_bytes();
                    for (element, byte) in eight.chunks_exact_mut(2).zip(drawn) {
                        element.copy_from_slice(&values[usize::from(byte)]);
                    }
                }
            }
            Blocks::F32 { lowest, highest } => {
                for element in out.chunks_exact_mut(4) {
                    let unit = (random.next() >> 40) as f32 / (1 << 24) as f32;
                    element.copy_from_slice(&(lowest + unit * (highest - lowest)).to_le_bytes());
                }
            }
        }
    }
}

/// f16 numbers, evenly from `lowest * unit` to `highest * unit`.
fn levels(unit: f64, lowest: f64, highest: f64) -> [[u8; 2]; LEVELS] {
    std::array::from_fn(|level| {
        let position = level as f64 / (LEVELS - 1) as f64;
        f16::from_f64(unit * (lowest + position * (highest - lowest))).to_le_bytes()
    })
}

/// Exponents of powers of two that have this root mean square; 128 stands for the first power.
fn exponents(unit: f64) -> [u8; LEVELS] {
    let lower = unit.log2().floor();
    let doubled = ((unit / lower.exp2()).powi(2) - 1.0) / 3.0;
    std::array::from_fn(|level| (lower as i32 + 128 + i32::from((level as f64) < doubled * LEVELS as f64)) as u8)
}

/// Sixteen random values of four bits, each 0 made 8. Q4_0 subtracts 8, so 0 would be the one value (-8) without a
/// counterpart, and weights with a mean drive the activations away.
fn centred_nibbles(drawn: u64) -> u64 {
    const LOWEST_BITS: u64 = 0x1111_1111_1111_1111;
    let pairs = drawn | drawn >> 1;
    let is_not_zero = (pairs | pairs >> 2) & LOWEST_BITS;
    drawn | (is_not_zero ^ LOWEST_BITS) << 3
}

/// SplitMix64 (Steele, Lea and Flood, 2014): a counter that is mixed, so a stream can start anywhere.
struct Random(u64);

impl Random {
    const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

    /// A stream of its own for each combination of numbers.
    fn new(place: [u64; 3]) -> Self {
        let mix_in = |state: u64, number: u64| Random(state ^ number).next();
        Random(place.into_iter().fold(0, mix_in))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(Self::STEP);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn byte(&mut self) -> usize {
        (self.next() >> 56) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nibbles_avoid_zero_and_average_eight() {
        let mut random = Random::new([1, 2, 3]);
        let nibbles: Vec<u64> = (0..10_000)
            .map(|_| centred_nibbles(random.next()))
            .flat_map(|word| (0..16).map(move |n| word >> (4 * n) & 15))
            .collect();
        let mean = nibbles.iter().sum::<u64>() as f64 / nibbles.len() as f64;
        assert!(!nibbles.contains(&0));
        assert!((mean - 8.0).abs() < 0.05, "{mean}");
        assert_eq!(centred_nibbles(0), 0x8888_8888_8888_8888);
        assert_eq!(centred_nibbles(0x0123_4567_89AB_CDEF), 0x8123_4567_89AB_CDEF);
    }

    #[test]
    fn every_type_has_the_deviation_that_was_asked_for() {
        for weight_type in WeightType::ALL {
            let values = draw(weight_type, 0.02);
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let deviation = (values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64).sqrt();
            assert!(mean.abs() < 0.0005, "{weight_type}: mean {mean}");
            assert!((0.019..0.021).contains(&deviation), "{weight_type}: deviation {deviation}");
        }
    }

    /// What ggml would read back, by the formulas of `dequantize_row_q4_0`, `dequantize_row_q8_0` and `dequantize_row_mxfp4`.
    fn draw(weight_type: WeightType, deviation: f64) -> Vec<f64> {
        let plan = TensorPlan { name: String::new(), dims: vec![64, 1000], tensor_type: weight_type.tensor_type(true) };
        let mut bytes = Vec::new();
        let collect = |chunk: &[u8]| {
            bytes.extend_from_slice(chunk);
            Ok(())
        };
        Generator::new(7).each_chunk(0, &plan, Fill::Matrix { deviation }, collect).unwrap();
        let float = |pair: &[u8]| f16::from_le_bytes([pair[0], pair[1]]).to_f64();
        match weight_type {
            WeightType::F16 => bytes.chunks_exact(2).map(float).collect(),
            WeightType::MXFP4 => bytes
                .chunks_exact(17)
                .flat_map(|block| {
                    let values =
                        [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0].map(|v| v * f64::from(block[0] as i16 - 128).exp2());
                    let value = move |q: u8| if q < 8 { values[q as usize] } else { -values[q as usize - 8] };
                    block[1..].iter().flat_map(move |&q| [value(q & 15), value(q >> 4)]).collect::<Vec<_>>()
                })
                .collect(),
            WeightType::Q8_0 => bytes
                .chunks_exact(34)
                .flat_map(|block| block[2..].iter().map(|&q| float(block) * f64::from(q as i8)))
                .collect(),
            WeightType::Q4_0 => bytes
                .chunks_exact(18)
                .flat_map(|block| {
                    block[2..].iter().flat_map(|&q| [q & 15, q >> 4]).map(|q| float(block) * (f64::from(q) - 8.0))
                })
                .collect(),
        }
    }
}
