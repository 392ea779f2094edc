//! A GGUF file as memory-mapped weights. Quantized matrices are used where they lie in the mapping and never copied
//! to the heap; only the small vectors (norms, RoPE divisors) are read out as f32.

use std::fs::File;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::quantized::k_quants::{
    self, BlockQ2K, BlockQ3K, BlockQ4_0, BlockQ4_1, BlockQ4K, BlockQ5_0, BlockQ5_1, BlockQ5K, BlockQ6K, BlockQ8_0,
    BlockQ8_1, BlockQ8K,
};
use candle_core::quantized::{GgmlDType, GgmlType, QStorage, QTensor, QuantizedType};
use candle_core::{CpuStorage, Device, Tensor};
use half::{bf16, f16};
use memmap2::{Advice, Mmap, UncheckedAdvice};

use super::error::{InferenceError, Result};
use super::gguf::{self, Gguf, GgufError, TensorEntry, Value};
use super::kernels::{Format, Shape};

/// An opened model file: its metadata, and its tensors on demand.
pub struct ModelFile {
    path: PathBuf,
    map: Arc<Mmap>,
    gguf: Gguf,
}

impl ModelFile {
    /// Opens and maps `path`, parses the header and checks that every tensor lies inside the file, so that a
    /// download that was cut off is refused here and not by a signal in the middle of a generation.
    ///
    /// # Errors
    /// The file cannot be opened, is no GGUF, is damaged, or is shorter than its own table says.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let open_failed = |source| InferenceError::Open { path: path.clone(), source };
        let file = File::open(&path).map_err(open_failed)?;
        let details = file.metadata().map_err(open_failed)?;
        if !details.is_file() || details.len() == 0 {
            return Err(InferenceError::NotGguf { path });
        }
        // SAFETY: a mapping is sound as long as nobody shortens or rewrites the file under it. `models pull` writes
        // beside the file and renames, which leaves the mapped file as it was; nothing else of ours writes to it.
        let map = unsafe { Mmap::map(&file) }.map_err(open_failed)?;
        // Only a few bytes here and there are read once the weights are packed; pages of 2 MB would keep all in memory.
        let _ = map.advise(Advice::NoHugePage);
        let gguf = gguf::parse(&map).map_err(|error| match error {
            GgufError::NotGguf => InferenceError::NotGguf { path: path.clone() },
            GgufError::Version(version) => InferenceError::GgufVersion { path: path.clone(), version },
            GgufError::EndsEarly(problem) => InferenceError::Truncated { path: path.clone(), problem },
            GgufError::Damaged(problem) => InferenceError::Damaged { path: path.clone(), problem },
        })?;
        let model = ModelFile { path, map: Arc::new(map), gguf };
        for (name, entry) in &model.gguf.tensors {
            model.placed(name, entry)?;
        }
        Ok(model)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the file.
    pub fn size_bytes(&self) -> u64 {
        self.map.len() as u64
    }

    pub fn metadata(&self, key: &str) -> Option<&Value> {
        self.gguf.metadata.get(key)
    }

    /// Text metadata; `None` when it is missing or of another type.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.metadata(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A non-negative whole number; `None` when the key is missing.
    ///
    /// # Errors
    /// The value is negative or no whole number.
    pub fn number(&self, key: &str) -> Result<Option<usize>> {
        let number = match self.metadata(key) {
            None => return Ok(None),
            Some(Value::Unsigned(value)) => usize::try_from(*value).ok(),
            Some(Value::Signed(value)) => usize::try_from(*value).ok(),
            Some(_) => None,
        };
        number.map(Some).ok_or_else(|| self.bad_metadata(key, "a whole number is needed"))
    }

    /// A finite float; `None` when the key is missing.
    ///
    /// # Errors
    /// The value is not finite or no number.
    pub fn float(&self, key: &str) -> Result<Option<f64>> {
        match self.metadata(key) {
            None => Ok(None),
            Some(Value::Float(value)) if value.is_finite() => Ok(Some(*value)),
            Some(Value::Unsigned(value)) => Ok(Some(*value as f64)),
            Some(_) => Err(self.bad_metadata(key, "a finite number is needed")),
        }
    }

