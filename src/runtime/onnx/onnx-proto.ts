/**
 * @file ONNX models as protobuf bytes: the fields of onnx.proto3 (github.com/onnx/onnx) that a
 * lowered graph uses. Field numbers are those of that file.
 */

import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

/** Element types, TensorProto.DataType. */
export const onnxTypes = { f32: 1, i16: 5, i32: 6, i64: 7, f16: 10, bf16: 16 } as const;

export type OnnxType = keyof typeof onnxTypes;

/** An attribute: whole numbers become INT or INTS, `{ float }` FLOAT, texts STRING. */
export type OnnxAttribute = number | readonly number[] | string | { readonly float: number };

export interface OnnxNode {
  readonly opType: string;
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, OnnxAttribute>>;
}

export interface OnnxValue {
  readonly name: string;
  readonly type: OnnxType;
  readonly shape: readonly number[];
  /** The model does not say how long its dimensions are: no buffer is planned by them. */
  readonly isOpen?: boolean;
}

export interface OnnxInitializer extends OnnxValue {
  /** Little-endian elements; none where they lie beside the model. */
  readonly bytes: Uint8Array;
  /** Name of the data that is handed over beside the model. */
  readonly location?: string;
}

export interface OnnxModel {
  readonly nodes: readonly OnnxNode[];
  readonly initializers: readonly OnnxInitializer[];
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
}

/** The IR version that goes with an opset; BitCast came with the second. */
const opsets = { usual: { opset: 21, irVersion: 10 }, bitCast: { opset: 26, irVersion: 12 } };

const attributeTypes = { float: 1, int: 2, string: 3, ints: 7 } as const;

function message(writer: BinaryWriter, field: number, write: (w: BinaryWriter) => void): void {
  writer.tag(field, WireType.LengthDelimited).fork();
  write(writer);
  writer.join();
}

function text(writer: BinaryWriter, field: number, value: string): void {
  writer.tag(field, WireType.LengthDelimited).string(value);
}

function integer(writer: BinaryWriter, field: number, value: number): void {
  writer.tag(field, WireType.Varint).int64(value);
}

function packed(writer: BinaryWriter, field: number, values: readonly number[]): void {
  message(writer, field, (w) => {
    for (const value of values) w.int64(value);
  });
}

function writeAttribute(writer: BinaryWriter, name: string, value: OnnxAttribute): void {
  text(writer, 1, name);
  if (typeof value === 'number') {
    integer(writer, 3, value);
    integer(writer, 20, attributeTypes.int);
  } else if (typeof value === 'string') {
    text(writer, 4, value);
    integer(writer, 20, attributeTypes.string);
  } else if ('float' in value) {
    writer.tag(2, WireType.Bit32).float(value.float);
    integer(writer, 20, attributeTypes.float);
  } else {
    packed(writer, 8, value);
    integer(writer, 20, attributeTypes.ints);
  }
}

function writeNode(writer: BinaryWriter, node: OnnxNode): void {
  for (const name of node.inputs) text(writer, 1, name);
  for (const name of node.outputs) text(writer, 2, name);
  text(writer, 4, node.opType);
  for (const [name, value] of Object.entries(node.attributes)) {
    message(writer, 5, (w) => writeAttribute(w, name, value));
  }
  if (node.domain) text(writer, 7, node.domain);
}

function writeInitializer(writer: BinaryWriter, tensor: OnnxInitializer): void {
  packed(writer, 1, tensor.shape);
  integer(writer, 2, onnxTypes[tensor.type]);
  text(writer, 8, tensor.name);
  const { location } = tensor;
  if (location === undefined) {
    writer.tag(9, WireType.LengthDelimited).bytes(tensor.bytes);
    return;
  }
  message(writer, 13, (entry) => {
    text(entry, 1, 'location');
    text(entry, 2, location);
  });
  // TensorProto.EXTERNAL
  integer(writer, 14, 1);
}

function writeValue(writer: BinaryWriter, value: OnnxValue): void {
  text(writer, 1, value.name);
  message(writer, 2, (type) =>
    message(type, 1, (tensor) => {
      integer(tensor, 1, onnxTypes[value.type]);
      message(tensor, 2, (shape) => {
        for (const d of value.shape) message(shape, 1, (dim) => value.isOpen || integer(dim, 1, d));
      });
    }),
  );
}

/** The bytes of a model with one graph. Weights are its inputs or beside it, so it stays far below 2 GiB. */
export function encodeOnnxModel(model: OnnxModel): Uint8Array {
  const writer = new BinaryWriter();
  const hasBitCast = model.nodes.some(({ opType }) => opType === 'BitCast');
  const { opset, irVersion } = hasBitCast ? opsets.bitCast : opsets.usual;
  integer(writer, 1, irVersion);
  text(writer, 2, 'sdl-train');
  message(writer, 7, (graph) => {
    for (const node of model.nodes) message(graph, 1, (w) => writeNode(w, node));
    text(graph, 2, 'graph');
    for (const tensor of model.initializers) message(graph, 5, (w) => writeInitializer(w, tensor));
    for (const value of model.inputs) message(graph, 11, (w) => writeValue(w, value));
    for (const value of model.outputs) message(graph, 12, (w) => writeValue(w, value));
  });
  for (const [domain, version] of [
    ['', opset],
    ['com.microsoft', 1],
    ['com.microsoft.nchwc', 1],
  ] as const) {
    message(writer, 8, (w) => {
      text(w, 1, domain);
      integer(w, 2, version);
    });
  }
  return writer.finish();
}
