//! Keys and values of a run of positions by themselves: a passage that was read once and is put into later prompts wherever
//! it stands in them. Keys are held as they were before RoPE, so that they can be turned to any position.
//!
//! Everything of one layer and one key head lies together, a row of keys and a row of values for each position. In 8 and 4 bits every
//! [`GROUP`] channels of a row share a scale, an f16 that stands before them.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use candle_core::utils::barrier_pool;
use half::f16;

use super::store::{KvStore, LaneMut};
use super::{KvCache, KvShape};
use crate::inference::elementwise::rotate;
use crate::inference::rope::Rope;
#[cfg(test)]
use crate::inference::rope::RopeScaling;

/// Channels that share a scale.
const GROUP: usize = 32;

/// What the numbers of a piece are held in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PieceFormat {
    F16,
    #[default]
    Int8,
    Int4,
}

impl PieceFormat {
    /// Bytes of one row of a head.
    fn row_bytes(self, head_size: usize) -> usize {
        let scales = head_size.div_ceil(GROUP) * 2;
        match self {
            PieceFormat::F16 => head_size * 2,
            PieceFormat::Int8 => scales + head_size,
            PieceFormat::Int4 => scales + head_size.div_ceil(2),
        }
    }

    fn write(self, row: &[f32], out: &mut Vec<u8>) {
        if self == PieceFormat::F16 {
            return out.extend(row.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()));
        }
        for group in row.chunks(GROUP) {
            // The value that is farthest from zero gets the number that is: it loses nothing.
            let farthest = group.iter().fold(0f32, |far, value| if value.abs() > far.abs() { *value } else { far });
            let steps = if self == PieceFormat::Int8 { 127.0 } else { -8.0 };
            let scale = f16::from_f32(farthest / steps);
            out.extend(scale.to_le_bytes());
            let inverse = if scale == f16::ZERO { 0.0 } else { 1.0 / scale.to_f32() };
            let number = |value: f32, low: f32, high: f32| (value * inverse).round().clamp(low, high) as i8;
            match self {
                PieceFormat::Int8 => out.extend(group.iter().map(|value| number(*value, -127.0, 127.0) as u8)),
                _ => out.extend(group.chunks(2).map(|pair| {
                    let nibble = |value: f32| (number(value, -8.0, 7.0) + 8) as u8;
                    nibble(pair[0]) | pair.get(1).map_or(0, |value| nibble(*value) << 4)
                })),
            }
        }
    }

    fn read(self, mut bytes: &[u8], row: &mut [f32]) {
        if self == PieceFormat::F16 {
            let values = bytes.chunks_exact(2).map(|pair| f16::from_le_bytes([pair[0], pair[1]]).to_f32());
            return row.iter_mut().zip(values).for_each(|(to, value)| *to = value);
        }
        for group in row.chunks_mut(GROUP) {
            let scale = f16::from_le_bytes([bytes[0], bytes[1]]).to_f32();
            let numbers = if self == PieceFormat::Int8 { group.len() } else { group.len().div_ceil(2) };
            let (own, rest) = bytes[2..].split_at(numbers);
            bytes = rest;
            if self == PieceFormat::Int8 {
                group.iter_mut().zip(own).for_each(|(to, byte)| *to = f32::from(*byte as i8) * scale);
            } else {
                for (pair, byte) in group.chunks_mut(2).zip(own) {
                    for (to, nibble) in pair.iter_mut().zip([byte & 15, byte >> 4]) {
                        *to = (f32::from(nibble) - 8.0) * scale;
                    }
                }
            }
        }
    }
}

/// What a piece holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceShape {
    pub layers: usize,
    pub kv_heads: usize,
    pub head_size: usize,
    pub positions: usize,
    pub format: PieceFormat,
}

impl PieceShape {
    pub(in crate::inference) fn of(model: &KvShape, positions: usize, format: PieceFormat) -> Self {
        let KvShape { layers, kv_heads, head_size, .. } = *model;
        PieceShape { layers, kv_heads, head_size, positions, format }
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.layers * self.kv_heads * self.lane_bytes()
    }