    pub(crate) fn missing_metadata(&self, key: &str) -> InferenceError {
        InferenceError::MissingMetadata { path: self.path.clone(), key: key.to_owned() }
    }

    pub(crate) fn bad_metadata(&self, key: &str, problem: impl Into<String>) -> InferenceError {
        InferenceError::BadMetadata { path: self.path.clone(), key: key.to_owned(), problem: problem.into() }
    }

    /// Shape of a tensor, outermost dimension first; `None` when the file has no such tensor.
    pub fn tensor_shape(&self, name: &str) -> Option<&[usize]> {
        self.gguf.tensors.get(name).map(|entry| entry.shape.as_slice())
    }

    pub fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.gguf.tensors.keys().map(String::as_str)
    }

    /// A weight matrix of shape `(rows, columns)`, read in place: row `i` holds the weights of output `i`.
    ///
    /// # Errors
    /// The tensor is missing, or of another shape.
    pub fn matrix(&self, name: &str, (rows, columns): (usize, usize)) -> Result<Arc<QTensor>> {
        let placed = self.find(name, &[rows, columns])?;
        Ok(Arc::new(QTensor::new(QStorage::Cpu(self.mapped(&placed)), (rows, columns))?))
    }

    /// Format and shape of a matrix that the kernels of this processor can multiply with; `None` for all others.
    pub(super) fn packable(&self, name: &str) -> Option<(Format, Shape)> {
        let entry = self.gguf.tensors.get(name)?;
        let format = match dtype_of(entry.type_code)? {
            GgmlDType::Q4K => Format::Q4K,
            GgmlDType::Q6K => Format::Q6K,
            GgmlDType::Q8_0 => Format::Q8_0,
            GgmlDType::Q4_0 => Format::Q4_0,
            GgmlDType::Q4_1 => Format::Q4_1,
            _ => return None,
        };
        let &[outputs, inputs] = entry.shape.as_slice() else { return None };
        format.supports(outputs, inputs).then_some((format, Shape { outputs, inputs }))
    }

    /// The bytes of a tensor as they lie in the file; empty when there is no such tensor.
    pub(super) fn blocks(&self, name: &str) -> &[u8] {
        let entry = self.gguf.tensors.get(name);
        let placed = entry.and_then(|entry| self.placed(name, entry).ok());
        placed.map_or(&[], |placed| &self.map[placed.offset..placed.offset + placed.bytes])
    }

    /// Gives the pages of a part of the file back, a tensor's or all; they are read again when somebody asks.
    pub(super) fn forget_pages(&self, bytes: &[u8]) {
        let offset = bytes.as_ptr().addr() - self.map.as_ptr().addr();
        // SAFETY: pages of a read-only file mapping that are dropped come back with the same contents.
        let dropped = unsafe { self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, offset, bytes.len()) };
        if let Err(error) = dropped {
            tracing::debug!(error = &error as &dyn std::error::Error, "pages of the model file stay in memory");
        }
    }

    /// The whole file.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// A vector of `len` values, copied out as f32.
    ///
    /// # Errors
    /// The tensor is missing, or of another shape.
    pub fn vector(&self, name: &str, len: usize) -> Result<Tensor> {
        let placed = self.find(name, &[len])?;
        let CpuStorage::F32(values) = self.mapped(&placed).dequantize(len)? else {
            unreachable!("`MappedBlocks::dequantize` makes f32");
        };
        Ok(Tensor::from_vec(values, len, &Device::Cpu)?)
    }

    fn find(&self, name: &str, expected: &[usize]) -> Result<Placed> {
        let Some(entry) = self.gguf.tensors.get(name) else {
            return Err(InferenceError::MissingTensor { path: self.path.clone(), tensor: name.to_owned() });
        };
        if entry.shape != expected {
            return Err(InferenceError::TensorShape {
                path: self.path.clone(),
                tensor: name.to_owned(),
                expected: expected.to_vec(),
                found: entry.shape.clone(),
            });
        }
        self.placed(name, entry)
    }

    /// Checks type, block size, alignment and range of a tensor.
    fn placed(&self, name: &str, entry: &TensorEntry) -> Result<Placed> {
        let dtype = dtype_of(entry.type_code).ok_or_else(|| InferenceError::TensorType {
            path: self.path.clone(),
            tensor: name.to_owned(),
            found: format!("ggml type {}", entry.type_code),
        })?;
        let damaged = |problem: String| InferenceError::Damaged { path: self.path.clone(), problem };
        let (block, block_bytes) = (dtype.block_size(), dtype.type_size());
        let row = entry.shape.last().copied().unwrap_or(0);
        let elements = entry.shape.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
        let elements = elements.ok_or_else(|| damaged(format!("the shape of `{name}` is out of range")))?;
        if elements == 0 || !row.is_multiple_of(block) {
            return Err(damaged(format!("the shape {:?} of `{name}` does not fit its type {dtype:?}", entry.shape)));
        }
        let bytes = (elements / block).checked_mul(block_bytes);
        let offset = usize::try_from(entry.offset).ok();
        let end = offset.zip(bytes).and_then(|(offset, bytes)| offset.checked_add(bytes));
        match (offset, bytes, end) {
            (Some(offset), Some(bytes), Some(end)) if end <= self.map.len() => Ok(Placed { dtype, offset, bytes }),
            (_, _, end) => Err(InferenceError::Truncated {
                path: self.path.clone(),
                problem: match end {
                    Some(end) => format!("`{name}` ends at byte {end}, the file has {}", self.map.len()),
                    None => format!("`{name}` ends beyond every file"),
                },
            }),
        }
    }

    fn mapped(&self, placed: &Placed) -> Box<dyn QuantizedType> {
        match placed.dtype {
            GgmlDType::F32 => self.mapped_as::<f32>(placed),
            GgmlDType::F16 => self.mapped_as::<f16>(placed),
            GgmlDType::BF16 => self.mapped_as::<bf16>(placed),
            GgmlDType::Q4_0 => self.mapped_as::<BlockQ4_0>(placed),
            GgmlDType::Q4_1 => self.mapped_as::<BlockQ4_1>(placed),
            GgmlDType::Q5_0 => self.mapped_as::<BlockQ5_0>(placed),
            GgmlDType::Q5_1 => self.mapped_as::<BlockQ5_1>(placed),
            GgmlDType::Q8_0 => self.mapped_as::<BlockQ8_0>(placed),
            GgmlDType::Q8_1 => self.mapped_as::<BlockQ8_1>(placed),
            GgmlDType::Q2K => self.mapped_as::<BlockQ2K>(placed),
            GgmlDType::Q3K => self.mapped_as::<BlockQ3K>(placed),
            GgmlDType::Q4K => self.mapped_as::<BlockQ4K>(placed),
            GgmlDType::Q5K => self.mapped_as::<BlockQ5K>(placed),
            GgmlDType::Q6K => self.mapped_as::<BlockQ6K>(placed),
            GgmlDType::Q8K => self.mapped_as::<BlockQ8K>(placed),
        }
    }

    fn mapped_as<T: GgmlType + 'static>(&self, placed: &Placed) -> Box<dyn QuantizedType> {
        Box::new(MappedBlocks::<T>::new(self.map.clone(), placed.offset, placed.bytes))
    }
}

