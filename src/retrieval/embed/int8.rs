//! The embedding model in 8 bits: matrices and word embeddings become integers, and what they are multiplied with is
//! rounded to integers as it comes (dynamic quantization). The vectors stay within a cosine of 0.99 of the model's own, which
//! `cervella bench embed --compare` measures.

use std::collections::{HashMap, HashSet};

use super::onnx::{Field, Message, OnnxError, fields, number};

const FLOAT: u64 = 1;
const INT8: u64 = 3;
/// Type of an attribute that is an integer.
const ATTRIBUTE_IS_INTEGER: u64 = 2;
/// Operators up to here are those of the model's own set.
const OPERATORS_MIN: u64 = 11;
/// Smaller tables of embeddings (types, positions) are not worth it.
const TABLE_VALUES_MIN: usize = 1 << 20;

/// The greatest integer that a weight becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// 127.
    Full,
    /// 63: without VNNI, products of 8-bit numbers are added in pairs in 16 bits, which full weights would overflow.
    Half,
}

impl Reach {
    pub fn of_this_processor() -> Self {
        #[cfg(target_arch = "x86_64")]
        if !(std::arch::is_x86_feature_detected!("avx512vnni") || std::arch::is_x86_feature_detected!("avxvnni")) {
            return Reach::Half;
        }
        Reach::Full
    }

    fn greatest(self) -> f32 {
        match self {
            Reach::Full => 127.0,
            Reach::Half => 63.0,
        }
    }
}

/// Rewrites an ONNX file of 32-bit floats; `origin` goes into the file, with a checksum.
///
/// # Errors
/// The file is damaged, too old, or holds nothing that can be quantized.
pub(super) fn quantize(model: &[u8], reach: Reach, origin: &str) -> Result<Vec<u8>, OnnxError> {
    let model = fields(model)?;
    for operators in model.iter().filter(|field| field.number == number::MODEL_OPERATORS) {
        let operators = fields(operators.bytes)?;
        let is_own = operators.iter().all(|f| f.number != number::OPERATORS_DOMAIN || f.bytes.is_empty());
        let version =
            operators.iter().find(|f| f.number == number::OPERATORS_VERSION).map(Field::varint).transpose()?;
        if let Some(version) = version.filter(|&version| is_own && version < OPERATORS_MIN) {
            return Err(OnnxError::OldOperators(version));
        }
    }
    let mut out = Message::default();
    for field in &model {
        match field.number {
            number::MODEL_DOC => {}
            number::MODEL_GRAPH => {
                let graph = Graph::read(field.bytes)?.quantized(reach)?;
                out.bytes(number::MODEL_DOC, doc(origin, &graph).as_bytes());
                out.bytes(number::MODEL_GRAPH, &graph);
            }
            _ => out.copy(field),
        }
    }
    Ok(out.0)
}

/// Whether a file is what [`quantize`] made of this origin, whole.
pub(super) fn is_whole(model: &[u8], origin: &str) -> bool {
    let Ok(fields) = fields(model) else { return false };
    let find = |number: u32| fields.iter().find(|field| field.number == number);
    let (Some(noted), Some(graph)) = (find(number::MODEL_DOC), find(number::MODEL_GRAPH)) else { return false };
    noted.text() == doc(origin, graph.bytes)
}

/// The file without what was noted in it.
pub(super) fn content(model: &[u8]) -> &[u8] {
    let graph = fields(model).ok().and_then(|fields| fields.into_iter().find(|f| f.number == number::MODEL_GRAPH));
    graph.map_or(model, |graph| graph.bytes)
}

fn doc(origin: &str, graph: &[u8]) -> String {
    format!("{origin}; {}", blake3::hash(graph).to_hex())
}

struct Graph<'a> {
    fields: Vec<Field<'a>>,
    /// Matrices of floats by their name.
    matrices: HashMap<&'a str, Matrix<'a>>,
}

struct Matrix<'a> {
    rows: usize,
    columns: usize,
    /// Little-endian f32, row after row.
    values: &'a [u8],
}

