#!/usr/bin/env python3
"""Writes tests/fixtures/reranker.onnx: a cross-encoder small enough to be read, for the tests.

Its score is the number of pairs of equal tokens in what it reads, question and passage together, so that what repeats the
question comes first. Needs `onnx`.
"""

from pathlib import Path

import onnx
from onnx import TensorProto, helper

OUTPUT = Path(__file__).parent.parent / "tests" / "fixtures" / "reranker.onnx"


def main():
    integers = ["batch", "sequence"]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, integers) for name in ("input_ids", "attention_mask")]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1])
    axes = [helper.make_tensor(name, TensorProto.INT64, [len(values)], values)
            for name, values in (("first", [1]), ("second", [2]), ("pairs", [1, 2]), ("last", [1]))]
    nodes = [
        # [batch, sequence, sequence]: whether two tokens are the same, where both are tokens and not padding.
        helper.make_node("Unsqueeze", ["input_ids", "first"], ["columns"]),
        helper.make_node("Unsqueeze", ["input_ids", "second"], ["rows"]),
        helper.make_node("Equal", ["rows", "columns"], ["is_equal"]),
        helper.make_node("Cast", ["is_equal"], ["equal"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "first"], ["mask_columns"]),
        helper.make_node("Unsqueeze", ["mask", "second"], ["mask_rows"]),
        helper.make_node("Mul", ["mask_rows", "mask_columns"], ["both"]),
        helper.make_node("Mul", ["equal", "both"], ["counted"]),
        helper.make_node("ReduceSum", ["counted", "pairs"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "last"], ["length"], keepdims=0),
        # Every token equals itself.
        helper.make_node("Sub", ["sum", "length"], ["repeated"]),
        helper.make_node("Unsqueeze", ["repeated", "last"], ["logits"]),
    ]
    graph = helper.make_graph(nodes, "repetition", inputs, [output], axes)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    OUTPUT.write_bytes(model.SerializeToString())


if __name__ == "__main__":
    main()