/// Where a tensor lies; made by [`ModelFile::placed`] alone, which checks the range.
struct Placed {
    dtype: GgmlDType,
    offset: usize,
    bytes: usize,
}

/// ggml's type numbers, as far as candle computes with them (`enum ggml_type` in ggml.h).
fn dtype_of(code: u32) -> Option<GgmlDType> {
    Some(match code {
        0 => GgmlDType::F32,
        1 => GgmlDType::F16,
        2 => GgmlDType::Q4_0,
        3 => GgmlDType::Q4_1,
        6 => GgmlDType::Q5_0,
        7 => GgmlDType::Q5_1,
        8 => GgmlDType::Q8_0,
        9 => GgmlDType::Q8_1,
        10 => GgmlDType::Q2K,
        11 => GgmlDType::Q3K,
        12 => GgmlDType::Q4K,
        13 => GgmlDType::Q5K,
        14 => GgmlDType::Q6K,
        15 => GgmlDType::Q8K,
        30 => GgmlDType::BF16,
        _ => return None,
    })
}

/// Blocks of a quantized tensor inside a mapped file, in the place of the `Vec<T>` that candle would copy them into.
struct MappedBlocks<T> {
    map: Arc<Mmap>,
    offset: usize,
    count: usize,
    block: PhantomData<T>,
}

