// A stand-in for NVIDIA's driver and runtime, under which a CUDA build of libtorch runs on a machine without a
// GPU: control flow without numbers. Device memory is host memory, captures and graphs keep their books, kernels
// do nothing. What is asked is checked (memory that is not there, handles that are gone, waits inside a capture):
// what a driver would refuse or crash on is a line "fake-cuda: ...".
//
// FAKE_CUDA_MEMORY   bytes of a device (141e9)
// FAKE_CUDA_DEVICES  how many there are (1)
// FAKE_CUDA_MAJOR    compute capability (9)
// FAKE_CUDA_FAIL     what:n lets the n-th of a kind fail, what:n+ all from the n-th on; the kinds are malloc,
//                    pinned, stream, event, begin, work (the n-th capture breaks), end, instantiate, launch,
//                    download (other values arrive), engines (cuDNN has none)
// FAKE_CUDA_REPORT   a file for counts of calls and kernels, and for what was never given back

#include "fake-cuda.h"

#include <dlfcn.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <utility>

static thread_local cudaError_t lastError = cudaSuccess;
static thread_local bool hasContext = false;
static thread_local int current = 0;

State &state() {
  static State *only = new State;  // Never destroyed: libraries ask for it until the very end.
  return *only;
}

static double setting(const char *name, double otherwise) {
  const char *value = getenv(name);
  return value && *value ? atof(value) : otherwise;
}
static size_t capacity() { return setting("FAKE_CUDA_MEMORY", 141e9); }
static int devices() { return setting("FAKE_CUDA_DEVICES", 1); }
static int major() { return setting("FAKE_CUDA_MAJOR", 9); }

bool fails(const char *what) {
  int turn = ++state().asked[what];
  const char *wanted = getenv("FAKE_CUDA_FAIL"), *at = wanted ? strstr(wanted, what) : nullptr;
  if (!at || at[strlen(what)] != ':') return false;
  char *end;
  long n = strtol(at + strlen(what) + 1, &end, 10);
  return *end == '+' ? turn >= n : turn == n;
}

using Blocks = std::map<const char *, size_t>;
static const Blocks::value_type *blockOf(const Blocks &blocks, const void *address) {
  auto next = blocks.upper_bound((const char *)address);
  if (next == blocks.begin()) return nullptr;
  --next;
  return (const char *)address < next->first + next->second ? &*next : nullptr;
}
static bool isDevice(const void *address) { return blockOf(state().device, address); }
static bool isHost(const void *address) { return address && !isDevice(address); }
static bool isPageable(const void *address) { return isHost(address) && !blockOf(state().pinned, address); }

// Memory of the host shows by itself what is not there.
static bool isWhole(const void *address, size_t size) {
  auto block = blockOf(state().device, address);
  return !block || (const char *)address + size <= block->first + block->second;
}

// Device memory stays zero, so that no value is NaN; a single float is read as 1, so that flags are set.
static void carryOut(const Node &node) {
  if (!node.to || node.size == 0) return;
  if (!isWhole(node.to, node.size) || !isWhole(node.from, node.size)) return (void)complain("a copy ends outside of its block");
  if (isHost(node.to) && isDevice(node.from) && (node.size == 4 || fails("download"))) {
    for (size_t i = 0; i + 4 <= node.size; i += 4) *(float *)((char *)node.to + i) = 1;
  } else if (isDevice(node.to) && isHost(node.from)) {
    (void)*(const volatile char *)node.from;
    (void)((const volatile char *)node.from)[node.size - 1];
  } else if (node.from) {
    memmove(node.to, node.from, node.size);
  }
}

static cudaError_t noted(cudaError_t error) { return lastError = error; }

static bool isLive(const std::set<void *> &all, const void *handle, const char *kind) {
  return all.count((void *)handle) || (complain("%s %p is not there", kind, handle), false);
}

static cudaStream_t streamOf(cudaStream_t stream) {
  if ((size_t)stream <= 2) return &state().defaultStream;
  return isLive(state().streams, stream, "stream") ? stream : &state().defaultStream;
}

cudaError_t enqueue(cudaStream_t handle, const Node &node) {
  Capture *capture = streamOf(handle)->capture;
  state().counts[capture ? "captured work" : (size_t)handle <= 2 ? "work on the default stream" : "work on a stream"]++;
  if (!capture) return carryOut(node), cudaSuccess;
  if (capture->broken) return noted(cudaErrorStreamCaptureInvalidated);
  bool cannot = isPageable(node.to) || isPageable(node.from);
  if (cannot) complain("a copy from or to memory that is not pinned, inside a capture");
  capture->broken = cannot || (capture->graph->nodes.empty() && fails("work"));
  if (capture->broken) return noted(cudaErrorStreamCaptureUnsupported);
  capture->graph->nodes.push_back(node);
  streamOf(handle)->begun++;
  return cudaSuccess;
}