    fn lane_bytes(&self) -> usize {
        self.positions * 2 * self.format.row_bytes(self.head_size)
    }
}

/// Keys before RoPE and values of consecutive positions, in all layers.
#[derive(Debug)]
pub struct Piece {
    shape: PieceShape,
    bytes: Vec<u8>,
}

impl Piece {
    /// A piece as it lay; `None`: it has other bytes than that.
    pub(in crate::inference) fn from_bytes(shape: PieceShape, bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() == shape.bytes()).then_some(Piece { shape, bytes })
    }

    fn read(store: &KvStore, range: Range<usize>, rope: &Rope, format: PieceFormat) -> Self {
        let shape = PieceShape::of(store.shape(), range.len(), format);
        let angles = Angles::new(rope, range.clone(), shape.head_size).inverse();
        let mut bytes = Vec::with_capacity(shape.bytes());
        let (mut key, mut value) = (vec![0.0; shape.head_size], vec![0.0; shape.head_size]);
        for layer in 0..shape.layers {
            for kv_head in 0..shape.kv_heads {
                for (row, position) in range.clone().enumerate() {
                    store.read_row(layer, kv_head, position, &mut key, &mut value);
                    let (cos, sin) = angles.of(row);
                    rotate(&mut key, cos, sin);
                    format.write(&key, &mut bytes);
                    format.write(&value, &mut bytes);
                }
            }
        }
        Piece { shape, bytes }
    }

    /// Of positions that stand where they are.
    #[cfg(test)]
    pub(in crate::inference) fn of_store(store: &KvStore, positions: usize, format: PieceFormat) -> Self {
        let rope = Rope::new(10_000.0, store.shape().head_size, &RopeScaling::None);
        Piece::read(store, 0..positions, &rope, format)
    }

    pub fn shape(&self) -> &PieceShape {
        &self.shape
    }

    /// Keys and values as they lie.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How far each position is from the same one of another piece of the same shape, in some layers: squared differences
    /// of keys and values, summed.
    ///
    /// # Panics
    /// The shapes differ, or there are no such layers.
    pub fn distances(&self, other: &Piece, layers: Range<usize>) -> Vec<f32> {
        let PieceShape { kv_heads, head_size, positions, format, .. } = self.shape;
        assert_eq!(self.shape, other.shape, "pieces of the same shape");
        let row_bytes = format.row_bytes(head_size);
        let mut distances = vec![0.0; positions];
        let (mut own, mut others) = (vec![0.0; head_size], vec![0.0; head_size]);
        for lane in layers.start * kv_heads..layers.end * kv_heads {
            let rows = self.lane(lane).chunks_exact(row_bytes).zip(other.lane(lane).chunks_exact(row_bytes));
            for (row, (left, right)) in rows.enumerate() {
                format.read(left, &mut own);
                format.read(right, &mut others);
                // A row of keys and one of values for each position.
                distances[row / 2] += own.iter().zip(&others).map(|(own, other)| (own - other).powi(2)).sum::<f32>();
            }
        }
        distances
    }

    fn lane(&self, index: usize) -> &[u8] {
        let lane_bytes = self.shape.lane_bytes();
        &self.bytes[index * lane_bytes..(index + 1) * lane_bytes]
    }

    /// Writes the rows of one lane to the positions from `start` on, turned to them.
    fn write_lane(&self, index: usize, lane: &mut LaneMut<'_>, start: usize, angles: &Angles) {
        let PieceShape { head_size, format, .. } = self.shape;
        let (mut key, mut value) = (vec![0.0; head_size], vec![0.0; head_size]);
        let rows = self.lane(index).chunks_exact(2 * format.row_bytes(head_size));
        for (row, bytes) in rows.enumerate() {
            let (of_key, of_value) = bytes.split_at(format.row_bytes(head_size));
            format.read(of_key, &mut key);
            format.read(of_value, &mut value);
            let (cos, sin) = angles.of(row);
            rotate(&mut key, cos, sin);
            lane.write_row(start + row, &key, &value);
        }
    }
}