/// What a matrix is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// The right side of a product: one scale for each column.
    Product,
    /// A table of which rows are taken: one scale for each row.
    Lookup,
}

struct Node<'a> {
    operator: &'a str,
    inputs: Vec<&'a str>,
    output: &'a str,
    /// Gathers columns or is of another set of operators: not for us.
    is_special: bool,
}

impl<'a> Graph<'a> {
    fn read(graph: &'a [u8]) -> Result<Self, OnnxError> {
        let fields = fields(graph)?;
        let mut matrices = HashMap::new();
        for tensor in fields.iter().filter(|field| field.number == number::GRAPH_WEIGHTS) {
            matrices.extend(Matrix::read(tensor.bytes)?);
        }
        // A weight that can be handed in from outside stays as it is.
        for input in fields.iter().filter(|field| field.number == number::GRAPH_INPUT) {
            let name = self::fields(input.bytes)?.into_iter().find(|field| field.number == number::INPUT_NAME);
            name.map(|name| matrices.remove(name.text()));
        }
        Ok(Graph { fields, matrices })
    }

    fn quantized(&self, reach: Reach) -> Result<Vec<u8>, OnnxError> {
        let nodes: Vec<Node> = self
            .fields
            .iter()
            .filter(|field| field.number == number::GRAPH_NODE)
            .map(|field| Node::read(field.bytes))
            .collect::<Result<_, _>>()?;
        let mut replaced: HashMap<&str, Use> = HashMap::new();
        for (name, matrix) in &self.matrices {
            let mut uses = nodes.iter().filter(|node| node.inputs.contains(name)).map(|node| node.use_of(name, matrix));
            if let Some(Some(first)) = uses.next()
                && uses.all(|other| other == Some(first))
            {
                replaced.insert(name, first);
            }
        }
        if replaced.is_empty() {
            return Err(OnnxError::NothingToQuantize);
        }
        let mut out = Writer { graph: Message::default(), rounded: HashSet::new() };
        let mut nodes = nodes.iter();
        for field in &self.fields {
            let node = (field.number == number::GRAPH_NODE).then(|| nodes.next()).flatten();
            let tensor = (field.number == number::GRAPH_WEIGHTS).then(|| tensor_name(field.bytes)).transpose()?;
            match (node, tensor) {
                (Some(node), _) if replaced.get(node.input(1)) == Some(&Use::Product) => out.product(node),
                (Some(node), _) if replaced.get(node.input(0)) == Some(&Use::Lookup) => out.lookup(node),
                (_, Some(name)) if replaced.contains_key(name) => {
                    out.weights(name, &self.matrices[name], replaced[name], reach);
                }
                _ => out.graph.copy(field),
            }
        }
        Ok(out.graph.0)
    }
}

fn tensor_name(tensor: &[u8]) -> Result<&str, OnnxError> {
    let name = fields(tensor)?.into_iter().find(|field| field.number == number::TENSOR_NAME);
    Ok(name.map_or("", |name| name.text()))
}

impl<'a> Matrix<'a> {
    /// With its name; `None`: it is not a matrix of floats, or its values are in another file.
    fn read(tensor: &'a [u8]) -> Result<Option<(&'a str, Self)>, OnnxError> {
        let (mut dims, mut name, mut values, mut is_float) = (Vec::new(), "", None, false);
        for field in fields(tensor)? {
            match field.number {
                number::TENSOR_DIMS => dims.extend(field.varints()?),
                number::TENSOR_TYPE => is_float = field.varint()? == FLOAT,
                number::TENSOR_NAME => name = field.text(),
                number::TENSOR_RAW | number::TENSOR_FLOATS => values = Some(field.bytes),
                _ => {}
            }
        }
        let (&[rows, columns], Some(values), true) = (&dims[..], values, is_float) else { return Ok(None) };
        let (rows, columns) = (rows as usize, columns as usize);
        let is_whole = rows.checked_mul(columns).and_then(|count| count.checked_mul(4)) == Some(values.len());
        Ok(is_whole.then_some((name, Matrix { rows, columns, values })))
    }