// Streams with work of a capture, or of any, that no other one waits for.
static int unjoined(const Capture *capture) {
  int count = 0;
  for (void *each : state().streams) {
    cudaStream_t stream = (cudaStream_t)each;
    count += stream->capture && (!capture || stream->capture == capture) && stream->begun > stream->joined;
  }
  return count;
}

// A stream must not be waited for, or asked, while it is captured.
static cudaError_t wait(cudaStream_t handle, const char *what) {
  if (Capture *capture = streamOf(handle)->capture) {
    if (what) complain("%s inside a capture", what);
    capture->broken = true;
    return noted(cudaErrorStreamCaptureUnsupported);
  }
  for (void *event : state().events) ((CUevent_st *)event)->pending = 0;
  return cudaSuccess;
}

static cudaError_t launch(const void *kernel, dim3 grid, dim3 block, size_t shared, cudaStream_t stream) {
  const std::string &name = state().kernels[kernel];
  state().counts["kernel " + name.substr(0, 120)]++;
  size_t blocks = (size_t)grid.x * grid.y * grid.z, threads = (size_t)block.x * block.y * block.z;
  if (blocks && threads && threads <= 1024 && shared <= 232448) return enqueue(stream);
  complain("%s: %zu blocks of %zu threads with %zu bytes", name.c_str(), blocks, threads, shared);
  return noted(cudaErrorInvalidConfiguration);
}

template <class T>
static cudaError_t make(std::set<void *> &all, T **out, const char *kind, const T &what) {
  if (fails(kind)) return cudaErrorMemoryAllocation;
  return all.insert(*out = new T(what)), cudaSuccess;
}
// What is destroyed is not freed, so that its number is not used again.
static cudaError_t unmake(std::set<void *> &all, void *handle, const char *kind) {
  if (isLive(all, handle, kind)) all.erase(handle);
  return cudaSuccess;
}

__attribute__((destructor)) static void report() {
  const char *path = getenv("FAKE_CUDA_REPORT");
  FILE *file = path ? fopen(path, "a") : nullptr;
  if (!file) return;
  State &s = state();
  fprintf(file, "left: %zu device bytes, %zu pinned blocks, %zu streams, %zu events, %zu graphs, %zu executables\n", s.used,
          s.pinned.size(), s.streams.size(), s.events.size(), s.graphs.size(), s.executables.size());
  fprintf(file, "most: %zu device bytes\n", s.most);
  for (auto &[name, count] : s.counts) fprintf(file, "%s %ld\n", name.c_str(), count);
  fclose(file);
}

extern "C" {

// --- devices ---------------------------------------------------------------------------------------------------

cudaError_t cudaGetDeviceCount(int *count) { return *count = devices(), cudaSuccess; }
cudaError_t cudaGetDevice(int *device) { return *device = current, cudaSuccess; }
cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= devices()) return noted(cudaErrorInvalidDevice);
  return hasContext = true, current = device, cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int *version) { return *version = 13000, cudaSuccess; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int) {
  memset(p, 0, sizeof *p);
  strcpy(p->name, "NVIDIA H200 (stand-in)");
  p->major = major(), p->minor = major() == 7 ? 5 : 0, p->totalGlobalMem = capacity(), p->multiProcessorCount = 132;
  p->sharedMemPerBlock = 49152, p->sharedMemPerBlockOptin = 232448, p->sharedMemPerMultiprocessor = 233472;
  p->regsPerBlock = p->regsPerMultiprocessor = 65536, p->warpSize = 32, p->maxThreadsPerBlock = 1024;
  p->maxThreadsPerMultiProcessor = 2048, p->maxBlocksPerMultiProcessor = 32, p->l2CacheSize = 62914560;
  p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024, p->maxThreadsDim[2] = 64;
  p->maxGridSize[0] = 2147483647, p->maxGridSize[1] = p->maxGridSize[2] = 65535;
  p->unifiedAddressing = p->canMapHostMemory = p->concurrentKernels = p->cooperativeLaunch = p->clusterLaunch = 1;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int) {
  const std::map<int, int> known = {
      {cudaDevAttrComputeCapabilityMajor, major()},   {cudaDevAttrMaxSharedMemoryPerBlock, 49152},
      {cudaDevAttrMaxThreadsPerMultiProcessor, 2048}, {cudaDevAttrMaxSharedMemoryPerBlockOptin, 232448},
      {cudaDevAttrMaxThreadsPerBlock, 1024},          {cudaDevAttrMultiProcessorCount, 132}};
  return *value = known.count(attribute) ? known.at(attribute) : 0, cudaSuccess;
}
cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *most) { return *least = 0, *most = -5, cudaSuccess; }
cudaError_t cudaDeviceSynchronize() {
  ENTER;
  for (void *each : state().streams)  // Inside a capture, libtorch does so where memory runs out.
    if (cudaError_t error = wait((cudaStream_t)each, nullptr)) return error;
  return cudaSuccess;
}
cudaError_t cudaGetLastError() { return std::exchange(lastError, cudaSuccess); }
const char *cudaGetErrorName(cudaError_t) { return "cudaError"; }
const char *cudaGetErrorString(cudaError_t error) {
  if (error == cudaErrorMemoryAllocation) return "out of memory";
  return error == cudaErrorStreamCaptureUnsupported ? "operation not permitted when stream is capturing" : "an error";
}

