/**
 * @file libtorch's stable C functions (torch/csrc/stable/c/shim.h and
 * torch/csrc/inductor/aoti_torch/c/shim.h), called through koffi. Handles and addresses are numbers:
 * user space ends at 2^47.
 */

import koffi from 'koffi';
import { UserError } from '../../tensor/user-error.ts';
import { outOfMemory } from '../out-of-memory.ts';
import { type FoundLibtorch, installCommand } from './find-libtorch.ts';
import { loadLibraries, type NativeFunction } from './load-libraries.ts';
import { loadNvidiaLibrary } from './nvidia-library.ts';

/** Element types on the device. */
export type TorchDType = 'f32' | 'bf16' | 'f16' | 'i32' | 'i64' | 'bool';
export type TorchDeviceKind = 'cpu' | 'cuda' | 'mps' | 'xpu';

type Status = number;
type Address = number;

/** out = beta·self + alpha·a·b, of matrices and of batches of them; handles are borrowed. */
export interface ProductSums {
  readonly matrices: ProductSum;
  readonly batches: ProductSum;
}

type ProductSum = (
  out: Address,
  self: Address,
  a: Address,
  b: Address,
  beta: number,
  alpha: number,
) => Status;

/** The functions; those that return a status are to be wrapped in `check`. */
export interface TorchLibrary {
  readonly found: FoundLibtorch;
  /** Major and minor version. */
  readonly version: readonly [number, number];
  readonly dtypeCodes: { readonly [D in TorchDType]: number };
  readonly deviceCodes: { readonly [K in TorchDeviceKind]: number };
  readonly memoryFormats: { readonly contiguous: number; readonly channelsLast: number };
  /** Whether libtorch_cuda was there and could be loaded. */
  readonly hasCuda: boolean;
  /** Why it could not be loaded; undefined where it was, or is not there. */
  readonly cudaProblem: string | undefined;

  /** A call of an operation: arguments at `stack` are taken and replaced by the results. */
  operation(name: string, overload: string): (stack: Address) => Status;
  /** Another owning handle of the same tensor, written to `out`. */
  newHandle(tensor: Address, out: Address): Status;
  deleteTensor(tensor: Address): Status;
  /** a - alpha·b; handles are borrowed. */
  subtract(a: Address, b: Address, alpha: number, out: Address): Status;
  emptyStrided(
    rank: number,
    sizes: BigInt64Array,
    strides: BigInt64Array,
    dtype: number,
    device: number,
    index: number,
    out: Address,
  ): Status;
  /** The same in pinned host memory. */
  emptyStridedPinned: TorchLibrary['emptyStrided'];
  undefinedTensor(out: Address): Status;
  dataPointer(tensor: Address, out: Address): Status;
  newList(length: number, out: Address): Status;
  /** Appends a whole number, or a handle that the list takes. */
  pushBack(list: Address, value: number): Status;
  newText(text: string, length: number, out: Address): Status;
  /** The address of a new cell that an optional argument's value is put in. */
  newCell(out: Address): Status;
  /** Writes the 8 bytes at `address`. */
  writeCell(address: Address, bits: bigint): void;
  /** A view of native memory, without a copy. */
  view(address: Address, bytes: number): ArrayBuffer;
  /** A block of so many 8-byte cells; freed by `freeCells`. */
  allocateCells(count: number): Address;
  freeCells(address: Address): void;
  /** The last error of this thread. */
  lastError(): string;
  /** What adds products in place on a device; undefined where this version has nothing of the kind. */
  productSums(device: TorchDeviceKind): ProductSums | undefined;
  /** Another function of the libraries; undefined where this version has none of that name. */
  find(signature: string): NativeFunction | undefined;
  /** As `find`, for names that are not of C. */
  findNamed(name: string, result: string, parameters: string[]): NativeFunction | undefined;
  /** Does what is expected to fail, without libtorch's own lines about it on the terminal. */
  quietly<T>(work: () => T): T;
}

/**
 * The C++ library's `operator new`, with which versions before 2.13 want their cells made: Microsoft's is part of
 * each library, and takes memory from the one `malloc` of the system's C library.
 */
function operatorNew({ platform } = process): NativeFunction {
  if (platform === 'win32') return koffi.load('ucrtbase.dll').func('uint64_t malloc(size_t)');
  const file = platform === 'darwin' ? 'libc++.1.dylib' : 'libstdc++.so.6';
  return koffi.load(file).func('uint64_t _Znwm(size_t)');
}

function cellAllocator(): (out: Address) => Status {
  const allocate = operatorNew();
  return (out) => {
    koffi.encode(BigInt(out), 'uint64_t', allocate(8));
    return 0;
  };
}

