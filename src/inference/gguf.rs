//! The header of a GGUF file: metadata and the table of tensors. Bytes come in, typed values go out; nothing here
//! opens files or knows models. Every length is checked against the bytes that are left before anything is reserved.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

use std::collections::HashMap;

const MAGIC: &[u8] = b"GGUF";
const DEFAULT_ALIGNMENT: u64 = 32;
/// The format itself allows no more.
const DIMENSIONS_MAX: u32 = 4;
/// Arrays of arrays are legal; a chain of them must not exhaust the stack.
const NESTING_MAX: usize = 8;

/// Why bytes are not a usable GGUF header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GgufError {
    NotGguf,
    Version(u32),
    /// The header goes on where the bytes end; the text names what was being read.
    EndsEarly(String),
    Damaged(String),
}

/// A metadata value; integers and floats of every width are widened.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    Numbers(Vec<f64>),
    /// Nested arrays: legal, and of no use to this engine.
    Other,
}

/// A tensor's entry in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorEntry {
    /// Outermost dimension first; the innermost one is contiguous.
    pub shape: Vec<usize>,
    /// ggml's number of the storage type.
    pub type_code: u32,
    /// Bytes from the start of the file.
    pub offset: u64,
}

/// A parsed header.
#[derive(Clone, Debug, Default)]
pub struct Gguf {
    pub metadata: HashMap<String, Value>,
    pub tensors: HashMap<String, TensorEntry>,
}