// --- memory ----------------------------------------------------------------------------------------------------

cudaError_t cudaMalloc(void **out, size_t size) {
  ENTER;
  State &s = state();
  hasContext = true;
  *out = nullptr;
  if (s.used + size > capacity() || fails("malloc") || (unjoined(nullptr) > 1 && fails("side memory"))) return noted(cudaErrorMemoryAllocation);
  void *block = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (block == MAP_FAILED) return noted(cudaErrorMemoryAllocation);
  s.device[(char *)block] = size;
  s.used += size;
  s.most = s.used > s.most ? s.used : s.most;
  return *out = block, cudaSuccess;
}
cudaError_t cudaFree(void *block) {
  ENTER;
  State &s = state();
  hasContext = true;
  if (!block) return cudaSuccess;
  auto found = s.device.find((char *)block);
  if (found == s.device.end()) return complain("cudaFree of %p", block), cudaErrorInvalidValue;
  auto isIn = [&](const void *address) { return blockOf(s.device, address) == &*found; };
  for (void *each : s.executables)
    for (const Node &node : ((cudaGraphExec_t)each)->nodes)
      if (isIn(node.to) || isIn(node.from) || isIn(node.workspace)) {
        complain("memory is freed that a graph uses%s", isIn(node.workspace) ? " as work space" : "");
        break;
      }
  munmap(block, found->second);
  s.used -= found->second;
  s.device.erase(found);
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t *free, size_t *all) { return *all = capacity(), *free = *all - state().used, cudaSuccess; }
cudaError_t cudaHostAlloc(void **out, size_t size, unsigned) {
  ENTER;
  if (fails("pinned")) return *out = nullptr, noted(cudaErrorMemoryAllocation);
  *out = aligned_alloc(4096, (size + 4095) / 4096 * 4096);
  return state().pinned[(char *)*out] = size, cudaSuccess;
}
cudaError_t cudaFreeHost(void *block) { return state().pinned.erase((char *)block), free(block), cudaSuccess; }
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *out, const void *address) {
  ENTER;
  memset(out, 0, sizeof *out);
  out->device = current;
  out->type = isDevice(address) ? cudaMemoryTypeDevice : isPageable(address) ? cudaMemoryTypeUnregistered : cudaMemoryTypeHost;
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t size, cudaMemcpyKind kind, cudaStream_t stream) {
  ENTER;
  bool toDevice = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  bool fromDevice = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if ((toDevice && !isDevice(to)) || (fromDevice && !isDevice(from))) complain("a copy of kind %d from or to elsewhere", kind);
  return enqueue(stream, {to, from, size});
}
cudaError_t cudaMemcpy(void *to, const void *from, size_t n, cudaMemcpyKind kind) { return cudaMemcpyAsync(to, from, n, kind, 0); }
cudaError_t cudaMemsetAsync(void *to, int, size_t size, cudaStream_t s) LOCKED(enqueue(s, {to, nullptr, size}))

// --- kernels ---------------------------------------------------------------------------------------------------

