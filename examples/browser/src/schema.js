/** ONNX's messages, as far as tensors are found and messages counted in them (section 4). */

import { BRAIN, DOUBLE, FLOAT, HALF } from "./dtypes.js";

/** By message of ONNX, the fields that are messages; `Leaf` has none. @type {Record<string, Record<number, string>>} */
export const SCHEMA = {
  Model: { 7: "Graph", 8: "Leaf", 14: "Leaf", 20: "Training", 25: "Function", 26: "Leaf" },
  Graph: { 1: "Node", 5: "Tensor", 11: "Value", 12: "Value", 13: "Value", 14: "Annotation", 15: "Sparse", 16: "Leaf" },
  Node: { 5: "Attribute", 9: "Leaf", 10: "Devices" },
  Attribute: { 5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 14: "Type", 15: "Type", 22: "Sparse", 23: "Sparse" },
  Tensor: { 3: "Leaf", 13: "Leaf", 16: "Leaf" },
  Sparse: { 1: "Tensor", 2: "Tensor" },
  Value: { 2: "Type", 4: "Leaf" },
  Type: { 1: "Shaped", 4: "Element", 5: "Map", 7: "Leaf", 8: "Shaped", 9: "Element" },
  Shaped: { 2: "Shape" },
  Shape: { 1: "Leaf" },
  Element: { 1: "Type" },
  Map: { 2: "Type" },
  Annotation: { 2: "Leaf" },
  Training: { 1: "Graph", 2: "Graph", 3: "Leaf", 4: "Leaf" },
  Function: { 7: "Node", 9: "Leaf", 11: "Attribute", 12: "Value", 14: "Leaf" },
  Devices: { 2: "Sharding" },
  Sharding: { 3: "Pair", 4: "Dim" },
  Pair: {},
  Dim: { 2: "Leaf" },
  Leaf: {},
};
/** By message, the fields of integers that may be packed into one. @type {Record<string, number[]>} */
export const PACKED = { Attribute: [8], Tensor: [1, 5, 7, 11], Sparse: [3], Sharding: [2], Pair: [2] };
/** Fields that a message has once: protobuf would make one of several, which a writer has no use for. */
export const ONCE = /Model 7|Training [12]|Attribute ([56]|22)|Sparse [12]/;
/** Fields of a TensorProto: those that hold data, and by name of a reference's key, number and bytes of a varint. */
export const DATA = [4, 5, 6, 7, 9, 10, 11];
/** @type {Record<string, Record<number, [number, number]>>} */
export const KEYS = {
  float_data: { [FLOAT]: [4, 0] },
  double_data: { [DOUBLE]: [10, 0] },
  int64_data: { 7: [7, 10] },
  int32_data: { 6: [5, 5], [HALF]: [5, 3], [BRAIN]: [5, 3] }, // varints of a fixed length: it is known beforehand
};