impl<T: GgmlType> MappedBlocks<T> {
    /// # Panics
    /// When the range leaves the mapping or is not aligned for `T`; [`ModelFile::placed`] and the alignment that the
    /// header guarantees rule out both, and the assertions keep it so.
    fn new(map: Arc<Mmap>, offset: usize, bytes: usize) -> Self {
        let range = &map[offset..offset + bytes];
        assert!(range.as_ptr().cast::<T>().is_aligned(), "a tensor at byte {offset} is not aligned for its type");
        assert!(bytes.is_multiple_of(size_of::<T>()));
        MappedBlocks { map, offset, count: bytes / size_of::<T>(), block: PhantomData }
    }

    fn blocks(&self) -> &[T] {
        let start = self.map[self.offset..].as_ptr().cast::<T>();
        // SAFETY: `new` has checked that `count` blocks lie inside the mapping, which lives as long as `self`, and
        // that they are aligned. `T` is one of the types named in `ModelFile::mapped`: plain numbers in `repr(C)`,
        // for which every bit pattern is a value. Nobody writes to a read-only mapping (see `ModelFile::open`).
        unsafe { std::slice::from_raw_parts(start, self.count) }
    }
}

impl<T: GgmlType> QuantizedType for MappedBlocks<T> {
    fn dtype(&self) -> GgmlDType {
        T::DTYPE
    }

    fn matmul_t(&self, mkn: (usize, usize, usize), lhs: &[f32], dst: &mut [f32]) -> candle_core::Result<()> {
        k_quants::matmul(mkn, lhs, self.blocks(), dst)
    }

    fn matmul_t_f16(&self, mkn: (usize, usize, usize), lhs: &[f16], dst: &mut [f16]) -> candle_core::Result<()> {
        k_quants::matmul_f16(mkn, lhs, self.blocks(), dst)
    }

    fn embedding(&self, ids: &[u32], rows: usize, hidden: usize) -> candle_core::Result<CpuStorage> {
        let row_blocks = hidden / T::BLCK_SIZE;
        let blocks = self.blocks();
        let mut out = vec![0f32; ids.len() * hidden];
        for (&id, out) in ids.iter().zip(out.chunks_exact_mut(hidden)) {
            let row = id as usize;
            if row >= rows {
                candle_core::bail!("token {row} is outside the vocabulary of {rows}");
            }
            T::to_float(&blocks[row * row_blocks..(row + 1) * row_blocks], out);
        }
        Ok(CpuStorage::F32(out))
    }

    fn dequantize(&self, elem_count: usize) -> candle_core::Result<CpuStorage> {
        let mut values = vec![0f32; elem_count];
        T::to_float(self.blocks(), &mut values);
        Ok(CpuStorage::F32(values))
    }

    fn storage_size_in_bytes(&self) -> usize {
        self.size()
    }

    fn as_ptr(&self) -> *const u8 {
        self.blocks().as_ptr().cast()
    }

    fn block_size(&self) -> usize {
        T::BLCK_SIZE
    }

    fn from_float(&mut self, _: &[f32]) {
        unreachable!("mapped weights are read-only");
    }

    fn from_float_imatrix(&mut self, _: &[f32], _: &[f32], _: usize) {
        unreachable!("mapped weights are read-only");
    }

    fn size(&self) -> usize {
        self.count * size_of::<T>()
    }
}