    fn value(&self, row: usize, column: usize) -> f32 {
        let at = (row * self.columns + column) * 4;
        f32::from_le_bytes([self.values[at], self.values[at + 1], self.values[at + 2], self.values[at + 3]])
    }
}

impl<'a> Node<'a> {
    fn read(node: &'a [u8]) -> Result<Self, OnnxError> {
        let mut read = Node { operator: "", inputs: Vec::new(), output: "", is_special: false };
        for field in fields(node)? {
            match field.number {
                number::NODE_INPUT => read.inputs.push(field.text()),
                number::NODE_OUTPUT => read.output = field.text(),
                number::NODE_OPERATOR => read.operator = field.text(),
                number::NODE_DOMAIN => read.is_special |= !field.bytes.is_empty(),
                number::NODE_ATTRIBUTE => {
                    let attribute = fields(field.bytes)?;
                    let axis = attribute.iter().find(|f| f.number == number::ATTRIBUTE_INTEGER).map(Field::varint);
                    read.is_special |= axis.transpose()?.is_some_and(|axis| axis != 0);
                }
                _ => {}
            }
        }
        Ok(read)
    }

    fn input(&self, at: usize) -> &'a str {
        self.inputs.get(at).copied().unwrap_or_default()
    }

    /// How this node takes the matrix, if it can take it in 8 bits.
    fn use_of(&self, name: &str, matrix: &Matrix<'_>) -> Option<Use> {
        match (self.operator, &self.inputs[..]) {
            _ if self.is_special => None,
            ("MatMul", [left, right]) if *right == name && left != right => Some(Use::Product),
            ("Gather", [table, at]) if *table == name && at != table => {
                (matrix.rows * matrix.columns >= TABLE_VALUES_MIN).then_some(Use::Lookup)
            }
            _ => None,
        }
    }
}

struct Writer<'a> {
    graph: Message,
    /// Values that were rounded to 8 bits already.
    rounded: HashSet<&'a str>,
}

impl<'a> Writer<'a> {
    fn node(&mut self, operator: &str, inputs: &[&str], outputs: &[&str], attribute: Option<(&str, u64)>) {
        let mut node = Message::default();
        inputs.iter().for_each(|input| node.bytes(number::NODE_INPUT, input.as_bytes()));
        outputs.iter().for_each(|output| node.bytes(number::NODE_OUTPUT, output.as_bytes()));
        node.bytes(number::NODE_OPERATOR, operator.as_bytes());
        if let Some((name, value)) = attribute {
            let mut attribute = Message::default();
            attribute.bytes(number::ATTRIBUTE_NAME, name.as_bytes());
            attribute.varint(number::ATTRIBUTE_INTEGER, value);
            attribute.varint(number::ATTRIBUTE_TYPE, ATTRIBUTE_IS_INTEGER);
            node.bytes(number::NODE_ATTRIBUTE, &attribute.0);
        }
        self.graph.bytes(number::GRAPH_NODE, &node.0);
    }

    /// Rounds the left side, multiplies integers, scales back.
    fn product(&mut self, node: &Node<'a>) {
        let (left, right, out) = (node.input(0), node.input(1), node.output);
        let of_left = |what: &str| format!("{left}.{what}");
        let (rounded, scale, zero) = (of_left("int8"), of_left("scale"), of_left("zero"));
        if self.rounded.insert(left) {
            self.node("DynamicQuantizeLinear", &[left], &[&rounded, &scale, &zero], None);
        }
        let of_out = |what: &str| format!("{out}.{what}");
        let (sum, float, scales) = (of_out("int32"), of_out("float"), of_out("scales"));
        self.node("MatMulInteger", &[&rounded, &format!("{right}.int8"), &zero], &[&sum], None);
        self.node("Cast", &[&sum], &[&float], Some(("to", FLOAT)));
        self.node("Mul", &[&scale, &format!("{right}.scale")], &[&scales], None);
        self.node("Mul", &[&float, &scales], &[out], None);
    }