/// Parses the header at the start of `bytes`, which may be the whole file.
///
/// # Errors
/// [`GgufError`] for every malformed input; never panics.
pub fn parse(bytes: &[u8]) -> Result<Gguf, GgufError> {
    if bytes.len() < MAGIC.len() || &bytes[..MAGIC.len()] != MAGIC {
        return Err(GgufError::NotGguf);
    }
    let mut reader = Reader { bytes, at: MAGIC.len() };
    let version = reader.u32("the version")?;
    if !(2..=3).contains(&version) {
        return Err(GgufError::Version(version));
    }
    let tensor_count = reader.u64("the number of tensors")?;
    let metadata_count = reader.u64("the number of metadata entries")?;

    let mut metadata = HashMap::new();
    for _ in 0..metadata_count {
        let key = reader.text("a metadata key")?;
        let kind = reader.u32(&key)?;
        let value = reader.value(kind, &key, 0)?;
        metadata.insert(key, value);
    }
    let mut tensors = HashMap::new();
    for _ in 0..tensor_count {
        let (name, entry) = reader.tensor_entry()?;
        if tensors.insert(name.clone(), entry).is_some() {
            return Err(GgufError::Damaged(format!("the tensor `{name}` stands in it twice")));
        }
    }
    let alignment = match metadata.get("general.alignment") {
        None => DEFAULT_ALIGNMENT,
        Some(Value::Unsigned(alignment)) if alignment.is_power_of_two() => *alignment,
        Some(other) => return Err(GgufError::Damaged(format!("the alignment {other:?} is not a power of two"))),
    };
    let overflow = |name: &str| GgufError::Damaged(format!("the offset of `{name}` is out of range"));
    let data_start = (reader.at as u64).checked_next_multiple_of(alignment).ok_or_else(|| overflow("the tensors"))?;
    for (name, entry) in &mut tensors {
        if !entry.offset.is_multiple_of(alignment) {
            return Err(GgufError::Damaged(format!("the tensor `{name}` is not aligned to {alignment} bytes")));
        }
        entry.offset = entry.offset.checked_add(data_start).ok_or_else(|| overflow(name))?;
    }
    Ok(Gguf { metadata, tensors })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: u64, what: &str) -> Result<&'a [u8], GgufError> {
        let left = &self.bytes[self.at..];
        match usize::try_from(len) {
            Ok(len) if len <= left.len() => {
                self.at += len;
                Ok(&left[..len])
            }
            _ => Err(GgufError::EndsEarly(format!("{what} needs {len} bytes, {} are left", left.len()))),
        }
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], GgufError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64, what)?);
        Ok(array)
    }

    fn u32(&mut self, what: &str) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    fn u64(&mut self, what: &str) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// Text in GGUF is UTF-8 by decree; converters have written other bytes, which become U+FFFD.
    fn text(&mut self, what: &str) -> Result<String, GgufError> {
        let len = self.u64(what)?;
        Ok(String::from_utf8_lossy(self.take(len, what)?).into_owned())
    }

    fn value(&mut self, kind: u32, key: &str, depth: usize) -> Result<Value, GgufError> {
        Ok(match kind {
            0 => Value::Unsigned(u8::from_le_bytes(self.array(key)?).into()),
            1 => Value::Signed(i8::from_le_bytes(self.array(key)?).into()),
            2 => Value::Unsigned(u16::from_le_bytes(self.array(key)?).into()),
            3 => Value::Signed(i16::from_le_bytes(self.array(key)?).into()),
            4 => Value::Unsigned(u32::from_le_bytes(self.array(key)?).into()),
            5 => Value::Signed(i32::from_le_bytes(self.array(key)?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array(key)?).into()),
            7 => Value::Bool(self.array::<1>(key)? != [0]),
            8 => Value::Text(self.text(key)?),
            9 => self.array_value(key, depth)?,
            10 => Value::Unsigned(u64::from_le_bytes(self.array(key)?)),
            11 => Value::Signed(i64::from_le_bytes(self.array(key)?)),
            12 => Value::Float(f64::from_le_bytes(self.array(key)?)),
            unknown => return Err(GgufError::Damaged(format!("`{key}` has the unknown value type {unknown}"))),
        })
    }

    fn array_value(&mut self, key: &str, depth: usize) -> Result<Value, GgufError> {
        if depth == NESTING_MAX {
            return Err(GgufError::Damaged(format!("the arrays of `{key}` are nested too deeply")));
        }
        let kind = self.u32(key)?;
        let count = self.u64(key)?;
        let smallest = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            9 => 12,
            _ => 8,
        };
        let left = (self.bytes.len() - self.at) as u64;
        if count.saturating_mul(smallest) > left {
            return Err(GgufError::EndsEarly(format!("`{key}` has {count} elements, {left} bytes are left")));
        }
        match kind {
            8 => (0..count).map(|_| self.text(key)).collect::<Result<_, _>>().map(Value::Texts),
            9 => {
                for _ in 0..count {
                    self.array_value(key, depth + 1)?;
                }
                Ok(Value::Other)
            }
            _ => {
                let number = |value: Value| match value {
                    Value::Unsigned(v) => v as f64,
                    Value::Signed(v) => v as f64,
                    Value::Float(v) => v,
                    Value::Bool(v) => f64::from(u8::from(v)),
                    _ => f64::NAN,
                };
                let numbers = (0..count).map(|_| self.value(kind, key, depth + 1).map(number));
                numbers.collect::<Result<_, _>>().map(Value::Numbers)
            }
        }
    }

    fn tensor_entry(&mut self) -> Result<(String, TensorEntry), GgufError> {
        let name = self.text("a tensor name")?;
        let rank = self.u32(&name)?;
        if rank > DIMENSIONS_MAX {
            return Err(GgufError::Damaged(format!("the tensor `{name}` has {rank} dimensions")));
        }
        let mut shape = Vec::with_capacity(rank as usize);
        for _ in 0..rank {
            let dim = self.u64(&name)?;
            shape.push(usize::try_from(dim).map_err(|_| GgufError::Damaged(format!("`{name}` is too large")))?);
        }
        shape.reverse();
        let type_code = self.u32(&name)?;
        let offset = self.u64(&name)?;
        Ok((name, TensorEntry { shape, type_code, offset }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(metadata: &[(&str, u32, &[u8])]) -> Vec<u8> {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(0u64.to_le_bytes());
        bytes.extend((metadata.len() as u64).to_le_bytes());
        for (key, kind, value) in metadata {
            bytes.extend((key.len() as u64).to_le_bytes());
            bytes.extend(key.as_bytes());
            bytes.extend(kind.to_le_bytes());
            bytes.extend(*value);
        }
        bytes
    }

    #[test]
    fn values_are_widened() {
        let gguf = parse(&header(&[("a", 4, &7u32.to_le_bytes()), ("b", 6, &0.5f32.to_le_bytes())])).unwrap();
        assert_eq!(gguf.metadata["a"], Value::Unsigned(7));
        assert_eq!(gguf.metadata["b"], Value::Float(0.5));
    }

    #[test]
    fn impossible_lengths_are_refused_without_reserving_memory() {
        let mut array = 8u32.to_le_bytes().to_vec();
        array.extend(u64::MAX.to_le_bytes());
        assert!(matches!(parse(&header(&[("a", 9, &array)])), Err(GgufError::EndsEarly(_))));
        let nested = [9u32.to_le_bytes().as_slice(), &1u64.to_le_bytes()].concat().repeat(64);
        assert!(matches!(parse(&header(&[("a", 9, &nested)])), Err(GgufError::Damaged(_))));
    }

    #[test]
    fn an_alignment_of_zero_is_refused() {
        let bytes = header(&[("general.alignment", 4, &0u32.to_le_bytes())]);
        assert!(matches!(parse(&bytes), Err(GgufError::Damaged(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(tail in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = parse(&tail);
            let mut bytes = b"GGUF\x03\0\0\0".to_vec();
            bytes.extend(tail);
            let _ = parse(&bytes);
        }
    }
}
