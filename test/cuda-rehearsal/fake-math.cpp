// cuBLAS and cuDNN of the stand-in: handles, and products and convolutions that compute nothing.

#include <cstdint>
#include <cstring>

#include "fake-cuda.h"

static thread_local cudaStream_t blasStream, dnnStream;
static thread_local const void *blasWorkspace;

extern "C" {

// --- cuBLAS: one algorithm for every product -------------------------------------------------------------------

#define HANDLE(name, ...) \
  int name(void **out __VA_ARGS__) { return *out = malloc(8), 0; }
HANDLE(cublasCreate_v2)
HANDLE(cublasLtCreate)
HANDLE(cublasLtMatmulPreferenceCreate)
HANDLE(cublasLtMatmulDescCreate, , int, int)
HANDLE(cublasLtMatrixLayoutCreate, , int, uint64_t, uint64_t, int64_t)
int cublasSetStream_v2(void *, cudaStream_t stream) { return blasStream = stream, 0; }
int cublasGetMathMode(void *, int *mode) { return *mode = 0, 0; }
int cublasGetPointerMode_v2(void *, int *mode) { return *mode = 0, 0; }
const char *cublasGetStatusString(int) { return "an error of the stand-in"; }
int cublasLtMatmulAlgoGetHeuristic(void *, void *, void *, void *, void *, void *, void *, int, void *, int *count) {
  return *count = 1, 0;
}
int cublasLtMatmul(void *, void *, const void *, const void *, void *, const void *, void *, const void *, const void *,
                   void *, void *, void *, const void *, void *workspace, size_t, cudaStream_t stream)
    LOCKED(enqueue(stream, {nullptr, nullptr, 0, workspace}) ? 14 : 0)
int cublasSetWorkspace_v2(void *, void *workspace, size_t) { return blasWorkspace = workspace, 0; }
static int product() { return enqueue(blasStream, {nullptr, nullptr, 0, blasWorkspace}) ? 14 : 0; }
int cublasGemmEx() LOCKED(product())
int cublasGemmStridedBatchedEx() LOCKED(product())
int cublasSgemm_v2() LOCKED(product())
int cublasSgemmStridedBatched() LOCKED(product())

// --- cuDNN: descriptors that keep what they are given, two engines for every graph of operations -----------------

using Attributes = std::map<int, std::string>;
// cudnn_graph.h.
enum { configurations = 202, ofEngine = 300, workspace = 303, sharedMemory = 304, planWorkspace = 402, engines = 802 };

// Bytes of an attribute by the number of its type.
static size_t bytesOf(int type) {
  static const std::map<int, size_t> known = {{0, 8}, {3, 8}, {5, 8}, {6, 8}, {15, 8}, {2, 1}, {24, 1}, {26, 16}};
  auto found = known.find(type);
  return found == known.end() ? 4 : found->second;
}
size_t cudnnGetVersion() { return 92400; }
const char *cudnnGetErrorString(int) { return "an error of the stand-in"; }
HANDLE(cudnnCreate)
int cudnnSetStream(void *, cudaStream_t stream) { return dnnStream = stream, 0; }
int cudnnGetStream(void *, cudaStream_t *stream) { return *stream = dnnStream, 0; }
int cudnnBackendCreateDescriptor(int, void **out) { return *out = new Attributes, 0; }
int cudnnBackendDestroyDescriptor(void *descriptor) { return delete (Attributes *)descriptor, 0; }
int cudnnBackendSetAttribute(void *descriptor, int name, int type, int64_t count, const void *values) {
  if (count > 0) (*(Attributes *)descriptor)[name].assign((const char *)values, count * bytesOf(type));
  return 0;
}
int cudnnBackendGetAttribute(void *descriptor, int name, int type, int64_t room, int64_t *count, void *out) {
  ENTER;
  std::string values;
  auto put = [&](auto value) { values.assign((const char *)&value, sizeof value); };
  auto &attributes = *(Attributes *)descriptor;
  if (attributes.count(name)) values = attributes[name];
  if (name == workspace || name == planWorkspace) put(int64_t(1 << 20));
  if (name == sharedMemory) put(int32_t(1024));
  if (name == engines) put(int64_t(2));
  int64_t there = values.size() / bytesOf(type);
  // Descriptors that the caller has made are left as they are.
  if (name == configurations) there = fails("engines") ? 0 : 2;
  if (name == ofEngine) there = 1;
  if (room > 0 && there > room) there = room;
  if (room > 0 && out && !values.empty()) memcpy(out, values.data(), there * bytesOf(type));
  if (count) *count = there;
  return 0;
}
int cudnnBackendExecute(void *, void *, void *) LOCKED(enqueue(dnnStream) ? 5000 : 0)
}
