// What the parts of the stand-in share; see fake-cuda.cpp.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

// A copy, or a fill with zeros where `from` is null; for work that computes, its work space.
struct Node {
  void *to = nullptr;
  const void *from = nullptr;
  size_t size = 0;
  const void *workspace = nullptr;
};

struct Capture {
  unsigned long long id;
  bool broken;
  cudaGraph_t graph;
};

// CUDA's opaque handles.
struct CUgraph_st { std::vector<Node> nodes; };
struct CUgraphExec_st { std::vector<Node> nodes; };
// How much of a capture was begun on the stream, and how much of that another one waits for.
struct CUstream_st { Capture *capture = nullptr; long begun = 0, joined = 0; };
struct CUevent_st { int pending = 0; Capture *capture = nullptr; cudaStream_t stream = nullptr; long begun = 0; };

struct State {
  std::recursive_mutex mutex;
  std::map<const char *, size_t> device, pinned;
  size_t used = 0, most = 0;
  std::set<void *> streams, events, graphs, executables;
  std::map<std::string, long> counts;
  std::map<const void *, std::string> kernels;
  std::map<std::string, int> asked;
  CUstream_st defaultStream;
  unsigned long long captures = 0;
};
State &state();

// Holds the lock, and counts the call.
struct Guard {
  std::lock_guard<std::recursive_mutex> lock{state().mutex};
  explicit Guard(const char *name) { state().counts[name]++; }
};
#define ENTER Guard guard(__func__)
#define LOCKED(result) { ENTER; return result; }

#define complain(...) (fprintf(stderr, "fake-cuda: " __VA_ARGS__), fputs("\n", stderr))

// Whether this use of a kind is one that FAKE_CUDA_FAIL names.
bool fails(const char *what);

// Work on a stream: done at once, or gathered where the stream is being captured.
cudaError_t enqueue(cudaStream_t stream, const Node &node = {});