    fn lookup(&mut self, node: &Node<'a>) {
        let (table, at, out) = (node.input(0), node.input(1), node.output);
        let of_out = |what: &str| format!("{out}.{what}");
        let (rows, float, scales) = (of_out("int8"), of_out("float"), of_out("scales"));
        self.node("Gather", &[&format!("{table}.int8"), at], &[&rows], None);
        self.node("Cast", &[&rows], &[&float], Some(("to", FLOAT)));
        self.node("Gather", &[&format!("{table}.scale"), at], &[&scales], None);
        self.node("Mul", &[&float, &scales], &[out], None);
    }

    fn weights(&mut self, name: &str, matrix: &Matrix<'_>, used: Use, reach: Reach) {
        let Matrix { rows, columns, .. } = *matrix;
        let (groups, shape): (usize, &[usize]) = match used {
            Use::Product => (columns, &[columns]),
            Use::Lookup => (rows, &[rows, 1]),
        };
        let group = |row: usize, column: usize| if used == Use::Lookup { row } else { column };
        let mut greatest = vec![0.0f32; groups];
        for row in 0..rows {
            for column in 0..columns {
                let greatest = &mut greatest[group(row, column)];
                *greatest = greatest.max(matrix.value(row, column).abs());
            }
        }
        let scales: Vec<f32> = greatest.iter().map(|&most| most.max(f32::MIN_POSITIVE) / reach.greatest()).collect();
        let mut integers = Vec::with_capacity(rows * columns);
        for row in 0..rows {
            for column in 0..columns {
                integers.push((matrix.value(row, column) / scales[group(row, column)]).round() as i8 as u8);
            }
        }
        let scales: Vec<u8> = scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
        self.tensor(&format!("{name}.int8"), &[rows, columns], INT8, &integers);
        self.tensor(&format!("{name}.scale"), shape, FLOAT, &scales);
    }