static thread_local struct { dim3 grid, block; size_t shared; cudaStream_t stream; } pushed;
void **__cudaRegisterFatBinary(void *) { return (void **)calloc(1, sizeof(void *)); }
void __cudaRegisterFunction(void **, const char *host, char *, const char *name) { state().kernels[host] = name; }
unsigned __cudaPushCallConfiguration(dim3 g, dim3 b, size_t n, cudaStream_t s) { return pushed = {g, b, n, s}, 0; }
cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, cudaStream_t *stream) {
  return *grid = pushed.grid, *block = pushed.block, *shared = pushed.shared, *stream = pushed.stream, cudaSuccess;
}
cudaError_t __cudaGetKernel(const void **kernel, const void *function) { return *kernel = function, cudaSuccess; }
cudaError_t cudaLaunchKernel(const void *kernel, dim3 grid, dim3 block, void **, size_t shared, cudaStream_t stream)
    LOCKED(launch(kernel, grid, block, shared, stream))
decltype(cudaLaunchKernel) __cudaLaunchKernel __attribute__((alias("cudaLaunchKernel")));
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *c, const void *kernel, void **)
    LOCKED(launch(kernel, c->gridDim, c->blockDim, c->dynamicSmemBytes, c->stream))
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *out, const void *) {
  memset(out, 0, sizeof *out);
  out->maxThreadsPerBlock = 1024, out->numRegs = 32, out->maxDynamicSharedSizeBytes = 232448;
  return out->ptxVersion = out->binaryVersion = 10 * major(), cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *count, const void *, int, size_t, unsigned) {
  return *count = 2, cudaSuccess;
}

// --- streams, events, graphs -----------------------------------------------------------------------------------

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned)
    LOCKED(hasContext ? make(state().streams, out, "stream", {}) : cudaErrorDeviceUninitialized)
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *out, unsigned, int) { return cudaStreamCreateWithFlags(out, 0); }
cudaError_t cudaStreamDestroy(cudaStream_t stream) { return unmake(state().streams, stream, "stream"); }
cudaError_t cudaStreamSynchronize(cudaStream_t stream) LOCKED(wait(stream, __func__))
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned) LOCKED(make(state().events, out, "event", {}))
cudaError_t cudaEventCreate(cudaEvent_t *out) { return cudaEventCreateWithFlags(out, 0); }
cudaError_t cudaEventDestroy(cudaEvent_t event) LOCKED(unmake(state().events, event, "event"))
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  ENTER;
  if (!isLive(state().events, event, "event")) return cudaErrorInvalidResourceHandle;
  event->pending = 2;
  event->stream = streamOf(stream), event->begun = event->stream->begun;
  return event->capture = event->stream->capture, cudaSuccess;
}
cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t s, unsigned) { return cudaEventRecord(event, s); }
cudaError_t cudaEventQuery(cudaEvent_t event) {
  ENTER;
  if (!isLive(state().events, event, "event")) return cudaErrorInvalidResourceHandle;
  if (event->capture) return complain("an event of a capture is asked"), cudaErrorCapturedEvent;
  return event->pending > 0 ? event->pending--, cudaErrorNotReady : cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) { return event->pending = 0, cudaSuccess; }
cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t, cudaEvent_t) { return *milliseconds = 1, cudaSuccess; }
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (!event->capture) return cudaSuccess;
  cudaStream_t waiting = streamOf(stream);
  if (!waiting->capture) waiting->begun = waiting->joined = 0;
  waiting->capture = event->capture;
  event->stream->joined = std::max(event->stream->joined, event->begun);
  // What it waits for is its own from now on.
  if (waiting != event->stream) waiting->begun++;
  return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  ENTER;
  if ((size_t)stream <= 2 || streamOf(stream)->capture || fails("begin")) return cudaErrorStreamCaptureUnsupported;
  stream->capture = new Capture{++state().captures, false, new CUgraph_st};
  stream->begun = stream->joined = 0;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
  ENTER;
  Capture *ended = streamOf(stream)->capture;
  *graph = nullptr;
  if (!ended) return cudaErrorIllegalState;
  streamOf(stream)->joined = streamOf(stream)->begun;
  bool isOpen = unjoined(ended) > 0;
  for (void *each : state().streams)
    if (((cudaStream_t)each)->capture == ended) ((cudaStream_t)each)->capture = nullptr;
  if (isOpen) return noted(cudaErrorStreamCaptureUnjoined);
  if (ended->broken || fails("end")) return cudaErrorStreamCaptureInvalidated;
  return state().graphs.insert(*graph = ended->graph), cudaSuccess;
}
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus *status, unsigned long long *id,
                                     cudaGraph_t *graph, const cudaGraphNode_t **nodes, const cudaGraphEdgeData **edges,
                                     size_t *count) {
  ENTER;
  Capture *capture = streamOf(stream)->capture;
  *status = (cudaStreamCaptureStatus)(!capture ? 0 : capture->broken ? 2 : 1);
  for (void *out : {(void *)id, (void *)graph, (void *)nodes, (void *)edges, (void *)count})
    if (out) *(void **)out = nullptr;
  if (capture && id) *id = capture->id;
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus *status) {
  return cudaStreamGetCaptureInfo(stream, status, nullptr, nullptr, nullptr, nullptr, nullptr);
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *, size_t *count) {
  return *count = isLive(state().graphs, graph, "graph") ? graph->nodes.size() : 0, cudaSuccess;
}
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long) {
  ENTER;
  if (!isLive(state().graphs, graph, "graph")) return cudaErrorInvalidValue;
  return make(state().executables, out, "instantiate", {graph->nodes});
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  ENTER;
  if (!isLive(state().executables, executable, "executable")) return cudaErrorInvalidValue;
  if (streamOf(stream)->capture) complain("a graph is launched inside a capture");
  if (fails("launch")) return cudaErrorLaunchFailure;
  for (const Node &node : executable->nodes) carryOut(node);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return unmake(state().graphs, graph, "graph"); }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) { return unmake(state().executables, graph, "executable"); }

