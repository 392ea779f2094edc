//! A tiny random Llama in a GGUF file: two layers, three query heads on one key head, a vocabulary of bytes.

use std::io::BufWriter;
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use tempfile::TempDir;

pub const CONTEXT_TOKENS: usize = 8192;
const WIDTH: usize = 96;
const HEAD: usize = 32;
const INNER: usize = 192;
/// 256 bytes, one merge, three special tokens.
const VOCABULARY: usize = 260;
pub const SPECIALS: [&str; 3] = ["<|im_start|>", "<|im_end|>", "<|endoftext|>"];

/// What a file is made of; tests change it before it is written.
pub struct TinyModel {
    pub metadata: Vec<(String, Value)>,
    pub tensors: Vec<(String, QTensor)>,
}

/// Repeatable numbers of about unit size.
fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..count).map(|_| next() + next() + next()).collect()
}

pub fn random(shape: (usize, usize), seed: u64) -> Tensor {
    Tensor::from_vec(noise(shape.0 * shape.1, seed), shape, &Device::Cpu).unwrap()
}

/// GPT-2's spelling of a byte.
fn spelled(byte: u8) -> char {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    if printable(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|&byte| !printable(byte)).count() as u32;
    char::from_u32(0x100 + before).unwrap()
}

fn texts(texts: impl IntoIterator<Item = String>) -> Value {
    Value::Array(texts.into_iter().map(Value::String).collect())
}

impl TinyModel {
    pub fn new() -> Self {
        let number = |value: usize| Value::U32(value as u32);
        let tokens = (0..=u8::MAX).map(|byte| spelled(byte).to_string()).chain(["Ġa".to_owned()]);
        let tokens = tokens.chain(SPECIALS.map(str::to_owned));
        let kinds = (0..VOCABULARY).map(|id| Value::I32(if id < VOCABULARY - SPECIALS.len() { 1 } else { 3 }));
        let metadata = [
            ("general.architecture", Value::String("llama".to_owned())),
            ("general.name", Value::String("Tiny".to_owned())),
            ("llama.block_count", number(2)),
            ("llama.context_length", number(CONTEXT_TOKENS)),
            ("llama.embedding_length", number(WIDTH)),
            ("llama.feed_forward_length", number(INNER)),
            ("llama.attention.head_count", number(WIDTH / HEAD)),
            ("llama.attention.head_count_kv", number(1)),
            ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
            ("llama.rope.freq_base", Value::F32(10_000.0)),
            ("tokenizer.ggml.model", Value::String("gpt2".to_owned())),
            ("tokenizer.ggml.pre", Value::String("smollm".to_owned())),
            ("tokenizer.ggml.tokens", texts(tokens)),
            ("tokenizer.ggml.token_type", Value::Array(kinds.collect())),
            ("tokenizer.ggml.merges", texts(["Ġ a".to_owned()])),
            ("tokenizer.ggml.eos_token_id", number(VOCABULARY - 2)),
            ("tokenizer.ggml.add_bos_token", Value::Bool(false)),
        ];
        let mut model = TinyModel {
            metadata: metadata.map(|(key, value)| (key.to_owned(), value)).into_iter().collect(),
            tensors: Vec::new(),
        };
        model.add("token_embd.weight", (VOCABULARY, WIDTH), GgmlDType::Q8_0);
        model.add_vector("output_norm.weight", WIDTH);
        for layer in 0..2 {
            let name = |part: &str| format!("blk.{layer}.{part}.weight");
            model.add_vector(&name("attn_norm"), WIDTH);
            model.add_vector(&name("ffn_norm"), WIDTH);
            for (part, shape) in [
                ("attn_q", (WIDTH, WIDTH)),
                ("attn_k", (HEAD, WIDTH)),
                ("attn_v", (HEAD, WIDTH)),
                ("attn_output", (WIDTH, WIDTH)),
                ("ffn_gate", (INNER, WIDTH)),
                ("ffn_up", (INNER, WIDTH)),
                ("ffn_down", (WIDTH, INNER)),
            ] {
                model.add(&name(part), shape, GgmlDType::Q8_0);
            }
        }
        // Zero rows for the special tokens: a greedy generation never ends by itself.
        let spoken = random((VOCABULARY - SPECIALS.len(), WIDTH), 99);
        let silent = Tensor::zeros((SPECIALS.len(), WIDTH), candle_core::DType::F32, &Device::Cpu).unwrap();
        model.set("output.weight", &Tensor::cat(&[spoken, silent], 0).unwrap(), GgmlDType::Q8_0);
        model
    }

    /// The same with the vocabulary of Llama 3, from the `tokenizer.json` of that model.
    pub fn with_llama3_vocabulary(tokenizer: &Path) -> Self {
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(tokenizer).unwrap()).unwrap();
        let mut tokens: Vec<(u64, String, i32)> = Vec::new();
        for (text, id) in json["model"]["vocab"].as_object().unwrap() {
            tokens.push((id.as_u64().unwrap(), text.clone(), 1));
        }
        for added in json["added_tokens"].as_array().unwrap() {
            tokens.push((added["id"].as_u64().unwrap(), added["content"].as_str().unwrap().to_owned(), 3));
        }
        tokens.sort_unstable();
        assert!(tokens.iter().enumerate().all(|(at, (id, ..))| at as u64 == *id), "the token ids have gaps");
        let merges = json["model"]["merges"].as_array().unwrap();
        let merges = merges.iter().map(|merge| merge.as_str().unwrap().to_owned());
        let mut model = TinyModel::new();
        model.set_metadata("tokenizer.ggml.pre", Value::String("llama-bpe".to_owned()));
        model.set_metadata("tokenizer.ggml.eos_token_id", Value::U32(128_009));
        model.set_metadata("tokenizer.ggml.merges", texts(merges));
        let kinds = tokens.iter().map(|(.., kind)| Value::I32(*kind)).collect();
        model.set_metadata("tokenizer.ggml.token_type", Value::Array(kinds));
        model.set_metadata("tokenizer.ggml.tokens", texts(tokens.into_iter().map(|(_, text, _)| text)));
        model
    }

    fn add(&mut self, name: &str, shape: (usize, usize), dtype: GgmlDType) {
        let weights = (random(shape, self.tensors.len() as u64 + 1) * 0.2).unwrap();
        self.set(name, &weights, dtype);
    }

    fn add_vector(&mut self, name: &str, len: usize) {
        self.set(name, &Tensor::ones(len, candle_core::DType::F32, &Device::Cpu).unwrap(), GgmlDType::F32);
    }

    /// Adds a tensor or replaces it.
    pub fn set(&mut self, name: &str, values: &Tensor, dtype: GgmlDType) {
        self.tensors.retain(|(other, _)| other != name);
        self.tensors.push((name.to_owned(), QTensor::quantize(values, dtype).unwrap()));
    }

    pub fn set_metadata(&mut self, key: &str, value: Value) {
        self.metadata.retain(|(other, _)| other != key);
        self.metadata.push((key.to_owned(), value));
    }

    pub fn write(&self, path: &Path) {
        let metadata: Vec<_> = self.metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
        let tensors: Vec<_> = self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let mut file = BufWriter::new(std::fs::File::create(path).unwrap());
        gguf_file::write(&mut file, &metadata, &tensors).unwrap();
    }

    /// Writes the file into a folder that lives as long as the first part of the answer.
    pub fn written(&self) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.gguf");
        self.write(&path);
        (folder, path)
    }
}