    fn tensor(&mut self, name: &str, dims: &[usize], kind: u64, raw: &[u8]) {
        let mut tensor = Message(Vec::with_capacity(raw.len() + 256));
        dims.iter().for_each(|&dim| tensor.varint(number::TENSOR_DIMS, dim as u64));
        tensor.varint(number::TENSOR_TYPE, kind);
        tensor.bytes(number::TENSOR_NAME, name.as_bytes());
        tensor.bytes(number::TENSOR_RAW, raw);
        self.graph.bytes(number::GRAPH_WEIGHTS, &tensor.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: usize = 1024;
    const COLUMNS: usize = 1024;

    fn tensor(name: &str, dims: [usize; 2], value: impl Fn(usize, usize) -> f32) -> Vec<u8> {
        let mut out = Message::default();
        dims.iter().for_each(|&dim| out.varint(number::TENSOR_DIMS, dim as u64));
        out.varint(number::TENSOR_TYPE, FLOAT);
        out.bytes(number::TENSOR_NAME, name.as_bytes());
        let values = (0..dims[0]).flat_map(|row| (0..dims[1]).map(move |column| (row, column)));
        let raw: Vec<u8> = values.flat_map(|(row, column)| value(row, column).to_le_bytes()).collect();
        out.bytes(number::TENSOR_RAW, &raw);
        out.0
    }

    /// Words are looked up and multiplied with two matrices, one of which is added as well.
    fn model(operators: u64) -> Vec<u8> {
        let mut writer = Writer { graph: Message::default(), rounded: HashSet::new() };
        writer.node("Gather", &["words", "ids"], &["hidden"], None);
        writer.node("MatMul", &["hidden", "square"], &["one"], None);
        writer.node("MatMul", &["hidden", "shared"], &["two"], None);
        writer.node("Add", &["two", "shared"], &["sum"], None);
        for tensor in [
            tensor("words", [ROWS, COLUMNS], |row, column| (row as f32 - column as f32) / 100.0),
            tensor("square", [COLUMNS, 3], |row, column| (row * (column + 1)) as f32),
            tensor("shared", [COLUMNS, COLUMNS], |_, _| 1.0),
        ] {
            writer.graph.bytes(number::GRAPH_WEIGHTS, &tensor);
        }
        let mut own = Message::default();
        own.varint(number::OPERATORS_VERSION, operators);
        let mut model = Message::default();
        model.bytes(number::MODEL_OPERATORS, &own.0);
        model.bytes(number::MODEL_GRAPH, &writer.graph.0);
        model.0
    }

    fn graph_of(model: &[u8]) -> Vec<u8> {
        let graph = fields(model).unwrap().into_iter().find(|field| field.number == number::MODEL_GRAPH).unwrap();
        graph.bytes.to_vec()
    }

    #[test]
    fn matrices_become_integers_where_all_who_use_them_can_take_that() {
        let int8 = quantize(&model(21), Reach::Full, "test").unwrap();
        let graph = graph_of(&int8);
        let fields = fields(&graph).unwrap();
        let nodes = fields.iter().filter(|field| field.number == number::GRAPH_NODE);
        let operators: Vec<&str> = nodes.map(|node| Node::read(node.bytes).unwrap().operator).collect();
        let lookup = ["Gather", "Cast", "Gather", "Mul"];
        let product = ["DynamicQuantizeLinear", "MatMulInteger", "Cast", "Mul", "Mul"];
        assert_eq!(operators, [&lookup[..], &product[..], &["MatMul", "Add"]].concat());
        let tensors = fields.iter().filter(|field| field.number == number::GRAPH_WEIGHTS);
        let names: Vec<&str> = tensors.map(|tensor| tensor_name(tensor.bytes).unwrap()).collect();
        assert_eq!(names, ["words.int8", "words.scale", "square.int8", "square.scale", "shared"]);
    }

    #[test]
    fn integers_are_the_weights_within_half_a_step() {
        let matrix = tensor("square", [4, 3], |row, column| (row as f32 - 1.5) * (column as f32 + 0.1));
        let (_, matrix) = Matrix::read(&matrix).unwrap().unwrap();
        for (used, groups) in [(Use::Product, 3), (Use::Lookup, 4)] {
            for reach in [Reach::Full, Reach::Half] {
                let mut writer = Writer { graph: Message::default(), rounded: HashSet::new() };
                writer.weights("m", &matrix, used, reach);
                let tensors = fields(&writer.graph.0).unwrap();
                let raw = |at: usize| {
                    let field = fields(tensors[at].bytes).unwrap();
                    field.into_iter().find(|field| field.number == number::TENSOR_RAW).unwrap().bytes.to_vec()
                };
                let (integers, scales) = (raw(0), raw(1));
                assert_eq!((integers.len(), scales.len()), (12, 4 * groups));
                for (at, &integer) in integers.iter().enumerate() {
                    let (row, column) = (at / 3, at % 3);
                    let group = if used == Use::Lookup { row } else { column };
                    let scale = f32::from_le_bytes(scales[4 * group..4 * group + 4].try_into().unwrap());
                    let error = (f32::from(integer as i8) * scale - matrix.value(row, column)).abs();
                    assert!(error <= scale * 0.501 && f32::from(integer as i8).abs() <= reach.greatest());
                }
            }
        }
    }

    #[test]
    fn what_is_not_whole_or_of_another_origin_is_told() {
        let int8 = quantize(&model(21), Reach::Full, "test").unwrap();
        assert!(is_whole(&int8, "test") && !is_whole(&int8, "other"));
        let mut changed = int8.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        assert!(!is_whole(&changed, "test"));
        for length in (0..int8.len()).step_by(99_991) {
            assert!(!is_whole(&int8[..length], "test"), "{length} bytes were accepted");
        }
    }

    #[test]
    fn models_that_cannot_be_quantized_are_refused() {
        assert!(matches!(quantize(&model(10), Reach::Full, ""), Err(OnnxError::OldOperators(10))));
        let whole = model(21);
        assert!(matches!(quantize(&whole[..whole.len() - 1], Reach::Full, ""), Err(OnnxError::Damaged)));
        assert!(quantize(b"not a model at all", Reach::Full, "").is_err());
        let mut empty = Message::default();
        empty.bytes(number::MODEL_GRAPH, &[]);
        assert!(matches!(quantize(&empty.0, Reach::Full, ""), Err(OnnxError::NothingToQuantize)));
    }
}