// --- the driver, whose handles are the same --------------------------------------------------------------------

#define AS(driver, runtime) decltype(runtime) driver __attribute__((alias(#runtime)));
AS(cuDriverGetVersion, cudaDriverGetVersion)
AS(cuDeviceGetCount, cudaGetDeviceCount)
AS(cuDeviceGetAttribute, cudaDeviceGetAttribute)
AS(cuMemGetInfo_v2, cudaMemGetInfo)
AS(cuStreamCreateWithPriority, cudaStreamCreateWithPriority)
AS(cuStreamWaitEvent, cudaStreamWaitEvent)
AS(cuStreamSynchronize, cudaStreamSynchronize)
AS(cuStreamBeginCapture_v2, cudaStreamBeginCapture)
AS(cuStreamEndCapture, cudaStreamEndCapture)
AS(cuStreamIsCapturing, cudaStreamIsCapturing)
AS(cuEventCreate, cudaEventCreateWithFlags)
AS(cuEventRecord, cudaEventRecord)
AS(cuEventQuery, cudaEventQuery)
AS(cuEventDestroy_v2, cudaEventDestroy)
AS(cuGraphInstantiateWithFlags, cudaGraphInstantiateWithFlags)
AS(cuGraphLaunch, cudaGraphLaunch)
AS(cuGraphDestroy, cudaGraphDestroy)
AS(cuGraphExecDestroy, cudaGraphExecDestroy)
int cuInit(unsigned) { return 0; }
int cuDeviceGet(int *device, int index) { return *device = index, 0; }
int cuDeviceGetName(char *name, int size, int) { return snprintf(name, size, "NVIDIA H200 (stand-in)"), 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int) { return *bytes = capacity(), 0; }
int cuCtxGetDevice(int *device) { return *device = current, hasContext ? 0 : 201; }
int cuCtxGetCurrent(const void **context) { return *context = hasContext ? &lastError : nullptr, 0; }
int cuGetErrorString(int, const char **text) { return *text = "an error of the stand-in", 0; }
int cuGetExportTable(const void **table, const void *) { return *table = nullptr, 500; }
int cuModuleLoadData(const void **module, const void *image) { return *module = image, memcmp(image, "\177ELF", 4) ? 200 : 0; }
int cuModuleGetFunction(const void **function, const void *, const char *name) {
  return state().kernels[*function = malloc(1)] = name, 0;
}
int cuLaunchKernel(const void *f, unsigned x, unsigned y, unsigned z, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                   cudaStream_t stream, void **, void **) LOCKED(launch(f, {x, y, z}, {bx, by, bz}, shared, stream))
static int notSupported() { return 801; }
cudaError_t cudaGetDriverEntryPointByVersion(const char *name, void **function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult *status) {
  *function = dlsym(RTLD_DEFAULT, (std::string(name) + "_v2").c_str());
  if (!*function) *function = dlsym(RTLD_DEFAULT, name);
  if (!*function && strncmp(name, "cuLogs", 6) != 0) *function = (void *)notSupported;
  if (status) *status = *function ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}

// What else libtorch links to: the stubs of build.sh call this.
long fakeStub(const char *name) {
  Guard guard(name);
  return 0;
}
}
