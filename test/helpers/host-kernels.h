// Runs kernels written for a GPU on the processor, to see what they compute: the threads of a block take
// turns, each until it waits for the others. Order and memory are not a GPU's.
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define __global__
#define __device__
#define __launch_bounds__(...)
// One block runs at a time.
#define __shared__ static

struct uint4 { unsigned x, y, z, w; };
struct float2 { float x, y; };
struct float4 { float x, y, z, w; };
struct Index { int x, y, z; };
static Index threadIdx, blockIdx, blockDim, gridDim;

static inline int min(int a, int b) { return a < b ? a : b; }
static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline float __fdividef(float a, float b) { return a / b; }
#define __expf expf
static inline float __uint_as_float(unsigned bits) { float x; memcpy(&x, &bits, 4); return x; }
static inline unsigned __float_as_uint(float x) { unsigned bits; memcpy(&bits, &x, 4); return bits; }

#ifdef HALF_PRECISION
static inline float toFloat(unsigned short bits) { _Float16 x; memcpy(&x, &bits, 2); return (float)x; }
static inline unsigned short toElement(float value) {
  const _Float16 x = (_Float16)value;
  unsigned short bits;
  memcpy(&bits, &x, 2);
  return bits;
}
#endif

enum State { ready, waitsForWarp, waitsForBlock, done };

struct Fiber {
  jmp_buf place;
  bool begun;
  void* stack;
  State state;
  float offered;
};

static const int warpSize = 32;
static const int stackSize = 32768;
static Fiber fibers[1024];
static jmp_buf scheduler;
static ucontext_t first, unused;
static int current;
static void (*work)();

static void wait(State state) {
  const int self = current;
  fibers[self].state = state;
  // Unlike swapcontext this asks nothing of the system.
  if (!_setjmp(fibers[self].place)) _longjmp(scheduler, 1);
}
static void __syncthreads() { wait(waitsForBlock); }
static float __shfl_xor_sync(unsigned, float x, int distance) {
  const int self = current;
  fibers[self].offered = x;
  wait(waitsForWarp);
  const float got = fibers[self ^ distance].offered;
  wait(waitsForWarp);
  return got;
}

static void begin() {
  work();
  wait(done);
}

// Lets those go on whose companions, in [from, to), have all come to the same place.
static bool release(int from, int to, State state) {
  bool any = false;
  for (int i = from; i < to; i++) {
    if (fibers[i].state == done) continue;
    if (fibers[i].state != state) return false;
    any = true;
  }
  for (int i = from; any && i < to; i++) {
    if (fibers[i].state == state) fibers[i].state = ready;
  }
  return any;
}

static void resume(Fiber& fiber) {
  if (_setjmp(scheduler)) return;
  if (fiber.begun) _longjmp(fiber.place, 1);
  fiber.begun = true;
  getcontext(&first);
  first.uc_stack.ss_sp = fiber.stack;
  first.uc_stack.ss_size = stackSize;
  makecontext(&first, begin, 0);
  swapcontext(&unused, &first);
}

static void runBlock(int threads) {
  for (int i = 0; i < threads; i++) {
    Fiber& fiber = fibers[i];
    if (!fiber.stack) fiber.stack = malloc(stackSize);
    fiber.state = ready;
    fiber.begun = false;
  }
  for (bool goesOn = true; goesOn;) {
    goesOn = false;
    for (int i = 0; i < threads; i++) {
      if (fibers[i].state != ready) continue;
      current = i;
      threadIdx.x = i;
      resume(fibers[i]);
      goesOn = true;
    }
    if (goesOn) continue;
    for (int from = 0; from < threads; from += warpSize) {
      if (release(from, min(from + warpSize, threads), waitsForWarp)) goesOn = true;
    }
    if (!goesOn) goesOn = release(0, threads, waitsForBlock);
  }
}

template <int... I>
struct Places {};

template <class... A, int... I>
static void callWith(void (*kernel)(A...), void** parameters, Places<I...>) {
  kernel(*(A*)parameters[I]...);
}

static void** given;
template <class... A>
static void launchAll(void (*kernel)(A...), void (*one)(), int columns, int rows, int threads, void** parameters) {
  given = parameters;
  work = one;
  blockDim = {threads, 1, 1};
  gridDim = {columns, rows, 1};
  for (int y = 0; y < rows; y++) {
    for (int x = 0; x < columns; x++) {
      blockIdx = {x, y, 0};
      runBlock(threads);
    }
  }
}

#define LAUNCHED(kernel)                                                                    \
  template <class... A>                                                                     \
  static void callGiven(void (*function)(A...)) {                                           \
    callWith(function, given, Places<__integer_pack(sizeof...(A))...>());                             \
  }                                                                                         \
  extern "C" __attribute__((visibility("default"))) void launchKernel(int columns, int rows, int threads, void** parameters) {     \
    launchAll(kernel, [] { callGiven(kernel); }, columns, rows, threads, parameters);       \
  }
