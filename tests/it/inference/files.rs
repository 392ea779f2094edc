//! Model files: what is read in place is what was written, and what is not a usable model is refused with a reason.

use std::path::Path;

use candle_core::quantized::gguf_file::Value;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};
use cervella::inference::{InferenceError, KvCache, KvFormat, Llama, LlamaConfig, ModelFile, RopeScaling, Tokens};

use super::tiny::{TinyModel, random};

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn mapped_weights_compute_what_candles_own_copies_compute() {
    use GgmlDType::{BF16, F16, F32, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0, Q8K};
    for dtype in [F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2K, Q3K, Q4K, Q5K, Q6K, Q8K] {
        let weights = random((32, 512), 7);
        let copied = QTensor::quantize(&weights, dtype).unwrap();
        let mut model = TinyModel::new();
        model.set("extra", &weights, dtype);
        let (_folder, path) = model.written();
        let mapped = ModelFile::open(&path).unwrap().matrix("extra", (32, 512)).unwrap();

        let dequantized = |tensor: &QTensor| values(&tensor.dequantize(&Device::Cpu).unwrap());
        assert_eq!(dequantized(&mapped), dequantized(&copied), "{dtype:?}");
        let ids = Tensor::new(&[3u32, 31, 3], &Device::Cpu).unwrap();
        let rows = |tensor: &QTensor| values(&tensor.embedding(&ids).unwrap());
        assert_eq!(rows(&mapped), rows(&copied), "{dtype:?}");
        for count in [1, 5] {
            let inputs = random((count, 512), 11);
            let product = |tensor: &QTensor| values(&inputs.apply_op1_no_bwd(tensor).unwrap());
            assert_eq!(product(&mapped), product(&copied), "{dtype:?}, {count} rows");
        }
    }
}

/// The logits of a few tokens, and the packed file.
fn loaded(path: &Path) -> (Vec<f32>, Vec<u8>) {
    let mut model = Llama::load(&ModelFile::open(path).unwrap()).unwrap();
    let mut cache = KvCache::new(model.config(), 16, KvFormat::F16).unwrap();
    let logits = model.forward(&[1, 2, 3], &mut cache).unwrap().to_vec();
    (logits, std::fs::read(path.with_extension("gguf.packed")).unwrap_or_default())
}

#[test]
fn packed_weights_are_kept_and_made_anew_when_they_do_not_fit() {
    let (folder, path) = TinyModel::new().written();
    let packed = folder.path().join("tiny.gguf.packed");
    let (logits, made) = loaded(&path);
    let untouched = std::fs::metadata(&packed).unwrap().modified().unwrap();
    assert_eq!(loaded(&path), (logits.clone(), made.clone()));
    assert_eq!(std::fs::metadata(&packed).unwrap().modified().unwrap(), untouched, "it was packed twice");

    let mut damaged = made.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    for wrong in [&damaged[..], &made[..middle], b"", b"something else"] {
        std::fs::write(&packed, wrong).unwrap();
        assert_eq!(loaded(&path), (logits.clone(), made.clone()));
    }

    // Another model under the same name.
    let mut other = TinyModel::new();
    other.set("blk.0.ffn_down.weight", &random((96, 192), 5), GgmlDType::Q8_0);
    other.write(&path);
    let (changed, remade) = loaded(&path);
    assert!(changed != logits && remade != made);
}

#[test]
fn a_folder_that_cannot_be_written_costs_the_cache_and_nothing_else() {
    let (folder, path) = TinyModel::new().written();
    let (logits, _) = loaded(&path);
    // A folder in its place cannot be replaced by a file.
    std::fs::remove_file(folder.path().join("tiny.gguf.packed")).unwrap();
    std::fs::create_dir(folder.path().join("tiny.gguf.packed")).unwrap();
    assert_eq!(loaded(&path), (logits, Vec::new()));
}

fn refused(model: &TinyModel) -> InferenceError {
    let (_folder, path) = model.written();
    let loaded = ModelFile::open(&path).and_then(|file| {
        Tokens::read(&file)?;
        Llama::load(&file)
    });
    let error = loaded.err().expect("the file was accepted");
    assert!(error.to_string().contains("tiny.gguf"), "{error} does not name the file");
    error
}

#[test]
fn a_file_that_was_cut_off_is_refused_wherever_it_ends() {
    let (folder, path) = TinyModel::new().written();
    let bytes = std::fs::read(&path).unwrap();
    let short = folder.path().join("short.gguf");
    for len in (0..bytes.len()).step_by(bytes.len() / 97).chain([3, 4, 23, bytes.len() - 64]) {
        std::fs::write(&short, &bytes[..len]).unwrap();
        match ModelFile::open(&short) {
            Err(InferenceError::NotGguf { .. }) if len < 4 => {}
            Err(InferenceError::Truncated { .. }) if len >= 4 => {}
            other => panic!("{len} bytes of {}: {:?}", bytes.len(), other.err()),
        }
    }
}

