//! ONNX files field by field (onnx.proto of ONNX 1.12 and later): what is not rewritten is copied as it is.

use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};

/// Why a file cannot be rewritten.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    #[error("it is damaged")]
    Damaged,
    #[error("it uses operators of set {0}, and set 11 is needed")]
    OldOperators(u64),
    #[error("it holds no matrices of 32-bit floats")]
    NothingToQuantize,
}

impl From<prost::DecodeError> for OnnxError {
    fn from(_: prost::DecodeError) -> Self {
        OnnxError::Damaged
    }
}

/// A field of a message.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub number: u32,
    wire: WireType,
    /// The value as it is encoded, without the length of a string, message or packed list.
    pub bytes: &'a [u8],
}

impl<'a> Field<'a> {
    pub fn varint(&self) -> Result<u64, OnnxError> {
        Ok(decode_varint(&mut &self.bytes[..])?)
    }

    pub fn text(&self) -> &'a str {
        std::str::from_utf8(self.bytes).unwrap_or_default()
    }

    /// The values of a repeated integer, packed or one of them.
    pub fn varints(&self) -> Result<Vec<u64>, OnnxError> {
        let mut rest = self.bytes;
        let mut values = Vec::new();
        while !rest.is_empty() {
            values.push(decode_varint(&mut rest)?);
        }
        Ok(values)
    }
}

/// The fields of a message in their order.
pub(super) fn fields(message: &[u8]) -> Result<Vec<Field<'_>>, OnnxError> {
    let mut rest = message;
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let (number, wire) = decode_key(&mut rest)?;
        let length = match wire {
            WireType::LengthDelimited => usize::try_from(decode_varint(&mut rest)?).unwrap_or(usize::MAX),
            WireType::SixtyFourBit => 8,
            WireType::ThirtyTwoBit => 4,
            WireType::Varint => {
                let mut after = rest;
                decode_varint(&mut after)?;
                rest.len() - after.len()
            }
            WireType::StartGroup | WireType::EndGroup => usize::MAX,
        };
        let (bytes, after) = rest.split_at_checked(length).ok_or(OnnxError::Damaged)?;
        fields.push(Field { number, wire, bytes });
        rest = after;
    }
    Ok(fields)
}

/// A message that is being written.
#[derive(Default)]
pub(super) struct Message(pub Vec<u8>);

impl Message {
    pub fn copy(&mut self, field: &Field<'_>) {
        encode_key(field.number, field.wire, &mut self.0);
        if field.wire == WireType::LengthDelimited {
            encode_varint(field.bytes.len() as u64, &mut self.0);
        }
        self.0.extend_from_slice(field.bytes);
    }

    pub fn bytes(&mut self, number: u32, bytes: &[u8]) {
        encode_key(number, WireType::LengthDelimited, &mut self.0);
        encode_varint(bytes.len() as u64, &mut self.0);
        self.0.extend_from_slice(bytes);
    }

    pub fn varint(&mut self, number: u32, value: u64) {
        encode_key(number, WireType::Varint, &mut self.0);
        encode_varint(value, &mut self.0);
    }
}

/// Numbers of the fields that are read or written.
pub(super) mod number {
    pub const MODEL_DOC: u32 = 6;
    pub const MODEL_GRAPH: u32 = 7;
    pub const MODEL_OPERATORS: u32 = 8;
    pub const OPERATORS_DOMAIN: u32 = 1;
    pub const OPERATORS_VERSION: u32 = 2;
    pub const GRAPH_NODE: u32 = 1;
    pub const GRAPH_WEIGHTS: u32 = 5;
    pub const GRAPH_INPUT: u32 = 11;
    pub const INPUT_NAME: u32 = 1;
    pub const NODE_INPUT: u32 = 1;
    pub const NODE_OUTPUT: u32 = 2;
    pub const NODE_OPERATOR: u32 = 4;
    pub const NODE_ATTRIBUTE: u32 = 5;
    pub const NODE_DOMAIN: u32 = 7;
    pub const ATTRIBUTE_NAME: u32 = 1;
    pub const ATTRIBUTE_INTEGER: u32 = 3;
    pub const ATTRIBUTE_TYPE: u32 = 20;
    pub const TENSOR_DIMS: u32 = 1;
    pub const TENSOR_TYPE: u32 = 2;
    pub const TENSOR_FLOATS: u32 = 4;
    pub const TENSOR_NAME: u32 = 8;
    pub const TENSOR_RAW: u32 = 9;
}