/// Cosines and sines of consecutive positions.
struct Angles {
    cos: Vec<f32>,
    sin: Vec<f32>,
    half: usize,
}

impl Angles {
    fn new(rope: &Rope, positions: Range<usize>, head_size: usize) -> Self {
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        rope.angles(positions, &mut cos, &mut sin);
        Angles { cos, sin, half: head_size / 2 }
    }

    fn of(&self, row: usize) -> (&[f32], &[f32]) {
        let range = row * self.half..(row + 1) * self.half;
        (&self.cos[range.clone()], &self.sin[range])
    }

    /// Turns back.
    fn inverse(mut self) -> Self {
        self.sin.iter_mut().for_each(|sin| *sin = -*sin);
        self
    }
}

impl KvCache {
    /// The positions of `range` by themselves.
    ///
    /// # Panics
    /// They are not filled.
    pub fn piece(&self, range: Range<usize>, rope: &Rope, format: PieceFormat) -> Piece {
        assert!(range.end <= self.len(), "the positions are filled");
        Piece::read(self.store(), range, rope, format)
    }

    /// Puts a piece behind what is held, as if `tokens` had been read there by themselves.
    ///
    /// # Panics
    /// The piece is of another model or of so many other tokens, or there is no room.
    pub fn place(&mut self, tokens: &[u32], piece: &Piece, rope: &Rope) {
        let model = *self.store().shape();
        assert_eq!(*piece.shape(), PieceShape::of(&model, tokens.len(), piece.shape.format), "a piece of this model");
        assert!(self.len() + tokens.len() <= self.capacity(), "there is room");
        let start = self.len();
        let angles = Angles::new(rope, start..start + tokens.len(), model.head_size);
        let lanes: Vec<_> = self.store_mut().all_lanes_mut().map(Mutex::new).collect();
        barrier_pool().execute_chunked(lanes.len(), |range| {
            for index in range {
                // No two calls get the same lane: the lock only hands the borrow over to the thread.
                let mut lane = lanes[index].lock().unwrap_or_else(PoisonError::into_inner);
                piece.write_lane(index, &mut lane, start, &angles);
            }
        });
        drop(lanes);
        self.leave(tokens);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_positions_and_layers_that_differ() {
        let shape = PieceShape { layers: 2, kv_heads: 2, head_size: 4, positions: 3, format: PieceFormat::F16 };
        let piece = |numbers: &[f32]| {
            let bytes = numbers.iter().flat_map(|number| f16::from_f32(*number).to_le_bytes()).collect();
            Piece::from_bytes(shape, bytes).unwrap()
        };
        let mut numbers = vec![1.0; shape.bytes() / 2];
        let one = piece(&numbers);
        // In the second layer, of the second head, the value of the last position.
        let last = numbers.len() - 1;
        numbers[last] = 4.0;
        let other = piece(&numbers);
        assert_eq!(one.distances(&other, 0..1), [0.0; 3]);
        assert_eq!(one.distances(&other, 1..2), [0.0, 0.0, 9.0]);
        assert_eq!(one.distances(&other, 0..2), [0.0, 0.0, 9.0]);
    }

    #[test]
    fn rows_come_back_as_exactly_as_their_format_allows() {
        let row: Vec<f32> = (0..80).map(|n| ((n * 37 % 23) as f32 - 11.0) / 3.0).collect();
        for (format, off_max) in [(PieceFormat::F16, 0.002), (PieceFormat::Int8, 0.017), (PieceFormat::Int4, 0.46)] {
            let (mut bytes, mut back) = (Vec::new(), vec![0.0; row.len()]);
            format.write(&row, &mut bytes);
            assert_eq!(bytes.len(), format.row_bytes(row.len()));
            format.read(&bytes, &mut back);
            let off = row.iter().zip(&back).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off <= off_max, "{format:?} is off by {off}");
            let mut zeros = Vec::new();
            format.write(&[0.0; 80], &mut zeros);
            format.read(&zeros, &mut back);
            assert!(back.iter().all(|value| *value == 0.0));
        }
    }
}