/** Loads the library. @throws UserError where it cannot be loaded or is too old */
export function loadTorchLibrary(found: FoundLibtorch): TorchLibrary {
  const { hasCuda, cudaProblem, find, findNamed, symbol } = loadLibraries(found);
  const need = (signature: string): NativeFunction => {
    const found_ = find(signature);
    if (found_) return found_;
    throw new UserError(
      `libtorch ${found.version ?? ''} in ${found.folder} has no ${/(\w+)\(/.exec(signature)?.[1]}; ` +
        `version 2.10 or newer is needed; install it with: ${installCommand()}`,
    );
  };
  const code = (name: string): number => need(`int32_t ${name}()`)();
  const abi = BigInt(need('uint64_t aoti_torch_abi_version()')());
  const message = find('const char* torch_exception_get_what_without_backtrace()');
  const dispatcher = need('int torch_call_dispatcher(uint64_t, uint64_t, uint64_t, uint64_t)');
  const texts = new Map<string, Address>();
  // Names in memory of their own, never freed: a call with a string copies it each time.
  const addressOf = (name: string): Address => {
    let address = texts.get(name);
    if (address === undefined) {
      const block = koffi.alloc('char', name.length + 1);
      koffi.encode(block, 'char', name, name.length + 1);
      address = Number(koffi.address(block));
      texts.set(name, address);
    }
    return address;
  };
  const empty = '(int64_t, void*, void*, int32_t, int32_t, int32_t, uint64_t)';
  need('void aoti_torch_grad_mode_set_enabled(bool)')(false);
  silenceWarnings(symbol(logLevel));
  return {
    found,
    // The two top bytes.
    version: [Number(abi >> 56n), Number((abi >> 48n) & 0xffn)],
    dtypeCodes: {
      f32: code('aoti_torch_dtype_float32'),
      f16: code('aoti_torch_dtype_float16'),
      bf16: code('aoti_torch_dtype_bfloat16'),
      i32: code('aoti_torch_dtype_int32'),
      i64: code('aoti_torch_dtype_int64'),
      bool: code('aoti_torch_dtype_bool'),
    },
    deviceCodes: {
      cpu: code('aoti_torch_device_type_cpu'),
      cuda: code('aoti_torch_device_type_cuda'),
      mps: code('aoti_torch_device_type_mps'),
      xpu: code('aoti_torch_device_type_xpu'),
    },
    memoryFormats: {
      contiguous: code('aoti_torch_memory_format_contiguous_format'),
      channelsLast: code('aoti_torch_memory_format_channels_last'),
    },
    hasCuda,
    cudaProblem,
    operation: (name, overload) => {
      const [first, second] = [addressOf(name), addressOf(overload)];
      return (stack) => dispatcher(first, second, stack, abi);
    },
    newHandle: need('int aoti_torch_new_tensor_handle(uint64_t, uint64_t)'),
    deleteTensor: need('int aoti_torch_delete_tensor_object(uint64_t)'),
    subtract: need('int aoti_torch_aten_subtract_Tensor(uint64_t, uint64_t, double, uint64_t)'),
    emptyStrided: need(`int aoti_torch_empty_strided${empty}`),
    emptyStridedPinned: need(`int aoti_torch_empty_strided_pinned${empty}`),
    undefinedTensor: need('int aoti_torch_new_uninitialized_tensor(uint64_t)'),
    dataPointer: need('int aoti_torch_get_data_ptr(uint64_t, uint64_t)'),
    newList: need('int torch_new_list_reserve_size(size_t, uint64_t)'),
    pushBack: need('int torch_list_push_back(uint64_t, int64_t)'),
    newText: need('int torch_new_string_handle(const char*, size_t, uint64_t)'),
    newCell: find('int torch_new_stable_ivalue(uint64_t)') ?? cellAllocator(),
    writeCell: (address, bits) => koffi.encode(BigInt(address), 'uint64_t', bits),
    view: (address, bytes) => koffi.view(BigInt(address), bytes),
    allocateCells: (count) => Number(koffi.address(koffi.alloc('uint64_t', count))),
    freeCells: (address) => koffi.free(BigInt(address)),
    productSums: (device) => {
      const arguments_ = '(uint64_t, uint64_t, uint64_t, uint64_t, double, double)';
      const matrices = find(`int aoti_torch_${device}_addmm_out${arguments_}`);
      const batches = find(`int aoti_torch_${device}_baddbmm_out${arguments_}`);
      return matrices && batches ? { matrices, batches } : undefined;
    },
    lastError: () => (message ? String(message()) : guessedError(hasCuda)),
    find,
    findNamed,
    quietly: (work) => quietly(symbol(logLevel), work),
  };
}

/** Part of a GPU's memory that is free at most where an error is taken for a lack of it. */
const littleFree = 0.15;

/** What went wrong, for versions that do not say: a lack of memory is told by the driver. */
function guessedError(hasCuda: boolean): string {
  const unknown = 'libtorch gives no reason before 2.13';
  if (!hasCuda) return unknown;
  try {
    const driver = loadNvidiaLibrary();
    const ask = driver.func('int cuMemGetInfo_v2(_Out_ size_t*, _Out_ size_t*)');
    const [free, total] = [[0], [0]];
    if (ask(free, total) !== 0 || free[0]! > littleFree * total[0]!) return unknown;
    return `out of memory, it seems: ${free[0]} of ${total[0]} bytes are free; ${unknown}`;
  } catch {
    return unknown;
  }
}

/** A number, by its name in C++. */
const logLevel =
  process.platform === 'win32' ? '?FLAGS_caffe2_log_level@@3HA' : 'FLAGS_caffe2_log_level';
/** Severities of c10/util/Logging.h. */
const onlyErrors = 2;
const onlyFatal = 3;

/** Without libtorch's warnings, of a lack of memory above all: what cannot be mended is told by us. */
function silenceWarnings(level: bigint | undefined): void {
  if (level !== undefined) koffi.encode(level, 'int', onlyErrors);
}

/** Versions before 2.13 write each error that they return to the terminal. */
function quietly<T>(level: bigint | undefined, work: () => T): T {
  if (level === undefined) return work();
  const before = koffi.decode(level, 'int');
  koffi.encode(level, 'int', onlyFatal);
  try {
    return work();
  } finally {
    koffi.encode(level, 'int', before);
  }
}

/** Throws what a failed call says: a lack of memory is the user's to mend, the rest is ours. */
export function check(
  library: Pick<TorchLibrary, 'lastError'>,
  status: Status,
  what: string,
): void {
  if (status === 0) return;
  const reason = library.lastError();
  throw outOfMemory(reason) ?? new Error(`internal: libtorch: ${what}: ${reason}`);
}