#[test]
fn damaged_headers_are_refused_or_read_but_never_crash() {
    let (folder, path) = TinyModel::new().written();
    let bytes = std::fs::read(&path).unwrap();
    let damaged = folder.path().join("damaged.gguf");
    let mut state = 1u64;
    for _ in 0..300 {
        let mut copy = bytes.clone();
        for _ in 0..4 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (state >> 33) as usize % 6000;
            copy[at] = (state >> 20) as u8;
        }
        std::fs::write(&damaged, &copy).unwrap();
        if let Ok(file) = ModelFile::open(&damaged) {
            let _ = Tokens::read(&file);
            let _ = Llama::load(&file);
        }
    }
}

#[test]
fn what_is_no_model_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str| ModelFile::open(folder.path().join(name)).err().expect("accepted");
    assert!(matches!(open("missing.gguf"), InferenceError::Open { .. }));
    std::fs::write(folder.path().join("page.html"), "<html>not found</html>").unwrap();
    assert!(matches!(open("page.html"), InferenceError::NotGguf { .. }));
    std::fs::write(folder.path().join("empty.gguf"), "").unwrap();
    assert!(matches!(open("empty.gguf"), InferenceError::NotGguf { .. }));
    assert!(matches!(open("."), InferenceError::NotGguf { .. }));
    std::fs::write(folder.path().join("old.gguf"), b"GGUF\x01\0\0\0").unwrap();
    assert!(matches!(open("old.gguf"), InferenceError::GgufVersion { version: 1, .. }));
}

#[test]
fn another_kind_of_model_is_refused_by_name() {
    let mut model = TinyModel::new();
    model.set_metadata("general.architecture", Value::String("mamba".to_owned()));
    assert!(matches!(refused(&model), InferenceError::Architecture { found, .. } if found == "mamba"));

    let mut model = TinyModel::new();
    model.set_metadata("llama.rope.scaling.type", Value::String("yarn".to_owned()));
    assert!(matches!(refused(&model), InferenceError::Unsupported { what, .. } if what.contains("yarn")));

    let mut model = TinyModel::new();
    model.set("blk.0.attn_q.bias", &Tensor::ones(96, DType::F32, &Device::Cpu).unwrap(), GgmlDType::F32);
    assert!(matches!(refused(&model), InferenceError::Unsupported { what, .. } if what.contains("attn_q.bias")));
}

#[test]
fn missing_and_misshapen_parts_are_named() {
    let mut model = TinyModel::new();
    model.tensors.retain(|(name, _)| name != "blk.1.ffn_up.weight");
    assert!(matches!(refused(&model), InferenceError::MissingTensor { tensor, .. } if tensor == "blk.1.ffn_up.weight"));

    let mut model = TinyModel::new();
    model.set("blk.1.attn_k.weight", &random((64, 96), 1), GgmlDType::F32);
    assert!(matches!(refused(&model), InferenceError::TensorShape { expected, .. } if expected == [32, 96]));

    let mut model = TinyModel::new();
    model.metadata.retain(|(key, _)| key != "llama.block_count");
    assert!(matches!(refused(&model), InferenceError::MissingMetadata { key, .. } if key == "llama.block_count"));

    for heads in [0, 5, 2048] {
        let mut model = TinyModel::new();
        model.set_metadata("llama.attention.head_count_kv", Value::U32(heads));
        assert!(matches!(refused(&model), InferenceError::BadMetadata { .. }), "{heads} key heads");
    }
}

#[test]
fn an_unknown_storage_type_is_refused_by_number() {
    let (_folder, path) = TinyModel::new().written();
    let mut bytes = std::fs::read(&path).unwrap();
    let name = b"blk.0.attn_q.weight";
    let at = bytes.windows(name.len()).position(|window| window == name).unwrap() + name.len() + 4 + 16;
    bytes[at] = 23;
    std::fs::write(&path, &bytes).unwrap();
    let error = ModelFile::open(&path).err().expect("accepted");
    assert!(matches!(&error, InferenceError::TensorType { found, .. } if found == "ggml type 23"), "{error}");
}

#[test]
fn tokenizers_that_are_not_known_are_refused_by_name() {
    let mut model = TinyModel::new();
    model.set_metadata("tokenizer.ggml.pre", Value::String("tekken".to_owned()));
    assert!(matches!(refused(&model), InferenceError::Tokenizer { problem, .. } if problem.contains("`tekken`")));

    let mut model = TinyModel::new();
    model.set_metadata("tokenizer.ggml.model", Value::String("llama".to_owned()));
    assert!(matches!(refused(&model), InferenceError::Tokenizer { problem, .. } if problem.contains("SentencePiece")));
}

#[test]
fn the_scaling_of_positions_is_read_from_the_file() {
    let scaling = |model: &TinyModel| {
        let (_folder, path) = model.written();
        LlamaConfig::read(&ModelFile::open(&path).unwrap()).unwrap().rope_scaling
    };
    let mut model = TinyModel::new();
    assert_eq!(scaling(&model), RopeScaling::None);
    model.set_metadata("llama.rope.scaling.type", Value::String("linear".to_owned()));
    model.set_metadata("llama.rope.scaling.factor", Value::F32(4.0));
    assert_eq!(scaling(&model), RopeScaling::Linear(4.0));
    let divisors: Vec<f32> = (1..=16).map(|divisor| divisor as f32).collect();
    model.set("rope_freqs.weight", &Tensor::from_slice(&divisors, 16, &Device::Cpu).unwrap(), GgmlDType::F32);
    assert_eq!(scaling(&model), RopeScaling::Divisors(divisors));
}
