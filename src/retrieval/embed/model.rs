//! The embedding model's files and the library that runs them.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;
use std::time::UNIX_EPOCH;

use fastembed::{InitOptionsUserDefined, Pooling, TextEmbedding, TokenizerFiles, UserDefinedEmbeddingModel};
use memmap2::Mmap;
use ort::environment::Environment;
use tokenizers::Tokenizer;

use super::int8::{self, Reach};
use super::{EmbedderOptions, EmbeddingModel, Precision, QUERY_PREFIX, embed};
use crate::retrieval::RetrievalError;

/// Tokens that the model reads of a text.
pub(in crate::retrieval) const TOKENS_MAX: usize = 512;
const TOKENIZER: &str = "tokenizer.json";
const WEIGHTS: &str = "model.onnx";
const INT8_WEIGHTS: &str = "model.int8.onnx";
/// Of the way in which weights are quantized.
const INT8_VERSION: u32 = 1;

/// A model that is ready to embed.
pub(super) struct Loaded {
    pub model: EmbeddingModel,
    pub session: TextEmbedding,
}

/// ONNX Runtime is loaded once for the whole process.
pub(in crate::retrieval) fn load_runtime(path: &Path) -> Result<Environment, RetrievalError> {
    static LOADED: OnceLock<Result<Environment, String>> = OnceLock::new();
    let load = || {
        // Nothing leaves this machine; what is reported while it starts is turned off in `main`.
        let builder = ort::init_from(path).map_err(|e| e.to_string())?.with_telemetry(false);
        builder.build().map_err(|e| e.to_string())
    };
    LOADED.get_or_init(load).clone().map_err(|reason| RetrievalError::Runtime { path: path.to_owned(), reason })
}

pub(super) fn load_model(options: &EmbedderOptions, environment: Environment) -> Result<Loaded, RetrievalError> {
    let unfit = |reason: String| RetrievalError::Model { path: options.model.clone(), reason };
    let weights = weights(&options.model, options.precision).map_err(unfit)?;
    let files = tokenizer_files(&options.model).map_err(unfit)?;
    // Where and when the weights were made does not matter to the vectors.
    let content = match options.precision {
        Precision::F32 => &weights[..],
        Precision::Int8 => int8::content(&weights),
    };
    let hash = blake3::Hasher::new().update(content).update(&files.tokenizer_file).finalize().to_hex().to_string();
    let model = UserDefinedEmbeddingModel::new(weights, files).with_pooling(Pooling::Mean);
    let mut init = InitOptionsUserDefined::new().with_environment(environment).with_max_length(TOKENS_MAX);
    if let Some(threads) = options.threads {
        init = init.with_intra_threads(threads);
    }
    let mut session = TextEmbedding::try_new_from_user_defined(model, init).map_err(|e| unfit(e.to_string()))?;
    // The first run allocates the arenas and tells the width.
    let dims = embed(&mut session, &[QUERY_PREFIX.to_owned()])?.first().map_or(0, Vec::len);
    let name = options.model.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    Ok(Loaded { model: EmbeddingModel { name, hash, dims }, session })
}

/// The weights of the ONNX model in a folder, or why there are none.
pub(in crate::retrieval) fn weights(folder: &Path, precision: Precision) -> Result<Vec<u8>, String> {
    match precision {
        Precision::F32 => read(folder, WEIGHTS),
        Precision::Int8 => int8_weights(folder),
    }
}

/// What fastembed makes a tokenizer of.
pub(in crate::retrieval) fn tokenizer_files(folder: &Path) -> Result<TokenizerFiles, String> {
    Ok(TokenizerFiles {
        tokenizer_file: read(folder, TOKENIZER)?,
        config_file: read(folder, "config.json")?,
        special_tokens_map_file: read(folder, "special_tokens_map.json")?,
        tokenizer_config_file: read(folder, "tokenizer_config.json")?,
    })
}

fn read(folder: &Path, name: &str) -> Result<Vec<u8>, String> {
    std::fs::read(folder.join(name)).map_err(|e| format!("cannot read {name}: {e}"))
}

/// A tokenizer of our own, that cuts nothing; a second of work.
pub(super) fn load_tokenizer(folder: &Path) -> tokenizers::Result<Tokenizer> {
    let mut tokenizer = Tokenizer::from_file(folder.join(TOKENIZER))?;
    tokenizer.with_truncation(None)?.with_padding(None);
    Ok(tokenizer)
}

/// The weights in 8 bits: those beside the model's own if they were made from them, else made now and kept there. A
/// model that cannot be quantized is used as it is.
fn int8_weights(folder: &Path) -> Result<Vec<u8>, String> {
    let path = folder.join(WEIGHTS);
    let told = |e: std::io::Error| format!("cannot read {WEIGHTS}: {e}");
    let file = File::open(&path).map_err(told)?;
    let meta = file.metadata().map_err(told)?;
    let changed = meta.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let reach = Reach::of_this_processor();
    let origin = format!("cervella int8 {INT8_VERSION} {reach:?} of {} {}", meta.len(), changed.as_nanos());
    let kept = folder.join(INT8_WEIGHTS);
    if let Ok(kept) = std::fs::read(&kept)
        && int8::is_whole(&kept, &origin)
    {
        return Ok(kept);
    }
    // SAFETY: read-only, for the length of this function; models are replaced by rename and not written in place.
    let weights = unsafe { Mmap::map(&file) }.map_err(told)?;
    match int8::quantize(&weights, reach, &origin) {
        Ok(int8) => {
            if let Err(error) = keep(&kept, &int8) {
                tracing::info!(
                    "the model in {} is put into 8 bits at every start: cannot write {INT8_WEIGHTS}: {error}",
                    folder.display()
                );
            }
            Ok(int8)
        }
        Err(reason) => {
            tracing::warn!("the model in {} stays in 32 bits: {reason}", folder.display());
            Ok(weights.to_vec())
        }
    }
}

fn keep(path: &Path, weights: &[u8]) -> std::io::Result<()> {
    let partial = path.with_extension(format!("partial-{}", std::process::id()));
    let write = || {
        let mut file = File::create(&partial)?;
        file.write_all(weights)?;
        file.sync_all()?;
        std::fs::rename(&partial, path)
    };
    write().inspect_err(|_| drop(std::fs::remove_file(&partial)))
}
